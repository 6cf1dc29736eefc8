"""Sorting, the largest few, and where a number would stand among sorted ones."""

from __future__ import annotations

import operator
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._broadcast import one_axis, same_dtype
from .._function import Unary
from .._operands import as_array, as_tensor
from ..array.indexing import take_along_axis
from ..compare import argsort


class Sort(Unary):
    """y[k] = x[o[k]] along one axis, with o the order of x.

    o names every place once, so dx[o[k]] = g[k], which is dx[i] = g[p[i]] with p the inverse of o,
    that is, the order of o itself.
    """

    def __init__(self, axis: int, descending: bool) -> None:
        self.axis, self.descending = axis, descending

    def forward(self, x: Array) -> Array:
        xp, axis = self.backend.xp, self.axis
        if not self.needs_input_grad[0]:
            y = xp.sort(x, axis=axis)
            return xp.flip(y, axis=axis) if self.descending else y
        self.places = argsort(Tensor(x), axis, descending=self.descending).data
        return xp.take_along_axis(x, self.places, axis=axis)

    def backward(self, g: Array) -> Array:
        xp, axis = self.backend.xp, self.axis
        return xp.take_along_axis(g, xp.argsort(self.places, axis=axis), axis=axis)


def sort(x: Tensor, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The values of x in rising order along `axis`, in its shape; NaN counts as the largest.

    Each value takes its gradient along; `argsort` has the places they come from.

    Args:
        x: of any shape.
        axis: along which.
        descending: whether the largest comes first.
        stable: equal values keep their order in any case.

    Raises:
        ValueError: x has no such axis.
    """
    x = as_tensor("sort", x)
    return Sort(one_axis("sort", axis, x.shape), descending)(x)


def topk(x: Tensor, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest values of x along `axis`, the largest first, and where they stand.

    Args:
        x: of any shape; NaN counts as the largest.
        k: how many.
        axis: along which.
        largest: False for the k smallest, the smallest first.

    Returns:
        The values, with their gradients, and their indices, int64: both of x's shape but for the
        axis, which has length k.  Of equal values the one that stands first comes first.

    Raises:
        ValueError: x has no such axis, or fewer than k values along it.
    """
    x = as_tensor("topk", x)
    at = one_axis("topk", axis, x.shape)
    if not 0 <= operator.index(k) <= x.shape[at]:
        raise ValueError(
            f"topk: k = {k} of the {x.shape[at]} values along axis {axis}; shape {x.shape}"
        )
    order = argsort(x, at, descending=largest).data
    first = Tensor(order[(*[slice(None)] * at, slice(0, k), ...)])
    return take_along_axis(x, first, axis=at), first


def searchsorted(x1: Tensor, x2: Any, side: str = "left", sorter: Any = None) -> Tensor:
    """Where each number of x2 would stand among the rising numbers x1: indices, no gradient.

    Args:
        x1: (n,), rising.
        x2: of any shape.
        side: "left": before those that equal it, x1[i-1] < x2 <= x1[i]; "right": behind them.
        sorter: (n,), indices that sort x1, where it does not rise.

    Returns:
        int64 from 0 to n, in x2's shape.

    Raises:
        ValueError: x1 has not one axis, or an unknown side.
        TypeError: arrays of two libraries.
    """
    x1 = as_tensor("searchsorted", x1)
    if x1.ndim != 1:
        raise ValueError(f"searchsorted: x1 must be (n,); it has shape {x1.shape}")
    if side not in ("left", "right"):
        raise ValueError(f'searchsorted: side must be "left" or "right", got {side!r}')
    home = backend_of(x1.data)
    if isinstance(x2, int | float):
        x2 = home.xp.full((), x2, dtype=x1.dtype, device=x1.device)
    rising, wanted = x1.data, as_array("searchsorted", x2, x1)
    if sorter is not None:
        places = home.positions(as_array("searchsorted", sorter, x1))
        rising = home.xp.take(rising, places, axis=0)
    rising, wanted = same_dtype(home, "searchsorted", rising, wanted)
    return Tensor(home.xp.asarray(home.xp.searchsorted(rising, wanted, side=side)))

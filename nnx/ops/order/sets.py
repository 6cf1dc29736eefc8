"""Which values there are, and where: sets.  None of them has a gradient.

How many there are depends on the values, so a GPU is waited for.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ...autograd import Node
from ...backends import Array, backend_of
from ...tensor import Tensor
from .._broadcast import Axis, axes_of, same_dtype
from .._operands import as_tensor


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def _runs(name: str, x: Any) -> tuple[Tensor, Any, Array, Array, Array]:
    """x sorted: (x, its namespace, the order, the sorted values, where each run of equals begins).

    NaN equals nothing, so each is a run of its own, as the standard has it.
    """
    x = as_tensor(name, x)
    xp = backend_of(x.data).xp
    flat = xp.reshape(x.data, (-1,))
    order = xp.argsort(xp.astype(flat, xp.uint8) if x.dtype == xp.bool else flat, stable=True)
    values = xp.take(flat, order, axis=0)
    n = flat.shape[0]
    begins = xp.ones(n, dtype=xp.bool, device=flat.device)
    if n > 1:
        begins[1:] = values[1:] != values[: n - 1]
    return x, xp, order, values, begins


def unique_values(x: Tensor) -> Tensor:
    """The values of x, each once, rising: (n,).  Every NaN counts as a value."""
    _, _, _, values, begins = _runs("unique_values", x)
    return Tensor(values[begins])


def unique_counts(x: Tensor) -> UniqueCounts:
    """The values of x, each once, rising: (n,), and how often each occurs: int64 (n,)."""
    _, xp, _, values, begins = _runs("unique_counts", x)
    return UniqueCounts(Tensor(values[begins]), Tensor(_lengths(xp, begins)))


def unique_inverse(x: Tensor) -> UniqueInverse:
    """The values of x, each once, rising: (n,), and the index of each number of x among them:
    int64, in x's shape."""
    x, xp, order, values, begins = _runs("unique_inverse", x)
    return UniqueInverse(Tensor(values[begins]), Tensor(_inverse(xp, order, begins, x.shape)))


def unique_all(x: Tensor) -> UniqueAll:
    """The values of x, each once, rising: (n,); of each the first place where it occurs, counted
    through x row by row: (n,); the index of each number of x among them, in x's shape; and how
    often each occurs: (n,).  All indices are int64."""
    x, xp, order, values, begins = _runs("unique_all", x)
    return UniqueAll(
        Tensor(values[begins]),
        Tensor(order[begins]),
        Tensor(_inverse(xp, order, begins, x.shape)),
        Tensor(_lengths(xp, begins)),
    )


def _lengths(xp: Any, begins: Array) -> Array:
    (starts,) = xp.nonzero(begins)
    end = xp.full((1,), begins.shape[0], dtype=starts.dtype, device=starts.device)
    ends = xp.concat([starts, end], axis=0)
    return ends[1:] - starts


def _inverse(xp: Any, order: Array, begins: Array, shape: tuple[int, ...]) -> Array:
    """The number of the run of each value, back in the order in which the values stood."""
    run = xp.cumulative_sum(xp.astype(begins, order.dtype), axis=0) - 1
    return xp.reshape(xp.take(run, xp.argsort(order), axis=0), shape)


def isin(x1: Any, x2: Any, invert: bool = False) -> Tensor:
    """Whether each number of x1 is one of x2's: booleans, in x1's shape.  NaN is never one of them.

    Args:
        x1: of any shape; it or x2 may be a number.
        x2: of any shape.
        invert: whether it is none of them.

    Raises:
        TypeError: both are numbers.
    """
    beside = next((x for x in (x1, x2) if isinstance(x, Node)), None)
    if isinstance(x1, int | float) and isinstance(x2, int | float):
        raise TypeError(f"isin needs at least one Tensor, got {x1!r} and {x2!r}")
    if isinstance(x1, int | float):
        x2 = as_tensor("isin", x2, beside)
        xp = backend_of(x2.data).xp
        found = xp.any(x2.data == x1)
        return Tensor(xp.asarray(~found if invert else found))
    x1 = as_tensor("isin", x1, beside)
    home = backend_of(x1.data)
    xp = home.xp
    if isinstance(x2, int | float):
        found = x1.data == x2
    else:
        a, b = same_dtype(home, "isin", x1.data, as_tensor("isin", x2, x1).data)
        found = xp.zeros_like(a, dtype=xp.bool)
        if math.prod(b.shape):
            b = xp.sort(xp.reshape(b, (-1,)))
            if home.is_float(b.dtype):  # not every library's search passes over NaN
                b = xp.sort(xp.where(b == b, b, b[:1]))
            at = xp.clip(xp.searchsorted(b, xp.reshape(a, (-1,))), 0, b.shape[0] - 1)
            found = xp.reshape(xp.take(b, at, axis=0), a.shape) == a
    return Tensor(~found if invert else found)


def nonzero(x: Tensor) -> tuple[Tensor, ...]:
    """Where x is not 0: for each axis the indices, int64 (n,), of all those places, row by row.

    Raises:
        ValueError: x has no axes.
    """
    x = as_tensor("nonzero", x)
    if x.ndim == 0:
        raise ValueError("nonzero: x must have an axis; its shape is ()")
    return tuple([Tensor(index) for index in backend_of(x.data).xp.nonzero(x.data)])


def count_nonzero(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many numbers along `axis` are not 0: int64; no gradient.

    Args:
        x: of any shape and dtype; NaN is not 0.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.

    Raises:
        ValueError: x has no such axis, or one is named twice.
    """
    x = as_tensor("count_nonzero", x)
    xp = backend_of(x.data).xp
    axes = axes_of("count_nonzero", axis, x.shape)
    there = xp.astype(x.data if x.dtype == xp.bool else x.data != 0, xp.int64)
    return Tensor(xp.asarray(xp.sum(there, axis=axes, keepdims=keepdims)))

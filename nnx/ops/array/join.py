"""Joining arrays, cutting them, and laying them side by side.

Every output is a copy of one input, so backward is the same journey back; where an input was copied
several times, its gradients are added up.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._broadcast import one_axis
from .._function import Function, Several, Unary
from .._operands import as_tensor
from .indexing import Take, indices_of
from .shape import reshape


def _along(axis: int, part: Any) -> tuple[Any, ...]:
    """The key that takes `part` of one axis and all of the others."""
    return (*[slice(None)] * axis, part, ...)


class Concat(Function):
    """Inputs one after the other along an axis: each gets its own stretch of g."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, *xs: Array) -> Array:
        self.lengths = [x.shape[self.axis] for x in xs]
        return self.backend.xp.concat(xs, axis=self.axis)

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        parts: list[Array | None] = []
        start = 0
        for length, needed in zip(self.lengths, self.needs_input_grad, strict=True):
            part = slice(start, start + length)
            parts.append(g[_along(self.axis, part)] if needed else None)
            start += length
        return tuple(parts)

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.backend.xp.astype(gradient, dtype)  # inputs of several float dtypes


class Split(Several):
    """x cut at `cuts` along an axis; backward joins the gradients of the parts."""

    def __init__(self, cuts: Sequence[int], axis: int) -> None:
        self.cuts, self.axis = cuts, axis

    def forward(self, x: Array) -> tuple[Array, ...]:
        ends = [*self.cuts, x.shape[self.axis]]
        starts = [0, *self.cuts]
        return tuple([x[_along(self.axis, slice(a, b))] for a, b in zip(starts, ends, strict=True)])

    def backward(self, *gs: Array) -> Array:
        return self.backend.xp.concat(gs, axis=self.axis)


class Stack(Concat):
    """Inputs side by side along a new axis: each gets its own slice of g."""

    def forward(self, *xs: Array) -> Array:
        return self.backend.xp.stack(xs, axis=self.axis)

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        return tuple(
            [
                g[_along(self.axis, k)] if need else None
                for k, need in enumerate(self.needs_input_grad)
            ]
        )


class Unstack(Several):
    """The slices of x along an axis; backward stacks their gradients."""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> tuple[Array, ...]:
        return tuple([x[_along(self.axis, k)] for k in range(x.shape[self.axis])])

    def backward(self, *gs: Array) -> Array:
        return self.backend.xp.stack(gs, axis=self.axis)


class Repeat(Unary):
    """Every slice along an axis `times` times in a row; dx adds up what the copies get."""

    def __init__(self, times: int, axis: int) -> None:
        self.times, self.axis = times, axis

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return self.backend.xp.repeat(x, self.times, axis=self.axis)

    def backward(self, g: Array) -> Array:
        xp, shape, axis, times = self.backend.xp, self.shape, self.axis, self.times
        if 0 < times <= 8:  # so short a sum is quicker by whole slices
            parts = [g[_along(axis, slice(k, None, times))] for k in range(times)]
            return reduce(operator.add, parts) if times > 1 else parts[0]
        split = (*shape[: axis + 1], times, *shape[axis + 1 :])
        return xp.sum(xp.reshape(g, split), axis=axis + 1)


class Tile(Unary):
    """x laid side by side, times[k] times along axis k; dx adds up the tiles of g."""

    def __init__(self, times: tuple[int, ...]) -> None:
        self.times = times

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return self.backend.xp.tile(x, self.times)

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        ndim = max(len(self.times), len(self.shape))
        times = (1,) * (ndim - len(self.times)) + self.times
        shape = (1,) * (ndim - len(self.shape)) + tuple(self.shape)
        split = [n for pair in zip(times, shape, strict=True) for n in pair]
        tiles = xp.sum(xp.reshape(g, tuple(split)), axis=tuple(range(0, 2 * ndim, 2)))
        return xp.reshape(tiles, self.shape)


def concat(xs: Sequence[Tensor], axis: int | None = 0) -> Tensor:
    """The tensors `xs` joined along `axis`, which they have (None: flattened first).

    Their shapes agree but for that axis, whose lengths are added up.

    Raises:
        ValueError: no tensors, or shapes that differ elsewhere than along `axis`.
    """
    xs = [as_tensor("concat", x) for x in xs]
    if not xs:
        raise ValueError("concat: no tensors were given")
    if axis is None:
        return Concat(0)(*[reshape(x, (-1,)) for x in xs])
    k = one_axis("concat", axis, xs[0].shape)
    rest = {(*x.shape[:k], *x.shape[k + 1 :]) for x in xs}
    if len(rest) > 1 or len({x.ndim for x in xs}) > 1:
        raise ValueError(
            f"concat: shapes must agree except along axis {axis}; "
            f"shapes {', '.join(str(x.shape) for x in xs)}"
        )
    return Concat(k)(*xs)


def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors `xs`, of one shape, joined along a new axis.

    Raises:
        ValueError: no tensors, or shapes that differ.
    """
    xs = [as_tensor("stack", x) for x in xs]
    if not xs:
        raise ValueError("stack: no tensors were given")
    if len({x.shape for x in xs}) > 1:
        raise ValueError(
            f"stack: shapes must be the same; shapes {', '.join(str(x.shape) for x in xs)}"
        )
    ndim = xs[0].ndim + 1
    k = operator.index(axis)
    if not -ndim <= k < ndim:
        raise ValueError(
            f"stack: axis {k} must be one of the {ndim} axes of the result; the tensors have "
            f"shape {xs[0].shape}"
        )
    return Stack(k % ndim)(*xs)


def unstack(x: Tensor, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along `axis`, without that axis.

    Raises:
        ValueError: x has no such axis.
    """
    x = as_tensor("unstack", x)
    return Unstack(one_axis("unstack", axis, x.shape))(x)


def split(x: Tensor, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """x cut along `axis`: into `sections` equal parts, or at those positions (as NumPy does).

    Raises:
        ValueError: the axis cannot be cut into equal parts, or positions out of order.
    """
    x = as_tensor("split", x)
    k = one_axis("split", axis, x.shape)
    length = x.shape[k]
    if isinstance(sections, int):
        if sections < 1 or length % sections:
            raise ValueError(
                f"split: axis {axis} of length {length} cannot be cut into {sections} equal "
                f"parts; shape {x.shape}"
            )
        step = length // sections
        cuts = [part * step for part in range(1, sections)]
    else:
        cuts = [operator.index(cut) for cut in sections]
        if cuts != sorted(cuts) or any(not 0 <= cut <= length for cut in cuts):
            raise ValueError(
                f"split: positions must rise from 0 to {length}; positions {cuts}, axis {axis}, "
                f"shape {x.shape}"
            )
    return Split(cuts, k)(x)


def repeat(x: Tensor, repeats: Any, axis: int | None = None) -> Tensor:
    """Every slice of x along `axis` several times in a row: (a, b) -> (a, a, b, b).

    Args:
        x: of any shape.
        repeats: how many times: a number for all, or integers (n,), one for each slice.
        axis: along which; None: x is flattened first.

    Raises:
        ValueError: `repeats` is negative, or of another length, or there is no such axis.
        IndexError: `repeats` is of no integers.
    """
    x = as_tensor("repeat", x)
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    k = one_axis("repeat", axis, x.shape)
    if hasattr(repeats, "__index__") and not getattr(repeats, "shape", ()):
        times = operator.index(repeats)
        if times < 0:
            raise ValueError(f"repeat: repeats must not be negative, got {times}; shape {x.shape}")
        return Repeat(times, k)(x)
    counts = indices_of("repeat", repeats, x)
    home = backend_of(x.data)
    if tuple(counts.shape) not in ((1,), (x.shape[k],)):
        raise ValueError(
            f"repeat: repeats must be one for each of the {x.shape[k]} slices along axis {axis}; "
            f"shape {x.shape}, repeats {tuple(counts.shape)}"
        )
    if home.checks_values and bool(home.xp.any(counts < 0)):
        raise ValueError(f"repeat: repeats must not be negative; shape {x.shape}")
    xp = home.xp
    ends = xp.cumulative_sum(xp.broadcast_to(home.positions(counts), (x.shape[k],)), axis=0)
    if isinstance(repeats, list | tuple):
        total = sum(repeats) if len(repeats) > 1 else repeats[0] * x.shape[k]
    else:  # a GPU is waited for: the shape depends on it
        total = int(ends[-1]) if x.shape[k] else 0
    # Place p of the result is of the first slice whose copies end behind it.
    places = xp.arange(total, dtype=ends.dtype, device=x.device)
    return Take(home.positions(xp.searchsorted(ends, places, side="right")), k)(x)


def tile(x: Tensor, repetitions: int | Sequence[int]) -> Tensor:
    """x laid side by side: repetitions[k] times along axis k, counted from the last.

    Raises:
        ValueError: a repetition is negative.
    """
    x = as_tensor("tile", x)
    times = (repetitions,) if isinstance(repetitions, int) else tuple(repetitions)
    if min(times, default=0) < 0:
        raise ValueError(f"tile: repetitions must not be negative, got {times}; shape {x.shape}")
    return Tile(times)(x)

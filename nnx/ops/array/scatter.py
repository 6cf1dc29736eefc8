"""Numbers put at places that indices name, and where a mask says."""

from __future__ import annotations

import math
from typing import Any

from ...backends import Array, backend_of, dtype_name
from ...tensor import Tensor
from .._broadcast import one_axis
from .._function import Binary
from .._operands import as_tensor
from ..select import where
from .indexing import indices_of


class Scatter(Binary):
    """y = x, but y[..., i[..., k]] = v[..., k]: along one axis each line takes its own values at
    its own indices, the last of those that name one place.

    Forward.  With the lines one under the other, place i of line b is number b n + i of one long
    row.  Sorted by place, and stably, the last that names a place stands at the end of its run; so
    each place *reads* its value there: nothing is written through an index.

    Backward.  A place that was written has forgotten x: dx is g elsewhere, 0 there.  The value that
    a place reads gets the place's g, and the others 0.
    """

    def __init__(self, indices: Array, axis: int) -> None:
        self.indices, self.axis = indices, axis

    def forward(self, x: Array, values: Array) -> Array:
        xp = self.backend.xp
        self.shape = x.shape
        flat = self.row(x.shape[self.axis])
        count = math.prod(x.shape)
        order = xp.argsort(flat, stable=True)
        keys = xp.take(flat, order, axis=0)
        every = xp.arange(count, dtype=keys.dtype, device=keys.device)
        end = xp.searchsorted(keys, every, side="right")
        self.written = end > xp.searchsorted(keys, every, side="left")
        m = flat.shape[0]
        last = xp.where(end > 0, end - 1, xp.zeros_like(end))
        self.reader, self.m = xp.take(order, last, axis=0) if m else end, m
        own = self.laid_out(x)
        if m:
            own = xp.where(self.written, xp.take(self.laid_out(values), self.reader, axis=0), own)
        return self.back(own, x.shape)

    def row(self, n: int) -> Array:
        """The indices, (m,), as places in the one long row of lines of length n."""
        xp, per_line = self.backend.xp, self.indices.shape[self.axis]
        places = self.laid_out(self.indices)
        every = xp.arange(places.shape[0], dtype=places.dtype, device=places.device)
        return places + every // max(1, per_line) * n

    def laid_out(self, x: Array) -> Array:
        """x with its axis last, as one row."""
        xp = self.backend.xp
        return xp.reshape(xp.moveaxis(x, self.axis, -1), (-1,))

    def back(self, row: Array, shape: tuple[int, ...]) -> Array:
        """One row in a shape, its axis where it was."""
        xp, axis = self.backend.xp, self.axis
        rest = (*shape[:axis], *shape[axis + 1 :], shape[axis])
        return xp.moveaxis(xp.reshape(row, rest), -1, axis)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        for_x, for_values = self.needs_input_grad
        row = self.laid_out(g)
        zeros = xp.zeros_like(row)
        gx = self.back(xp.where(self.written, zeros, row), self.shape) if for_x else None
        gv = None
        if for_values:
            passed = xp.where(self.written, row, zeros)
            if self.m:
                passed = self.backend.index_add(passed, self.reader, self.m)
            gv = self.back(passed[: self.m], self.indices.shape)
        return gx, gv


class ScatterAdd(Scatter):
    """y = x, but y[..., i[..., k]] += v[..., k] along one axis, once for each k: dx = g, and
    dv[..., k] = g[..., i[..., k]]."""

    def forward(self, x: Array, values: Array) -> Array:
        flat = self.row(x.shape[self.axis])
        added = self.backend.index_add(self.laid_out(values), flat, math.prod(x.shape))
        return x + self.back(added, x.shape)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        read = xp.take_along_axis(g, self.indices, axis=self.axis)
        return g, read if self.needs_input_grad[1] else None


def scatter(x: Tensor, indices: Any, values: Any, axis: int = -1) -> Tensor:
    """x with other values at some places: y[i, indices[i, k]] = values[i, k], and likewise for any
    number of axes.  Where several name one place the last of them stays.

    Args:
        x: of any shape.
        indices: integers, of x's shape but for the axis.
        values: of the shape of the indices and x's dtype, or a number.
        axis: along which the indices count.

    Returns:
        A new tensor of x's shape.

    Raises:
        ValueError: shapes that do not agree.
        IndexError: an index out of range.
        TypeError: values of another dtype.
    """
    return _scatter("scatter", Scatter, x, indices, values, axis)


def scatter_add(x: Tensor, indices: Any, values: Any, axis: int = -1) -> Tensor:
    """x with numbers added at some places: y[i, indices[i, k]] += values[i, k] for each k, and
    likewise for any number of axes: the transpose of `take_along_axis`.

    Args:
        x: of any shape.
        indices: integers, of x's shape but for the axis; one that is named twice is added to twice.
        values: of the shape of the indices and x's dtype, or a number.
        axis: along which the indices count.

    Returns:
        A new tensor of x's shape.

    Raises:
        ValueError: shapes that do not agree.
        IndexError: an index out of range.
        TypeError: values of another dtype.
    """
    return _scatter("scatter_add", ScatterAdd, x, indices, values, axis)


def _scatter(
    name: str, function: type[Scatter], x: Any, indices: Any, values: Any, axis: int
) -> Tensor:
    x = as_tensor(name, x)
    k = one_axis(name, axis, x.shape)
    index = indices_of(name, indices, x)
    shape = tuple(index.shape)
    home = backend_of(x.data)
    if isinstance(values, int | float):
        values = Tensor(home.xp.full(shape, values, dtype=x.dtype, device=x.device))
    values = as_tensor(name, values, x)
    if (
        len(shape) != x.ndim
        or shape[:k] + shape[k + 1 :] != x.shape[:k] + x.shape[k + 1 :]
        or values.shape != shape
    ):
        raise ValueError(
            f"{name}: x and indices must have the same shape except along the axis, and values "
            f"that of the indices; axis {axis}, x {x.shape}, indices {shape}, values {values.shape}"
        )
    if values.dtype != x.dtype:
        raise TypeError(
            f"{name}: values must be of x's dtype {dtype_name(x.dtype)}, not "
            f"{dtype_name(values.dtype)}"
        )
    return function(home.wrap_indices(index, x.shape[k]), k)(x, values)


def masked_fill(x: Tensor, mask: Any, value: Any) -> Tensor:
    """x, but `value` where the mask holds; there x gets no gradient.

    Args:
        x: of any shape.
        mask: booleans; the two are broadcast.
        value: a number, or a tensor without axes.

    Raises:
        ValueError: the shapes cannot be broadcast, or the value has axes.
        TypeError: the mask is not of booleans, or the value is a float and x of integers.
    """
    x = as_tensor("masked_fill", x)
    mask = as_tensor("masked_fill", mask, x)
    if isinstance(value, Tensor) and value.ndim:
        raise ValueError(f"masked_fill: the value must have no axes; its shape is {value.shape}")
    filled = where(mask, value, x)
    if filled.dtype != x.dtype:
        raise TypeError(
            f"masked_fill: x, of {dtype_name(x.dtype)}, cannot hold a value of "
            f"{dtype_name(filled.dtype)}"
        )
    return filled

"""Moving numbers about: shapes, axes and order.

These are linear and every output is a copy of one input, so backward is the same journey back;
where an input was copied several times, its gradients are added up.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence

from ...backends import Array
from ...tensor import Tensor
from .._broadcast import Axis, axes_of, broadcast_shape, one_axis, sum_to
from .._function import Unary
from .._operands import as_tensor


class Reshape(Unary):
    """The same numbers in row-major order, in another shape: dx = g in x's shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        shape, self.shape = self.shape, x.shape
        return self.backend.xp.reshape(x, shape)

    def backward(self, g: Array) -> Array:
        return self.backend.xp.reshape(g, self.shape)


class PermuteDims(Unary):
    """y's axis k is x's axis axes[k]: dx permutes g by the inverse."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        return self.backend.xp.permute_dims(x, self.axes)

    def backward(self, g: Array) -> Array:
        inverse = [0] * len(self.axes)
        for k, axis in enumerate(self.axes):
            inverse[axis] = k
        return self.backend.xp.permute_dims(g, tuple(inverse))


class Diagonal(Unary):
    """y[..., i] = x[..., i + r, i + c]: the diagonal of the last two axes (n, m) that begins in row
    r and column c, one of which is 0.

    In row-major order its numbers stand m + 1 apart.  dx is g there and 0 elsewhere.
    """

    def __init__(self, offset: int) -> None:
        self.offset = offset

    def forward(self, x: Array) -> Array:
        *self.batch, n, m = self.shape = x.shape
        row, column = max(0, -self.offset), max(0, self.offset)
        length = max(0, min(n - row, m - column))
        first = row * m + column
        self.part = slice(first, first + (length - 1) * (m + 1) + 1, m + 1) if length else slice(0)
        flat = self.backend.xp.reshape(x, (*self.batch, n * m))
        return self.backend.xp.asarray(flat[..., self.part], copy=True)

    def backward(self, g: Array) -> Array:
        xp, (n, m) = self.backend.xp, self.shape[-2:]
        dx = xp.zeros((*self.batch, n * m), dtype=g.dtype, device=g.device)
        dx[..., self.part] = g
        return xp.reshape(dx, self.shape)


class BroadcastTo(Unary):
    """Every number repeated: dx adds up what its copies get."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        self.x_shape = x.shape
        return self.backend.xp.broadcast_to(x, self.shape)

    def backward(self, g: Array) -> Array:
        return sum_to(self.backend.xp, g, self.x_shape)


class Flip(Unary):
    """y[k] = x[n-1-k]: dx flips g."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        return self.backend.xp.flip(x, axis=self.axes)

    def backward(self, g: Array) -> Array:
        return self.backend.xp.flip(g, axis=self.axes)


class Roll(Unary):
    """y[(k + shift) mod n] = x[k]: dx rolls g back."""

    def __init__(self, shift: int | tuple[int, ...], axis: Axis) -> None:
        self.shift, self.axis = shift, axis

    def forward(self, x: Array) -> Array:
        return self.backend.xp.roll(x, self.shift, axis=self.axis)

    def backward(self, g: Array) -> Array:
        shift = self.shift
        back = -shift if isinstance(shift, int) else tuple([-s for s in shift])
        return self.backend.xp.roll(g, back, axis=self.axis)


def reshape(x: Tensor, shape: int | Sequence[int]) -> Tensor:
    """The numbers of x in row-major order, in another shape; one length may be -1: what is left.

    Raises:
        ValueError: the shape holds another number of values.
    """
    x = as_tensor("reshape", x)
    new = (shape,) if isinstance(shape, int) else tuple(map(operator.index, shape))
    known, size, holes = math.prod(new), math.prod(x.data.shape), new.count(-1)
    if holes:
        known = -known
        fits = holes == 1 and known > 0 and size % known == 0
    else:
        fits = size == known
    if not fits:
        raise ValueError(
            f"reshape: {size} values of shape {x.shape} do not fit the shape {tuple(new)}"
        )
    return Reshape(new)(x)


def permute_dims(x: Tensor, axes: Sequence[int]) -> Tensor:
    """x with its axes in another order: y.shape[k] = x.shape[axes[k]].

    Raises:
        ValueError: `axes` does not name every axis once.
    """
    x = as_tensor("permute_dims", x)
    order = axes_of("permute_dims", tuple(axes), x.shape)
    if len(order) != x.ndim:
        raise ValueError(
            f"permute_dims: axes must name each of the {x.ndim} axes once; axes {tuple(axes)}, "
            f"shape {x.shape}"
        )
    return PermuteDims(order)(x)


def matrix_transpose(x: Tensor) -> Tensor:
    """The last two axes of x exchanged: (..., I, J) -> (..., J, I).

    Raises:
        ValueError: x has fewer than two axes.
    """
    x = as_tensor("matrix_transpose", x)
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: needs two axes or more; shape {x.shape}")
    axes = list(range(x.ndim))
    axes[-2], axes[-1] = axes[-1], axes[-2]
    return PermuteDims(tuple(axes))(x)


def moveaxis(
    x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...]
) -> Tensor:
    """x with the axis `source` moved to `destination`, the others in their order; or several axes.

    Raises:
        ValueError: x has no such axis, one is named twice, or there are more of the one than of
            the other.
    """
    x = as_tensor("moveaxis", x)
    start = axes_of("moveaxis", source, x.shape)
    end = axes_of("moveaxis", destination, x.shape)
    if len(start) != len(end):
        raise ValueError(
            f"moveaxis: as many destinations as sources are needed; {source} to {destination}, "
            f"shape {x.shape}"
        )
    axes = [k for k in range(x.ndim) if k not in start]
    for place, axis in sorted(zip(end, start, strict=True)):
        axes.insert(place, axis)
    return PermuteDims(tuple(axes))(x)


def squeeze(x: Tensor, axis: Axis = None) -> Tensor:
    """x without those axes of length 1 that `axis` names (one or several; None: all of them).

    Raises:
        ValueError: a named axis is longer than 1.
    """
    x = as_tensor("squeeze", x)
    if axis is None:
        axes = tuple([k for k, n in enumerate(x.shape) if n == 1])
    else:
        axes = axes_of("squeeze", axis, x.shape)
    if any(x.shape[k] != 1 for k in axes):
        raise ValueError(
            f"squeeze: only an axis of length 1 can be dropped; axis {axis}, shape {x.shape}"
        )
    return Reshape(tuple([n for k, n in enumerate(x.shape) if k not in axes]))(x)


def expand_dims(x: Tensor, axis: Axis = 0) -> Tensor:
    """x with a new axis of length 1 at the place (or places) `axis` of the result's shape.

    Raises:
        ValueError: the result has no such axis, or a place is named twice.
    """
    x = as_tensor("expand_dims", x)
    where = axis if isinstance(axis, tuple) else (0 if axis is None else axis,)
    ndim = x.ndim + len(where)
    inside = all(-ndim <= k < ndim for k in where)
    places = {k % ndim for k in where}
    if not inside or len(places) < len(where):
        fault = "names an axis twice" if inside else "is out of range"
        raise ValueError(
            f"expand_dims: axis {axis} {fault}, of the {ndim} axes that the result has; the tensor "
            f"has shape {x.shape}"
        )
    old = iter(x.shape)
    return Reshape(tuple([1 if k in places else next(old) for k in range(ndim)]))(x)


def broadcast_to(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x repeated along new axes and along axes of length 1, so that it has the `shape`.

    Raises:
        ValueError: x cannot be broadcast to this shape.
    """
    x = as_tensor("broadcast_to", x)
    new = tuple(shape)
    if broadcast_shape("broadcast_to", x.shape, new) != new:
        raise ValueError(f"broadcast_to: shape {x.shape} cannot become {new}")
    return BroadcastTo(new)(x)


def flip(x: Tensor, axis: Axis = None) -> Tensor:
    """x in reverse order along `axis` (None: along all).

    Raises:
        ValueError: x has no such axis, or one is named twice.
    """
    x = as_tensor("flip", x)
    return Flip(axes_of("flip", axis, x.shape))(x)


def roll(x: Tensor, shift: int | tuple[int, ...], axis: Axis = None) -> Tensor:
    """x moved on by `shift` along `axis`, what falls off the end coming in at the start.

    Raises:
        ValueError: as many shifts as axes are needed, and the axes must be there.
    """
    x = as_tensor("roll", x)
    shifts = tuple([operator.index(n) for n in shift]) if isinstance(shift, tuple | list) else None
    if axis is not None:
        axes = axes_of("roll", axis, x.shape)
        if shifts is not None and len(shifts) != len(axes):
            raise ValueError(
                f"roll: there must be one shift for each axis; shift {shift}, axis {axis}, shape "
                f"{x.shape}"
            )
    elif shifts is not None:
        raise ValueError(f"roll: several shifts need the axes they are for; shift {shift}")
    return Roll(operator.index(shift) if shifts is None else shifts, axis)(x)  # type: ignore[arg-type]


def diagonal(x: Tensor, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """The numbers x[i, i + offset] of two axes, as a new last axis; the others stay in front.

    Args:
        offset: 0 for the main diagonal, above it where positive, below it where negative.
        axis1, axis2: the axes of rows and columns.  NumPy and PyTorch take the first two where
            they are left out, the array API standard, as here, the last two: of a matrix the same.

    Raises:
        ValueError: x has no two such axes.
    """
    x = as_tensor("diagonal", x)
    if x.ndim < 2:
        raise ValueError(f"diagonal: x must have two axes at least; its shape is {x.shape}")
    one, two = one_axis("diagonal", axis1, x.shape), one_axis("diagonal", axis2, x.shape)
    if one == two:
        raise ValueError(
            f"diagonal: axis1 and axis2 must differ; {axis1} and {axis2}, shape {x.shape}"
        )
    others = [k for k in range(x.ndim) if k not in (one, two)]
    order = (*others, one, two)
    if order != tuple(range(x.ndim)):
        x = permute_dims(x, order)
    found: Tensor = Diagonal(operator.index(offset))(x)
    return found

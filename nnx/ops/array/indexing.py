"""Reading parts of a tensor by position, and the transpose: adding gradients up by position."""

from __future__ import annotations

import math
from typing import Any

from ...autograd import Node
from ...backends import Array, backend_of, dtype_name
from ...tensor import Tensor
from .._broadcast import broadcast_shape, one_axis
from .._function import Unary
from .._operands import as_array, as_tensor
from .shape import broadcast_to, permute_dims, reshape


class GetItem(Unary):
    """y = x[key] with integers, slices, None and Ellipsis: dx is g at those places, 0 elsewhere."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return self.backend.slice(x, self.key)

    def backward(self, g: Array) -> Array:
        return self.backend.slice_backward(g, self.key, self.shape)


class Take(Unary):
    """y = x[..., indices, ...] along one axis, whose place the axes of the indices take.

    An index that is read several times gets the sum of its gradients:
    dx[i] = sum of g[k] over all k with indices[k] = i.
    """

    def __init__(self, indices: Array, axis: int) -> None:
        self.indices, self.axis = indices, axis

    def forward(self, x: Array) -> Array:
        xp, axis, indices = self.backend.xp, self.axis, self.indices
        self.shape = shape = x.shape
        if indices.ndim == 1:
            return xp.take(x, indices, axis=axis)
        y = xp.take(x, xp.reshape(indices, (-1,)), axis=axis)
        return xp.reshape(y, (*shape[:axis], *indices.shape, *shape[axis + 1 :]))

    def backward(self, g: Array) -> Array:
        xp, axis, shape = self.backend.xp, self.axis, self.shape
        indices = xp.reshape(self.indices, (-1,))
        if axis == 0:
            rows = xp.reshape(g, (indices.shape[0], math.prod(shape[1:])))
            return xp.reshape(self.backend.index_add(rows, indices, shape[0]), shape)
        before, after = shape[:axis], shape[axis + 1 :]
        g = xp.reshape(g, (math.prod(before), indices.shape[0], math.prod(after)))
        width = g.shape[0] * g.shape[2]
        rows = xp.reshape(xp.permute_dims(g, (1, 0, 2)), (indices.shape[0], width))
        rows = self.backend.index_add(rows, indices, shape[axis])  # (n, before after)
        back = xp.reshape(rows, (shape[axis], math.prod(before), math.prod(after)))
        return xp.reshape(xp.permute_dims(back, (1, 0, 2)), shape)


class TakeAlongAxis(Unary):
    """y[..., k] = x[..., indices[..., k]], for each line along the axis its own indices.

    With the lines one under the other, position k of line b is number b n + k of one long row, and
    backward is that of `Take`.
    """

    def __init__(self, indices: Array, axis: int) -> None:
        self.indices, self.axis = indices, axis

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return self.backend.xp.take_along_axis(x, self.indices, axis=self.axis)

    def backward(self, g: Array) -> Array:
        xp, axis, shape = self.backend.xp, self.axis, self.shape
        n, ndim = shape[axis], len(shape)
        last = (*[k for k in range(ndim) if k != axis], axis)
        lines = math.prod(shape) // n if n else 0
        values = xp.reshape(xp.permute_dims(g, last), (-1,))
        indices = xp.reshape(xp.permute_dims(self.indices, last), (lines, self.indices.shape[axis]))
        start = xp.arange(lines, dtype=indices.dtype, device=g.device) * n
        flat = xp.reshape(indices + xp.reshape(start, (-1, 1)), (-1,))
        out = self.backend.index_add(values, flat, lines * n)
        out = xp.reshape(out, (*[shape[k] for k in last[:-1]], n))
        back = (*range(axis), ndim - 1, *range(axis, ndim - 1))
        return xp.permute_dims(out, back)


def getitem(x: Tensor, key: Any) -> Tensor:
    """x[key], as NumPy understands it: integers, slices, None, Ellipsis, a boolean mask, and
    integer arrays (tensors, arrays or lists), which are broadcast with each other.

    Raises:
        IndexError: too many indices, an index out of range, or a mask of the wrong shape.
    """
    x = as_tensor("getitem", x)
    parts = key if isinstance(key, tuple) else (key,)
    for part in parts:
        if _is_array(part):
            return _fancy(x, parts)
    return GetItem(_plain_key(parts, x.shape))(x)


def take(x: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    """The slices of x at `indices` (integers, one axis) along `axis`; repeats are allowed.

    Raises:
        IndexError: an index out of range.
        ValueError: x has several axes and `axis` is left out, or `indices` has not one axis.
    """
    x = as_tensor("take", x)
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"take: axis must be given for shape {x.shape}")
        axis = 0
    k = one_axis("take", axis, x.shape)
    index = indices_of("take", indices, x)
    if index.ndim != 1:
        raise ValueError(f"take: indices must have one axis; their shape is {tuple(index.shape)}")
    return Take(backend_of(index).wrap_indices(index, x.shape[k]), k)(x)


def take_along_axis(x: Tensor, indices: Any, axis: int = -1) -> Tensor:
    """y[i, k] = x[i, indices[i, k]], and likewise for any number of axes: along `axis` each line
    has its own indices.  In every other axis x and the indices are broadcast.

    Raises:
        ValueError: another number of axes, or lengths that cannot be broadcast.
        IndexError: an index out of range.
    """
    x = as_tensor("take_along_axis", x)
    k = one_axis("take_along_axis", axis, x.shape)
    index = indices_of("take_along_axis", indices, x)
    shape = tuple(index.shape)
    if len(shape) != x.ndim:
        raise ValueError(
            "take_along_axis: x and indices must have as many axes; "
            f"axis {axis}, x {x.shape}, indices {shape}"
        )
    if shape[:k] + shape[k + 1 :] != x.shape[:k] + x.shape[k + 1 :]:
        before = broadcast_shape("take_along_axis", x.shape[:k], shape[:k])
        after = broadcast_shape("take_along_axis", x.shape[k + 1 :], shape[k + 1 :])
        xp = backend_of(index).xp
        index = xp.broadcast_to(index, (*before, shape[k], *after))
        x = broadcast_to(x, (*before, x.shape[k], *after))
    return TakeAlongAxis(backend_of(index).wrap_indices(index, x.shape[k]), k)(x)


def _is_array(part: Any) -> bool:
    return isinstance(part, Node | list) or (hasattr(part, "dtype") and hasattr(part, "ndim"))


def _every_axis(parts: tuple[Any, ...], shape: tuple[int, ...]) -> list[Any]:
    """The key with Ellipsis, written or implied at its end, as slices: one part per axis, or None.

    A mask stands for as many axes as it has.
    """
    dots = [k for k, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index can hold only one Ellipsis")
    used = sum(_axes_used(part) for part in parts)
    if used > len(shape):
        raise IndexError(f"too many indices: {used} for the {len(shape)} axes of shape {shape}")
    at = dots[0] if dots else len(parts)
    return [*parts[:at], *[slice(None)] * (len(shape) - used), *parts[at + 1 :]]


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    is_mask = hasattr(part, "dtype") and "bool" in str(part.dtype)
    return part.ndim if is_mask else 1


def _plain_key(parts: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """A key of slices and integers counted from the front, one per axis, and None."""
    key: list[Any] = []
    axis = 0
    for part in _every_axis(parts, shape):
        if part is not None:
            if not isinstance(part, slice):
                part = _integer(part, axis, shape)
            axis += 1
        key.append(part)
    return tuple(key)


def _integer(part: Any, axis: int, shape: tuple[int, ...]) -> int:
    if isinstance(part, bool) or not hasattr(part, "__index__"):
        raise IndexError(
            "an index is an integer, a slice, None, Ellipsis, a boolean mask or an integer array, "
            f"not {part!r}"
        )
    k, length = int(part.__index__()), shape[axis]
    if not -length <= k < length:
        raise IndexError(
            f"index {k} is out of range for axis {axis} of length {length}; shape {shape}"
        )
    return k % length


def _fancy(x: Tensor, parts: tuple[Any, ...]) -> Tensor:
    """x[parts] where some parts are arrays: slices first, then the arrays as one `take`.

    NumPy's rule for where the arrays' axes go: at the place of the first of them if they stand
    side by side, in front of all others if something stands between.
    """
    parts = tuple(
        [indices_of("index", part, x, True) if _is_array(part) else part for part in parts]
    )
    if len(parts) == 1 and x.ndim and parts[0].dtype != backend_of(x.data).xp.bool:
        return Take(backend_of(x.data).wrap_indices(parts[0], x.shape[0]), 0)(x)
    basic: list[Any] = []  # slices and None, done at once
    arrays: list[tuple[int, Array]] = []  # (place in the sliced tensor, indices)
    axis = 0
    for part in _every_axis(parts, x.shape):
        if part is None or isinstance(part, slice):
            basic.append(part)
            axis += part is not None
            continue
        for index in _as_arrays(part, axis, x):
            arrays.append((len(basic), index))
            basic.append(slice(None))
            axis += 1
    if any(part != slice(None) for part in basic):
        x = GetItem(_plain_key(tuple(basic), x.shape))(x)

    if len(arrays) == 1:
        place, index = arrays[0]
        return Take(index, place)(x)

    # The indexed axes in front, laid out as one, and the arrays as positions in it.
    places = [place for place, _ in arrays]
    others = [k for k in range(x.ndim) if k not in places]
    lengths, rest = [x.shape[k] for k in places], tuple([x.shape[k] for k in others])
    flat: Array = 0
    for (_, index), length in zip(arrays, lengths, strict=True):
        flat = flat * length + index
    x = reshape(permute_dims(x, (*places, *others)), (math.prod(lengths), *rest))
    y = Take(flat, 0)(x)

    first, n = places[0], flat.ndim
    if places == list(range(first, first + len(places))):
        y = permute_dims(y, (*range(n, n + first), *range(n), *range(n + first, y.ndim)))
    return y


def _as_arrays(part: Any, axis: int, x: Tensor) -> tuple[Array, ...]:
    """An integer, integer array or mask as integer arrays, one for each axis it stands for."""
    backend = backend_of(x.data)
    if not hasattr(part, "dtype"):
        k = _integer(part, axis, x.shape)  # beside arrays, an integer is an array without axes
        return (backend.xp.asarray(k, dtype=backend.index_dtype, device=x.device),)
    if part.dtype != backend.xp.bool:
        return (backend.wrap_indices(part, x.shape[axis]),)
    covered = x.shape[axis : axis + part.ndim]
    if tuple(part.shape) != covered or not covered:
        raise IndexError(
            "a boolean mask must have the shape of the axes it stands for; "
            f"mask {tuple(part.shape)}, axes {covered} of shape {x.shape}"
        )
    return tuple(backend.xp.nonzero(part))


def indices_of(name: str, indices: Any, x: Tensor, masks: bool = False) -> Array:
    """Indices as an array of x's library, on its device: integers, or booleans in a key."""
    home = backend_of(x.data)
    array = as_array(name, indices, x)
    if isinstance(indices, list | tuple) and math.prod(array.shape) == 0:
        array = home.xp.astype(array, home.index_dtype)  # an empty list does not say of what
    if not home.is_integer(array.dtype) and (not masks or array.dtype != home.xp.bool):
        kinds = "integers or booleans" if masks else "integers"
        raise IndexError(f"{name}: indices must be {kinds}, not {dtype_name(array.dtype)}")
    return array

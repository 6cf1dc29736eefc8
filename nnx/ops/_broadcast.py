"""Broadcasting and its transpose; axes as people write them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..autograd import as_tensor
from ..backends import Array, Backend, backend_of, dtype_name, mixed
from ..tensor import Tensor
from ._function import Binary

Axis = int | tuple[int, ...] | None


def sum_to(xp: Any, g: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of broadcasting: add up g over the axes along which `shape` was stretched.

    If y = broadcast(x), every copy of x[i] adds its own dL/dy to dL/dx[i].
    """
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    stretched = tuple(
        axis for axis in range(g.ndim) if axis < extra or shape[axis - extra] != g.shape[axis]
    )
    return xp.reshape(xp.asarray(xp.sum(g, axis=stretched)), shape)  # NumPy's may be a scalar


def fit_broadcast(xp: Any, g: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """A gradient of the broadcast shape and common dtype, in the shape and dtype of one operand."""
    g = sum_to(xp, g, shape)
    return g if g.dtype == dtype else xp.astype(g, dtype)


def broadcast_shape(name: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all these are broadcast to.

    Raises:
        ValueError: an axis has two lengths, neither of them 1.
    """
    ndim = max(len(shape) for shape in shapes)
    out = []
    for axis in range(-ndim, 0):
        lengths = {shape[axis] for shape in shapes if -axis <= len(shape)} - {1}
        if len(lengths) > 1:
            raise ValueError(
                f"{name}: shapes that cannot be broadcast: axis {axis} has the lengths "
                f"{sorted(lengths)}; shapes {', '.join(str(tuple(s)) for s in shapes)}"
            )
        out.append(lengths.pop() if lengths else 1)
    return tuple(out)


def one_axis(name: str, axis: Any, shape: tuple[int, ...]) -> int:
    """`axis` counted from the front.

    Raises:
        ValueError: there is no such axis.
    """
    k = operator.index(axis)
    ndim = len(shape)
    if not -ndim <= k < ndim:
        raise ValueError(
            f"{name}: axis {k} is out of range for {ndim} axes; the tensor has shape {tuple(shape)}"
        )
    return k % ndim


def axes_of(name: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """`axis` (None: all) as a tuple of axes counted from the front, each once."""
    n = len(shape)
    if axis is None:
        return tuple(range(n))
    several = axis if isinstance(axis, tuple | list) else (axis,)
    axes = tuple(
        [k if type(k) is int and 0 <= k < n else one_axis(name, k, shape) for k in several]
    )
    if len(set(axes)) < len(axes):
        raise ValueError(
            f"{name}: axis {axis} names an axis twice; the tensor has shape {tuple(shape)}"
        )
    return axes


def plain_number(x: Any) -> Any:
    """NumPy's scalars as Python numbers, which take the dtype of the array beside them."""
    return x.item() if isinstance(x, np.generic) else x


def align(backend: Backend, name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Two operands, arrays or numbers, as they are computed with each other.

    The dtype of the result is the array API's.  Where that has no rule, integers and booleans take
    the float operand's dtype, and float32 beside a Python float, so that no float64 comes from
    nowhere.

    Raises:
        TypeError: arrays of two libraries, or something that is neither an array nor a number.
    """
    a, b = plain_number(a), plain_number(b)
    if isinstance(a, list | tuple):
        a = as_tensor(name, a, Tensor(b)).data
    elif isinstance(b, list | tuple):
        b = as_tensor(name, b, Tensor(a)).data
    if hasattr(a, "dtype") and hasattr(b, "dtype"):
        if type(a) is not type(b) and backend_of(a) is not backend_of(b):
            raise mixed(backend_of(a), backend_of(b))
        if a.dtype == b.dtype or backend.is_float(a.dtype) == backend.is_float(b.dtype):
            return a, b
        if backend.is_float(a.dtype):
            return a, backend.xp.astype(b, a.dtype)
        return backend.xp.astype(a, b.dtype), b
    return _beside_number(backend, name, a, b), _beside_number(backend, name, b, a)


def _beside_number(backend: Backend, name: str, x: Any, other: Any) -> Any:
    """An array as it is computed with the number `other`; a number as it is."""
    if hasattr(x, "dtype"):
        if type(other) is float and not backend.is_float(x.dtype):
            return backend.xp.astype(x, backend.xp.float32)
    elif not isinstance(x, int | float):
        raise TypeError(
            f"{name}: the operands must be tensors or numbers, not {type(x).__name__}: {x!r}"
        )
    elif type(x) is bool and other.dtype != backend.xp.bool:
        return int(x)
    return x


def same_dtype(backend: Backend, name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """`align`, and then both in one dtype: some libraries multiply matrices of no other kind."""
    a, b = align(backend, name, a, b)
    if a.dtype == b.dtype:
        return a, b
    xp = backend.xp
    dtype = xp.result_type(a, b)
    return xp.astype(a, dtype, copy=False), xp.astype(b, dtype, copy=False)


class Broadcasting(Binary):
    """An elementwise operation whose operands are broadcast and may differ in dtype.

    `backward` returns gradients in the shape of the output; the tape calls `unbroadcast` where an
    operand was smaller or of another dtype.
    """

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return fit_broadcast(self.backend.xp, gradient, shape, dtype)

    def align(self, a: Any, b: Any) -> tuple[Any, Any]:
        return align(self.backend, type(self).__name__.lower(), a, b)

    def explain(self, a: Any, b: Any) -> None:
        if hasattr(a, "shape") and hasattr(b, "shape"):
            broadcast_shape(type(self).__name__.lower(), tuple(a.shape), tuple(b.shape))


def float_arrays(backend: Backend, name: str, a: Any, b: Any) -> tuple[Array, Array]:
    """Two operands, after `align`, that a library wants as arrays: a number is one without axes.

    Raises:
        TypeError: they are not of a floating-point dtype.
    """
    xp, like = backend.xp, a if hasattr(a, "dtype") else b
    if not backend.is_float(like.dtype):
        raise TypeError(
            f"{name}: one operand at least must be of a floating-point dtype, not "
            f'{dtype_name(like.dtype)}; use x.astype("float32")'
        )
    a, b = (
        x if hasattr(x, "dtype") else xp.full((), x, dtype=like.dtype, device=like.device)
        for x in (a, b)
    )
    return a, b


class OfFloats(Broadcasting):
    """`Broadcasting` that is not meant for integers; `arrays` gives both operands as arrays."""

    def arrays(self, a: Any, b: Any) -> tuple[Array, Array]:
        return float_arrays(self.backend, type(self).__name__.lower(), a, b)

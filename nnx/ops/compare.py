"""Questions about values: comparisons, logic, positions.  None of them has a gradient."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from ..autograd import Node
from ..backends import Array, backend_of, dtype_name
from ..tensor import Tensor
from ._broadcast import Axis, align, axes_of, broadcast_shape
from ._operands import as_tensor


def of_pair(name: str, function: Callable[[Any, Any], Any], a: Any, b: Any) -> Tensor:
    """function(a, b), elementwise, where one of the two may be a number."""
    if isinstance(a, int | float) and isinstance(b, int | float):
        raise TypeError(f"{name} needs at least one Tensor, got {a!r} and {b!r}")
    if not isinstance(a, Node) and not isinstance(b, Node):
        if isinstance(a, int | float):
            b = as_tensor(name, b)
        else:
            a = as_tensor(name, a)
    x = a.data if isinstance(a, Node) else a
    y = b.data if isinstance(b, Node) else b
    home = backend_of(x if isinstance(a, Node) else y)
    x, y = align(home, name, x, y)
    if hasattr(x, "shape") and hasattr(y, "shape") and x.shape != y.shape:
        broadcast_shape(name, tuple(x.shape), tuple(y.shape))
    return Tensor(home.xp.asarray(function(x, y)))


def equal(a: Any, b: Any) -> Tensor:
    """a == b, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: both are numbers.
    """
    return of_pair("equal", operator.eq, a, b)


def not_equal(a: Any, b: Any) -> Tensor:
    """a != b, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: both are numbers.
    """
    return of_pair("not_equal", operator.ne, a, b)


def less(a: Any, b: Any) -> Tensor:
    """a < b, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: both are numbers.
    """
    return of_pair("less", operator.lt, a, b)


def less_equal(a: Any, b: Any) -> Tensor:
    """a <= b, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: both are numbers.
    """
    return of_pair("less_equal", operator.le, a, b)


def greater(a: Any, b: Any) -> Tensor:
    """a > b, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: both are numbers.
    """
    return of_pair("greater", operator.gt, a, b)


def greater_equal(a: Any, b: Any) -> Tensor:
    """a >= b, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: both are numbers.
    """
    return of_pair("greater_equal", operator.ge, a, b)


def logical_and(a: Any, b: Any) -> Tensor:
    """a and b, for booleans, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: a or b is not of booleans.
    """
    return _logical("logical_and", operator.and_, a, b)


def logical_or(a: Any, b: Any) -> Tensor:
    """a or b, for booleans, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: a or b is not of booleans.
    """
    return _logical("logical_or", operator.or_, a, b)


def logical_xor(a: Any, b: Any) -> Tensor:
    """Either a or b, for booleans, elementwise, broadcast.

    Raises:
        ValueError: the shapes cannot be broadcast.
        TypeError: a or b is not of booleans.
    """
    return _logical("logical_xor", operator.xor, a, b)


def logical_not(x: Tensor) -> Tensor:
    """not x, for booleans, elementwise.

    Raises:
        TypeError: x is not of dtype bool.
    """
    x = as_tensor("logical_not", x)
    _require_booleans("logical_not", x)
    return Tensor(backend_of(x.data).xp.logical_not(x.data))


def _logical(name: str, function: Callable[[Any, Any], Any], a: Any, b: Any) -> Tensor:
    a, b = (x if isinstance(x, bool) else as_tensor(name, x) for x in (a, b))
    _require_booleans(name, a, b)
    return of_pair(name, function, a, b)


def _require_booleans(name: str, *operands: Any) -> None:
    """Raise TypeError unless all are: `and` of two integers would be that of their bits."""
    for x in operands:
        if not isinstance(x, bool) and x.dtype != backend_of(x.data).xp.bool:
            raise TypeError(
                f"{name}: the operands must be of dtype bool, not {dtype_name(x.dtype)}; compare "
                "first, as in x != 0"
            )


def isnan(x: Tensor) -> Tensor:
    """Where x is not a number."""
    x = as_tensor("isnan", x)
    return Tensor(backend_of(x.data).xp.isnan(x.data))


def isinf(x: Tensor) -> Tensor:
    """Where x is infinite: booleans, elementwise."""
    x = as_tensor("isinf", x)
    return Tensor(backend_of(x.data).xp.isinf(x.data))


def isfinite(x: Tensor) -> Tensor:
    """Where x is neither infinite nor NaN: booleans, elementwise."""
    x = as_tensor("isfinite", x)
    return Tensor(backend_of(x.data).xp.isfinite(x.data))


def _reduced(name: str, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    x = as_tensor(name, x)
    xp = backend_of(x.data).xp
    axes = axes_of(name, axis, x.shape)
    return Tensor(xp.asarray(getattr(xp, name)(x.data, axis=axes, keepdims=keepdims)))


def any(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any value along `axis` is true.

    Args:
        x: of any shape and dtype; what is not 0 is true.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.

    Returns:
        Booleans, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, or one is named twice.
    """
    return _reduced("any", x, axis, keepdims)


def all(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether every value along `axis` is true.

    Args:
        x: of any shape and dtype; what is not 0 is true.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.

    Returns:
        Booleans, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, or one is named twice.
    """
    return _reduced("all", x, axis, keepdims)


def _position(name: str, x: Tensor, axis: int | None, keepdims: bool) -> Tensor:
    x = as_tensor(name, x)
    xp = backend_of(x.data).xp
    if axis is not None:
        (axis,) = axes_of(name, axis, x.shape)
    if (x.size if axis is None else x.shape[axis]) == 0:
        raise ValueError(f"{name}: there is none of no values; axis {axis} of shape {x.shape}")
    return Tensor(xp.asarray(getattr(xp, name)(x.data, axis=axis, keepdims=keepdims)))


def argmax(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first of the largest values along `axis`.

    Args:
        x: of any shape.
        axis: the axis to look along; None: all of them, and the index counts in row-major order.
        keepdims: keep that axis, with length 1.

    Returns:
        int64, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, or nothing along it.
    """
    return _position("argmax", x, axis, keepdims)


def argmin(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first of the smallest values along `axis`.

    Args:
        x: of any shape.
        axis: the axis to look along; None: all of them, and the index counts in row-major order.
        keepdims: keep that axis, with length 1.

    Returns:
        int64, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, or nothing along it.
    """
    return _position("argmin", x, axis, keepdims)


def argsort(x: Tensor, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices, int64 in x's shape, that sort x along `axis`.

    Args:
        x: of any shape; NaN counts as the largest.
        axis: along which.
        descending: whether the largest comes first.
        stable: equal values keep their order in any case.

    Raises:
        ValueError: x has no such axis.
    """
    x = as_tensor("argsort", x)
    xp = backend_of(x.data).xp
    (k,) = axes_of("argsort", axis, x.shape)
    if not descending:
        return Tensor(xp.argsort(x.data, axis=k, stable=True))
    # Sorted from the back and read from the back, so that equal values keep their order here too.
    rising = xp.argsort(xp.flip(x.data, axis=k), axis=k, stable=True)
    return Tensor(x.shape[k] - 1 - xp.flip(rising, axis=k))


def one_hot(indices: Any, num_classes: int, dtype: Any = "float32") -> Tensor:
    """1 at each of the indices and 0 elsewhere, along a new last axis: (...) -> (..., num_classes).

    Args:
        indices: integers from 0 to num_classes - 1, of any shape.
        num_classes: the length of the new axis.
        dtype: of the result.

    Raises:
        TypeError: the indices are not integers.
        ValueError: an index is outside [0, num_classes), as in `nnx.data.one_hot`.  On a GPU, where
            looking would wait for the device, its row is of zeros.
    """
    labels = as_tensor("one_hot", indices).data
    home = backend_of(labels)
    xp = home.xp
    if not home.is_integer(labels.dtype):
        raise TypeError(f"one_hot: labels must be integers, got {dtype_name(labels.dtype)}")
    index: Array = xp.reshape(home.positions(labels), (*labels.shape, 1))
    hits = index == xp.arange(num_classes, dtype=xp.int64, device=index.device)
    if home.checks_values and not bool(xp.all(xp.any(hits, axis=-1))):
        outside = xp.reshape(index, (-1,))[xp.reshape(~xp.any(hits, axis=-1), (-1,))]
        raise ValueError(
            f"one_hot: labels must be from 0 to {num_classes - 1}, there is a {int(outside[0])}; "
            f"shape {tuple(labels.shape)}"
        )
    return Tensor(xp.astype(hits, home.dtype(dtype)))

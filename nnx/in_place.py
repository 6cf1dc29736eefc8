"""Changing a tensor in place: `x += y`, `x[0] = y`, `x.copy_(y)`.

The tensor changes, and everybody who holds it sees that; its old array is left as it was, so that
what an operation kept for its backward cannot change under it.  As in PyTorch a leaf that requires
a gradient can be changed inside `no_grad` only, and elsewhere the result takes the tensor's place
on the tape; unlike there, a slice or a detached tensor shares no changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .autograd import Function, Node, is_grad_enabled
from .backends import Backend, backend_of, copy_beside, dtype_name, mixed

if TYPE_CHECKING:
    from . import ops as ops


class InPlace(Node):
    """The part of `Tensor` that changes it."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        """Assign to part of a tensor that is not on the tape, or inside `no_grad`."""
        if is_grad_enabled():
            if self.requires_grad:
                raise RuntimeError(
                    "in-place assignment to a tensor on the tape (shape "
                    f"{tuple(self.data.shape)}) would make its gradient wrong; use nnx.where or "
                    "nnx.concat, or assign inside nnx.no_grad() or to a detach()ed tensor"
                )
            if isinstance(value, Node) and value.requires_grad:
                raise RuntimeError(
                    f"in-place assignment of a tensor on the tape (shape {value.data.shape}) would "
                    f"lose its gradient; use nnx.where, nnx.concat or nnx.stack, or assign its "
                    "detach()"
                )
        home = backend_of(self.data)
        data = home.xp.asarray(self.data, copy=True)
        key = tuple([_plain(k) for k in key]) if isinstance(key, tuple) else (_plain(key),)
        key = tuple([_position(home, part) for part in key])
        if not any(part is Ellipsis or hasattr(part, "dtype") for part in key):
            key = (*key, ...)  # the standard wants every axis named
        if isinstance(value, list | tuple):
            value = copy_beside(self.data, np.asarray(value))
        data[key if len(key) > 1 else key[0]] = self._values("assignment", value)
        self.data = data

    def __iadd__(self, other: Any) -> Self:
        return self._change("+=", ops.add, other)

    def __isub__(self, other: Any) -> Self:
        return self._change("-=", ops.subtract, other)

    def __imul__(self, other: Any) -> Self:
        return self._change("*=", ops.multiply, other)

    def __itruediv__(self, other: Any) -> Self:
        return self._change("/=", ops.divide, other)

    def __ifloordiv__(self, other: Any) -> Self:
        return self._change("//=", ops.floor_divide, other)

    def __imod__(self, other: Any) -> Self:
        return self._change("%=", ops.remainder, other)

    def __ipow__(self, other: Any) -> Self:
        return self._change("**=", ops.pow, other)

    def __imatmul__(self, other: Any) -> Self:
        return self._change("@=", ops.matmul, other)

    def __iand__(self, other: Any) -> Self:
        return self._change("&=", ops.bitwise_and, other)

    def __ior__(self, other: Any) -> Self:
        return self._change("|=", ops.bitwise_or, other)

    def __ixor__(self, other: Any) -> Self:
        return self._change("^=", ops.bitwise_xor, other)

    def __ilshift__(self, other: Any) -> Self:
        return self._change("<<=", ops.bitwise_left_shift, other)

    def __irshift__(self, other: Any) -> Self:
        return self._change(">>=", ops.bitwise_right_shift, other)

    def copy_(self, values: Any) -> Self:
        """Take these values: a tensor, an array of any library, or a number, broadcast.

        Raises:
            RuntimeError: this is a leaf that requires a gradient, outside of `no_grad`.
            ValueError: the values cannot be broadcast to this shape.
            TypeError: they are no numbers of this kind (floats, for a tensor of integers), or on
                the tape in another library.
        """
        if not (isinstance(values, Node) and values.requires_grad and is_grad_enabled()):
            values = self._values("copy_", values)
            if not hasattr(values, "dtype"):
                home = backend_of(self.data)
                values = home.xp.asarray(home.asarray(values), device=self.data.device)
            values = Function.tensor_type(values)
        elif backend_of(values.data) is not backend_of(self.data):
            raise mixed(backend_of(self.data), backend_of(values.data))
        return self._change("copy_", lambda x, y: ops.broadcast_to(y, x.shape), values)

    def _values(self, name: str, values: Any) -> Any:
        """An array or a tensor in this tensor's library and on its device; lists and numbers as
        they are.  What has to be moved is cast first: a device may not know its dtype."""
        values = _plain(values)
        if not hasattr(values, "dtype"):
            return values
        home = backend_of(self.data)
        if backend_of(values) is home and getattr(values, "device", None) == self.data.device:
            return values
        self._require_kind(name, values.dtype)
        return copy_beside(self.data, values)

    def _require_kind(self, name: str, dtype: Any) -> None:
        if _kind(dtype) > _kind(self.data.dtype):
            raise TypeError(
                f"{name}: the result is of {dtype_name(dtype)}, which the tensor that is "
                f"changed in place, of {dtype_name(self.data.dtype)}, cannot hold"
            )

    def _change(self, name: str, operation: Callable[[Any, Any], Any], other: Any) -> Self:
        """Become the result of an operation on this tensor and another."""
        shape, dtype = tuple(self.data.shape), self.data.dtype
        if self.requires_grad and self.creator is None and is_grad_enabled():
            raise RuntimeError(
                f"{name}: a leaf that requires a gradient (shape {shape}) cannot be changed in "
                "place where operations are recorded; do it inside nnx.no_grad(), or write "
                "x = x + y for a new tensor"
            )
        y = operation(self, other)
        if y.shape != shape:
            raise ValueError(
                f"{name}: the result has shape {y.shape}, but the tensor that is changed in place "
                f"has {shape}"
            )
        if y.dtype != dtype:
            self._require_kind(name, y.dtype)
            y = ops.astype(y, dtype)
        data = backend_of(y.data).xp.asarray(y.data, copy=True) if name == "copy_" else y.data
        if y.creator is not None:
            before = self.creator
            self.needs_grad, self.creator, self.slot = True, y.creator, y.slot
            if before is not None and any([ref() is self for ref in before.retained]):
                before.retained = tuple([ref for ref in before.retained if ref() is not self])
                self.retain_grad()
        self.data = data
        return self


def _position(home: Backend, part: Any) -> Any:
    """Integer arrays in a key as int64: torch takes uint8 for a mask, and knows no uint16."""
    integers = hasattr(part, "dtype") and hasattr(part, "ndim") and home.is_integer(part.dtype)
    return home.positions(part) if integers and backend_of(part) is home else part


def _plain(value: Any) -> Any:
    return value.data if isinstance(value, Node) else value


def _kind(dtype: Any) -> int:
    """0 for booleans, 1 for integers, 2 for floats: a tensor can hold its own kind and lower."""
    name = dtype_name(dtype)
    return 0 if name == "bool" else 1 if name.startswith(("int", "uint")) else 2

"""Changing the dtype."""

from __future__ import annotations

from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_tensor


class AsType(Unary):
    """y = x in another float dtype: dx is g in x's dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def forward(self, x: Array) -> Array:
        self.x_dtype = x.dtype
        return self.backend.xp.astype(x, self.dtype)

    def backward(self, g: Array) -> Array:
        return self.backend.xp.astype(g, self.x_dtype)


def astype(x: Tensor, dtype: Any) -> Tensor:
    """x, in its shape, in another dtype, given by name ("float32") or as any library's dtype.

    Between floating-point dtypes gradients are cast back; other dtypes end the tape.
    """
    x = as_tensor("astype", x)
    home = backend_of(x.data)
    wanted = home.dtype(dtype)
    if x.data.dtype == wanted:
        return x
    if home.is_float(wanted):
        return AsType(wanted)(x)
    return Tensor(home.xp.astype(x.data, wanted))

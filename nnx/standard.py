"""The array API's names that are no functions: its dtypes and constants.

A dtype is its name, which every `dtype=` takes, and equals that of any library:

    nnx.zeros(3, dtype=nnx.float64).dtype == nnx.float64
"""

from __future__ import annotations

import math
from typing import Any

from .backends import dtype_name

__all__ = [
    *["DType", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"],
    *["float32", "float64", "complex64", "complex128", "e", "inf", "nan", "pi", "newaxis"],
]


class DType(str):
    """The name of a dtype, equal to every library's dtype of this name."""

    __slots__ = ()

    def __eq__(self, other: Any) -> Any:
        return str.__eq__(self, other if isinstance(other, str) else dtype_name(other))

    def __ne__(self, other: Any) -> Any:
        return not self == other

    __hash__ = str.__hash__


bool = DType("bool")
int8, int16, int32, int64 = DType("int8"), DType("int16"), DType("int32"), DType("int64")
uint8, uint16, uint32, uint64 = DType("uint8"), DType("uint16"), DType("uint32"), DType("uint64")
float32, float64 = DType("float32"), DType("float64")
complex64, complex128 = DType("complex64"), DType("complex128")

e, inf, nan, pi = math.e, math.inf, math.nan, math.pi
newaxis = None

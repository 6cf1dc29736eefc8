"""Initial values of parameters.

Every function gives a parameter new values, on the backend and in the dtype it has, and returns
it.  They are drawn from nnx's shared generator (`nnx.manual_seed`), and are bit-identical on
every backend.
"""

from __future__ import annotations

import math
from typing import TypeVar

from ..backends import dtype_name
from ..random import default_generator
from ..tensor import Tensor

T = TypeVar("T", bound=Tensor)


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0) -> T:
    """U(a, b)."""
    dtype = dtype_name(tensor.dtype)
    tensor.data = default_generator().uniform(tensor.shape, a, b, dtype, like=tensor.data)
    return tensor


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (O, I, *window)."""
    shape = tensor.shape
    if len(shape) < 2:
        raise ValueError(f"fans: a weight must be (out, in, *window); shape {shape}")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window

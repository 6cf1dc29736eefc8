"""Dense layers with what surrounds the products compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array
from ..cpu.linear import ZERO, NumpyLinear
from ..cpu.memory import empty
from . import thresholds
from .codegen import threads

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

_loops: Any = None


class JitLinear(NumpyLinear):
    def large_product(self, a: Array, b: Array) -> Array:
        """By BLAS and its threads in a network of dense layers alone; see `threads`."""
        if threads.compiled_kernels_run():
            return threads.matmul(a, b)
        return super().large_product(a, b)

    def relu(self, x: Array) -> Array:
        if x.size < thresholds.LINEAR:  # as NumPy's does, without asking anybody
            return np.maximum(x, ZERO.get(x.dtype, 0))
        if not takes(x):
            return super().relu(x)
        y = empty(x.shape, x.dtype)
        loops().relu(x.reshape(-1), y.reshape(-1))
        return y

    def relu_backward(self, gy: Array, y: Array) -> Array:
        if not worth_compiled(gy, y):
            return super().relu_backward(gy, y)
        gx = empty(gy.shape, gy.dtype)
        loops().relu_backward(gy.reshape(-1), y.reshape(-1), gx.reshape(-1))
        return gx

    def linear_relu(self, x: Array, weight: Array, bias: Array | None) -> Array:
        y = self.product(x, weight.T)
        if bias is None or not worth_compiled(y):
            y = y if bias is None else y + bias
            return np.maximum(y, ZERO.get(y.dtype, 0), out=y)
        loops().bias_relu(y, bias)
        return y

    def linear_relu_backward(
        self, gy: Array, y: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not needs[2] or not worth_compiled(gy, y):
            return super().linear_relu_backward(gy, y, x, weight, needs)
        gh = empty(gy.shape, gy.dtype)
        gb = np.zeros(gy.shape[1], gy.dtype)
        loops().relu_bias_backward(gy, y, gh, gb)
        gx, gw, _ = self.linear_backward(gh, x, weight, (needs[0], needs[1], False))
        return gx, gw, gb


def worth_compiled(*arrays: Array) -> bool:
    """Whether compiled loops take these arrays, and are worth it."""
    return arrays[0].size >= thresholds.LINEAR and takes(*arrays)


def takes(*arrays: Array) -> bool:
    """Whether compiled loops are made for these arrays."""
    for a in arrays:
        if a.dtype not in _FLOATS or not a.flags.c_contiguous:
            return False
    return True


def loops() -> Any:
    """The compiled loops: numba is imported when they are first wanted."""
    global _loops
    if _loops is None:
        from .loops import linear as _loops
    return _loops

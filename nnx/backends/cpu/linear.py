"""Dense layers on NumPy: results are written where they are made."""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..portable.linear import LinearKernels
from . import thresholds
from .blocks import SAME_WIDTH, gated, in_blocks
from .memory import empty, laid_like

# 0 as an array: NumPy makes one of every Python number that it meets, which for few numbers takes
# as long as comparing them.
ZERO = {dtype: np.zeros((), dtype) for dtype in SAME_WIDTH}


class NumpyLinear(LinearKernels):
    def product(self, a: Array, b: Array) -> Array:
        """The product of two matrices."""
        if len(a) * b.size <= thresholds.PRODUCT:
            return a.dot(b)
        return self.large_product(a, b)

    def large_product(self, a: Array, b: Array) -> Array:
        """`product`, in kept memory; where it is computed is `JitLinear`'s to change."""
        small = len(a) * b.shape[1] * a.itemsize < thresholds.MEMORY
        return a.dot(b) if small or a.dtype != b.dtype else product_into_kept(a, b)

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        y = self.product(x, weight.T)
        if bias is not None:
            np.add(y, bias, out=y)
        return y

    def linear_backward(
        self, gy: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool]
    ) -> tuple[Array | None, Array | None, Array | None]:
        gx = self.product(gy, weight) if needs[0] else None
        gw = self.product(gy.T, x) if needs[1] else None
        gb = np.add.reduce(gy, axis=0) if needs[2] else None
        return gx, gw, gb

    def linear_relu(self, x: Array, weight: Array, bias: Array | None) -> Array:
        y = self.linear(x, weight, bias)
        wide = y.shape[1] > thresholds.RELU_ROW
        zeros = np.zeros(y.shape[1], y.dtype) if wide else ZERO.get(y.dtype, 0)  # see `relu`
        return np.maximum(y, zeros, out=y)

    def relu(self, x: Array) -> Array:
        # Beside an array, np.maximum works on many numbers at once; beside a number, on one.
        if x.size <= thresholds.RELU_ZEROS:
            return np.maximum(x, ZERO.get(x.dtype, 0))
        if x.size > thresholds.RELU_CLIP and x.dtype in SAME_WIDTH:
            return np.clip(x, 0, np.inf, out=laid_like(x))
        return np.maximum(x, np.zeros(x.shape[-1:], x.dtype), out=laid_like(x))

    def relu_backward(self, gy: Array, y: Array) -> Array:
        # The gradient's bits, as integers, times 0 or 1: ten times faster than where(), and an
        # infinite gradient at a closed gate gives 0 as it should, not the NaN of inf * 0.
        bits = SAME_WIDTH.get(gy.dtype)
        if bits is None or gy.ndim == 0:  # of what has no axes NumPy makes a number, not an array
            return super().relu_backward(gy, y)
        if gy.size < thresholds.MEMORY:
            mask = np.greater(y, ZERO[gy.dtype]).astype(bits)
            return np.multiply(gy.view(bits), mask, out=mask).view(gy.dtype)
        return in_blocks(_relu_backward, gy, y)[0]


def _relu_backward(gy: Array, y: Array, gx: Array) -> None:
    gated(y > 0, gy, gx)


def product_into_kept(a: Array, b: Array) -> Array:
    """a b for two matrices of one dtype, in memory that is used again."""
    return np.dot(a, b, out=empty((a.shape[0], b.shape[1]), a.dtype))

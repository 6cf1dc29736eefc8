"""Activations on NumPy: one new array each, worked on in place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..portable.activation import ERF_END, ERF_P, ERF_Q, ActivationKernels

Array = Any

# exp(x) for x above the lowest of these is finite; below minus it, sigmoid rounds to its own
# limit anyway.
_EXP_END = {np.dtype(np.float32): 88.0, np.dtype(np.float64): 709.0}


class NumpyActivation(ActivationKernels):
    def sigmoid(self, x: Array) -> Array:
        if not _suits(x):
            return super().sigmoid(x)
        end = _EXP_END[x.dtype]
        e = np.maximum(x, -end)
        np.negative(e, out=e)
        np.exp(e, out=e)
        e += 1
        return np.reciprocal(e, out=e)

    def sigmoid_backward(self, g: Array, y: Array) -> Array:
        if not _suits(y):
            return super().sigmoid_backward(g, y)
        gx = 1 - y
        gx *= y
        gx *= g
        return gx

    def tanh_backward(self, g: Array, y: Array) -> Array:
        if not _suits(y):
            return super().tanh_backward(g, y)
        gx = y * y
        np.subtract(1, gx, out=gx)
        gx *= g
        return gx

    def silu(self, x: Array, slope: bool) -> tuple[Array, Array | None]:
        if not _suits(x):
            return super().silu(x, slope)
        s = self.sigmoid(x)
        y = x * s
        if not slope:
            return y, None
        d = 1 - s
        d *= y
        d += s
        return y, d

    def elu(
        self, x: Array, alpha: float, scale: float, width: float, slope: bool
    ) -> tuple[Array, Array | None]:
        if not _suits(x):
            return super().elu(x, alpha, scale, width, slope)
        # y = s max(x, 0) + s a (e^(min(x, 0) / b) - 1), of which one term is 0
        e = np.minimum(x, 0)
        if width != 1:
            e /= width
        d = np.exp(e) if slope else None
        y = np.expm1(e, out=e)
        y *= scale * alpha
        above = np.maximum(x, 0)
        if scale != 1:
            above *= scale
        y += above
        if d is not None:
            d *= scale * alpha / width
            np.copyto(d, scale, where=x > 0)
        return y, d

    def softplus(self, x: Array) -> Array:
        if not _suits(x):
            return super().softplus(x)
        e = np.exp(-np.abs(x))
        # log1p(e) by a log of many numbers at once, five times faster than np.log1p: with
        # u = 1 + e as rounded, log(u) / (u - 1) hardly depends on the rounding (Kahan), so that
        # log1p(e) = e log(u) / (u - 1), and e itself where u = 1.
        u = e + 1
        d = u - 1
        u = np.log(u)
        u *= e
        y = np.divide(u, d, out=e, where=d != 0)
        y += np.maximum(x, 0)
        return y

    def erf(self, x: Array) -> Array:
        if x.dtype != np.float32 or not _suits(x):
            return super().erf(x)
        near = np.clip(x, -ERF_END, ERF_END)
        t = near * near
        y = _polynomial(ERF_P, t)
        y *= near
        y /= _polynomial(ERF_Q, t)
        np.sign(x, out=y, where=np.abs(near) >= ERF_END)
        return y

    def gelu(self, x: Array, approximate: str, slope: bool) -> tuple[Array, Array | None]:
        if not _suits(x) or approximate != "none":
            return super().gelu(x, approximate, slope)
        phi = self.erf(x * math.sqrt(0.5))
        phi += 1
        phi *= 0.5
        y = x * phi
        if not slope:
            return y, None
        d = x * x
        d *= -0.5
        np.exp(d, out=d)
        d *= 1 / math.sqrt(2 * math.pi)
        d *= x
        d += phi
        return y, d

    def softmax(self, x: Array, axis: int) -> Array:
        y = x - np.maximum.reduce(x, axis=axis, keepdims=True)
        np.exp(y, out=y)
        y /= np.add.reduce(y, axis=axis, keepdims=True)
        return y

    def softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        gx = g * y
        total = np.add.reduce(gx, axis=axis, keepdims=True)
        gx -= y * total
        return gx

    def log_softmax(self, x: Array, axis: int) -> Array:
        y = x - np.maximum.reduce(x, axis=axis, keepdims=True)
        y -= np.log(np.add.reduce(np.exp(y), axis=axis, keepdims=True))
        return y

    def log_softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        gx = np.exp(y)
        gx *= -np.add.reduce(g, axis=axis, keepdims=True)
        gx += g
        return gx


def _suits(x: Array) -> bool:
    """Whether x can be worked on in place: what NumPy makes of an array without axes cannot."""
    return x.dtype in _EXP_END and x.ndim > 0


def _polynomial(coefficients: tuple[float, ...], t: Array) -> Array:
    """Horner's rule, the lowest power first, in one array."""
    y = t * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        y += c
        y *= t
    y += coefficients[0]
    return y

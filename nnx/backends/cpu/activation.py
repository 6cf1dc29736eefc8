"""Activations on NumPy: one new array each, worked on in place."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from ...typing import Array
from ..flush import flushing
from ..portable.activation import ERF_END, ERF_P, ERF_Q, ActivationKernels
from .memory import empty_like, laid_like

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_ELU_END = -80.0  # below, e^x - 1 rounds to -1
BLOCK = 32768  # numbers that are worked on at a time

# Exponentials have subnormal tails; for few numbers they cost less than asking for 0 instead.
with_tails = partial(flushing, least=4096)


class NumpyActivation(ActivationKernels):
    @with_tails
    def sigmoid(self, x: Array) -> Array:
        if not _in_place(x):
            return super().sigmoid(x)
        e = np.negative(x, out=laid_like(x))
        with np.errstate(over="ignore"):  # 1 / (1 + ∞) is the 0 that sigmoid rounds to
            np.exp(e, out=e)
        e += 1
        return np.reciprocal(e, out=e)

    def sigmoid_backward(self, g: Array, y: Array) -> Array:
        if not _in_place(y):
            return super().sigmoid_backward(g, y)
        gx = np.subtract(1, y, out=laid_like(y))
        gx *= y
        gx *= g
        return gx

    def tanh(self, x: Array) -> Array:
        return np.tanh(x, out=laid_like(x)) if _in_place(x) else super().tanh(x)

    def tanh_backward(self, g: Array, y: Array) -> Array:
        if not _in_place(y):
            return super().tanh_backward(g, y)
        gx = np.multiply(y, y, out=laid_like(y))
        np.subtract(1, gx, out=gx)
        gx *= g
        return gx

    @with_tails
    def silu(self, x: Array, slope: bool) -> tuple[Array, Array | None]:
        if not _in_place(x):
            return super().silu(x, slope)
        s = self.sigmoid(x)
        y = np.multiply(x, s, out=laid_like(x))
        if not slope:
            return y, None
        d = np.subtract(1, s, out=laid_like(x))
        d *= y
        d += s
        return y, d

    def slope_backward(self, g: Array, slope: Array) -> Array:
        if not _in_place(slope):
            return super().slope_backward(g, slope)
        return np.multiply(g, slope, out=laid_like(slope))

    def leaky_relu(self, x: Array, a: float, slope: bool) -> tuple[Array, Array | None]:
        if not _in_place(x) or not 0 < a <= 1:
            return super().leaky_relu(x, a, slope)
        y = x * a
        np.maximum(x, y, out=y)
        if not slope:
            return y, None
        return y, np.maximum((x > 0).astype(x.dtype), np.full_like(x, a))

    def elu(
        self, x: Array, alpha: float, scale: float, width: float, slope: bool
    ) -> tuple[Array, Array | None]:
        if not _in_place(x):
            return super().elu(x, alpha, scale, width, slope)
        return in_blocks(lambda part: self._elu(part, alpha, scale, width, slope), x)

    def _elu(
        self, x: Array, alpha: float, scale: float, width: float, slope: bool
    ) -> tuple[Array, Array | None]:
        # y = s max(x, 0) + s a (e^(min(x, 0) / b) - 1), of which one term is 0
        below = np.clip(x, _ELU_END * width, 0)  # a third of the time of np.maximum beside a number
        if width != 1:
            below /= width
        u = np.exp(below)
        y = _less_one(u, below)
        y *= scale * alpha
        above = np.clip(x, 0, np.inf, out=below)
        if scale != 1:
            above *= scale
        y += above
        if not slope:
            return y, None
        u *= scale * alpha / width
        if alpha != width:  # else u is s where x > 0
            u += (x > 0) * u.dtype.type(scale - scale * alpha / width)
        return y, u

    @with_tails
    def softplus(self, x: Array) -> Array:
        if not _in_place(x):
            return super().softplus(x)
        return in_blocks(self._softplus, x)[0]

    def _softplus(self, x: Array) -> tuple[Array, None]:
        e = np.abs(x)
        np.negative(e, out=e)
        np.exp(e, out=e)
        # log1p(e) by a log of many numbers at once, five times faster than np.log1p: with
        # u = 1 + e as rounded, log(u) / (u - 1) hardly depends on the rounding (Kahan), so that
        # log1p(e) = e log(u) / (u - 1), and e itself where u = 1.
        u = e + 1
        d = u - 1
        u = np.log(u, out=u)
        u *= e
        y = _quotient(u, d, e)
        y += np.maximum(x, np.zeros_like(x))
        return y, None

    def erf(self, x: Array) -> Array:
        if x.dtype != np.float32 or not _in_place(x):
            return super().erf(x)
        return in_blocks(self._erf, x)[0]

    def _erf(self, x: Array) -> tuple[Array, None]:
        near = np.clip(x, -ERF_END, ERF_END, out=laid_like(x))
        t = np.multiply(near, near, out=laid_like(x))
        y = _polynomial(ERF_P, t)
        y *= near
        y /= _polynomial(ERF_Q, t)
        beyond = np.abs(near) >= ERF_END
        if beyond.any():  # ±1 there: exactly, as y is almost that
            rest = np.sign(x, out=laid_like(x))
            rest -= y
            rest *= beyond
            y += rest
        return y, None

    @with_tails
    def gelu(self, x: Array, approximate: str, slope: bool) -> tuple[Array, Array | None]:
        if not _in_place(x) or approximate != "none":
            return super().gelu(x, approximate, slope)
        return in_blocks(lambda part: self._gelu(part, slope), x)

    def _gelu(self, x: Array, slope: bool) -> tuple[Array, Array | None]:
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

    @with_tails
    def softmax(self, x: Array, axis: int) -> Array:
        y = np.subtract(x, np.maximum.reduce(x, axis=axis, keepdims=True), out=laid_like(x))
        np.exp(y, out=y)
        y /= np.add.reduce(y, axis=axis, keepdims=True)
        return y

    @with_tails
    def softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        if axis in (-1, y.ndim - 1):
            total = np.einsum("...i,...i->...", g, y)[..., None]  # in one pass
        else:
            total = np.add.reduce(g * y, axis=axis, keepdims=True)
        gx = np.subtract(g, total, out=laid_like(y))
        gx *= y
        return gx

    def log_softmax(self, x: Array, axis: int) -> Array:
        y = x - np.maximum.reduce(x, axis=axis, keepdims=True)
        y -= np.log(np.add.reduce(np.exp(y), axis=axis, keepdims=True))
        return y

    @with_tails
    def log_softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        gx = np.exp(y, out=laid_like(y))
        gx *= -np.add.reduce(g, axis=axis, keepdims=True)
        gx += g
        return gx


def _in_place(x: Array) -> bool:
    """Whether x can be worked on in place: what NumPy makes of an array without axes cannot."""
    return x.dtype in _FLOATS and x.ndim > 0


def in_blocks(
    function: Callable[[Array], tuple[Array, Array | None]], x: Array
) -> tuple[Array, Array | None]:
    """`function(x)`, in blocks of x that stay in cache with all that is computed from them.

    The many temporary arrays are then small, so that the allocator hands out the same memory again;
    large ones it would fetch from the system each time.
    """
    if x.size <= BLOCK or not x.flags.c_contiguous:
        return function(x)
    flat = x.reshape(-1)
    y, slope = empty_like(flat), None
    for lo in range(0, x.size, BLOCK):
        part = slice(lo, lo + BLOCK)
        y[part], d = function(flat[part])
        if d is not None:
            slope = empty_like(flat) if slope is None else slope
            slope[part] = d
    return y.reshape(x.shape), None if slope is None else slope.reshape(x.shape)


def _less_one(u: Array, x: Array) -> Array:
    """e^x - 1 for u = e^x, without np.expm1, which works on one number at a time.

    u - 1 has lost digits where x is small, and log u differs from x by what was lost: e^x - 1 =
    (u - 1) x / log u hardly depends on the rounding of u (Kahan), and is x where u = 1.
    """
    y = u - 1
    y *= x
    return _quotient(y, np.log(u), x)


def _quotient(a: Array, b: Array, otherwise: Array) -> Array:
    """a / b, written to a; `otherwise` where b is 0, and so is a.  A masked division, which skips
    from number to number, takes many times as long."""
    none = b == 0
    b += none
    a /= b
    a += none * otherwise
    return a


def _polynomial(coefficients: tuple[float, ...], t: Array) -> Array:
    """Horner's rule, the lowest power first, in one array."""
    y = t * coefficients[-1]
    for c in coefficients[-2:0:-1]:
        y += c
        y *= t
    y += coefficients[0]
    return y

"""Activations on NumPy: one new array each, worked on in place."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from ...typing import Array
from ..flush import flushing
from ..portable.activation import ERF_END, ERF_P, ERF_Q, ActivationKernels
from . import thresholds
from .blocks import gated, in_blocks, in_rows
from .layout import FLOATS
from .memory import laid_like
from .reduce import dots, pairs, row_sums

_ELU_END = -80.0  # below, e^x - 1 rounds to -1

# The sums of rows' e^x that leave e^x as it is; a row whose sum is smaller lies far below 0.
_NEAR, _FAR = 2.0**-8, 2.0**120
_SMALL = 2048.0  # up to here the logarithm of a sum is as exact as x is
_MANY = 32  # rows

# Φ(x) = (1 + tanh(x P(x²))) / 2 for the normal distribution: 2 x P(x²) is the logarithm of
# Φ(x) / Φ(-x), and P a polynomial fitted so that Φ is within 3e-8 at every x.  The last coefficient
# is positive, and so is P: far out tanh is ±1.
PHI_P = (
    *(7.97884941e-01, 3.63330846e-02, -3.25949759e-05, -5.53061935e-05),
    *(3.96474438e-06, -1.32263336e-07, 1.75617061e-09),
)

# Exponentials have subnormal tails; for few numbers they cost less than asking for 0 instead.
with_tails = partial(flushing, least=4096)


class NumpyActivation(ActivationKernels):
    @with_tails
    def sigmoid(self, x: Array) -> Array:
        if not _in_place(x):
            return super().sigmoid(x)
        with np.errstate(over="ignore"):  # 1 / (1 + ∞) is the 0 that sigmoid rounds to
            return in_blocks(_sigmoid, x)[0]

    def sigmoid_backward(self, g: Array, y: Array) -> Array:
        if not _in_place(y):
            return super().sigmoid_backward(g, y)
        return in_blocks(_sigmoid_backward, g, y)[0]

    def tanh(self, x: Array) -> Array:
        return np.tanh(x, out=laid_like(x)) if _in_place(x) else super().tanh(x)

    def tanh_backward(self, g: Array, y: Array) -> Array:
        if not _in_place(y):
            return super().tanh_backward(g, y)
        return in_blocks(_tanh_backward, g, y)[0]

    @with_tails
    def silu(self, x: Array, slope: bool) -> tuple[Array, Array | None]:
        if not _in_place(x):
            return super().silu(x, slope)
        with np.errstate(over="ignore"):
            return in_blocks(_silu, x, slope=slope, scratch=1)

    def slope_backward(self, g: Array, slope: Array) -> Array:
        if not _in_place(slope):
            return super().slope_backward(g, slope)
        return np.multiply(g, slope, out=laid_like(slope))

    def leaky_relu(self, x: Array, a: float, slope: bool) -> tuple[Array, Array | None]:
        if not _in_place(x) or not 0 < a <= 1:
            return super().leaky_relu(x, a, slope)
        return in_blocks(partial(_leaky_relu, a), x, slope=slope, scratch=1)

    def hardtanh(self, x: Array, low: float, high: float) -> Array:
        if not _in_place(x):
            return super().hardtanh(x, low, high)
        return np.clip(x, low, high, out=laid_like(x))

    def hardtanh_backward(self, g: Array, y: Array, low: float, high: float) -> Array:
        if not _in_place(y) or g.dtype != y.dtype:
            return super().hardtanh_backward(g, y, low, high)
        return in_blocks(partial(_hardtanh_backward, low, high), g, y)[0]

    def elu(
        self, x: Array, alpha: float, scale: float, width: float, slope: bool
    ) -> tuple[Array, Array | None]:
        if not _in_place(x):
            return super().elu(x, alpha, scale, width, slope)
        function = partial(_elu, alpha, scale, width)
        return in_blocks(function, x, slope=slope, scratch=2)

    @with_tails
    def softplus(self, x: Array) -> Array:
        if not _in_place(x):
            return super().softplus(x)
        return in_blocks(_softplus, x, scratch=2)[0]

    def erf(self, x: Array) -> Array:
        if x.dtype != np.float32 or not _in_place(x):
            return super().erf(x)
        return in_blocks(_erf, x, scratch=3)[0]

    @with_tails
    def gelu(self, x: Array, approximate: str, slope: bool) -> tuple[Array, Array | None]:
        if not _in_place(x):
            return super().gelu(x, approximate, slope)
        if x.dtype == np.float32 and approximate == "none":
            with np.errstate(over="ignore"):  # x² of what is large enough for tanh to be ±1
                return in_blocks(_gelu, x, slope=slope, scratch=2)
        formula = super().gelu

        def by_formula(x: Array, y: Array, d: Array | None) -> None:
            y[...], wanted = formula(x, approximate, slope)
            if d is not None:
                d[...] = wanted

        return in_blocks(by_formula, x, slope=slope)

    @with_tails
    def softmax(self, x: Array, axis: int) -> Array:
        if not _in_rows(x, axis):
            y = np.subtract(x, np.maximum.reduce(x, axis=axis, keepdims=True), out=laid_like(x))
            np.exp(y, out=y)
            y /= np.add.reduce(y, axis=axis, keepdims=True)
            return y
        return in_rows(partial(_softmax, _ones(x)), x)

    @with_tails
    def softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        if not _in_rows(y, axis) or not _in_rows(g, axis):
            gx = np.multiply(g, y, out=laid_like(y))
            total = np.add.reduce(gx, axis=axis, keepdims=True)
            np.subtract(g, total, out=gx)
            gx *= y
            return gx
        return in_rows(_softmax_backward, g, y)

    @with_tails
    def log_softmax(self, x: Array, axis: int) -> Array:
        if not _in_rows(x, axis):
            y = np.subtract(x, np.maximum.reduce(x, axis=axis, keepdims=True), out=laid_like(x))
            y -= np.log(np.add.reduce(np.exp(y), axis=axis, keepdims=True))
            return y
        return in_rows(partial(_log_softmax, _ones(x)), x)

    @with_tails
    def log_softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        if not _in_rows(y, axis) or not _in_rows(g, axis):
            gx = np.exp(y, out=laid_like(y))
            gx *= -np.add.reduce(g, axis=axis, keepdims=True)
            gx += g
            return gx
        return in_rows(partial(_log_softmax_backward, _ones(y)), g, y)


def _in_place(x: Array) -> bool:
    """Whether x can be worked on in place: what NumPy makes of an array without axes cannot."""
    return x.dtype in FLOATS and x.ndim > 0


def _in_rows(x: Array, axis: int) -> bool:
    """Whether what is done along an axis is done to rows that lie in memory one after another."""
    return (
        axis in (-1, x.ndim - 1)
        and x.dtype in FLOATS
        and x.size > thresholds.ROWS
        and x.flags.c_contiguous
    )


def _ones(x: Array) -> Array | None:
    """What x's rows are added up by in a product, where they are many enough to make it for."""
    length = x.shape[-1]
    return pairs(np.ones(length, x.dtype)) if x.size >= _MANY * length else None


def _totals(x: Array, ones: Array | None) -> Array:
    """The sum of each row of x (M, D): (M,)."""
    return np.add.reduce(x, axis=1) if ones is None else row_sums(x, ones)


# ---- what is done to a block: from inputs to results, in as few passes as there can be ----


def _sigmoid(x: Array, y: Array) -> None:
    np.negative(x, out=y)
    np.exp(y, out=y)
    y += 1
    np.divide(1, y, out=y)  # half of np.reciprocal's time


def _sigmoid_backward(g: Array, y: Array, gx: Array) -> None:
    np.subtract(1, y, out=gx)
    gx *= y
    gx *= g


def _tanh_backward(g: Array, y: Array, gx: Array) -> None:
    np.multiply(y, y, out=gx)
    np.subtract(1, gx, out=gx)
    gx *= g


def _silu(x: Array, y: Array, slope: Array | None, s: Array) -> None:
    _sigmoid(x, s)
    np.multiply(x, s, out=y)
    if slope is not None:
        np.subtract(1, s, out=slope)
        slope *= y
        slope += s


def _leaky_relu(a: float, x: Array, y: Array, slope: Array | None, least: Array) -> None:
    np.multiply(x, a, out=y)
    np.maximum(x, y, out=y)
    if slope is not None:
        np.copyto(slope, x > 0)
        least.fill(a)
        np.maximum(slope, least, out=slope)  # beside a number it takes three times as long


def _hardtanh_backward(low: float, high: float, g: Array, y: Array, gx: Array) -> None:
    inside = y > low
    inside &= y < high
    gated(inside, g, gx)


def _elu(
    alpha: float,
    scale: float,
    width: float,
    x: Array,
    y: Array,
    slope: Array | None,
    below: Array,
    u: Array,
) -> None:
    # y = s max(x, 0) + s a (e^(min(x, 0) / b) - 1), of which one term is 0
    np.clip(x, _ELU_END * width, 0, out=below)  # a third of the time of np.maximum beside a number
    if width != 1:
        below /= width
    np.exp(below, out=u)
    # e^v - 1 = tanh(v/2) (e^v + 1), without np.expm1, which works on one number at a time
    below *= 0.5
    np.tanh(below, out=below)
    np.add(u, 1, out=y)
    y *= below
    y *= scale * alpha
    above = np.clip(x, 0, np.inf, out=below)
    if scale != 1:
        above *= scale
    y += above
    if slope is None:
        return
    np.multiply(u, scale * alpha / width, out=slope)
    if alpha != width:  # else it is s where x > 0
        np.copyto(u, x > 0)
        u *= scale - scale * alpha / width
        slope += u


def _softplus(x: Array, y: Array, u: Array, rest: Array) -> None:
    # max(x, 0) + log(1 + e) with e = e^-|x|.  np.log1p works on one number at a time, np.log on
    # many: with u = 1 + e as rounded, log(1 + e) = log u + log(1 + r/u), r = e - (u - 1) what the
    # rounding took, and log(1 + r/u) = r/u as r is so small.
    e = np.abs(x, out=y)
    np.negative(e, out=e)
    np.exp(e, out=e)
    np.add(e, 1, out=u)
    np.subtract(u, 1, out=rest)
    np.subtract(e, rest, out=rest)
    rest /= u
    np.log(u, out=u)
    rest += u
    np.clip(x, 0, np.inf, out=y)
    y += rest


def _erf(x: Array, y: Array, near: Array, t: Array, q: Array) -> None:
    np.clip(x, -ERF_END, ERF_END, out=near)
    np.multiply(near, near, out=t)
    _polynomial(ERF_P, t, y)
    y *= near
    y /= _polynomial(ERF_Q, t, q)
    beyond = np.abs(near) >= ERF_END
    if beyond.any():  # ±1 there: exactly, as y is almost that
        rest = np.sign(x, out=near)
        rest -= y
        rest *= beyond
        y += rest


def _gelu(x: Array, y: Array, slope: Array | None, t: Array, phi: Array) -> None:
    # Φ(x) = (1 + tanh(x P(x²))) / 2: NumPy has a quick tanh, which is ±1 where it has to be
    np.multiply(x, x, out=t)
    _polynomial(PHI_P, t, phi)
    phi *= x
    np.tanh(phi, out=phi)
    phi += 1
    phi *= 0.5
    np.multiply(x, phi, out=y)
    if slope is not None:  # Φ + x φ
        t *= -0.5
        np.exp(t, out=t)
        t *= 1 / math.sqrt(2 * math.pi)
        t *= x
        np.add(phi, t, out=slope)


def _polynomial(coefficients: tuple[float, ...], t: Array, y: Array) -> Array:
    """Horner's rule, the lowest power first, in y."""
    np.multiply(t, coefficients[-1], out=y)
    for c in coefficients[-2:0:-1]:
        y += c
        y *= t
    y += coefficients[0]
    return y


# ---- the same for rows (M, D), with what `_totals` adds them up by ----


def _exponentials(x: Array, e: Array, ones: Array | None) -> tuple[Array, Array | None]:
    """e = e^(x - c), with a number c for each row; e's sums (M, 1), and c, None where it is 0.

    c is there so that nothing overflows, and that not all of a row is 0: numbers as most are need
    none, which the sums tell.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite sum is computed anew
        np.exp(x, out=e)
        total, c = _totals(e, ones), None
    if not (np.minimum.reduce(total) >= _NEAR and np.maximum.reduce(total) <= _FAR):  # or is NaN
        c = np.maximum.reduce(x, axis=1, keepdims=True)
        total = _totals(np.exp(np.subtract(x, c, out=e), out=e), ones)
    return total[:, None], c


def _softmax(ones: Array | None, x: Array, y: Array) -> None:
    total, _ = _exponentials(x, y, ones)
    y *= 1 / total


def _softmax_backward(g: Array, y: Array, gx: Array) -> None:
    np.subtract(g, dots(g, y)[:, None], out=gx)
    gx *= y


def _log_softmax(ones: Array | None, x: Array, y: Array) -> None:
    total, c = _exponentials(x, y, ones)
    if c is not None:
        np.subtract(x, c, out=y)
        y -= np.log(total)
    elif np.maximum.reduce(total, axis=None) <= _SMALL:
        np.subtract(x, np.log(total), out=y)
    else:  # a large logarithm has digits behind those of x: they are taken off by themselves
        exact = np.log(total, dtype=np.float64)
        log = exact.astype(x.dtype)
        np.subtract(x, log, out=y)
        y -= (exact - log).astype(x.dtype)


def _log_softmax_backward(ones: Array | None, g: Array, y: Array, gx: Array) -> None:
    np.exp(y, out=gx)
    gx *= -_totals(g, ones)[:, None]
    gx += g

"""Normalisation on NumPy: in blocks that stay in the cache, in as few passes as there can be.

Kept for backward is x, with the statistics; the formulas, in A, B and D, are derived in
`jit/norm.py`.  Where numbers share μ and σ over channels or groups they are made for x itself, not
x - μ, whose pass is saved:

    σ² = Σ x²/m - μ²,    y = (γ/σ) x + (β - γ μ/σ)
    Q = Σ G x - μ S,     dL/dx = A G + B x + (D - B μ)

Where μ is far larger than σ these would lose digits.  There x is moved first, by its mean, and what
is kept is what was moved.
"""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..portable.norm import NormKernels
from ..portable.residuals import Residuals
from . import thresholds
from .layout import as_laid, empty_in_order, numbers, with_short_buffers
from .memory import copied, empty, empty_like, laid_like
from .reduce import ONE_THREAD_VECTOR, column_sums, dots, row_sums

BLOCK_BYTES = 2**19
LINE = 512  # numbers: shorter lines are joined
LONG = 512  # numbers: sums of longer rows are products of vectors, quicker than of matrices
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Blocked(Residuals):
    """What `NumpyNorm` keeps."""

    __slots__ = ()


class NumpyNorm(NormKernels):
    @with_short_buffers
    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Residuals]:
        if not worth_blocks(x):
            return super().batch_norm(x, weight, bias, eps)
        lines, last = _lines(x)
        c, moved = x.shape[1], 0
        mean, variance = _statistics(lines, last, c)
        if is_far(mean, variance):
            moved = mean.astype(x.dtype)
            lines = np.subtract(lines, _along(moved, lines, last), out=empty_like(lines))
            mean, variance = _statistics(lines, last, c)
        inverse = 1 / np.sqrt(variance + eps)
        scale = inverse if weight is None else weight * inverse
        shift = -mean * scale if bias is None else bias - mean * scale
        scale, shift = (_along(a.astype(x.dtype), lines, last) for a in (scale, shift))
        y = empty_in_order(last, x.shape, x.dtype)
        outs = as_laid(y, last).reshape(lines.shape)
        for part in _blocks(lines):
            out = np.multiply(lines[part], scale, out=outs[part])
            out += shift
        residuals = Blocked((lines, last, weight, mean, inverse, x.shape))
        return y, (moved + mean).astype(x.dtype), variance.astype(x.dtype), residuals

    @with_short_buffers
    def batch_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Blocked):
            return super().batch_norm_backward(gy, residuals, needs)
        lines, last, weight, mean, inverse, shape = residuals
        g = as_laid(numbers(gy, last)[0], last).reshape(lines.shape)
        dtype, axis, c = g.dtype, 0 if last else 2, len(mean)
        room = _room(g)
        s, q = np.zeros(c), np.zeros(c)
        for part in _blocks(g):
            s += _in_all(_sum(g[part], axis), c)
            q += _in_all(_products(g[part], lines[part], axis, room), c)
        q -= mean * s
        gx = None
        if needs[0]:
            m = g.size // c
            a = inverse if weight is None else weight * inverse
            b = -a * inverse**2 * q / m
            own = (a, b, -a * s / m - b * mean)
            a, b, d = (_along(v.astype(dtype), lines, last) for v in own)
            gx = empty_in_order(last, shape, dtype)
            outs = as_laid(gx, last).reshape(lines.shape)
            for part in _blocks(g):
                out = np.multiply(g[part], a, out=outs[part])
                out += np.multiply(lines[part], b, out=room[: len(out)])
                out += d
        gw = (inverse * q).astype(dtype) if needs[1] else None
        return gx, gw, s.astype(dtype) if needs[2] else None

    def batch_norm_inference(
        self,
        x: Array,
        mean: Array,
        variance: Array,
        weight: Array | None,
        bias: Array | None,
        eps: float,
    ) -> tuple[Array, Array, Array]:
        if x.dtype not in _FLOATS or x.dtype is not mean.dtype:
            return super().batch_norm_inference(x, mean, variance, weight, bias, eps)
        channels = (-1, *[1] * (x.ndim - 2))
        inverse = variance + eps
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        scale = inverse if weight is None else inverse * weight
        shift = mean * scale
        shift = np.negative(shift, out=shift) if bias is None else bias - shift
        y = np.multiply(x, scale.reshape(channels), out=laid_like(x))
        np.add(y, shift.reshape(channels), out=y)
        return y, inverse, scale

    @with_short_buffers
    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Residuals]:
        if not worth_blocks(x):
            return super().layer_norm(x, weight, bias, eps)
        x = np.ascontiguousarray(x)
        y = empty_like(x)
        means = np.empty((len(x), 1), x.dtype)
        inverses = np.empty_like(means)
        for part in _blocks(x):
            out, mean, inverse = y[part], means[part], inverses[part]
            np.divide(_sum(x[part], 1), x.dtype.type(x.shape[1]), out=mean)
            np.subtract(x[part], mean, out=out)
            np.divide(_products(out, out, 1), x.shape[1], out=inverse)
            inverse += eps
            np.sqrt(inverse, out=inverse)
            np.reciprocal(inverse, out=inverse)
            out *= inverse
            if weight is not None:
                out *= weight
            if bias is not None:
                out += bias
        return y, Blocked((x, weight, means, inverses))

    @with_short_buffers
    def layer_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Blocked):
            return super().layer_norm_backward(gy, residuals, needs)
        x, weight, means, inverses = residuals
        gy = np.ascontiguousarray(gy)
        length = x.dtype.type(x.shape[1])
        gx = empty_like(x)
        gw, gb = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
        gamma = np.ones_like(gw) if weight is None else weight
        blocks = _blocks(x)
        arrays = empty((3, *x[blocks[0]].shape), x.dtype)  # γ G, x - μ, 1
        arrays[2] = 1
        factors = np.empty((len(x), 1, 3), x.dtype)
        for part in blocks:
            g, r, out, own = gy[part], inverses[part][:, 0], gx[part], factors[part]
            block = arrays[:, : len(g)]
            centred = np.subtract(x[part], means[part], out=block[1])
            products = np.multiply(g, centred, out=out)
            if needs[1]:
                gw += column_sums(products, r)
            if needs[2]:
                gb += _sum(g, 0)
            if needs[0]:
                own[:, 0, 0] = r
                own[:, 0, 1] = -r * r * r * row_sums(products, gamma) / length
                own[:, 0, 2] = -r * row_sums(g, gamma) / length
                np.multiply(g, gamma, out=block[0])
                _combine(own, block, out)
        return gx if needs[0] else None, gw if needs[1] else None, gb if needs[2] else None

    @with_short_buffers
    def group_norm(
        self, x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
    ) -> tuple[Array, Residuals]:
        if not worth_blocks(x):
            return super().group_norm(x, weight, bias, groups, eps)
        n, c = x.shape[:2]
        x = np.ascontiguousarray(x)
        kept, y = x, empty(x.shape, x.dtype)
        means, inverses = np.empty((n, groups)), np.empty((n, groups))
        for part in _blocks(x):
            runs = x[part].reshape(-1, groups, x.size // (n * groups))
            mean, variance = _moments(runs)
            if is_far(mean, variance):
                kept = copied(x) if kept is x else kept
                moved = mean.astype(x.dtype)[..., None]
                runs = np.subtract(runs, moved, out=kept[part].reshape(runs.shape))
                mean, variance = _moments(runs)
            means[part], inverses[part] = mean, 1 / np.sqrt(variance + eps)
            scale, shift = (np.repeat(a, c // groups, axis=1) for a in (inverses[part], mean))
            scale = scale if weight is None else scale * weight  # (n, C)
            shift = -shift * scale if bias is None else bias - shift * scale
            scale, shift = (a.astype(x.dtype)[..., None] for a in (scale, shift))
            channels = (-1, c, x.size // (n * c))
            out = np.multiply(runs.reshape(channels), scale, out=y[part].reshape(channels))
            out += shift
        return y, Blocked((kept, weight, means, inverses))

    @with_short_buffers
    def group_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Blocked):
            return super().group_norm_backward(gy, residuals, needs)
        x, weight, means, inverses = residuals
        (n, c), groups, dtype = x.shape[:2], means.shape[1], x.dtype
        runs = (-1, groups, x.size // (n * groups))
        channels = (-1, c, x.size // (n * c))
        gx = empty(x.shape, dtype) if needs[0] else None
        gw, gb = np.zeros(c), np.zeros(c)
        gy = np.ascontiguousarray(gy)
        room = _room(x)
        for part in _blocks(x):
            g, v = gy[part].reshape(channels), x[part].reshape(channels)
            r = inverses[part]  # (n, groups)
            a, mean = (np.repeat(k, c // groups, axis=1) for k in (r, means[part]))  # (n, C)
            s = _sum(g, 2)[..., 0].astype(np.float64)
            q = _products(g, v, 2)[..., 0] - mean * s
            gw += np.add.reduce(a * q, axis=0)
            gb += np.add.reduce(s, axis=0)
            if gx is None:
                continue
            if weight is not None:
                a, s, q = a * weight, s * weight, q * weight
            s, q = (np.add.reduce(k.reshape(len(r), groups, -1), axis=2) / runs[2] for k in (s, q))
            b = -r * r * r * q
            own = (a, b, -r * s - b * means[part])
            a, b, d = (k.astype(dtype)[..., None] for k in own)
            out = np.multiply(g, a, out=gx[part].reshape(channels)).reshape(runs)
            out += np.multiply(v.reshape(runs), b, out=room[: len(g)].reshape(runs))
            out += d
        gw, gb = gw.astype(dtype), gb.astype(dtype)
        return gx, gw if needs[1] else None, gb if needs[2] else None

    def _normalized(
        self, x: Array, axes: tuple[int, ...], eps: float
    ) -> tuple[Array, Array, Array, Array]:
        if x.dtype not in _FLOATS or x.size == 0:
            return super()._normalized(x, axes, eps)
        total = np.add.reduce(x, axis=axes, keepdims=True)
        values = x.dtype.type(x.size // total.size)
        mean = np.divide(total, values, out=total)
        centred = x - mean
        normal = np.multiply(centred, centred)
        variance = np.add.reduce(normal, axis=axes, keepdims=True)
        np.divide(variance, values, out=variance)
        inverse = variance + eps
        np.sqrt(inverse, out=inverse)
        np.divide(1, inverse, out=inverse)
        return mean, variance, inverse, np.multiply(centred, inverse, out=normal)

    def _affine(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        """As the portable one; x is the caller's no more."""
        channels = (-1, *[1] * (x.ndim - 2))
        if weight is not None:
            x = x * weight.reshape(channels)
        return x if bias is None else x + bias.reshape(channels)


def worth_blocks(x: Array) -> bool:
    """Whether blocks are made for this, and worth it."""
    return x.dtype in _FLOATS and x.size >= thresholds.NORM


def is_far(mean: Array, variance: Array) -> bool:
    """Whether somewhere the mean is so large beside the deviation that Σ x² is mostly the mean's:
    with twice the deviation, four fifths of it."""
    return bool((mean * mean > 4 * variance).any())


def _statistics(lines: Array, last: bool, c: int) -> tuple[Array, Array]:
    """Each channel's mean and biased variance, (C,), in float64."""
    axis, room = 0 if last else 2, _room(lines)
    s, q = np.zeros(c), np.zeros(c)
    for part in _blocks(lines):
        s += _in_all(_sum(lines[part], axis), c)
        q += _in_all(_products(lines[part], lines[part], axis, room), c)
    m = lines.size // c
    mean = s / m
    return mean, np.maximum(q / m - mean * mean, 0)


def _moments(runs: Array) -> tuple[Array, Array]:
    """Each run's mean and biased variance, in float64: (n, groups, numbers) -> (n, groups)."""
    mean = _sum(runs, 2)[..., 0].astype(np.float64) / runs.shape[2]
    square = _products(runs, runs, 2)[..., 0].astype(np.float64) / runs.shape[2]
    return mean, np.maximum(square - mean * mean, 0)


def _lines(x: Array) -> tuple[Array, bool]:
    """x (N, C, ...) as it lies: with channels last (lines, channels), else (N, C, pixels).

    Where channels are few, several pixels with all of theirs make a line: NumPy is quick along
    long ones.
    """
    n, c = x.shape[:2]
    x, last = numbers(x, True if x.size == n * c else None)
    if not last:
        return as_laid(x, last).reshape(n, c, -1), False
    pixels = 1
    while c * pixels < LINE and x.size // c % (2 * pixels) == 0:
        pixels *= 2
    return as_laid(x, last).reshape(-1, c * pixels), True


def _along(values: Array, lines: Array, last: bool) -> Array:
    """One number for each channel, (C,), to stand beside `_lines`."""
    if not last:
        return values[:, None]
    pixels = lines.shape[1] // len(values)
    return values if pixels == 1 else np.tile(values, pixels)


def _in_all(sums: Array, c: int) -> Array:
    """The sums of lines or images, added up for each channel in float64."""
    return np.add.reduce(sums.reshape(-1, c), axis=0, dtype=np.float64)


def _blocks(x: Array) -> list[slice]:
    """Slices of the first axis, of about BLOCK_BYTES each."""
    size = max(1, BLOCK_BYTES * len(x) // x.nbytes)
    return [slice(n, n + size) for n in range(0, len(x), size)]


def _room(x: Array) -> Array:
    """An array of the largest block's shape, to work on."""
    return empty(x[_blocks(x)[0]].shape, x.dtype)


def _sum(x: Array, axis: int) -> Array:
    """The sums along the first of two axes, or along the last, which stays with length 1."""
    if axis == 0:
        return column_sums(x, np.ones(len(x), x.dtype))
    ones = np.ones(x.shape[-1], x.dtype)
    if len(ones) > LONG:
        return dots(x, ones)[..., None]
    return row_sums(x.reshape(-1, len(ones)), ones).reshape(*x.shape[:-1], 1)


def _products(a: Array, b: Array, axis: int, room: Array | None = None) -> Array:
    """The sums of a b, likewise; those along the first axis need room."""
    if axis == 0:
        assert room is not None
        return _sum(np.multiply(a, b, out=room[: len(a)]), 0)
    return dots(a, b)[..., None]


def _combine(factors: Array, arrays: Array, out: Array) -> None:
    """out (M, D) = the sum of three arrays (3, M, D), each row times its factor (M, 1, 3).

    A product of matrices for each row takes two thirds of the time of five passes.
    """
    rows = arrays.transpose(1, 0, 2)
    step = ONE_THREAD_VECTOR // 4
    for lo in range(0, out.shape[1], step):
        columns = slice(lo, lo + step)
        np.matmul(factors, rows[:, :, columns], out=out[:, None, columns])

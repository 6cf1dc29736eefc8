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

from typing import Any

import numpy as np

from ...typing import Array
from ..portable.norm import NormKernels
from ..portable.residuals import Residuals
from . import thresholds
from .layout import as_laid, empty_in_order, numbers, with_short_buffers
from .memory import copied, empty, empty_like, laid_like
from .reduce import ONE_THREAD, ONE_THREAD_VECTOR, column_sums, dots, pairs, row_sums

BLOCK_BYTES = 2**20  # each block costs some twenty calls
LINE = 512  # numbers: shorter lines are joined
LONG = 512  # numbers: sums of longer rows are products of vectors, quicker than of matrices
FEW = 48  # numbers: a product of matrices for each row of fewer is slower than more passes
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
        (rows, length), dtype = x.shape, x.dtype
        y = empty_like(x)
        means, inverses = np.empty((rows, 1), dtype), np.empty((rows, 1), dtype)
        ones, blocks = _adders(length, dtype), _blocks(x, ONE_THREAD // 2)
        short = length < LINE
        if short:  # r γ as a product of two columns and two rows: one row for each row
            columns, gammas = np.zeros((rows, 2), dtype), np.zeros((2, length), dtype)
            gammas[0] = 1 if weight is None else weight
            scales = empty(x[blocks[0]].shape, dtype)
            bias = None if bias is None else np.tile(bias, (len(scales), 1))
        for part in blocks:
            v, out, mean, r = x[part], y[part], means[part], inverses[part]
            np.divide(_run_sums(v, ones), dtype.type(length), out=mean[:, 0])
            np.subtract(v, mean, out=out)
            np.divide(dots(out, out), dtype.type(length), out=r[:, 0])
            r += dtype.type(eps)
            np.divide(1, np.sqrt(r, out=r), out=r)
            if short:
                columns[part, :1] = r
                out *= np.dot(columns[part], gammas, out=scales[: len(v)])
            else:
                out *= r
                if weight is not None:
                    out *= weight
            if bias is not None:
                out += bias[: len(v)] if short else bias
        return y, Blocked((x, weight, means, inverses))

    @with_short_buffers
    def layer_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Blocked):
            return super().layer_norm_backward(gy, residuals, needs)
        x, weight, means, inverses = residuals
        (rows, length), dtype = x.shape, x.dtype
        gy, gx = np.ascontiguousarray(gy), empty_like(x)
        gw, gb = np.zeros(length, dtype), np.zeros(length, dtype)
        blocks = _blocks(x, ONE_THREAD // 2)
        arrays = empty((3, *x[blocks[0]].shape), dtype)  # γ G, x - μ, 1
        arrays[2] = 1
        gamma = np.ones(length, dtype) if weight is None else weight
        gammas, short = pairs(gamma), length < LINE
        if short:
            gamma = np.tile(gamma, (arrays.shape[1], 1))
        factors = np.empty((rows, 1, 3), dtype)
        factors[:, :, 0] = inverses
        b, d = inverses[:, 0] ** 3 / -length, inverses[:, 0] / -length
        for part in blocks:
            g, out, own = gy[part], gx[part], factors[part, 0]
            block = arrays[:, : len(g)]
            centred = np.subtract(x[part], means[part], out=block[1])
            products = np.multiply(g, centred, out=out)
            if needs[1]:
                gw += column_sums(products, inverses[part, 0])
            if needs[2]:
                gb += _sum(g, 0)
            if needs[0]:
                np.multiply(b[part], row_sums(products, gammas), out=own[:, 1])
                np.multiply(d[part], row_sums(g, gammas), out=own[:, 2])
                np.multiply(g, gamma[: len(g)] if short else gamma, out=block[0])
                _combine(factors[part], block, out)
        return gx if needs[0] else None, gw if needs[1] else None, gb if needs[2] else None

    @with_short_buffers
    def group_norm(
        self, x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
    ) -> tuple[Array, Residuals]:
        if not worth_blocks(x):
            return super().group_norm(x, weight, bias, groups, eps)
        (n, c), dtype = x.shape[:2], x.dtype
        x = np.ascontiguousarray(x)
        kept, y = x, empty(x.shape, dtype)
        means, inverses = np.empty((n, groups, 1)), np.empty((n, groups, 1))
        runs, channels = (
            (n, groups, x.size // (n * groups)),
            (n, groups, c // groups, x.size // n // c),
        )
        xs, ys, ones = x.reshape(runs), y.reshape(channels), _adders(runs[2], dtype)
        own = None if weight is None else weight.reshape(channels[1:3])
        beside = None if bias is None else bias.reshape(channels[1:3])
        for part in _blocks(x):
            v, out = xs[part], ys[part]
            mean, variance = _moments(v, ones)
            if is_far(mean, variance):
                kept = copied(x) if kept is x else kept
                moved = mean.astype(dtype)[..., None]
                v = np.subtract(v, moved, out=kept.reshape(runs)[part])
                mean, variance = _moments(v, ones)
            variance += eps
            means[part, :, 0] = mean
            r = np.divide(1, np.sqrt(variance, out=variance), out=inverses[part, :, 0])[..., None]
            scale = r if own is None else r * own  # (n, groups, channels of a group)
            shift = -mean[..., None] * scale
            if beside is not None:
                shift += beside
            np.multiply(v.reshape(out.shape), scale.astype(dtype)[..., None], out=out)
            out += shift.astype(dtype)[..., None]
        return y, Blocked((kept, weight, means, inverses))

    @with_short_buffers
    def group_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Blocked):
            return super().group_norm_backward(gy, residuals, needs)
        x, weight, means, inverses = residuals
        (n, c), groups, dtype = x.shape[:2], means.shape[1], x.dtype
        m = x.size // (n * groups)
        runs, channels = (-1, groups, m), (n, groups, c // groups, x.size // n // c)
        gx = empty(x.shape, dtype) if needs[0] else None
        gs, vs = np.ascontiguousarray(gy).reshape(channels), x.reshape(channels)
        sums, products = np.empty(channels[:3]), np.empty(channels[:3])  # Σ G, Σ G (x - μ)
        ones = _adders(channels[3], dtype)
        a, b, d = inverses, inverses**3 / -m, inverses / -m  # (n, groups, 1)
        own = np.ones(channels[1:3])
        if weight is not None:
            own[...] = weight.reshape(own.shape)
            a = a * own
        a = a.astype(dtype)[..., None]
        room = _room(x)
        for part in _blocks(x):
            g, v, s, q = gs[part], vs[part], sums[part], products[part]
            s[...] = _run_sums(g, ones)
            np.subtract(dots(g, v), means[part] * s, out=q)
            if gx is None:
                continue
            b_own = b[part] * np.vecdot(q, own)[..., None]
            d_own = d[part] * np.vecdot(s, own)[..., None] - b_own * means[part]
            out = np.multiply(g, a[part], out=gx[part].reshape(g.shape)).reshape(runs)
            out += np.multiply(
                v.reshape(runs), b_own.astype(dtype), out=room[: len(g)].reshape(runs)
            )
            out += d_own.astype(dtype)
        gw = gb = None
        if needs[1]:
            products *= inverses
            gw = np.add.reduce(products, axis=0).astype(dtype).reshape(c)
        if needs[2]:
            gb = np.add.reduce(sums, axis=0).astype(dtype).reshape(c)
        return gx, gw, gb

    def _normalized(
        self, x: Array, axes: tuple[int, ...], eps: float
    ) -> tuple[Array, Array, Array, Array]:
        if x.dtype not in _FLOATS or x.size == 0:
            return super()._normalized(x, axes, eps)
        total = np.add.reduce(x, axis=axes, keepdims=True)
        values = np.asarray(x.size // total.size, x.dtype)  # beside a scalar it takes twice as long
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


def _moments(runs: Array, ones: Array) -> tuple[Array, Array]:
    """Each run's mean and biased variance, in float64: (n, groups, numbers) -> (n, groups)."""
    mean = np.divide(_run_sums(runs, ones), runs.shape[2], dtype=np.float64)
    variance = np.divide(dots(runs, runs), runs.shape[2], dtype=np.float64)
    variance -= mean * mean
    return mean, np.maximum(variance, 0, out=variance)


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


def _blocks(x: Array, most: int | None = None) -> list[slice]:
    """Slices of the first axis, of about BLOCK_BYTES each, and at most so many numbers."""
    size = max(1, min(BLOCK_BYTES, (most or x.size) * x.itemsize) * len(x) // x.nbytes)
    return [slice(n, n + size) for n in range(0, len(x), size)]


def _room(x: Array) -> Array:
    """An array of the largest block's shape, to work on."""
    return empty(x[_blocks(x)[0]].shape, x.dtype)


def _adders(length: int, dtype: Any) -> Array:
    """What `_run_sums` adds up runs of a length by."""
    ones = np.ones(length, dtype)
    return ones if length > LONG else pairs(ones)


def _run_sums(runs: Array, ones: Array) -> Array:
    """The sum of each run: (..., length) -> (...)."""
    if ones.ndim == 1:
        return dots(runs, ones)
    return row_sums(runs.reshape(-1, len(ones)), ones).reshape(runs.shape[:-1])


def _sum(x: Array, axis: int) -> Array:
    """The sums along the first of two axes, or along the last, which stays with length 1."""
    if axis == 0:
        return column_sums(x, np.ones(len(x), x.dtype))
    return _run_sums(x, _adders(x.shape[-1], x.dtype))[..., None]


def _products(a: Array, b: Array, axis: int, room: Array | None = None) -> Array:
    """The sums of a b, likewise; those along the first axis need room."""
    if axis == 0:
        assert room is not None
        return _sum(np.multiply(a, b, out=room[: len(a)]), 0)
    return dots(a, b)[..., None]


def _combine(factors: Array, arrays: Array, out: Array) -> None:
    """out (M, D) = the sum of three arrays (3, M, D), each row times its factor (M, 1, 3).

    A product of matrices for each row takes two thirds of the time of five passes.  Of rows of few
    numbers all factors are written out, and the first two arrays over.
    """
    length = out.shape[1]
    if length < FEW:
        first, second = np.zeros((2, 2, length), out.dtype)
        first[0] = second[1] = 1
        arrays[0] *= np.dot(factors[:, 0, :2], first, out=out)
        arrays[1] *= np.dot(factors[:, 0, :2], second, out=out)
        np.dot(factors[:, 0, 1:], second, out=out)
        out += arrays[0]
        out += arrays[1]
        return
    rows = arrays.transpose(1, 0, 2)
    step = ONE_THREAD_VECTOR // 4
    for lo in range(0, length, step):
        columns = slice(lo, lo + step)
        np.matmul(factors, rows[:, :, columns], out=out[:, None, columns])

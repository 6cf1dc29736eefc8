"""Normalisation on NumPy: in blocks that stay in the cache, without writing x̂ out.

Kept for backward is x, with the statistics; the formulas, in A, B and D, are derived in
`jit/norm.py`.
"""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..portable.norm import NormKernels
from ..portable.residuals import Residuals
from . import thresholds
from .convolution.conv_block import pooled_statistics
from .layout import as_laid, empty_in_order, numbers
from .memory import empty, empty_like

BLOCK_BYTES = 2**18
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Blocked(Residuals):
    """What `NumpyNorm` keeps."""

    __slots__ = ()


class NumpyNorm(NormKernels):
    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Residuals]:
        if not worth_blocks(x):
            return super().batch_norm(x, weight, bias, eps)
        lines, last = _lines(x)
        axis = 0 if last else 2
        means, squares, counts = [], [], []
        for part in _blocks(lines):
            a = lines[part]
            mean, square = _moments(a, axis)
            means += list(mean.reshape(-1, x.shape[1]))
            squares += list(square.reshape(-1, x.shape[1]))
            counts += [a.shape[axis]] * (1 if last else len(a))
        mean, variance = pooled_statistics(counts, means, squares)
        inverse = 1 / np.sqrt(variance + eps)
        scale = inverse if weight is None else weight * inverse
        shift = np.zeros_like(mean) if bias is None else bias
        own = [a.astype(x.dtype) for a in (mean, scale, shift)]
        centre, scale, shift = (a if last else a[:, None] for a in own)
        y = empty_in_order(last, x.shape, x.dtype)
        outs = _lines(y, last)[0]
        for part in _blocks(lines):
            out = outs[part]
            np.subtract(lines[part], centre, out=out)
            out *= scale
            out += shift
        residuals = Blocked((lines, last, weight, mean, inverse, x.shape))
        return y, own[0], variance.astype(x.dtype), residuals

    def batch_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Blocked):
            return super().batch_norm_backward(gy, residuals, needs)
        lines, last, weight, mean, inverse, shape = residuals
        g = _lines(gy, last)[0]
        dtype = g.dtype
        axis = 0 if last else 2
        centre = mean.astype(dtype) if last else mean.astype(dtype)[:, None]
        s, q = np.zeros(len(mean)), np.zeros(len(mean))
        for part in _blocks(g):
            s += _sum(g[part], axis).reshape(-1, len(mean)).sum(axis=0, dtype=np.float64)
            products = _products(g[part], lines[part] - centre, axis)
            q += products.reshape(-1, len(mean)).sum(axis=0, dtype=np.float64)
        gx = None
        if needs[0]:
            m = g.size // len(mean)
            a = inverse if weight is None else weight * inverse
            own = (a, -a * inverse**2 * q / m, -a * s / m)
            a, b, d = (v.astype(dtype) if last else v.astype(dtype)[:, None] for v in own)
            gx = empty_in_order(last, shape, dtype)
            outs = _lines(gx, last)[0]
            for part in _blocks(g):
                out = outs[part]
                np.subtract(lines[part], centre, out=out)
                out *= b
                out += d
                out += g[part] * a
        gw = (inverse * q).astype(dtype) if needs[1] else None
        return gx, gw, s.astype(dtype) if needs[2] else None

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
            np.divide(_sum(x[part], 1)[:, None], x.dtype.type(x.shape[1]), out=mean)
            np.subtract(x[part], mean, out=out)
            inverse[:, 0] = _products(out, out, 1)
            inverse /= x.shape[1]
            inverse += eps
            np.sqrt(inverse, out=inverse)
            np.reciprocal(inverse, out=inverse)
            out *= inverse
            if weight is not None:
                out *= weight
            if bias is not None:
                out += bias
        return y, Blocked((x, weight, means, inverses))

    def layer_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Blocked):
            return super().layer_norm_backward(gy, residuals, needs)
        x, weight, means, inverses = residuals
        length = x.dtype.type(x.shape[1])
        gx = empty_like(x) if needs[0] else None
        gw, gb = np.zeros(x.shape[1], x.dtype), np.zeros(x.shape[1], x.dtype)
        for part in _blocks(x):
            g = gy[part]
            normal = x[part] - means[part]
            normal *= inverses[part]
            if needs[1]:
                gw += _products(g, normal, 0)
            if needs[2]:
                gb += _sum(g, 0)
            if gx is not None:
                out = gx[part]
                np.multiply(g, 1 if weight is None else weight, out=out)
                mean = _sum(out, 1)[:, None] / length
                normal *= _products(out, normal, 1)[:, None] / length
                out -= mean
                out -= normal
                out *= inverses[part]
        return gx, gw if needs[1] else None, gb if needs[2] else None

    def group_norm(
        self, x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
    ) -> tuple[Array, Residuals]:
        if not worth_blocks(x):
            return super().group_norm(x, weight, bias, groups, eps)
        n, c = x.shape[:2]
        x = np.ascontiguousarray(x)
        grouped = x.reshape(n, groups, -1)
        y = empty(x.shape, x.dtype)
        means, inverses = np.empty((n, groups, 1), x.dtype), np.empty((n, groups, 1), x.dtype)
        length = x.dtype.type(grouped.shape[2])
        for part in _blocks(grouped):
            out = y[part].reshape(-1, groups, grouped.shape[2])
            np.divide(_sum(grouped[part], 2)[..., None], length, out=means[part])
            np.subtract(grouped[part], means[part], out=out)
            inverses[part] = 1 / np.sqrt(_products(out, out, 2)[..., None] / length + eps)
            scale = np.repeat(inverses[part], c // groups, axis=1)  # (n, C, 1)
            channels = y[part].reshape(-1, c, x.size // (n * c))
            channels *= scale if weight is None else scale * weight[:, None]
            if bias is not None:
                channels += bias[:, None]
        return y, Blocked((x, weight, means, inverses))

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
        gw, gb = np.zeros(c, dtype), np.zeros(c, dtype)
        gy = np.ascontiguousarray(gy)
        for part in _blocks(x):
            centred = x[part].reshape(runs) - means[part]
            g = gy[part].reshape(channels)
            r = inverses[part].astype(np.float64)[..., 0]  # (n, groups)
            a = np.repeat(r, c // groups, axis=1)  # (n, C)
            s, q = _sum(g, 2), _products(g, centred.reshape(channels), 2)
            gw += np.add.reduce(a * q, axis=0)
            gb += np.add.reduce(s, axis=0)
            if gx is None:
                continue
            if weight is not None:
                a, s, q = a * weight, s * weight, q * weight
            s, q = (np.add.reduce(v.reshape(len(r), groups, -1), axis=2) / runs[2] for v in (s, q))
            a, b, d = (v.astype(dtype)[..., None] for v in (a, -r * r * r * q, -r * s))
            out = gx[part].reshape(channels)
            np.multiply(g, a, out=out)
            centred *= b
            centred += d
            out.reshape(runs)[...] += centred
        return gx, gw if needs[1] else None, gb if needs[2] else None


def worth_blocks(x: Array) -> bool:
    """Whether blocks are made for this, and worth it."""
    return x.dtype in _FLOATS and x.size >= thresholds.NORM


def _lines(x: Array, last: bool | None = None) -> tuple[Array, bool]:
    """x (N, C, ...) as it lies: with channels last (N pixels, C), else (N, C, pixels)."""
    n, c = x.shape[:2]
    x, last = numbers(x, True if x.size == n * c else last)
    return as_laid(x, last).reshape((-1, c) if last else (n, c, -1)), last


def _blocks(x: Array) -> list[slice]:
    """Slices of the first axis, of about BLOCK_BYTES each."""
    size = max(1, BLOCK_BYTES * len(x) // x.nbytes)
    return [slice(n, n + size) for n in range(0, len(x), size)]


def _sum(x: Array, axis: int) -> Array:
    return np.add.reduce(x, axis=axis)


def _products(a: Array, b: Array, axis: int) -> Array:
    """The sum of a b along an axis, in one pass."""
    kept = [k for k in range(a.ndim) if k != axis]
    return np.einsum(a, [*range(a.ndim)], b, [*range(a.ndim)], kept)


def _moments(x: Array, axis: int) -> tuple[Array, Array]:
    """The mean along an axis, and the sum of squared deviations from it."""
    mean = _sum(x, axis)
    mean /= x.dtype.type(x.shape[axis])
    deviation = x - np.expand_dims(mean, axis)
    return mean, _products(deviation, deviation, axis)

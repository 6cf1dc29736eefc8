"""Convolution, batch norm, ReLU and max-pooling in one pass over each image, compiled by numba.

An image's convolution is pooled while it lies in the cache; only the pooled image and a byte for
each of its pixels are written.  Batch norm needs two passes, since its statistics are the whole
batch's: then the convolution is written out, and read twice.  The loops: `conv_block_loops.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array
from ...cpu.convolution.columns import are_small
from ...cpu.convolution.conv_block import Fused, NumpyConvBlock, fusible, pooled_statistics
from ...cpu.layout import channels_second, contiguous_channels_last
from ...cpu.memory import empty, empty_like
from ...portable.convolution.conv_block import Norm
from ...portable.residuals import Residuals
from ...portable.window import Window
from ..codegen import threads
from .conv import JitConv, fills_vectors, flat, new_totals, pack, pack_backward, parts, unpack
from .plan import plan, with_gradients


class Compiled(Fused):
    """What `JitConvBlock.conv_block2d` keeps."""

    __slots__ = ()


class JitConvBlock(JitConv, NumpyConvBlock):
    def conv_block2d(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        window: Window,
        groups: int,
        norm: Norm | None,
        relu: bool,
        pool: Window | None,
    ) -> tuple[Array, Array | None, Array | None, Residuals]:
        pooled = (1, 1) if pool is None else pool.kernel
        if not fills_vectors(x, weight, groups) or are_small(x, weight, window, groups, few=False):
            return super().conv_block2d(x, weight, bias, window, groups, norm, relu, pool)
        images = contiguous_channels_last(x)
        p = plan(images.shape, len(weight), window, groups, x.dtype.itemsize, pooled)
        size, covered = (p.oh, p.ow), (p.qh * p.ph, p.qw * p.pw)
        if 0 in covered or not fusible(size, covered, norm, relu, pool, x.dtype):
            return super().conv_block2d(x, weight, bias, window, groups, norm, relu, pool)
        n, o = len(images), len(weight)
        y = empty((n, p.qh, p.qw, o), x.dtype)
        places = empty(y.shape, np.uint8)
        if norm is None:
            from . import conv_block_loops as block_loops

            shift = np.zeros(o, x.dtype) if bias is None else np.ascontiguousarray(bias)
            operands = (flat(images), flat(pack(weight, p)), shift, flat(y), flat(places), p)
            threads.split(block_loops.forward, n, *operands, least=int(p.least))
            kept = mean = variance = None
        else:
            kept, mean, variance = _forward_norm(images, weight, norm, relu, y, places, p)
            if bias is not None:  # batch norm takes it away again, but it moves the mean
                mean = mean + bias
        residuals = Compiled(
            (images, weight, bias is not None, window, groups, pooled, places, kept)
        )
        return channels_second(y), mean, variance, residuals

    def conv_block2d_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        if not isinstance(residuals, Compiled):
            return super().conv_block2d_backward(gy, residuals, needs)
        from . import conv_block_loops as block_loops

        images, weight, biased, window, groups, pooled, places, kept = residuals
        p = plan(images.shape, len(weight), window, groups, gy.dtype.itemsize, pooled)
        p = with_gradients(p, needs[1], needs[0])
        g = contiguous_channels_last(gy)
        dtype, n = g.dtype, len(g)
        normed: tuple[Array, ...] = ()
        ggamma = gbeta = None
        if kept is not None:
            out, numbers, ggamma, gbeta = _norm_gradients(g, places, kept, p)
            normed = (flat(out), *numbers)
        gx = empty(images.shape if needs[0] else (0, 0, 0, 0), dtype)
        bounds = parts(n, p)
        count = len(bounds) - 1
        totals = new_totals(p, count if needs[1] else 0, dtype)
        biases = np.zeros((count, len(weight)), dtype)
        if needs[0] or needs[1] or needs[2]:
            packed = pack_backward(weight, p) if needs[0] else np.empty(0, dtype)
            given = (bounds, flat(images), flat(g), flat(places), *normed, flat(packed))
            sums = totals.reshape(len(totals), -1)
            if normed:
                threads.split(block_loops.backward_normalised, count, *given, sums, flat(gx), p)
            else:
                threads.split(block_loops.backward, count, *given, sums, biases, flat(gx), p)
        gb = None
        if biased and needs[2]:  # batch norm takes its effect away: biases are still zeros then
            gb = np.add.reduce(biases, axis=0)
        return (
            channels_second(gx) if needs[0] else None,
            unpack(totals, p) if needs[1] else None,
            gb,
            ggamma if needs[3] else None,
            gbeta if needs[4] else None,
        )


def _forward_norm(
    images: Array, weight: Array, norm: Norm, relu: bool, y: Array, places: Array, p: Any
) -> tuple[tuple[Array, ...], Array, Array]:
    """Convolve and gather statistics, then normalise and pool into y and places.

    Kept for backward are the convolution, and of each window the number that was chosen.
    """
    from . import conv_block_loops as block_loops

    gamma, beta, eps = norm
    n, o, dtype = len(images), y.shape[3], y.dtype
    out = empty((n, p.oh, p.ow, o), dtype)
    means, squares = np.empty((n, o), dtype), np.empty((n, o), dtype)
    threads.split(
        block_loops.forward_statistics, n, flat(images), flat(pack(weight, p)), flat(out),
        flat(means), flat(squares), p, least=int(p.least),
    )  # fmt: skip
    mean, variance = pooled_statistics([int(p.oh * p.ow)] * n, means, squares)
    inverse = 1 / np.sqrt(variance + eps)
    scale = inverse if gamma is None else gamma * inverse
    shift = -mean * scale if beta is None else beta - mean * scale
    chosen = empty_like(y)
    operands = (scale.astype(dtype), shift.astype(dtype), flat(y), flat(places), flat(chosen))
    threads.split(block_loops.normalise, n, flat(out), *operands, relu, p, least=int(p.least))
    mean, variance = mean.astype(dtype), variance.astype(dtype)
    return (out, chosen, gamma, mean, inverse.astype(dtype)), mean, variance


def _norm_gradients(
    g: Array, places: Array, kept: tuple[Any, ...], p: Any
) -> tuple[Array, tuple[Array, Array, Array], Array, Array]:
    """The convolution, three numbers per channel for its gradient, dL/dγ and dL/dβ; the formulas
    are derived in `cpu.convolution.conv_block._norm_gradients`."""
    from . import conv_block_loops as block_loops

    out, chosen, gamma, mean, inverse = kept
    dtype, n = g.dtype, len(g)
    sums, products = np.empty((n, len(mean)), dtype), np.empty((n, len(mean)), dtype)
    threads.split(
        block_loops.norm_sums, n, flat(g), flat(places), flat(chosen), mean, inverse,
        flat(sums), flat(products), p, least=int(p.least),
    )  # fmt: skip
    gbeta = np.add.reduce(sums, axis=0, dtype=np.float64)
    ggamma = np.add.reduce(products, axis=0, dtype=np.float64)
    count = n * int(p.oh * p.ow)
    a = inverse.astype(np.float64) if gamma is None else gamma.astype(np.float64) * inverse
    b = -a * inverse * ggamma / count
    d = -a * gbeta / count - b * mean
    numbers = (a.astype(dtype), b.astype(dtype), d.astype(dtype))
    return out, numbers, ggamma.astype(dtype), gbeta.astype(dtype)

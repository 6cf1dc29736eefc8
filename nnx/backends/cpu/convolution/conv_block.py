"""Convolution, batch norm, ReLU and max-pooling in one pass over blocks of images, on NumPy.

What lies between the layers is never written out.  Of a pooling window only the largest value is
kept, and where it stood: a byte, `a pw + b` for place (a, b), or `ph pw` where ReLU closed it, so
that one comparison a place brings a gradient back through both.

Without pooling a window is one pixel, and the byte says whether ReLU was open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....typing import Array
from ...portable.convolution.conv_block import ConvBlockKernels, Norm
from ...portable.residuals import Residuals
from ...portable.window import Pair, Window
from ..layout import channels_second, contiguous_channels_last
from ..memory import copied, empty, empty_like, zeros
from .columns import are_small
from .conv import Lowered, NumpyConv, convolve, transposed
from .depthwise import is_depthwise

_BITS = {np.dtype(np.float32): np.dtype(np.int32), np.dtype(np.float64): np.dtype(np.int64)}


class Fused(Residuals):
    """What `NumpyConvBlock.conv_block2d` keeps; a plain Saved is the portable kernel's."""

    __slots__ = ()


class NumpyConvBlock(NumpyConv, ConvBlockKernels):
    fuses_convolution = True

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
        if is_depthwise(x, weight, groups) or are_small(x, weight, window, groups, few=False):
            # Each layer has a kernel of its own.
            return ConvBlockKernels.conv_block2d(
                self, x, weight, bias, window, groups, norm, relu, pool
            )
        images = contiguous_channels_last(x)
        pooled = (1, 1) if pool is None else pool.kernel
        lowered = Lowered(images.shape, len(weight), window, groups, x.dtype, pooled)
        if 0 in lowered.pooled or not fusible(
            lowered.size, lowered.covered, norm, relu, pool, x.dtype
        ):
            return super().conv_block2d(x, weight, bias, window, groups, norm, relu, pool)
        n, o = len(images), len(weight)
        y = empty((n, *lowered.pooled, o), x.dtype)
        if norm is None:
            places = _forward(lowered, weight, bias, images, relu, y)
            kept = None
            mean = variance = None
        else:
            places, kept, mean, variance = _forward_norm(lowered, weight, images, norm, relu, y)
            if bias is not None:  # batch norm takes it away again, but it moves the mean
                mean = mean + bias
        residuals = (images, weight, bias is not None, window, groups, pooled, places, kept)
        return channels_second(y), mean, variance, Fused(residuals)

    def conv_block2d_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, ...]:
        if not isinstance(residuals, Fused):
            return super().conv_block2d_backward(gy, residuals, needs)
        images, weight, biased, window, groups, pooled, places, kept = residuals
        lowered = Lowered(images.shape, len(weight), window, groups, gy.dtype, pooled)
        g = contiguous_channels_last(gy)  # (N, P, Q, O)
        ggamma = gbeta = None
        if kept is not None:
            ggamma, gbeta, kept = _norm_gradients(lowered, g, places, kept)
        gx, gw, gb = _backward(lowered, g, images, weight, places, kept, needs[:3])
        if kept is not None and biased and needs[2]:
            gb = np.zeros(len(weight), gy.dtype)  # its effect is taken away with the mean
        return (
            None if gx is None else channels_second(gx),
            gw,
            gb,
            ggamma if needs[3] else None,
            gbeta if needs[4] else None,
        )


def fusible(
    size: Pair, covered: Pair, norm: Norm | None, relu: bool, pool: Window | None, dtype: Any
) -> bool:
    """Whether the layers' arguments allow one pass: else they are computed one by one.

    size: of the convolution's result; covered: of the part of it that pooling windows see.
    """
    if dtype not in _BITS or not (relu or norm is not None):
        return False
    if pool is None:
        return True
    return (
        relu  # NaN is largest for max-pooling alone; after ReLU no gradient depends on it
        and pool == Window(pool.kernel, pool.kernel)
        and pool.places < 256
        and (norm is None or covered == size)  # batch norm needs all pixels, those too beyond
    )


def _forward(
    lowered: Lowered, weight: Array, bias: Array | None, images: Array, relu: bool, y: Array
) -> list[Array]:
    """Fill y (N, P, Q, O); return each block's places (G, P, n, Q, O/G)."""
    packed = lowered.pack(weight)
    shift = None if bias is None else lowered.per_channel(bias)[:, 0, 0]
    all_places = []
    for block in lowered.blocks(len(images)):
        m = block.stop - block.start
        out = empty(lowered.result_shape(m), y.dtype)
        lowered.load(images[block], m)
        lowered.product(packed, out, empty_like(out))
        best, places = _largest(lowered, out)
        if shift is not None:
            np.add(best, shift, out=best)
        _store(lowered, best, places, relu, y[block])
        all_places.append(places)
    return all_places


def _largest(lowered: Lowered, out: Array) -> tuple[Array, Array]:
    """The largest value of each pooling window and its place, (G, P, n, Q, O/G)."""
    ph, pw = lowered.pool
    best = out[:, :, 0, 0]
    if ph * pw == 1:
        return best, zeros(best.shape, np.uint8)
    best = copied(best)
    places = zeros(best.shape, np.uint8)
    larger = empty(best.shape, bool)
    place = larger.view(np.uint8)
    for k in range(1, ph * pw):
        value = out[:, :, k // pw, k % pw]
        np.greater(value, best, out=larger)
        np.maximum(best, value, out=best)
        np.multiply(place, np.uint8(k), out=place)
        np.maximum(places, place, out=places)
    return best, places


def _store(lowered: Lowered, best: Array, places: Array, relu: bool, y: Array) -> None:
    """y (n, P, Q, O) = best (G, P, n, Q, O/G) after ReLU; mark where it is closed."""
    if relu:
        count = np.uint8(lowered.pool[0] * lowered.pool[1])
        closed = np.less_equal(best, 0)
        np.logical_or(closed, best != best, out=closed)  # no gradient at NaN
        np.maximum(places, closed.view(np.uint8) * count, out=places)
        np.maximum(best, 0, out=best)
    m = len(y)
    target = y.reshape(m, *lowered.pooled, lowered.groups, lowered.outputs)
    target[...] = best.transpose(2, 1, 3, 0, 4)


def _forward_norm(
    lowered: Lowered, weight: Array, images: Array, norm: Norm, relu: bool, y: Array
) -> tuple[list[Array], tuple[Any, ...], Array, Array]:
    """With batch norm: convolve and gather statistics, then normalise and pool.

    Kept for backward are the convolution's blocks, and of each window the value that was chosen.
    """
    gamma, beta, eps = norm
    packed = lowered.pack(weight)
    o = lowered.groups * lowered.outputs
    blocks = lowered.blocks(len(images))
    outs, counts, means, squares = [], [], [], []
    for block in blocks:
        m = block.stop - block.start
        out = empty(lowered.result_shape(m), y.dtype)
        scratch = empty_like(out)
        lowered.load(images[block], m)
        lowered.product(packed, out, scratch)
        rows = out.reshape(lowered.groups, -1, lowered.outputs)
        ones = np.ones((1, rows.shape[1]), y.dtype)
        mean = (ones @ rows) / y.dtype.type(rows.shape[1])  # (G, 1, O/G)
        deviation = scratch.reshape(rows.shape)
        np.subtract(rows, mean, out=deviation)
        np.multiply(deviation, deviation, out=deviation)
        outs.append(out)
        counts.append(rows.shape[1])
        means.append(mean.reshape(o))
        squares.append((ones @ deviation).reshape(o))
    mean, variance = pooled_statistics(counts, means, squares)
    inverse = 1 / np.sqrt(variance + eps)
    scale = inverse if gamma is None else gamma * inverse
    shift = -mean * scale if beta is None else beta - mean * scale
    scale, shift = (a.astype(y.dtype) for a in (scale, shift))
    rising = bool((scale > 0).all())  # then the largest before is the largest after
    factor = lowered.per_channel(scale)
    all_places, all_chosen = [], []
    for block, out in zip(blocks, outs, strict=True):
        if rising:
            best, places = _largest(lowered, out)
            chosen = copied(best) if lowered.pool == (1, 1) else best
            best = np.multiply(best, factor[:, 0, 0], out=empty_like(best))
        else:
            best, places = _largest(lowered, np.multiply(out, factor, out=empty_like(out)))
            chosen = _pick(lowered, out, places)
        all_chosen.append(chosen)
        np.add(best, lowered.per_channel(shift)[:, 0, 0], out=best)
        _store(lowered, best, places, relu, y[block])
        all_places.append(places)
    dtype = y.dtype
    kept = (outs, all_chosen, gamma, mean.astype(dtype), inverse.astype(dtype))
    return all_places, kept, mean.astype(dtype), variance.astype(dtype)


def pooled_statistics(
    counts: list[int], means: Sequence[Array] | Array, squares: Sequence[Array] | Array
) -> tuple[Array, Array]:
    """Mean and biased variance of all values, from those of parts, in float64.

    Per part: how many values, their mean, and the sum of squared deviations from that (Chan,
    Golub and LeVeque 1983).
    """
    weights = np.asarray(counts, np.float64)[:, None]
    parts = np.asarray(means, np.float64)
    total = float(sum(counts))
    mean = np.add.reduce(weights * parts, axis=0)
    mean /= total
    away = parts - mean
    away *= away
    away *= weights
    variance = np.add.reduce(squares, axis=0, dtype=np.float64)
    variance += np.add.reduce(away, axis=0)
    variance /= total
    return mean, variance


def _pick(lowered: Lowered, out: Array, places: Array) -> Array:
    """The value at each window's place."""
    ph, pw = lowered.pool
    chosen = copied(out[:, :, 0, 0])
    for k in range(1, ph * pw):
        np.copyto(chosen, out[:, :, k // pw, k % pw], where=places == k)
    return chosen


def _blocked(lowered: Lowered, g: Array) -> Array:
    """(n, P, Q, O) -> (G, P, n, Q, O/G), a copy also where both lie alike: it is written into."""
    g = g.reshape(len(g), *lowered.pooled, lowered.groups, lowered.outputs)
    return copied(g.transpose(3, 1, 0, 2, 4))


def _times(g: Array, mask: Array, out: Array) -> None:
    """out = g where mask, else 0: on the bits, so that 0 times infinity is 0, and in one pass."""
    bits = _BITS[g.dtype]
    np.multiply(g.view(bits), mask, out=out.view(bits))


def _norm_gradients(
    lowered: Lowered, g: Array, places: list[Array], kept: tuple[Any, ...]
) -> tuple[Array, Array, tuple[Any, ...]]:
    """dL/dγ, dL/dβ, and the three numbers per channel that make dL/d(convolution).

    From dL/dy = γ r (G - mean(G) - x̂ mean(G x̂)), Xu 6.23, with x̂ = (y - μ) r: the gradient is
    A G + B y + D with A = γ r, B = -A r mean(G x̂) and D = -A mean(G) - B μ.  G is zero but at the
    chosen places, so both sums run over those.
    """
    outs, chosen, gamma, mean, inverse = kept
    dtype = g.dtype
    o = len(mean)
    sums, products = np.zeros(o), np.zeros(o)
    count = len(g) * lowered.size[0] * lowered.size[1]
    full = lowered.pool[0] * lowered.pool[1]
    for block, place, value in zip(lowered.blocks(len(g)), places, chosen, strict=True):
        part = _blocked(lowered, g[block])
        _times(part, place != full, part)
        rows = part.reshape(lowered.groups, -1, lowered.outputs)
        ones = np.ones((1, rows.shape[1]), dtype)
        sums += (ones @ rows).reshape(o)
        normal = np.subtract(value, lowered.per_channel(mean)[:, 0, 0], out=empty_like(value))
        normal *= lowered.per_channel(inverse)[:, 0, 0]
        np.multiply(part, normal, out=part)
        products += (ones @ rows).reshape(o)
    a = inverse.astype(np.float64) if gamma is None else gamma.astype(np.float64) * inverse
    b = -a * inverse * products / count
    d = -a * sums / count - b * mean
    numbers = tuple(lowered.per_channel(v.astype(dtype)) for v in (a, b, d))
    return products.astype(dtype), sums.astype(dtype), (outs, numbers)


def _backward(
    lowered: Lowered,
    g: Array,
    images: Array,
    weight: Array,
    all_places: list[Array],
    kept: tuple[Any, ...] | None,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """From the gradient of the pooled result to those of images, weight and bias."""
    ph, pw = lowered.pool
    dtype = g.dtype
    gx = empty_like(images) if needs[0] else None
    total = np.zeros_like(lowered.pack(weight)) if needs[1] else None
    gb = np.zeros(len(weight), dtype) if needs[2] else None
    back = transposed(lowered, weight, images.shape) if needs[0] else None
    packed = lowered.pack(weight) if needs[0] and back is None else None
    # The rotated convolution reads d in the order of images, with zeros where no window pooled.
    d = None
    for k, (block, places) in enumerate(zip(lowered.blocks(len(g)), all_places, strict=True)):
        m = block.stop - block.start
        part = _blocked(lowered, g[block])
        if d is None or d.shape[4] != m:
            d = empty(lowered.result_shape(m), dtype)
        if kept is not None:
            outs, (a, b, c) = kept
            part *= a[:, 0, 0]
        for place in range(ph * pw):
            _times(part, places == place, d[:, :, place // pw, place % pw])
        if kept is not None:
            d += np.multiply(outs[k], b, out=empty_like(d))
            d += c
        elif gb is not None:
            _times(part, places != ph * pw, part)
            rows = part.reshape(lowered.groups, -1, lowered.outputs)
            gb += (np.ones((1, rows.shape[1]), dtype) @ rows).reshape(-1)
        if total is not None:
            lowered.load(images[block], m)
            lowered.add_weight_gradient(d, total)
        if gx is None:
            continue
        if back is not None:
            _input_by_rotation(lowered, *back, d, gx[block])
        else:
            padded = zeros((m, *lowered.padded_size, images.shape[3]), dtype)
            lowered.add_input_gradient(d, packed, m, padded)
            gx[block] = padded[:, lowered.inside[0], lowered.inside[1]]
    gw = None if total is None else lowered.unpack(total)
    return gx, gw, gb


def _input_by_rotation(lowered: Lowered, back: Lowered, packed: Array, d: Array, gx: Array) -> None:
    """gx (n, H, W, C) = the rotated convolution of d (G, P, a, b, n, Q, O/G)."""
    m, (h, w) = len(gx), lowered.covered
    pixels = zeros((m, *lowered.size, lowered.groups * lowered.outputs), d.dtype)
    target = pixels[:, :h, :w].reshape(
        m, lowered.pooled[0], lowered.pool[0], lowered.pooled[1], lowered.pool[1],
        lowered.groups, lowered.outputs,
    )  # fmt: skip
    assert np.may_share_memory(target, pixels)
    target[...] = d.transpose(4, 1, 2, 5, 3, 0, 6)
    convolve(back, packed, pixels, gx)

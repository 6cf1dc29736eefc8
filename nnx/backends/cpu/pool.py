"""Pooling on NumPy: a few images at a time, in the layout in which they lie.

The portable form reads and writes whole arrays for each place of the window; here a block of images
stays in the cache meanwhile, and what it is compared with lies in small arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array
from ..portable.pool import PoolKernels, first_inside
from ..portable.windows import Padding, Pair, taps, window_counts
from .layout import empty_like, lies_last

BLOCK_BYTES = 2**19  # of a block of images
_BITS = {np.dtype(np.float32): np.dtype(np.int32), np.dtype(np.float64): np.dtype(np.int64)}
ONE = (1, 1)


class NumpyPool(PoolKernels):
    def max_pool2d(
        self, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> tuple[Array, Array]:
        geometry = (kernel, stride, padding, dilation)
        if x.dtype not in _BITS or x.size == 0 or kernel[0] * kernel[1] > 255:
            return super().max_pool2d(x, *geometry)
        out = window_counts((x.shape[2], x.shape[3]), *geometry)
        last = lies_last(x)
        y = empty_like(last, (*x.shape[:2], *out), x.dtype)
        places = empty_like(last, y.shape, np.uint8)
        inside = [
            np.array(first_inside(out[a], stride[a], padding[a][0], dilation[a]), np.uint8)
            for a in (0, 1)
        ]
        firsts = inside[0][:, None] * np.uint8(kernel[1]) + inside[1]  # (oh, ow)
        for block in _blocks(x):
            image = _padded(x[block], padding, last, -np.inf)
            best, place = y[block], places[block]
            larger = empty_like(last, best.shape, bool)
            place[...] = firsts
            for k, tap in enumerate(taps(kernel, stride, dilation, out)):
                value = image[tap]
                if k == 0:
                    best[...] = value
                    continue
                np.greater(value, best, out=larger)
                np.maximum(value, best, out=best)
                # The largest k that was larger is the first of the largest.
                np.multiply(larger.view(np.uint8), np.uint8(k), out=larger.view(np.uint8))
                np.maximum(place, larger.view(np.uint8), out=place)
            if np.isnan(best).any():  # comparisons are blind to it
                best[...], place[...] = super().max_pool2d(x[block], *geometry)
        return y, places

    def max_pool2d_backward(
        self,
        gy: Array,
        argmax: Array,
        shape: tuple[int, ...],
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
    ) -> Array:
        if gy.dtype not in _BITS or gy.size == 0 or argmax.dtype != np.uint8:
            return super().max_pool2d_backward(gy, argmax, shape, kernel, stride, padding, dilation)
        last = lies_last(argmax)
        gx = empty_like(last, shape, gy.dtype)
        bits = _BITS[gy.dtype]
        for block in _blocks(gx):
            g, place = gy[block], argmax[block]
            part = empty_like(last, g.shape, gy.dtype)
            image = _zeros(gx[block], padding, last)
            for k, tap in enumerate(taps(kernel, stride, dilation, gy.shape[2:])):
                # On the bits: 0 times infinity is 0, and all in one pass.
                np.multiply(g.view(bits), place == k, out=part.view(bits))
                image[tap] += part
            _crop(image, gx[block], padding)
        return gx

    def avg_pool2d(
        self, x: Array, kernel: Pair, stride: Pair, padding: Padding, counted: Padding
    ) -> Array:
        if x.dtype not in _BITS or x.size == 0:
            return super().avg_pool2d(x, kernel, stride, padding, counted)
        out = window_counts((x.shape[2], x.shape[3]), kernel, stride, padding, ONE)
        divisor = self._divisor(x, x.shape, out, kernel, stride, padding, counted)
        last = lies_last(x)
        y = empty_like(last, (*x.shape[:2], *out), x.dtype)
        for block in _blocks(x):
            image, total = _padded(x[block], padding, last, 0), y[block]
            if kernel == image.shape[2:]:
                rows = np.add.reduce(image, axis=2, keepdims=True)
                total[...] = np.add.reduce(rows, axis=3, keepdims=True)
            else:  # down, then across
                rows = empty_like(last, (*image.shape[:2], out[0], image.shape[3]), x.dtype)
                _add_up(image, rows, 2, kernel[0], stride[0])
                _add_up(rows, total, 3, kernel[1], stride[1])
            total /= divisor
        return y

    def avg_pool2d_backward(
        self,
        gy: Array,
        shape: tuple[int, ...],
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        counted: Padding,
    ) -> Array:
        if gy.dtype not in _BITS or gy.size == 0:
            return super().avg_pool2d_backward(gy, shape, kernel, stride, padding, counted)
        out = (gy.shape[2], gy.shape[3])
        divisor = self._divisor(gy, shape, out, kernel, stride, padding, counted)
        last = lies_last(gy)
        gx = empty_like(last, shape, gy.dtype)
        for block in _blocks(gx):
            share = gy[block] / divisor
            image = _zeros(gx[block], padding, last)
            if kernel == image.shape[2:]:
                image += share
                _crop(image, gx[block], padding)
                continue
            rows = empty_like(last, (*share.shape[:3], image.shape[3]), gy.dtype)
            rows[...] = 0
            _spread(share, rows, 3, kernel[1], stride[1])
            _spread(rows, image, 2, kernel[0], stride[0])
            _crop(image, gx[block], padding)
        return gx


def _blocks(x: Array) -> list[slice]:
    """Slices of the images, of about BLOCK_BYTES each."""
    size = max(1, BLOCK_BYTES * len(x) // x.nbytes)
    return [slice(n, min(n + size, len(x))) for n in range(0, len(x), size)]


def _padded(x: Array, padding: Padding, last: bool, value: float) -> Array:
    """x (n, C, H, W) with a border of `value`; x itself where there is no border."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x
    n, c, h, w = x.shape
    image = empty_like(last, (n, c, top + h + bottom, left + w + right), x.dtype)
    image[:, :, :top], image[:, :, top + h :] = value, value
    image[:, :, top : top + h, :left], image[:, :, top : top + h, left + w :] = value, value
    image[:, :, top : top + h, left : left + w] = x
    return image


def _zeros(x: Array, padding: Padding, last: bool) -> Array:
    """Zeros like x with its padding: x itself, filled with zeros, where there is none."""
    (top, bottom), (left, right) = padding
    n, c, h, w = x.shape
    if top or bottom or left or right:
        x = empty_like(last, (n, c, top + h + bottom, left + w + right), x.dtype)
    x[...] = 0
    return x


def _crop(image: Array, x: Array, padding: Padding) -> None:
    """x = the padded image's middle, unless it is the same array."""
    if image.shape != x.shape:
        top, left = padding[0][0], padding[1][0]
        x[...] = image[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def _along(axis: int, place: int, step: int, count: int) -> tuple[Any, ...]:
    """The index of the pixels that a place of `count` windows falls on, along an axis."""
    pixels = slice(place, place + step * (count - 1) + 1, step)
    return (slice(None),) * axis + (pixels,)


def _add_up(x: Array, sums: Array, axis: int, kernel: int, stride: int) -> None:
    """sums = the sums of windows along an axis."""
    count = sums.shape[axis]
    sums[...] = x[_along(axis, 0, stride, count)]
    for place in range(1, kernel):
        sums += x[_along(axis, place, stride, count)]


def _spread(share: Array, x: Array, axis: int, kernel: int, stride: int) -> None:
    """x += each window's share at all its pixels along an axis."""
    count = share.shape[axis]
    for place in range(kernel):
        x[_along(axis, place, stride, count)] += share

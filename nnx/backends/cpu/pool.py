"""Pooling on NumPy: a few images at a time, in the layout in which they lie.

The portable form reads and writes whole arrays for each place of the window; here a block of images
stays in the cache meanwhile, and what it is compared with lies in small arrays.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...typing import Array
from ..portable.pool import PoolKernels, first_inside
from ..portable.window import Padding, Pair, Window
from . import thresholds
from .layout import empty_in_order, lies_last

BLOCK_BYTES = 2**19  # of a block of images
_BITS = {np.dtype(np.float32): np.dtype(np.int32), np.dtype(np.float64): np.dtype(np.int64)}


class NumpyPool(PoolKernels):
    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        if x.dtype not in _BITS or x.size == 0 or window.places > 255:
            return super().max_pool2d(x, window)
        out = window.counts((x.shape[2], x.shape[3]))
        if is_small(x, window, thresholds.POOL):
            return _largest(_windows(x, window, out))
        last = lies_last(x)
        y = empty_in_order(last, (*x.shape[:2], *out), x.dtype)
        places = empty_in_order(last, y.shape, np.uint8)
        down, across = (np.array(first, np.uint8) for first in first_inside(window, out))
        firsts = down[:, None] * np.uint8(window.kernel[1]) + across  # (oh, ow)
        for block in _blocks(x):
            image = _padded(x[block], window, last, -np.inf)
            best, place = y[block], places[block]
            larger = empty_in_order(last, best.shape, bool)
            place[...] = firsts
            for k, tap in enumerate(window.taps(out)):
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
                best[...], place[...] = super().max_pool2d(x[block], window)
        return y, places

    def max_pool2d_backward(
        self, gy: Array, argmax: Array, shape: tuple[int, ...], window: Window
    ) -> Array:
        if gy.dtype not in _BITS or gy.size == 0 or argmax.dtype != np.uint8:
            return super().max_pool2d_backward(gy, argmax, shape, window)
        last = lies_last(argmax)
        gx = empty_in_order(last, shape, gy.dtype)
        bits = _BITS[gy.dtype]
        for block in _blocks(gx):
            g, place = gy[block], argmax[block]
            part = empty_in_order(last, g.shape, gy.dtype)
            image = _zeros(gx[block], window, last)
            for k, tap in enumerate(window.taps((gy.shape[2], gy.shape[3]))):
                # On the bits: 0 times infinity is 0, and all in one pass.
                np.multiply(g.view(bits), place == k, out=part.view(bits))
                image[tap] += part
            _crop(image, gx[block], window)
        return gx

    def avg_pool2d(self, x: Array, window: Window, counted: Padding) -> Array:
        if x.dtype not in _BITS or x.size == 0:
            return super().avg_pool2d(x, window, counted)
        if is_whole(x, window):
            sums = np.add.reduce(x, axis=(2, 3), keepdims=True)
            return np.divide(sums, x.dtype.type(window.places), out=sums)
        out = window.counts((x.shape[2], x.shape[3]))
        if is_small(x, window, thresholds.POOL):
            (kh, kw), (sh, sw), _, _ = window
            if x.shape[0] * x.shape[1] * out[0] * out[1] <= thresholds.POOL_WINDOWS:
                ones, count = _ones(window.places, x.dtype)
                sums = _windows(x, window, out).dot(ones)
                return np.divide(sums, count, out=sums)
            sums = _sums(_sums(x, 2, kh, sh, out[0]), 3, kw, sw, out[1])
            return sums / x.dtype.type(kh * kw)
        divisor = self._divisor(x, x.shape, out, window, counted)
        kernel, stride = window.kernel, window.stride
        last = lies_last(x)
        y = empty_in_order(last, (*x.shape[:2], *out), x.dtype)
        for block in _blocks(x):
            image, total = _padded(x[block], window, last, 0), y[block]
            if kernel == image.shape[2:]:
                rows = np.add.reduce(image, axis=2, keepdims=True)
                total[...] = np.add.reduce(rows, axis=3, keepdims=True)
            else:  # down, then across
                rows = empty_in_order(last, (*image.shape[:2], out[0], image.shape[3]), x.dtype)
                _add_up(image, rows, 2, kernel[0], stride[0])
                _add_up(rows, total, 3, kernel[1], stride[1])
            total /= divisor
        return y

    def avg_pool2d_backward(
        self, gy: Array, shape: tuple[int, ...], window: Window, counted: Padding
    ) -> Array:
        if gy.dtype not in _BITS or gy.size == 0:
            return super().avg_pool2d_backward(gy, shape, window, counted)
        out = (gy.shape[2], gy.shape[3])
        divisor = self._divisor(gy, shape, out, window, counted)
        kernel, stride = window.kernel, window.stride
        last = lies_last(gy)
        gx = empty_in_order(last, shape, gy.dtype)
        for block in _blocks(gx):
            share = gy[block] / divisor
            image = _zeros(gx[block], window, last)
            if kernel == image.shape[2:]:
                image += share
                _crop(image, gx[block], window)
                continue
            rows = empty_in_order(last, (*share.shape[:3], image.shape[3]), gy.dtype)
            rows[...] = 0
            _spread(share, rows, 3, kernel[1], stride[1])
            _spread(rows, image, 2, kernel[0], stride[0])
            _crop(image, gx[block], window)
        return gx


def is_small(x: Array, window: Window, limit: int) -> bool:
    """Whether the fewest calls matter most: a small image, all windows of which lie inside."""
    return x.size * window.places <= limit and not window.pads


def is_whole(x: Array, window: Window) -> bool:
    """Whether the window is a small image itself, whose planes NumPy adds up at once."""
    return bool(
        window.kernel == x.shape[2:]
        and x.size <= thresholds.POOL_WHOLE
        and not window.pads
        and x.flags.c_contiguous
    )


def _windows(x: Array, window: Window, out: Pair) -> Array:
    """Every window of an image without padding in a row of its own: (N, C, oh, ow, kh kw)."""
    (kh, kw), (sh, sw), _, (dh, dw) = window
    n, c, h, w = x.shape
    oh, ow = out
    rows: Array
    if oh == ow == 1 and (kh, kw) == (h, w):
        return x.reshape(n, c, 1, 1, h * w)
    if (kh, kw) == (sh, sw) and (h, w) == (oh * kh, ow * kw):  # and so no dilation
        rows = x.reshape(n, c, oh, kh, ow, kw).transpose(0, 1, 2, 4, 3, 5)
    else:
        item, channel, row, column = x.strides
        strides = (item, channel, row * sh, column * sw, row * dh, column * dw)
        shape = (n, c, oh, ow, kh, kw)
        if x.flags.c_contiguous:  # a tenth of the time of as_strided
            rows = np.ndarray(shape, x.dtype, x, 0, strides)
        else:
            rows = as_strided(x, shape, strides, writeable=False)
    return rows.reshape(n, c, oh, ow, kh * kw)


@lru_cache(maxsize=64)
def _ones(places: int, dtype: Any) -> tuple[Array, Array]:
    """What sums a window's numbers in a product, and how many they are, as arrays."""
    return np.ones(places, dtype), np.array(places, dtype)


def _largest(windows: Array) -> tuple[Array, Array]:
    """The largest number of each row, and its place."""
    places = windows.argmax(axis=-1)  # of equal numbers the first; NaN is the largest
    starts = np.arange(0, windows.size, windows.shape[-1]).reshape(places.shape)
    return windows.reshape(-1)[starts + places], places.astype(np.uint8)


def _blocks(x: Array) -> list[slice]:
    """Slices of the images, of about BLOCK_BYTES each."""
    size = max(1, BLOCK_BYTES * len(x) // x.nbytes)
    return [slice(n, min(n + size, len(x))) for n in range(0, len(x), size)]


def _padded(x: Array, window: Window, last: bool, value: float) -> Array:
    """x (n, C, H, W) with a border of `value`; x itself where there is no border."""
    if not window.pads:
        return x
    n, c, h, w = x.shape
    image = empty_in_order(last, (n, c, *window.padded((h, w))), x.dtype)
    rows, columns = window.inside((h, w))
    image[:, :, : rows.start], image[:, :, rows.stop :] = value, value
    image[:, :, rows, : columns.start], image[:, :, rows, columns.stop :] = value, value
    image[:, :, rows, columns] = x
    return image


def _zeros(x: Array, window: Window, last: bool) -> Array:
    """Zeros like x with its padding: x itself, filled with zeros, where there is none."""
    if window.pads:
        n, c, h, w = x.shape
        x = empty_in_order(last, (n, c, *window.padded((h, w))), x.dtype)
    x[...] = 0
    return x


def _crop(image: Array, x: Array, window: Window) -> None:
    """x = the padded image's middle, unless it is the same array."""
    if window.pads:
        rows, columns = window.inside((x.shape[2], x.shape[3]))
        x[...] = image[:, :, rows, columns]


def _along(axis: int, place: int, step: int, count: int) -> tuple[Any, ...]:
    """The index of the pixels that a place of `count` windows falls on, along an axis."""
    pixels = slice(place, place + step * (count - 1) + 1, step)
    return (slice(None),) * axis + (pixels,)


def _sums(x: Array, axis: int, kernel: int, stride: int, count: int) -> Array:
    """The sums of `count` windows along an axis: a new array, or x itself for windows of one."""
    whole, stop = (slice(None),) * axis, stride * (count - 1) + 1
    total = x[(*whole, slice(0, stop, stride))]
    if kernel > 1:
        total = total + x[(*whole, slice(1, stop + 1, stride))]
    for place in range(2, kernel):
        total += x[(*whole, slice(place, stop + place, stride))]
    return total


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

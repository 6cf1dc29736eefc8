"""Pooling by its definition, a loop over every window (Xu 4.4), and the textbook's way (5.2.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .conv import NO_PADDING, Pair, output_size


def _windows(
    shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair,
) -> Iterator[tuple[Pair, list[Pair]]]:
    """For every window, its index in the result and the pixels (row, column) it sees, in
    row-major order, those in the padding left out."""
    (kh, kw), (sh, sw), (dh, dw) = kernel, stride, dilation
    (h, w), ((top, _), (left, _)) = shape[2:], padding
    for p in range(output_size(h, kh, sh, padding[0], dh)):
        for q in range(output_size(w, kw, sw, padding[1], dw)):
            places = [
                (p * sh - top + i * dh, q * sw - left + j * dw)
                for i in range(kh)
                for j in range(kw)
            ]
            yield (p, q), [(r, c) for r, c in places if 0 <= r < h and 0 <= c < w]


def max_pool2d(
    x: np.ndarray,
    kernel: Pair,
    stride: Pair,
    padding: tuple[Pair, Pair] = NO_PADDING,
    dilation: Pair = (1, 1),
) -> tuple[np.ndarray, np.ndarray]:
    """The largest value of each window, and where in the image it stands.

    x (N, C, H, W) -> y (N, C, oh, ow), and of the same shape row W + column, int64: of equal values
    the first, and the first NaN before all.

    Args:
        kernel, stride, dilation: (down, across).
        padding: ((top, bottom), (left, right)); what is put there is never chosen.
    """
    n_images, n_channels, h, w = x.shape
    oh = output_size(h, kernel[0], stride[0], padding[0], dilation[0])
    ow = output_size(w, kernel[1], stride[1], padding[1], dilation[1])
    y = np.empty((n_images, n_channels, oh, ow), x.dtype)
    where = np.empty(y.shape, np.int64)
    for (p, q), pixels in _windows(x.shape, kernel, stride, padding, dilation):
        for n in range(n_images):
            for c in range(n_channels):
                best = pixels[0]
                for pixel in pixels:
                    larger = x[n, c][pixel] > x[n, c][best]
                    if larger or (np.isnan(x[n, c][pixel]) and not np.isnan(x[n, c][best])):
                        best = pixel
                y[n, c, p, q] = x[n, c][best]
                where[n, c, p, q] = best[0] * w + best[1]
    return y, where


def max_pool2d_backward(gy: np.ndarray, where: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Each window's gradient goes to the pixel it chose.

    Args:
        gy: the gradient of y (N, C, oh, ow).
        where: what `max_pool2d` gave beside y.
        shape: of x, and so of what is returned, (N, C, H, W).
    """
    gx = np.zeros(shape, gy.dtype)
    for n, c, p, q in np.ndindex(gy.shape):
        gx[n, c].flat[where[n, c, p, q]] += gy[n, c, p, q]
    return gx


def max_pool2d_columns(x: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The textbook's fast version (Xu 5.2.2), for windows that touch: every window a row.

    x (N, C, H, W) -> y (N, C, H/size, W/size), and for each window a one at the place chosen and
    zeros elsewhere (N, C, windows, size²).
    """
    n, c, h, w = x.shape
    oh, ow = h // size, w // size
    rows = np.empty((n, c, oh * ow, size * size), x.dtype)
    for k in range(oh * ow):
        p, q = k // ow * size, k % ow * size
        rows[:, :, k] = x[:, :, p : p + size, q : q + size].reshape(n, c, -1)
    chosen = np.eye(size * size, dtype=x.dtype)[rows.argmax(axis=3)]
    return rows.max(axis=3).reshape(n, c, oh, ow), chosen


def max_pool2d_columns_backward(gy: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Each window's gradient spread over all of it, times the ones and zeros.

    Args:
        gy: the gradient of y (N, C, oh, ow).
        chosen: what `max_pool2d_columns` gave beside y, (N, C, windows, size²).

    Returns:
        The gradient of x (N, C, H, W).
    """
    n, c, oh, ow = gy.shape
    size = math.isqrt(chosen.shape[3])
    spread = np.zeros((n, c, oh * size, ow * size), gy.dtype)
    mask = np.zeros_like(spread)
    for k in range(oh * ow):
        p, q = k // ow * size, k % ow * size
        mask[:, :, p : p + size, q : q + size] = chosen[:, :, k].reshape(n, c, size, size)
        for i in range(size):
            for j in range(size):
                spread[:, :, p + i, q + j] = gy[:, :, k // ow, k % ow]
    return spread * mask


def avg_pool2d(
    x: np.ndarray,
    kernel: Pair,
    stride: Pair,
    padding: tuple[Pair, Pair] = NO_PADDING,
    count_include_pad: bool = True,
) -> np.ndarray:
    """The mean of each window: x (N, C, H, W) -> (N, C, oh, ow).

    Args:
        kernel, stride: (down, across).
        padding: ((top, bottom), (left, right)) zeros.
        count_include_pad: whether these zeros count in the mean.
    """
    oh = output_size(x.shape[2], kernel[0], stride[0], padding[0], 1)
    ow = output_size(x.shape[3], kernel[1], stride[1], padding[1], 1)
    y = np.empty((*x.shape[:2], oh, ow), x.dtype)
    for (p, q), pixels in _windows(x.shape, kernel, stride, padding, (1, 1)):
        count = kernel[0] * kernel[1] if count_include_pad else len(pixels)
        y[:, :, p, q] = sum(x[:, :, r, c] for r, c in pixels) / count
    return y


def avg_pool2d_backward(
    gy: np.ndarray,
    shape: tuple[int, ...],
    kernel: Pair,
    stride: Pair,
    padding: tuple[Pair, Pair] = NO_PADDING,
    count_include_pad: bool = True,
) -> np.ndarray:
    """Each pixel of a window gets an even share of its gradient.

    Args:
        gy: the gradient of y (N, C, oh, ow).
        shape: of x, and so of what is returned, (N, C, H, W).
        kernel, stride, padding, count_include_pad: what `avg_pool2d` was given.
    """
    gx = np.zeros(shape, gy.dtype)
    for (p, q), pixels in _windows(shape, kernel, stride, padding, (1, 1)):
        count = kernel[0] * kernel[1] if count_include_pad else len(pixels)
        for r, c in pixels:
            gx[:, :, r, c] += gy[:, :, p, q] / count
    return gx

"""Convolution whose windows do not overlap, on NumPy: a dense layer for every window.

    y[(n, p, q), o] = Σ_k X[(n, p, q), k] w[o, k] + b[o]        k = (i, j, c)
    X[(n, p, q), (i, j, c)] = x[n, p s + i d, q s + j d, c]

No pixel is in two windows, so X holds each once: with channels last it is the image in another
order, or with a kernel of 1x1 and no stride the image itself.  The gradients are those of a dense
layer: with G the gradient of y, a row for each window,

    dL/dX = G w        dL/dw = Gᵀ X        dL/db = Σ G

and dL/dx is dL/dX in the image's order, with 0 where no window looks.  That is the transpose of the
convolution too, which makes images larger.

Products are made of ROWS windows at a time: a BLAS is quicker with them than with all, as both
factors then stay in the cache (the weight's gradient 0.66 of the time with 25,088 pixels, 32 to 32
channels).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array
from ...portable.residuals import Residuals
from ...portable.window import Window
from ..layout import (
    FLOATS,
    channels_second,
    contiguous,
    contiguous_channels_last,
    overlapping,
)
from ..memory import empty, zeros

ROWS = 768  # windows in a product


class Tiles(Residuals):
    """What `forward` keeps."""

    __slots__ = ()


def are_apart(x: Array, window: Window, groups: int) -> bool:
    """Whether no two windows see the same pixel, and all see all channels."""
    (down, across), (sh, sw) = window.extent, window.stride
    return (
        down <= sh
        and across <= sw
        and groups == 1
        and not window.pads
        and x.dtype in FLOATS
        and x.size > 0
    )


def forward(
    kernels: Any, x: Array, weight: Array, bias: Array | None, window: Window
) -> tuple[Array, Residuals]:
    """x (N, C, H, W), weight (O, C, kh, kw), bias (O,) or None -> y (N, O, oh, ow), kept."""
    images = contiguous_channels_last(x)
    seen = _seen(images, window)
    matrix = _matrix(weight)
    rows = contiguous(seen).reshape(-1, matrix.shape[1])
    y = empty((*seen.shape[:3], len(matrix)), x.dtype)
    out = y.reshape(len(rows), -1)
    kernels.in_parts(products, _count(rows), rows, matrix.T, bias, out)
    return channels_second(y), Tiles((rows, x.shape, weight, window))


def backward(
    kernels: Any, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None, Array | None]:
    """The gradients of x, weight and bias that are needed; None for the others."""
    rows, shape, weight, window = residuals
    d = contiguous_channels_last(gy)
    gx = gw = gb = None
    if needs[0]:
        gx = transposed(kernels, channels_second(d), weight, shape, window)
    d = d.reshape(len(rows), -1)
    if needs[1]:
        total = empty((_count(d), d.shape[1], rows.shape[1]), d.dtype)
        kernels.in_parts(weight_gradients, len(total), d, rows, total)
        o, c, kh, kw = weight.shape
        gw = np.add.reduce(total, axis=0).reshape(o, kh, kw, c).transpose(0, 3, 1, 2)
        gw = np.ascontiguousarray(gw)
    if needs[2]:
        gb = sum_of_rows(kernels, d)
    return gx, gw, gb


def transposed(
    kernels: Any, gy: Array, weight: Array, shape: tuple[int, ...], window: Window
) -> Array:
    """The input gradient alone: gy (N, O, oh, ow) -> `shape`."""
    d = contiguous_channels_last(gy)
    n, c, h, w = shape
    (kh, kw), (oh, ow) = window.kernel, d.shape[1:3]
    covered = (oh * kh, ow * kw) == (h, w)
    gx = (empty if covered else zeros)((n, h, w, c), d.dtype)
    seen = _seen(gx, window)
    direct = seen.flags.c_contiguous  # one image's may be, and yet end before it
    cols = seen if direct else empty(seen.shape, d.dtype)
    rows, out = d.reshape(-1, d.shape[3]), cols.reshape(n * oh * ow, -1)
    kernels.in_parts(products, _count(rows), rows, _matrix(weight), None, out)
    if not direct:
        seen[...] = cols
    return channels_second(gx)


def _seen(images: Array, window: Window) -> Array:
    """What windows see of images (n, H, W, C): (n, oh, ow, kh, kw, C), a view."""
    (kh, kw), (sh, sw), _, (dh, dw) = window
    n, h, w, c = images.shape
    item, row, column, channel = images.strides
    return overlapping(
        images,
        (n, *window.counts((h, w)), kh, kw, c),
        (item, row * sh, column * sw, row * dh, column * dw, channel),
    )


def _matrix(weight: Array) -> Array:
    """(O, C, kh, kw) -> (O, kh kw C)."""
    return weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)


def products(lo: int, hi: int, rows: Array, matrix: Array, bias: Array | None, out: Array) -> None:
    """out = rows · matrix + bias, for the pieces lo..hi of ROWS rows."""
    for k in range(lo, hi):
        piece = slice(k * ROWS, (k + 1) * ROWS)
        y = out[piece]
        np.matmul(rows[piece], matrix, out=y)
        if bias is not None:
            y += bias


def weight_gradients(lo: int, hi: int, d: Array, rows: Array, total: Array) -> None:
    """total[k] = dᵀ · rows of part k, for the parts lo..hi that all rows are divided into."""
    count, n = len(total), len(rows)
    for k in range(lo, hi):
        piece = slice(n * k // count, n * (k + 1) // count)
        np.matmul(d[piece].T, rows[piece], out=total[k])


def sum_of_rows(kernels: Any, rows: Array) -> Array:
    """(N, C) -> (C,): a product with ones, 0.12 of `np.add.reduce`'s time for 25,088 rows of 32."""
    total = empty((1, rows.shape[1]), rows.dtype)
    kernels.in_parts(_sum, 1, np.ones((1, len(rows)), rows.dtype), rows, total)
    return total[0]


def _sum(lo: int, hi: int, ones: Array, rows: Array, total: Array) -> None:
    np.matmul(ones, rows, out=total)


def _count(rows: Array) -> int:
    """How many pieces of ROWS rows there are."""
    return -(-len(rows) // ROWS)

"""Convolution by columns on NumPy, for little work: every window laid out, then one product.

Laying out whole windows writes kh kw times the image, which the layouts of `conv.py` save; but
those cost some sixty calls before the first product.  Where all columns fit into a corner of the
cache, or a window holds so few numbers that a row of it is no operand for a product, they are the
slower way.  So with many groups, whose windows are small: here a group's images and its columns are
planes, copied along their rows.

The input gradient is col2im of the product Wᵀ G or, without a stride, the convolution of G with the
kernel turned round (`nnx.ops.windows.conv.Conv2d`): whichever moves fewer numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....typing import Array
from ...portable.residuals import Residuals
from ...portable.window import Window
from .. import thresholds
from ..layout import FLOATS, contiguous
from ..memory import empty

BLOCK_BYTES = 2**20  # of columns that are laid out at once


class Columns(Residuals):
    """What `forward` keeps."""

    __slots__ = ()


def are_small(x: Array, weight: Array, window: Window, groups: int, few: bool = True) -> bool:
    """Whether columns are the quicker way for images like x (N, C, H, W), counted in bytes.

    few: also where windows hold few numbers, however many there are.
    """
    if x.size == 0 or x.dtype not in FLOATS:
        return False
    numbers = weight.shape[1] * window.places
    if groups > 1:
        return bool(numbers <= thresholds.COLUMN_GROUP)
    if few and numbers <= thresholds.COLUMN_NUMBERS:
        return True
    oh, ow = window.counts((x.shape[2], x.shape[3]))
    return bool(len(x) * numbers * oh * ow * x.itemsize <= thresholds.COLUMN_BYTES)


def forward(
    kernels: Any, x: Array, weight: Array, bias: Array | None, window: Window, groups: int
) -> tuple[Array, Residuals]:
    """x (N, C, H, W), weight (O, C/G, kh, kw), bias (O,) or None -> y (N, O, oh, ow), kept."""
    x = contiguous(x)
    y = empty((len(x), len(weight), *window.counts((x.shape[2], x.shape[3]))), x.dtype)
    _convolve(kernels, x, weight, bias, window, groups, y)
    return y, Columns((x, weight, window, groups))


def _convolve(
    kernels: Any,
    x: Array,
    weight: Array,
    bias: Array | None,
    window: Window,
    groups: int,
    y: Array,
) -> None:
    """y (N, O, oh, ow) = the convolution of x (N, C, H, W) in planes."""
    rows = weight.reshape(groups, len(weight) // groups, -1)
    out = y.reshape(len(x), *rows.shape[:2], -1)
    blocks = _blocks(len(x), rows.shape[2] * groups * out.shape[3] * x.itemsize)

    def run(lo: int, hi: int) -> None:
        for images in blocks[lo:hi]:
            # (G, O/G, C/G kh kw) x (n, G, C/G kh kw, oh ow) -> (n, G, O/G, oh ow)
            np.matmul(rows, _columns(kernels, x[images], window, groups), out=out[images])
            if bias is not None:
                y[images] += bias[:, None, None]

    _in_parts(kernels, run, blocks)


def backward(
    kernels: Any, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None, Array | None]:
    """The gradients of x, weight and bias that are needed; None for the others."""
    x, weight, window, groups = residuals
    gy = contiguous(gy)
    gx = transposed(kernels, gy, weight, x.shape, window, groups) if needs[0] else None
    gw = _weight_gradient(kernels, gy, x, weight, window, groups) if needs[1] else None
    return gx, gw, np.add.reduce(gy, axis=(0, 2, 3)) if needs[2] else None


def _weight_gradient(
    kernels: Any, gy: Array, x: Array, weight: Array, window: Window, groups: int
) -> Array:
    n, o, oh, ow = gy.shape
    g = gy.reshape(n, groups, o // groups, oh * ow)
    numbers = weight.size // o
    blocks = _blocks(n, numbers * groups * oh * ow * x.itemsize)
    total = empty((len(blocks), groups, o // groups, numbers), gy.dtype)  # each block's own

    def run(lo: int, hi: int) -> None:
        for k in range(lo, hi):
            cols = _columns(kernels, x[blocks[k]], window, groups)
            # (n, G, O/G, oh ow) x (n, G, oh ow, C/G kh kw), added up over images
            np.add.reduce(np.matmul(g[blocks[k]], cols.swapaxes(2, 3)), axis=0, out=total[k])

    _in_parts(kernels, run, blocks)
    return np.add.reduce(total, axis=0).reshape(weight.shape)


def transposed(
    kernels: Any,
    gy: Array,
    weight: Array,
    shape: tuple[int, ...],
    window: Window,
    groups: int,
) -> Array:
    """The input gradient alone: gy (N, O, oh, ow) -> `shape`."""
    gy = contiguous(gy)
    n, o, oh, ow = gy.shape
    gx = empty(shape, gy.dtype)
    turned = window.turned()
    if turned is not None and o <= 2 * shape[1]:
        _convolve(kernels, gy, turned_kernel(weight, groups), None, turned, groups, gx)
        return gx
    g = gy.reshape(n, groups, o // groups, oh * ow)
    columns = weight.reshape(groups, o // groups, -1).swapaxes(1, 2)
    blocks = _blocks(n, columns.shape[1] * groups * oh * ow * gy.itemsize)

    def run(lo: int, hi: int) -> None:
        for images in blocks[lo:hi]:
            # (G, C/G kh kw, O/G) x (n, G, O/G, oh ow)
            m = images.stop - images.start
            cols = empty((m, groups, columns.shape[1], oh * ow), gy.dtype)
            np.matmul(columns, g[images], out=cols)
            cols = cols.reshape(m, -1, oh * ow)
            gx[images] = kernels.col2im(cols, (m, *shape[1:]), window)

    _in_parts(kernels, run, blocks)
    return gx


def turned_kernel(weight: Array, groups: int) -> Array:
    """(O, C/G, kh, kw) -> (C, O/G, kh, kw), rotated by 180°, within each group."""
    o, c, kh, kw = weight.shape
    w = weight.reshape(groups, o // groups, c, kh, kw)[..., ::-1, ::-1]
    return w.transpose(0, 2, 1, 3, 4).reshape(c * groups, o // groups, kh, kw)


def _columns(kernels: Any, x: Array, window: Window, groups: int) -> Array:
    """(n, C, H, W) -> (n, G, C/G kh kw, oh ow)."""
    cols = kernels.im2col(x, window)
    return cols.reshape(len(x), groups, -1, cols.shape[2])


def _in_parts(kernels: Any, run: Callable[[int, int], None], blocks: list[slice]) -> None:
    """Do all blocks; one block alone asks nobody, which for little work would be most of it."""
    if len(blocks) > 1:
        kernels.in_parts(run, len(blocks))
    else:
        run(0, len(blocks))


def _blocks(n: int, bytes_each: int) -> list[slice]:
    step = max(1, BLOCK_BYTES // max(1, bytes_each))
    return [slice(k, min(n, k + step)) for k in range(0, n, step)]

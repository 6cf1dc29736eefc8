"""Convolution by columns on NumPy, for little work: every window laid out, then one product.

Laying out whole windows writes kh kw times the image, which the layouts of `conv.py` save; but
those cost some sixty calls before the first product.  Where all columns fit into a corner of the
cache, or a window holds so few numbers that a row of it is no operand for a product, they are the
slower way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array
from ...portable.residuals import Residuals
from ...portable.window import Window
from .. import thresholds
from ..layout import FLOATS
from ..memory import empty

BLOCK_BYTES = 2**20  # of columns that are laid out at once


class Columns(Residuals):
    """What `forward` keeps."""

    __slots__ = ()


def are_small(x: Array, weight: Array, window: Window, groups: int, few: bool = True) -> bool:
    """Whether columns are the quicker way for images like x (N, C, H, W), counted in bytes.

    few: also where windows hold few numbers, however many there are.
    """
    if groups != 1 or x.size == 0 or x.dtype not in FLOATS:
        return False
    numbers = weight.shape[1] * window.places
    if few and numbers <= thresholds.COLUMN_NUMBERS:
        return True
    oh, ow = window.counts((x.shape[2], x.shape[3]))
    return bool(len(x) * numbers * oh * ow * x.itemsize <= thresholds.COLUMN_BYTES)


def forward(
    kernels: Any, x: Array, weight: Array, bias: Array | None, window: Window
) -> tuple[Array, Residuals]:
    """x (N, C, H, W), weight (O, C, kh, kw), bias (O,) or None -> y (N, O, oh, ow), kept."""
    oh, ow = window.counts((x.shape[2], x.shape[3]))
    rows = weight.reshape(len(weight), -1)
    y = empty((len(x), len(weight), oh * ow), x.dtype)
    for images in _blocks(len(x), rows.shape[1] * oh * ow * x.itemsize):
        # (O, C kh kw) x (n, C kh kw, oh ow) -> (n, O, oh ow)
        np.matmul(rows, kernels.im2col(x[images], window), out=y[images])
    if bias is not None:
        y += bias[:, None]
    return y.reshape(len(x), len(weight), oh, ow), Columns((x, weight, window))


def backward(
    kernels: Any, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None, Array | None]:
    """The gradients of x, weight and bias that are needed; None for the others."""
    x, weight, window = residuals
    gw = None
    if needs[1]:
        n, o, oh, ow = gy.shape
        g = gy.reshape(n, o, oh * ow)
        gw = np.zeros((o, weight.size // o), gy.dtype)
        for images in _blocks(n, gw.shape[1] * oh * ow * x.itemsize):
            cols = kernels.im2col(x[images], window)
            # (n, O, oh ow) x (n, oh ow, C kh kw), added up over images
            gw += np.matmul(g[images], cols.swapaxes(1, 2)).sum(axis=0)
        gw = gw.reshape(weight.shape)
    gx = transposed(kernels, gy, weight, x.shape, window) if needs[0] else None
    return gx, gw, np.add.reduce(gy, axis=(0, 2, 3)) if needs[2] else None


def transposed(
    kernels: Any, gy: Array, weight: Array, shape: tuple[int, ...], window: Window
) -> Array:
    """The input gradient alone: gy (N, O, oh, ow) -> `shape`."""
    n, o, oh, ow = gy.shape
    g, columns = gy.reshape(n, o, oh * ow), weight.reshape(o, -1).T
    gx = empty(shape, gy.dtype)
    for images in _blocks(n, len(columns) * oh * ow * gy.itemsize):
        # (C kh kw, O) x (n, O, oh ow)
        cols = empty((images.stop - images.start, len(columns), oh * ow), gy.dtype)
        np.matmul(columns, g[images], out=cols)
        gx[images] = kernels.col2im(cols, (len(cols), *shape[1:]), window)
    return gx


def _blocks(n: int, bytes_each: int) -> list[slice]:
    step = max(1, BLOCK_BYTES // max(1, bytes_each))
    return [slice(k, min(n, k + step)) for k in range(0, n, step)]

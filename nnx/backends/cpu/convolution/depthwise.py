"""Depthwise convolution, as many groups as channels, on NumPy: plane by plane, along long runs.

Each channel has a kernel of its own, so there is no product of matrices.  A plane is padded; its
result is computed in rows as wide as the padded plane and at every pixel, so that each place of the
kernel is one multiplication of one long run; the windows are picked out afterwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array
from ...portable.residuals import Residuals
from ...portable.window import Window
from ..layout import FLOATS
from ..memory import empty, zeros

BLOCK_BYTES = 2**18  # of the planes that are worked on at once


class Depthwise(Residuals):
    """What `forward` keeps."""

    __slots__ = ()


def is_depthwise(x: Array, weight: Array, groups: int) -> bool:
    """Whether every channel is convolved with one kernel of its own."""
    return x.dtype in FLOATS and x.size > 0 and groups == len(weight) > 1 and weight.shape[1] == 1


class _Planes:
    """One convolution's shapes and scratch arrays, for blocks of planes."""

    def __init__(self, shape: tuple[int, ...], weight: Array, window: Window) -> None:
        n, _, h, w = shape
        (kh, kw), stride, _, dilation = self.window = window
        self.size, self.padded = (h, w), window.padded((h, w))
        self.out = window.counts(self.size)
        wide = self.padded[1]
        # From the first window's begin to the last's; and where each place of the kernel begins.
        self.reach = (self.out[0] - 1) * stride[0] * wide + (self.out[1] - 1) * stride[1] + 1
        self.places = [
            i * dilation[0] * wide + j * dilation[1] for i in range(kh) for j in range(kw)
        ]
        self.kernels = np.tile(weight.reshape(len(weight), -1), (n, 1))  # (N C, kh kw)
        each = self.padded[0] * wide * weight.itemsize
        self.block = max(1, min(len(self.kernels), BLOCK_BYTES // each))

    def blocks(self) -> list[slice]:
        count = len(self.kernels)
        return [slice(k, min(k + self.block, count)) for k in range(0, count, self.block)]

    def images(self, dtype: Any) -> Array:
        """Padded planes of zeros, each in one row."""
        return zeros((self.block, self.padded[0] * self.padded[1]), dtype)

    def results(self, dtype: Any) -> Array:
        """Zeros for the results at every pixel, each plane's in one row."""
        return zeros((self.block, self.out[0] * self.window.stride[0] * self.padded[1]), dtype)

    def inside(self, images: Array) -> Array:
        """The planes within their padding, (planes, h, w), a view."""
        rows, columns = self.window.inside(self.size)
        return images.reshape(-1, *self.padded)[:, rows, columns]

    def windows(self, results: Array) -> Array:
        """The results where windows begin, (planes, oh, ow), a view."""
        (oh, ow), (sh, sw) = self.out, self.window.stride
        rows = results.reshape(-1, oh, sh * self.padded[1])
        return rows[:, :, : (ow - 1) * sw + 1 : sw]


def forward(x: Array, weight: Array, bias: Array | None, window: Window) -> tuple[Array, Residuals]:
    """x (N, C, H, W), weight (C, 1, kh, kw), bias (C,) or None -> y (N, C, oh, ow), saved."""
    p = _Planes(x.shape, weight, window)
    x = np.ascontiguousarray(x)
    planes = x.reshape(-1, *p.size)
    y = empty((len(planes), *p.out), x.dtype)
    images, full = p.images(x.dtype), p.results(x.dtype)
    scratch = empty((p.block, p.reach), x.dtype)
    for part in p.blocks():
        m = part.stop - part.start
        p.inside(images[:m])[...] = planes[part]
        out, term = full[:m, : p.reach], scratch[:m]
        for k, start in enumerate(p.places):
            seen = images[:m, start : start + p.reach]
            np.multiply(seen, p.kernels[part, k, None], out=term if k else out)
            if k:
                np.add(out, term, out=out)
        y[part] = p.windows(full[:m])
    y = y.reshape(*x.shape[:2], *p.out)
    if bias is not None:
        y += bias[:, None, None]
    return y, Depthwise((x, weight, window))


def backward(
    gy: Array, residuals: Residuals, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None, Array | None]:
    """The gradients of x, weight and bias that are needed; None for the others."""
    x, weight, window = residuals
    gx, gw = _gradients(x, gy, x.shape, weight, window, *needs[:2])
    return gx, gw, np.add.reduce(gy, axis=(0, 2, 3)) if needs[2] else None


def transposed(gy: Array, weight: Array, shape: tuple[int, ...], window: Window) -> Array:
    """The input gradient alone: gy (N, C, oh, ow) -> `shape`."""
    return _gradients(gy, gy, shape, weight, window, True, False)[0]


def _gradients(
    x: Array,
    gy: Array,
    shape: tuple[int, ...],
    weight: Array,
    window: Window,
    needs_x: bool,
    needs_w: bool,
) -> tuple[Array | None, Array | None]:
    if not (needs_x or needs_w):
        return None, None
    p = _Planes(shape, weight, window)
    g = np.ascontiguousarray(gy).reshape(-1, *p.out)
    gx = empty((len(g), *p.size), g.dtype)
    gw = empty((len(g), len(p.places)), g.dtype)
    images, gradients, spread = p.images(g.dtype), p.images(g.dtype), p.results(g.dtype)
    scratch = empty((p.block, p.reach), g.dtype)
    for part in p.blocks():
        m = part.stop - part.start
        p.windows(spread[:m])[...] = g[part]
        d, term = spread[:m, : p.reach], scratch[:m]
        if needs_w:
            p.inside(images[:m])[...] = x.reshape(-1, *p.size)[part]
        gradients[...] = 0
        for k, start in enumerate(p.places):
            here = slice(start, start + p.reach)
            if needs_w:
                gw[part, k] = np.einsum("pk,pk->p", d, images[:m, here])
            if needs_x:
                np.multiply(d, p.kernels[part, k, None], out=term)
                np.add(gradients[:m, here], term, out=gradients[:m, here])
        gx[part] = p.inside(gradients[:m])
    total = None
    if needs_w:  # else its numbers are what stood there before
        total = np.add.reduce(gw.reshape(shape[0], -1), axis=0).reshape(weight.shape)
    return gx.reshape(shape) if needs_x else None, total

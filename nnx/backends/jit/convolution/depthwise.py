"""Depthwise convolution of float32, as many groups as channels, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array
from ...cpu.convolution.depthwise import is_depthwise
from ...cpu.convolution.tiles import sum_of_rows
from ...cpu.layout import channels_second, contiguous_channels_last
from ...cpu.memory import empty
from ...portable.residuals import Residuals
from ...portable.window import Window
from .. import thresholds
from ..codegen import threads


class Depthwise(Residuals):
    """What `forward` keeps."""

    __slots__ = ()


def takes(x: Array, weight: Array, groups: int) -> bool:
    """Whether every channel has a kernel of its own, and the loops are made for this dtype."""
    return is_depthwise(x, weight, groups) and x.dtype == np.float32


def forward(x: Array, weight: Array, bias: Array | None, window: Window) -> tuple[Array, Residuals]:
    """x (N, C, H, W), weight (C, 1, kh, kw), bias (C,) or None -> y (N, C, oh, ow), kept."""
    images = contiguous_channels_last(x)
    y = _convolve(images, weight, bias, window)
    return channels_second(y), Depthwise((images, weight, window))


def _convolve(images: Array, weight: Array, bias: Array | None, window: Window) -> Array:
    """Images (N, H, W, C) -> (N, oh, ow, C)."""
    from . import depthwise_loops as loops

    n, h, w, c = images.shape
    g = _geometry((n, c, h, w), window)
    kernel = _kernel(weight)
    shift = np.zeros(kernel.shape[1], images.dtype)
    if bias is not None:
        shift[:c] = bias
    y = empty((n, *g[4:6], c), images.dtype)
    _split(loops.forward, images, _flat(images), _flat(kernel), shift, _flat(y), c, g)
    return y


def backward(
    kernels: Any, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None, Array | None]:
    """The gradients of x, weight and bias that are needed; None for the others."""
    images, weight, window = residuals
    d = contiguous_channels_last(gy)
    gx, gw = _gradients(images, d, images.shape, weight, window, *needs[:2])
    gb = sum_of_rows(kernels, d.reshape(-1, len(weight))) if needs[2] else None
    return None if gx is None else channels_second(gx), gw, gb


def transposed(gy: Array, weight: Array, shape: tuple[int, ...], window: Window) -> Array:
    """The input gradient alone: gy (N, C, oh, ow) -> `shape`."""
    n, c, h, w = shape
    d = contiguous_channels_last(gy)
    gx = _gradients(d, d, (n, h, w, c), weight, window, True, False)[0]
    assert gx is not None
    return channels_second(gx)


def _gradients(
    images: Array,
    d: Array,
    shape: tuple[int, ...],
    weight: Array,
    window: Window,
    needs_x: bool,
    needs_w: bool,
) -> tuple[Array | None, Array | None]:
    """The gradients of images (N, H, W, C) and weight from d (N, oh, ow, C)."""
    from . import depthwise_loops as loops

    gx = None
    turned = window.turned()
    if needs_x and turned is not None:  # sums in registers: quicker than adding to each pixel
        gx, needs_x = _convolve(d, weight[..., ::-1, ::-1], None, turned), False
    if not (needs_x or needs_w):
        return gx, None
    n, h, w, c = shape
    kernel = _kernel(weight)
    spread = empty(shape if needs_x else (0,), d.dtype)
    own = empty((n, kernel.size) if needs_w else (0,), d.dtype)  # each image's, added up after
    g = _geometry((n, c, h, w), window)
    _split(
        loops.backward, images, _flat(images), _flat(d), _flat(kernel), _flat(spread), _flat(own),
        c, g,
    )  # fmt: skip
    gx = spread if needs_x else gx
    if not needs_w:
        return gx, None
    total = np.add.reduce(own, axis=0).reshape(kernel.shape)[:, :c]
    return gx, np.ascontiguousarray(total.T).reshape(weight.shape)


def _geometry(shape: tuple[int, ...], window: Window) -> tuple[int, ...]:
    """`g` of `depthwise_loops`."""
    size = (shape[2], shape[3])
    kernel, stride, ((top, _), (left, _)), dilation = window
    return (
        *size,
        *window.padded(size),
        *window.counts(size),
        *kernel,
        *stride,
        top,
        left,
        *dilation,
    )


def _kernel(weight: Array) -> Array:
    """(C, 1, kh, kw) -> (kh kw, units): channels last, zeros up to whole vectors."""
    from ..codegen.vectors import LANES

    c = len(weight)
    kernel = np.zeros((weight.size // c, -(-c // LANES) * LANES), weight.dtype)
    kernel[:, :c] = weight.reshape(c, -1).T
    return kernel


def _flat(x: Array) -> Array:
    return x.reshape(-1)


def _split(loop: Any, images: Array, *arrays: Any) -> None:
    """Run a loop over the images, as many as are worth a thread in each."""
    least = max(1, thresholds.DEPTHWISE_THREAD * len(images) // images.size)
    threads.split(loop, len(images), *arrays, least=least)

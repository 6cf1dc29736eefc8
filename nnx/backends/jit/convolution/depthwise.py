"""Depthwise convolution, as many groups as channels, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array
from ...cpu.layout import as_laid, empty_in_order, numbers, parts_of
from ...cpu.memory import empty
from ...portable.residuals import Residuals
from ...portable.window import Window
from .. import thresholds
from ..codegen import threads


class Depthwise(Residuals):
    """What `forward` keeps."""

    __slots__ = ()


def forward(x: Array, weight: Array, bias: Array | None, window: Window) -> tuple[Array, Residuals]:
    """x (N, C, H, W), weight (C, 1, kh, kw), bias (C,) or None -> y (N, C, oh, ow), saved."""
    from . import depthwise_loops as loops

    x, last = numbers(x)
    g = _geometry(x.shape, window)
    y = empty_in_order(last, (*x.shape[:2], *g[4:6]), x.dtype)
    shift = np.zeros(len(weight), x.dtype) if bias is None else np.ascontiguousarray(bias)
    loop = loops.forward_last if last else loops.forward_planes
    _split(
        loop,
        x,
        last,
        as_laid(x, last),
        _kernels(weight, last),
        shift,
        as_laid(y, last),
        g,
    )
    return y, Depthwise((x, last, weight, window))


def backward(
    gy: Array, residuals: Residuals, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None, Array | None]:
    """The gradients of x, weight and bias that are needed; None for the others."""
    x, last, weight, window = residuals
    gx, gw = _gradients(x, gy, x.shape, last, weight, window, *needs[:2])
    return gx, gw, gy.sum(axis=(0, 2, 3)) if needs[2] else None


def transposed(gy: Array, weight: Array, shape: tuple[int, ...], window: Window) -> Array:
    """The input gradient alone: gy (N, C, oh, ow) -> `shape`."""
    gy, last = numbers(gy)
    return _gradients(gy, gy, shape, last, weight, window, True, False)[0]


def _gradients(
    x: Array,
    gy: Array,
    shape: tuple[int, ...],
    last: bool,
    weight: Array,
    window: Window,
    needs_x: bool,
    needs_w: bool,
) -> tuple[Array | None, Array | None]:
    from . import depthwise_loops as loops

    if not (needs_x or needs_w):
        return None, None
    dtype, (n, c) = gy.dtype, shape[:2]
    places = window.places
    gy, _ = numbers(gy, last)
    gx = empty_in_order(last, shape if needs_x else (0, 0, 0, 0), dtype)
    own = (n, places, c) if last else (n * c, places)  # an image's or a plane's own gradients
    gw = empty(own if needs_w else (0,) * len(own), dtype)
    g = _geometry(shape, window)
    loop = loops.backward_last if last else loops.backward_planes
    arrays = (
        as_laid(x, last),
        as_laid(gy, last),
        _kernels(weight, last),
        as_laid(gx, last),
        gw,
    )
    _split(loop, gy, last, *arrays, g)
    if not needs_w:
        return gx, None
    total = np.add.reduce(gw.reshape(n, -1), axis=0)
    total = total.reshape(places, c).T if last else total
    return gx if needs_x else None, np.ascontiguousarray(total).reshape(weight.shape)


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


def _kernels(weight: Array, last: bool) -> Array:
    """(C, 1, kh, kw) -> (kh kw, C) with channels last, else (C, kh kw)."""
    kernels = weight.reshape(len(weight), -1)
    return np.ascontiguousarray(kernels.T if last else kernels)


def _split(loop: Any, image: Array, last: bool, *arrays: Any) -> None:
    """Run a loop over the image's parts, as many as are worth a thread in each."""
    parts = parts_of(image, last)
    least = max(1, thresholds.DEPTHWISE_THREAD * parts // image.size)
    threads.split(loop, parts, *arrays, least=least)

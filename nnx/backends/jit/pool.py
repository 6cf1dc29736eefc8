"""Pooling compiled by numba, on images as they lie in memory: in planes, or with channels last."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...typing import Array
from ..cpu.layout import FLOATS, as_laid, empty_in_order, numbers, parts_of
from ..cpu.pool import NumpyPool, is_small, is_whole
from ..portable.pool import pixels_counted
from ..portable.window import Padding, Window
from . import thresholds
from .codegen import threads


class JitPool(NumpyPool):
    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        if not has_floats(x) or is_small(x, window, thresholds.POOL):
            return super().max_pool2d(x, window)
        from .loops import pool as loops

        out = window.counts((x.shape[2], x.shape[3]))
        x, last = numbers(x)
        y = empty_in_order(last, (*x.shape[:2], *out), x.dtype)
        index = np.dtype(np.uint8 if window.places <= 256 else np.int32)
        places = empty_in_order(last, y.shape, index)
        g = geometry(x.shape, last, out, window)
        run(loops.max_pool, last, x, y, places, g)
        return y, places

    def max_pool2d_backward(
        self, gy: Array, argmax: Array, shape: tuple[int, ...], window: Window
    ) -> Array:
        if not has_floats(gy):
            return super().max_pool2d_backward(gy, argmax, shape, window)
        from .loops import pool as loops

        argmax, last = numbers(argmax)
        gy, _ = numbers(gy, last)
        gx = empty_in_order(last, shape, gy.dtype)
        g = geometry(shape, last, gy.shape[2:], window)
        run(loops.max_pool_backward, last, gy, argmax, gx, g)
        return gx

    def avg_pool2d(self, x: Array, window: Window, counted: Padding) -> Array:
        if is_whole(x, window) or not has_floats(x) or is_small(x, window, thresholds.POOL):
            return super().avg_pool2d(x, window, counted)
        from .loops import pool as loops

        out = window.counts((x.shape[2], x.shape[3]))
        x, last = numbers(x)
        y = empty_in_order(last, (*x.shape[:2], *out), x.dtype)
        g = geometry(x.shape, last, out, window)
        pixels = divisors(x.shape[2:], out, window, counted, x.dtype)
        run(loops.avg_pool, last, x, y, *pixels, g)
        return y

    def avg_pool2d_backward(
        self, gy: Array, shape: tuple[int, ...], window: Window, counted: Padding
    ) -> Array:
        if not has_floats(gy):
            return super().avg_pool2d_backward(gy, shape, window, counted)
        from .loops import pool as loops

        gy, last = numbers(gy)
        gx = empty_in_order(last, shape, gy.dtype)
        g = geometry(shape, last, gy.shape[2:], window)
        pixels = divisors(shape[2:], gy.shape[2:], window, counted, gy.dtype)
        run(loops.avg_pool_backward, last, gy, gx, *pixels, g)
        return gx


def has_floats(x: Array) -> bool:
    """Whether the compiled loops are made for this array."""
    return x.dtype in FLOATS and x.size > 0


def geometry(shape: tuple[int, ...], last: bool, out: Any, window: Window) -> tuple[int, ...]:
    """`g` of `loops.pool`."""
    _, c, h, w = shape
    kernel, stride, ((top, _), (left, _)), dilation = window
    return (h, w, c if last else 1, *out, *kernel, *stride, top, left, *dilation)


@lru_cache(maxsize=64)
def divisors(
    size: Any, out: Any, window: Window, counted: Padding, dtype: Any
) -> tuple[Array, Array]:
    """How many counted pixels windows have down, (oh,), and across, (ow,)."""
    down, across = pixels_counted(size, out, window, counted)
    return np.array(down, dtype), np.array(across, dtype)


def run(loop: Any, last: bool, image: Array, *rest: Any) -> None:
    """Run a loop over all parts of the image and of the arrays that go with it."""
    parts = parts_of(image, last)
    arrays = [as_laid(a, last) if isinstance(a, np.ndarray) and a.ndim == 4 else a for a in rest]
    least = max(1, thresholds.POOL_THREAD * parts // image.size)
    threads.split(loop, parts, as_laid(image, last), *arrays, least=least)

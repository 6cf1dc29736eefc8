"""Pooling compiled by numba, on images as they lie in memory: in planes, or with channels last."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...typing import Array
from ..cpu.layout import empty_like, flat, numbers, parts_of
from ..cpu.pool import NumpyPool
from ..portable.pool import pixels_counted
from ..portable.windows import Padding, Pair, window_counts
from .codegen import threads

WORTH = 2**15  # numbers of an image that are worth another thread


class JitPool(NumpyPool):
    def max_pool2d(
        self, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> tuple[Array, Array]:
        if not suits(x):
            return super().max_pool2d(x, kernel, stride, padding, dilation)
        from . import pool_loops

        out = window_counts((x.shape[2], x.shape[3]), kernel, stride, padding, dilation)
        x, last = numbers(x)
        y = empty_like(last, (*x.shape[:2], *out), x.dtype)
        places = empty_like(
            last, y.shape, np.dtype(np.uint8 if kernel[0] * kernel[1] <= 256 else np.int32)
        )
        g = geometry(x.shape, last, out, kernel, stride, padding, dilation)
        run(pool_loops.max_pool, last, x, y, places, g)
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
        if not suits(gy):
            return super().max_pool2d_backward(gy, argmax, shape, kernel, stride, padding, dilation)
        from . import pool_loops

        argmax, last = numbers(argmax)
        gy, _ = numbers(gy, last)
        gx = empty_like(last, shape, gy.dtype)
        g = geometry(shape, last, gy.shape[2:], kernel, stride, padding, dilation)
        run(pool_loops.max_pool_backward, last, gy, argmax, gx, g)
        return gx

    def avg_pool2d(
        self, x: Array, kernel: Pair, stride: Pair, padding: Padding, counted: Padding
    ) -> Array:
        if not suits(x):
            return super().avg_pool2d(x, kernel, stride, padding, counted)
        from . import pool_loops

        out = window_counts((x.shape[2], x.shape[3]), kernel, stride, padding, (1, 1))
        x, last = numbers(x)
        y = empty_like(last, (*x.shape[:2], *out), x.dtype)
        g = geometry(x.shape, last, out, kernel, stride, padding, (1, 1))
        pixels = divisors(x.shape, out, kernel, stride, padding, counted, x.dtype)
        run(pool_loops.avg_pool, last, x, y, *pixels, g)
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
        if not suits(gy):
            return super().avg_pool2d_backward(gy, shape, kernel, stride, padding, counted)
        from . import pool_loops

        gy, last = numbers(gy)
        gx = empty_like(last, shape, gy.dtype)
        g = geometry(shape, last, gy.shape[2:], kernel, stride, padding, (1, 1))
        pixels = divisors(shape, gy.shape[2:], kernel, stride, padding, counted, gy.dtype)
        run(pool_loops.avg_pool_backward, last, gy, gx, *pixels, g)
        return gx


def suits(x: Array) -> bool:
    """Whether the compiled loops are made for this array."""
    return x.dtype in (np.float32, np.float64) and x.size > 0


def geometry(
    shape: tuple[int, ...],
    last: bool,
    out: Any,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> tuple[int, ...]:
    """`g` of `pool_loops`."""
    _, c, h, w = shape
    return (h, w, c if last else 1, *out, *kernel, *stride, padding[0][0], padding[1][0], *dilation)


@lru_cache(maxsize=64)
def divisors(
    shape: tuple[int, ...],
    out: Any,
    kernel: Pair,
    stride: Pair,
    padding: Padding,
    counted: Padding,
    dtype: Any,
) -> tuple[Array, ...]:
    """How many counted pixels windows have down, (oh,), and across, (ow,)."""
    return tuple(
        np.array(
            pixels_counted(shape[2 + a], out[a], kernel[a], stride[a], padding[a], counted[a]),
            dtype,
        )
        for a in (0, 1)
    )


def run(loop: Any, last: bool, image: Array, *rest: Any) -> None:
    """Run a loop over all parts of the image and of the arrays that go with it."""
    parts = parts_of(image, last)
    arrays = [flat(a, last) if isinstance(a, np.ndarray) and a.ndim == 4 else a for a in rest]
    least = max(1, WORTH * parts // image.size)
    threads.split(loop, parts, flat(image, last), *arrays, least=least)

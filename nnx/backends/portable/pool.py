"""Pooling: the largest value of each window, or its mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...typing import Array
from .window import Padding, Pair, Window, pad, padded_zeros


class PoolKernels:
    """The derivations are in `nnx.ops.windows.pool`."""

    xp: Any
    is_float: Callable[[Any], bool]
    is_integer: Callable[[Any], bool]

    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        """The largest value of each window, and where in the window it stands.

        Equal values: the first in row-major order.  NaN is larger than all; of several, the first.
        Padding is never chosen.  x (N, C, H, W) -> y (N, C, oh, ow) and, of the same shape, the
        place i*kw + j as uint8, or as int32 where the window has more than 256 places.
        """
        xp = self.xp
        n, c, h, w = x.shape
        out = window.counts((h, w))
        least = self._least(x.dtype)
        image = pad(xp, x, window, least)
        index = xp.uint8 if window.places <= 256 else xp.int32
        # A window that holds nothing larger than that chose its first place inside the image.
        down, across = first_inside(window, out)
        first = [[window.kernel[1] * i + j for j in across] for i in down]
        places = xp.asarray(first, dtype=index, device=x.device)
        argmax = xp.zeros((n, c, *out), dtype=index, device=x.device) + places
        best = xp.full((n, c, *out), least, dtype=x.dtype, device=x.device)
        for k, tap in enumerate(window.taps(out)):
            value = image[tap]
            better = (value > best) | (xp.isnan(value) & ~xp.isnan(best))
            best = xp.where(better, value, best)
            argmax = xp.where(better, xp.asarray(k, dtype=index, device=x.device), argmax)
        return best, argmax

    def _least(self, dtype: Any) -> Any:
        """What no number of a dtype is below: -inf, the least integer, False."""
        if self.is_float(dtype):
            return -float("inf")
        return int(self.xp.iinfo(dtype).min) if self.is_integer(dtype) else False

    def max_pool2d_backward(
        self, gy: Array, argmax: Array, shape: tuple[int, ...], window: Window
    ) -> Array:
        """Send each window's gradient to the place it chose: gy (N, C, oh, ow) -> `shape`.

        Args:
            gy: the gradient of y.
            argmax: the places, as `max_pool2d` gave them.
            shape: of x (N, C, H, W).
            window: as there.
        """
        xp = self.xp
        image = padded_zeros(xp, gy, shape, window)
        zeros = xp.zeros_like(gy)
        for k, tap in enumerate(window.taps((gy.shape[2], gy.shape[3]))):
            image[tap] += xp.where(argmax == k, gy, zeros)
        return image[(..., *window.inside((shape[2], shape[3])))]

    def avg_pool2d(self, x: Array, window: Window, counted: Padding) -> Array:
        """The mean of each window: x (N, C, H, W) -> (N, C, oh, ow).

        Padding adds zeros to the sum; `counted` says how much of it, on each side, the mean's
        divisor counts as pixels.
        """
        xp = self.xp
        out = window.counts((x.shape[2], x.shape[3]))
        image = pad(xp, x, window)
        total = xp.zeros((*x.shape[:2], *out), dtype=x.dtype, device=x.device)
        for tap in window.taps(out):
            total += image[tap]
        return total / self._divisor(x, x.shape, out, window, counted)

    def avg_pool2d_backward(
        self, gy: Array, shape: tuple[int, ...], window: Window, counted: Padding
    ) -> Array:
        """Give every pixel of a window the same share of its gradient: gy (N, C, oh, ow) ->
        `shape`.

        Args:
            gy: the gradient of y.
            shape: of x (N, C, H, W).
            window, counted: as in `avg_pool2d`.
        """
        xp = self.xp
        out = (gy.shape[2], gy.shape[3])
        share = gy / self._divisor(gy, shape, out, window, counted)
        image = padded_zeros(xp, gy, shape, window)
        for tap in window.taps(out):
            image[tap] += share
        return image[(..., *window.inside((shape[2], shape[3])))]

    def _divisor(
        self,
        like: Array,
        shape: tuple[int, ...],
        out: Pair,
        window: Window,
        counted: Padding,
    ) -> Array:
        """How many counted pixels each window holds: (oh, ow)."""
        rows, columns = pixels_counted((shape[2], shape[3]), out, window, counted)
        counts = [[float(r * c) for c in columns] for r in rows]
        return self.xp.asarray(counts, dtype=like.dtype, device=like.device)

    # ---- as many windows as are asked for ----

    def adaptive_max_pool2d(self, x: Array, size: Pair) -> tuple[Array, Array]:
        """The largest value of each window of `adaptive_cells`, and the pixel it was, row * W +
        column; ties and NaN as in `max_pool2d`.  x (N, C, H, W) -> (N, C, *size), and int64."""
        xp = self.xp
        y = xp.empty((*x.shape[:2], *size), dtype=x.dtype, device=x.device)
        chosen = xp.empty(y.shape, dtype=xp.int64, device=x.device)
        width = x.shape[3]
        for p, q, rows, columns in adaptive_cells(x.shape, size):
            best = x[:, :, rows.start, columns.start]
            at = xp.full(
                best.shape, rows.start * width + columns.start, dtype=xp.int64, device=x.device
            )
            for r in range(rows.start, rows.stop):
                for c in range(columns.start, columns.stop):
                    value = x[:, :, r, c]
                    better = (value > best) | (xp.isnan(value) & ~xp.isnan(best))
                    best = xp.where(better, value, best)
                    at = xp.where(better, xp.full_like(at, r * width + c), at)
            y[:, :, p, q] = best
            chosen[:, :, p, q] = at
        return y, chosen

    def adaptive_max_pool2d_backward(
        self, gy: Array, chosen: Array, shape: tuple[int, ...]
    ) -> Array:
        """Each window's gradient at the pixel it chose: gy (N, C, oh, ow) -> `shape`.

        Args:
            gy: the gradient of y.
            chosen: the pixels, as `adaptive_max_pool2d` gave them.
            shape: of x (N, C, H, W).
        """
        xp = self.xp
        gx = xp.zeros(shape, dtype=gy.dtype, device=gy.device)
        every = xp.arange(shape[2] * shape[3], dtype=xp.int64, device=gy.device)
        pixels = xp.reshape(every, (shape[2], shape[3]))
        for p, q, rows, columns in adaptive_cells(shape, gy.shape[2:]):
            hit = chosen[:, :, p : p + 1, q : q + 1] == pixels[rows, columns]
            share = gy[:, :, p : p + 1, q : q + 1]
            gx[:, :, rows, columns] += xp.where(hit, share, xp.zeros_like(share))
        return gx

    def adaptive_avg_pool2d(self, x: Array, size: Pair) -> Array:
        """The mean of each window of `adaptive_cells`: x (N, C, H, W) -> (N, C, *size)."""
        xp = self.xp
        y = xp.empty((*x.shape[:2], *size), dtype=x.dtype, device=x.device)
        for p, q, rows, columns in adaptive_cells(x.shape, size):
            y[:, :, p, q] = xp.mean(x[:, :, rows, columns], axis=(2, 3))
        return y

    def adaptive_avg_pool2d_backward(self, gy: Array, shape: tuple[int, ...]) -> Array:
        """Each window's gradient, shared evenly by its pixels: gy (N, C, oh, ow) -> `shape` (N, C,
        H, W).
        """
        gx = self.xp.zeros(shape, dtype=gy.dtype, device=gy.device)
        for p, q, rows, columns in adaptive_cells(shape, gy.shape[2:]):
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            gx[:, :, rows, columns] += gy[:, :, p : p + 1, q : q + 1] / area
        return gx


def adaptive_cells(shape: tuple[int, ...], size: Pair) -> list[tuple[int, int, slice, slice]]:
    """Every window of adaptive pooling: where it goes, and its rows and columns.

    Window k of m along an axis of length L is floor(k L / m) .. ceil((k + 1) L / m).
    """
    rows, columns = (
        [slice(k * length // m, -(-(k + 1) * length // m)) for k in range(m)]
        for length, m in zip(shape[2:], size, strict=True)
    )
    return [(p, q, r, c) for p, r in enumerate(rows) for q, c in enumerate(columns)]


def first_inside(window: Window, out: Pair) -> tuple[list[int], list[int]]:
    """Down and across, each window's first place that is not in the padding before the image."""

    def along(axis: int) -> list[int]:
        before, stride, step = window.padding[axis][0], window.stride[axis], window.dilation[axis]
        return [max(0, -(-(before - y * stride) // step)) for y in range(out[axis])]

    return along(0), along(1)


def pixels_counted(
    size: Pair, out: Pair, window: Window, counted: Padding
) -> tuple[list[int], list[int]]:
    """Down and across, how many places of each window lie in the image or its counted padding."""

    def along(axis: int) -> list[int]:
        begins = [y * window.stride[axis] - window.padding[axis][0] for y in range(out[axis])]
        before, end = counted[axis][0], size[axis] + counted[axis][1]
        return [max(1, min(b + window.kernel[axis], end) - max(b, -before)) for b in begins]

    return along(0), along(1)

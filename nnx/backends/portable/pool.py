"""Pooling: the largest value of each window, or its mean."""

from __future__ import annotations

from typing import Any

from ...typing import Array
from .windows import Padding, Pair, padded, taps, window_counts


class PoolKernels:
    """The derivations are in `nnx.ops.windows.pool`; the geometry's four names in `windows`."""

    xp: Any

    def max_pool2d(
        self, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> tuple[Array, Array]:
        """The largest value of each window, and where in the window it stands.

        Equal values: the first in row-major order.  NaN is larger than all; of several, the first.
        Padding is never chosen.  x (N, C, H, W) -> y (N, C, oh, ow) and, of the same shape, the
        place i*kw + j as uint8, or as int32 where the window has more than 256 places.
        """
        xp = self.xp
        n, c, h, w = x.shape
        kw = kernel[1]
        out = window_counts((h, w), kernel, stride, padding, dilation)
        image = padded(xp, x, padding, -float("inf"))
        index = xp.uint8 if kernel[0] * kw <= 256 else xp.int32
        # A window that holds nothing larger than -inf chose its first place inside the image.
        first = [
            [kw * i + j for j in first_inside(out[1], stride[1], padding[1][0], dilation[1])]
            for i in first_inside(out[0], stride[0], padding[0][0], dilation[0])
        ]
        places = xp.asarray(first, dtype=index, device=x.device)
        argmax = xp.zeros((n, c, *out), dtype=index, device=x.device) + places
        best = xp.full((n, c, *out), -float("inf"), dtype=x.dtype, device=x.device)
        for k, tap in enumerate(taps(kernel, stride, dilation, out)):
            value = image[tap]
            better = (value > best) | (xp.isnan(value) & ~xp.isnan(best))
            best = xp.where(better, value, best)
            argmax = xp.where(better, xp.asarray(k, dtype=index, device=x.device), argmax)
        return best, argmax

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
        """Send each window's gradient to the place it chose: (N, C, oh, ow) -> `shape`."""
        xp = self.xp
        n, c, h, w = shape
        (top, bottom), (left, right) = padding
        out = tuple(gy.shape[2:])
        image = xp.zeros(
            (n, c, top + h + bottom, left + w + right), dtype=gy.dtype, device=gy.device
        )
        zeros = xp.zeros_like(gy)
        for k, tap in enumerate(taps(kernel, stride, dilation, out)):
            image[tap] += xp.where(argmax == k, gy, zeros)
        return image[..., top : top + h, left : left + w]

    def avg_pool2d(
        self, x: Array, kernel: Pair, stride: Pair, padding: Padding, counted: Padding
    ) -> Array:
        """The mean of each window: (N, C, H, W) -> (N, C, oh, ow).

        Padding adds zeros to the sum; `counted` says how much of it, on each side, the mean's
        divisor counts as pixels.
        """
        xp = self.xp
        out = window_counts((x.shape[2], x.shape[3]), kernel, stride, padding, (1, 1))
        image = padded(xp, x, padding)
        total = xp.zeros((*x.shape[:2], *out), dtype=x.dtype, device=x.device)
        for tap in taps(kernel, stride, (1, 1), out):
            total += image[tap]
        return total / self._divisor(x, x.shape, out, kernel, stride, padding, counted)

    def avg_pool2d_backward(
        self,
        gy: Array,
        shape: tuple[int, ...],
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        counted: Padding,
    ) -> Array:
        """Give every pixel of a window the same share of its gradient: -> `shape`."""
        xp = self.xp
        n, c, h, w = shape
        (top, bottom), (left, right) = padding
        out = tuple(gy.shape[2:])
        share = gy / self._divisor(gy, shape, out, kernel, stride, padding, counted)
        image = xp.zeros(
            (n, c, top + h + bottom, left + w + right), dtype=gy.dtype, device=gy.device
        )
        for tap in taps(kernel, stride, (1, 1), out):
            image[tap] += share
        return image[..., top : top + h, left : left + w]

    def _divisor(
        self,
        like: Array,
        shape: tuple[int, ...],
        out: Pair,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        counted: Padding,
    ) -> Array:
        """How many counted pixels each window holds: (oh, ow)."""
        rows, columns = (
            pixels_counted(shape[2 + a], out[a], kernel[a], stride[a], padding[a], counted[a])
            for a in (0, 1)
        )
        counts = [[float(r * c) for c in columns] for r in rows]
        return self.xp.asarray(counts, dtype=like.dtype, device=like.device)


def first_inside(windows: int, stride: int, before: int, dilation: int) -> list[int]:
    """Along one axis, each window's first place that is not in the padding before the image."""
    return [max(0, -(-(before - y * stride) // dilation)) for y in range(windows)]


def pixels_counted(
    size: int, windows: int, kernel: int, stride: int, padding: Pair, counted: Pair
) -> list[int]:
    """Along one axis, how many places of each window lie in the image or its counted padding."""
    begins = [y * stride - padding[0] for y in range(windows)]
    return [max(1, min(b + kernel, size + counted[1]) - max(b, -counted[0])) for b in begins]

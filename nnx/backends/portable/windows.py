"""Windows that slide over an image: where each one starts, and which pixels it sees.

Shared by convolution and pooling.  A geometry is four things:

    kernel    (kh, kw)                            the window's size
    stride    (sh, sw)                            how far it moves
    padding   ((top, bottom), (left, right))      what is added around the image
    dilation  (dh, dw)                            how far apart the pixels it sees are
"""

from __future__ import annotations

from typing import Any

from ...typing import Array

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def window_count(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    """How many windows fit along an axis; less than 1 where not even one does."""
    return (size + padding[0] + padding[1] - dilation * (kernel - 1) - 1) // stride + 1


def window_counts(
    size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[int, int]:
    """`window_count` down and across: (oh, ow)."""
    return (
        window_count(size[0], kernel[0], stride[0], padding[0], dilation[0]),
        window_count(size[1], kernel[1], stride[1], padding[1], dilation[1]),
    )


def taps(kernel: Pair, stride: Pair, dilation: Pair, out: Pair) -> list[tuple[Any, ...]]:
    """For each place in the window, row by row, the index of the pixels it falls on.

    In the padded image, place (i, j) of window (y, x) is pixel (y sh + i dh, x sw + j dw): for
    all windows at once a strided slice, (..., oh, ow).  Stops are exact, since the array API
    leaves a slice beyond the end of an axis open.
    """
    (kh, kw), (sh, sw), (dh, dw), (oh, ow) = kernel, stride, dilation, out
    rows = [slice(i * dh, i * dh + sh * (oh - 1) + 1, sh) for i in range(kh)]
    columns = [slice(j * dw, j * dw + sw * (ow - 1) + 1, sw) for j in range(kw)]
    return [(..., row, column) for row in rows for column in columns]


def padded(xp: Any, x: Array, padding: Padding, value: float = 0.0) -> Array:
    """A copy of x (N, C, H, W) with a border of `value`; x itself where there is no border."""
    (top, bottom), (left, right) = padding
    if not (top or bottom or left or right):
        return x
    n, c, h, w = x.shape
    shape = (n, c, top + h + bottom, left + w + right)
    out = xp.full(shape, value, dtype=x.dtype, device=x.device)
    out[..., top : top + h, left : left + w] = x
    return out

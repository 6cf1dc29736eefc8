"""How images (N, C, ...) lie in memory: in planes, or with the channels last.

Convolution leaves channels last; what follows keeps that, and copies nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from ...typing import Array
from . import thresholds
from .memory import copied, empty

# What tuned kernels take.  A dtype is found here by identity; beside a class, np.float32, each
# comparison takes half a microsecond.
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))

# Measured for planes to channels last, nanoseconds a number, NumPy's own copy and then ours: 4
# channels of 56x56 0.98 and 0.32, 8 of them 0.54 and 0.42; 64 of 32x32 2.85 and 0.44, 256 of 16x16
# 0.91 and 0.43, but 64 of 14x14 0.31 and 0.50.
FEW = 8  # channels
CLASH = 1024  # bytes between planes
ROOM = 2**18  # bytes of planes that are moved apart at once
ITEM = 32  # bytes: smaller pixels are copied number by number


Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# Rows beside a column, or beside one row, NumPy copies together into a buffer, unless they are as
# long as that.  With its own buffers, of 8192 numbers, rows of a thousand take half as much time
# again as with these; shorter ones are quicker together.
BUFFER = 512


def with_short_buffers(kernel: Kernel) -> Kernel:
    """A kernel during which NumPy's buffers hold BUFFER numbers.

    Not where its first array has few numbers: setting them takes as long as some passes over those.
    """

    @wraps(kernel)
    def inside(*args: Any, **options: Any) -> Any:
        if args[1].size < thresholds.NORM:
            return kernel(*args, **options)
        before = np.setbufsize(BUFFER)
        try:
            return kernel(*args, **options)
        finally:
            np.setbufsize(before)

    return inside  # type: ignore[return-value]


def contiguous(x: Array) -> Array:
    """x where it is contiguous, else a copy that is."""
    return x if x.flags.c_contiguous else copied(x)


def overlapping(
    x: Array, shape: tuple[int, ...], strides: tuple[int, ...], start: int = 0
) -> Array:
    """A view of a contiguous array in which a number may lie several times; it begins `start` bytes
    behind the array.

    `as_strided` makes views of any array, and takes ten times as long: 14 µs and 1.3.
    """
    return np.ndarray(shape, x.dtype, x, start, strides)


def channels_last(x: Array) -> Array:
    """(N, C, ...) -> (N, ..., C), a view."""
    return x.transpose(0, *range(2, x.ndim), 1)


def contiguous_channels_last(x: Array) -> Array:
    """(N, C, ...) -> (N, ..., C), contiguous: a view where x lies so, else a copy."""
    last = channels_last(x)
    if x.size < thresholds.TURN or last.flags.c_contiguous or not x.flags.c_contiguous:
        return contiguous(last)
    return _turned(x)


def _turned(x: Array) -> Array:
    """A copy of planes (N, C, ...) as (N, ..., C).

    NumPy writes a pixel's channels one after another, and reads each from a plane of its own.  Of
    few channels, each is quicker copied by itself.  Planes whose distance is a multiple of CLASH
    bytes, as 32x32 float32 are, all fall into the same few places of the cache, and push each other
    out before a line of it is used up: they are first copied to where their distance is another.
    """
    n, c = x.shape[:2]
    y = empty((n, *x.shape[2:], c), x.dtype)
    planes, pixels = x.reshape(n, c, -1), y.reshape(n, -1, c)
    if c <= FEW:
        for k in range(c):
            pixels[:, :, k] = planes[:, k]
        return y
    if planes.strides[1] % CLASH:
        np.copyto(pixels, planes.swapaxes(1, 2))
        return y
    count = planes.shape[2]
    step = min(count, max(CLASH, ROOM // c // CLASH * CLASH) // x.itemsize)
    apart = empty((c, step + 64 // x.itemsize), x.dtype)
    for k in range(n):
        for start in range(0, count, step):
            own = planes[k, :, start : start + step]
            part = apart[:, : own.shape[1]]
            part[...] = own
            pixels[k, start : start + step] = part.T
    return y


def pixels(x: Array) -> Array:
    """(..., C) -> (...), a view in which a pixel's C numbers are one item, if they are enough.

    NumPy copies items in one loop, and calls another for each short row of numbers: 0.45 of the
    time for pixels of 16 float32.
    """
    size = x.shape[-1] * x.itemsize
    if size < ITEM or x.strides[-1] != x.itemsize:
        return x
    return x.view(np.dtype((np.void, size)))[..., 0]


def channels_second(x: Array) -> Array:
    """(N, ..., C) -> (N, C, ...), a view."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1))


def lies_last(x: Array) -> bool:
    """Whether channels lie last."""
    return not x.flags.c_contiguous and channels_last(x).flags.c_contiguous


def numbers(x: Array, last: bool | None = None) -> tuple[Array, bool]:
    """x in planes or with channels last, as `last` says or as it lies; and which of the two."""
    if last is None:
        last = lies_last(x)
    if last:
        return channels_second(contiguous_channels_last(x)), True
    return contiguous(x), False


def empty_in_order(last: bool, shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised array (N, C, ...) in planes, or with channels last."""
    if not last:
        return empty(shape, dtype)
    return channels_second(empty((shape[0], *shape[2:], shape[1]), dtype))


def as_laid(x: Array, last: bool) -> Array:
    """The numbers of such an array in one row, as they lie."""
    return (channels_last(x) if last else x).reshape(-1)


def parts_of(x: Array, last: bool) -> int:
    """How many images, or planes."""
    return len(x) if last else len(x) * x.shape[1]

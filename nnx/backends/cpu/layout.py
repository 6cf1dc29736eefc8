"""How images (N, C, ...) lie in memory: in planes, or with the channels last.

Convolution leaves channels last; what follows keeps that, and copies nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from ...typing import Array
from .memory import copied, empty

# What tuned kernels take.  A dtype is found here by identity; beside a class, np.float32, each
# comparison takes half a microsecond.
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# Rows beside a column, or beside one row, NumPy copies together into a buffer, unless they are as
# long as that.  With its own buffers, of 8192 numbers, rows of a thousand take half as much time
# again as with these; shorter ones are quicker together.
BUFFER = 512


def with_short_buffers(kernel: Kernel) -> Kernel:
    """A kernel during which NumPy's buffers hold BUFFER numbers."""

    @wraps(kernel)
    def inside(*args: Any, **options: Any) -> Any:
        before = np.setbufsize(BUFFER)
        try:
            return kernel(*args, **options)
        finally:
            np.setbufsize(before)

    return inside  # type: ignore[return-value]


def contiguous(x: Array) -> Array:
    """x where it is contiguous, else a copy that is."""
    return x if x.flags.c_contiguous else copied(x)


def channels_last(x: Array) -> Array:
    """(N, C, ...) -> (N, ..., C), a view."""
    return x.transpose(0, *range(2, x.ndim), 1)


def contiguous_channels_last(x: Array) -> Array:
    """(N, C, ...) -> (N, ..., C), contiguous: a view where x lies so, else a copy."""
    return contiguous(channels_last(x))


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

"""Large arrays whose memory is used again: `empty`, instead of `np.empty`.

A new array of some hundred kilobytes or more is memory fresh from the operating system, which it
hands out page by page, filled with zeros, as the pages are first written to; and when the array
goes, it takes them back.  A training step makes the same arrays each time, and where an operation
computes little for each number, this costs more than computing.

So the memory of large arrays is kept here in blocks, and an array is a view of one.  A block is
free when nothing but this file refers to it: an array that is a view keeps the block itself alive,
however many views of views were made, and nobody has to say that he is done.  What is idle beyond
LIMIT is given back, longest idle first.

Blocks begin at a multiple of 64 bytes, where cache lines and the widest registers do.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from itertools import chain, count
from sys import getrefcount
from typing import Any

import numpy as np

from ...scoped import Block, Scoped
from ...typing import Array
from ..forks import renew_in_child
from . import thresholds

LIMIT = 2**28  # bytes that may lie idle
ROOM = 1.25  # a block may be larger than the array by this factor


class _Block:
    """Memory, where in it an array begins, and when one was last made of it."""

    __slots__ = ("memory", "start", "used")

    def __init__(self, size: int) -> None:
        self.memory = np.empty(size, np.uint8)
        self.start = -self.memory.ctypes.data % 64
        self.used = 0


_blocks: dict[int, list[_Block]] = {}  # by their size in bytes
_clock = count(1)
_lock = threading.Lock()
_keeping: Scoped[bool] = Scoped("nnx memory kept")


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array whose numbers are whatever stood in its memory before."""
    if type(dtype) is not np.dtype:
        dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < thresholds.MEMORY or not keeps():
        return np.empty(shape, dtype)
    with _lock:
        block = _take(size)
        return np.ndarray(shape, dtype, block.memory, block.start)


def empty_like(a: Array) -> Array:
    """As `empty`, contiguous, with the shape and dtype of a."""
    return empty(a.shape, a.dtype)


def laid_like(a: Array) -> Array:
    """As `np.empty_like`: the numbers lie in memory in the order in which a's do."""
    return empty(a.shape, a.dtype) if a.flags.c_contiguous else np.empty_like(a)


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """As `empty`, and all numbers are 0."""
    if type(dtype) is not np.dtype:
        dtype = np.dtype(dtype)
    if math.prod(shape) * dtype.itemsize < thresholds.MEMORY:
        return np.zeros(shape, dtype)
    a = empty(shape, dtype)
    a.fill(0)
    return a


def copied(a: Array) -> Array:
    """A contiguous copy."""
    copy = empty(a.shape, a.dtype)
    np.copyto(copy, a)
    return copy


def _free(blocks: Iterable[_Block]) -> Iterator[_Block]:
    """Those to whose memory nothing else refers."""
    for block in blocks:
        if getrefcount(block.memory) <= _NOBODY_ELSE:
            yield block


def _every() -> Iterator[_Block]:
    return chain.from_iterable(_blocks.values())


def _take(size: int) -> _Block:
    """A free block of at least `size` + 63 bytes, and not many more; a new one if there is none."""
    size += 63
    for block in _blocks.get(size, ()):
        if getrefcount(block.memory) <= _NOBODY_ELSE:
            block.used = next(_clock)
            return block
    near = sorted(n for n in _blocks if size < n <= ROOM * size)
    found = next(_free(chain.from_iterable(_blocks[n] for n in near)), None)
    if found is None:
        _make_room()
        found = _Block(size)
        _blocks.setdefault(size, []).append(found)
    found.used = next(_clock)
    return found


def _make_room() -> None:
    """Give back what has been idle for longest, until LIMIT is kept."""
    free = sorted(_free(_every()), key=lambda block: block.used)
    idle = sum(block.memory.size for block in free)
    for block in free:
        if idle <= LIMIT:
            break
        size = block.memory.size
        idle -= size
        _blocks[size].remove(block)
        if not _blocks[size]:
            del _blocks[size]


def is_only_view(a: Array) -> bool:
    """Whether an array that is a view shows memory that nobody else can see, and may be written."""
    base = a.base
    if type(base) is not type(a):
        return False  # a library of its own lends this memory
    others = getrefcount(base) - _ONE_VIEW
    if others == 1 and any([block.memory is base for block in _blocks.get(base.size, ())]):
        others = 0
    return others <= 0 and (type(a) is not np.ndarray or a.flags.writeable)


def idle_bytes() -> int:
    """How much memory lies ready for use again."""
    with _lock:
        return sum(block.memory.size for block in _free(_every()))


def forget() -> None:
    """Give back all that lies idle, to the operating system where it wants it."""
    with _lock:
        _blocks.clear()  # arrays in use keep their blocks alive


def keeping_nothing() -> Block[bool]:
    """A `with` block in which `empty` is `np.empty`, for whoever measures what arrays take."""
    return _keeping(False)


def keeps() -> bool:
    """Whether what may be of use again is kept: not in such a block."""
    return not _keeping.open or _keeping.get() is not False


def _in_child() -> None:
    """A forked child cannot wait for a thread it does not have; it begins with no blocks."""
    global _lock
    _lock = threading.Lock()
    _blocks.clear()


renew_in_child(_in_child)


def _measured() -> int:
    """What `getrefcount(block.memory)` is where only the block refers to it."""
    block = _Block(0)
    return getrefcount(block.memory)


def _measured_by_a_view() -> int:
    """What `is_only_view` counts for memory with one view."""
    view = np.empty(1, np.uint8)[:]
    base = view.base
    return getrefcount(base)


_NOBODY_ELSE = _measured()
_ONE_VIEW = _measured_by_a_view()

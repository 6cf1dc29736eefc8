"""Blocks of arrays that stay in the cache while many passes go over them, and what a gate lets
through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...typing import Array
from .layout import with_short_buffers
from .memory import empty, laid_like

BLOCK = 2**17  # numbers that are worked on at a time

SAME_WIDTH = {
    np.dtype(np.float32): np.dtype(np.int32),
    np.dtype(np.float64): np.dtype(np.int64),
}


def in_blocks(
    function: Callable[..., None], *inputs: Array, slope: bool | None = None, scratch: int = 0
) -> tuple[Array, Array | None]:
    """What `function(*inputs, y, slope, *scratch)` writes to y, and to `slope` if it is wanted.

    It is called for blocks that stay in the cache with all that is computed from them; on whole
    large arrays each of its passes would wait for memory.

    Args:
        function: takes and writes arrays of one shape, number by number.
        inputs: of one shape and, the last, in memory as the results will be.
        slope: whether it is wanted; where not, the function gets None.  None: it knows of none.
        scratch: how many further arrays it needs to work on.
    """
    like = inputs[-1]
    y, d = laid_like(like), laid_like(like) if slope else None
    arrays = [*inputs, y] if slope is None else [*inputs, y, d]
    if like.size <= BLOCK or not all([a.flags.c_contiguous for a in inputs]):
        function(*arrays, *[laid_like(like) for _ in range(scratch)])
        return y, d
    arrays = [None if a is None else a.reshape(-1) for a in arrays]
    room = list(empty((scratch, BLOCK), like.dtype))
    for lo in range(0, like.size, BLOCK):
        part = slice(lo, lo + BLOCK)
        parts = [None if a is None else a[part] for a in arrays]
        function(*parts, *[a[: like.size - lo] for a in room])
    return y, d


@with_short_buffers
def in_rows(function: Callable[..., None], *inputs: Array) -> Array:
    """What `function(*inputs, result)` writes to its result, some rows at a time."""
    like = inputs[-1]
    length = like.shape[-1]
    y = empty(like.shape, like.dtype)
    rows = [a.reshape(-1, length) for a in (*inputs, y)]
    step = max(1, BLOCK // length)
    for lo in range(0, len(rows[0]), step):
        function(*[a[lo : lo + step] for a in rows])
    return y


def gated(open_: Array, g: Array, gx: Array) -> None:
    """gx = g where the gate is open, else 0: as integers its bits, times 0 or 1.

    Ten times faster than where(), and an infinite g at a closed gate gives 0 as it should, not the
    NaN of inf * 0.
    """
    bits = SAME_WIDTH[g.dtype]
    out = gx.view(bits)
    np.copyto(out, open_)
    out *= g.view(bits)

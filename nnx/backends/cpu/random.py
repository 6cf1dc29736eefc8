"""Philox on NumPy: 64-bit products in place, a block at a time that stays in cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array
from ..portable.random import MASK32, MASK64, MULTIPLIERS, RandomKernels, round_keys
from .memory import empty, keeps

_AT_ONCE = 16384  # blocks: six scratch rows of 128 KiB, within a core's second-level cache
# Blocks that are drawn together where few are wanted.  Ten rounds are a hundred calls of NumPy,
# which take about as long for so many as for one; the next draws, and a mask that is drawn again
# for the backward, find theirs here.
_AHEAD = 256
_CHUNKS = 8  # that are kept: of so many generators, or of so many layers' masks

_drawn: dict[
    tuple[tuple[int, int], int], Array
] = {}  # (key, chunk) -> its words, not to be written


class NumpyRandom(RandomKernels):
    def philox(self, key: tuple[int, int], counter: int, n: int, device: Any = None) -> Array:
        chunk, first = divmod(counter, _AHEAD)
        if 4 * first + n > 4 * _AHEAD or not keeps():
            return self._philox(key, counter, n)
        words = _drawn.get((key, chunk))
        if words is None:
            words = self._philox(key, chunk * _AHEAD, 4 * _AHEAD)
            if len(_drawn) >= _CHUNKS:
                _drawn.clear()
            _drawn[key, chunk] = words
        return words[4 * first : 4 * first + n].copy()

    def _philox(self, key: tuple[int, int], counter: int, n: int) -> Array:
        blocks = -(-n // 4)
        words = empty((blocks, 4), np.uint32)
        keys = [(np.uint64(k0), np.uint64(k1)) for k0, k1 in round_keys(key)]
        scratch = empty((6, min(blocks, _AT_ONCE)), np.uint64)
        index = np.arange(scratch.shape[1], dtype=np.uint64)
        for start in range(0, blocks, _AT_ONCE):
            out = words[start : start + _AT_ONCE]
            rows = scratch[:, : len(out)]
            first = np.uint64((counter + start) & MASK64)
            np.add(index[: len(out)], first, out=rows[1])  # wraps at 2^64, as it should
            np.bitwise_and(rows[1], _MASK, out=rows[0])
            np.right_shift(rows[1], _HALF, out=rows[1])
            rows[2] = (counter >> 64) & MASK32
            rows[3] = (counter >> 96) & MASK32
            _rounds(rows, keys)
            out.T[:] = rows[:4]
        return words.reshape(-1)[:n]

    def random_uniform(
        self, key: tuple[int, int], counter: int, n: int, dtype: str, device: Any = None
    ) -> Array:
        if dtype == "float32":
            words = self.philox(key, counter, n)
            words >>= np.uint32(8)
            uniform = empty(words.shape, np.float32)
            np.copyto(uniform, words, casting="same_kind")
            uniform *= np.float32(2.0**-24)
            return uniform
        words = self.philox(key, counter, 2 * n)
        wide = (words[0::2] >> np.uint32(5)).astype(np.float64)
        wide *= 2.0**26
        wide += words[1::2] >> np.uint32(6)
        wide *= 2.0**-53
        return wide

    def random_mask(
        self, key: tuple[int, int], counter: int, n: int, threshold: int, device: Any = None
    ) -> Array:
        return np.less(self.philox(key, counter, n), threshold, out=empty((n,), bool))

    def dropout(
        self, x: Array, key: tuple[int, int], counter: int, threshold: int, scale: float
    ) -> Array:
        if x.dtype not in _SAME_WIDTH:
            return super().dropout(x, key, counter, threshold, scale)
        y = empty(x.shape, x.dtype)
        np.multiply(x, x.dtype.type(scale), out=y)
        if x.size <= 4 * _AHEAD:
            flat = y.reshape(-1).view(_SAME_WIDTH[x.dtype])
            np.multiply(flat, self.philox(key, counter, x.size) < threshold, out=flat)
            return y
        # All bits of a number where it is kept and none where it is not: a choice by `where`
        # would be guessed wrong every other time and cost as much as drawing the words.
        bits = empty((x.size,), _SAME_WIDTH[x.dtype])
        np.copyto(bits, self.random_mask(key, counter, x.size, threshold))
        np.negative(bits, out=bits)
        flat = y.reshape(-1).view(bits.dtype)
        np.bitwise_and(flat, bits, out=flat)
        return y

    def _philox_words(self, key: tuple[int, int], counter: int, n: int, device: Any) -> Array:
        return self.philox(key, counter, n).astype(np.int64)


_SAME_WIDTH = {np.dtype(np.float32): np.int32, np.dtype(np.float64): np.int64}
_MASK, _HALF = np.uint64(MASK32), np.uint64(32)
_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])


def _rounds(rows: Array, keys: list[tuple[Any, Any]]) -> None:
    """Ten rounds on the rows c0, c1, c2, c3 (words in uint64), with two rows to work in."""
    c0, c1, c2, c3, product0, product1 = rows
    for k0, k1 in keys:
        np.multiply(c0, _M0, out=product0)
        np.multiply(c2, _M1, out=product1)
        np.right_shift(product1, _HALF, out=c0)
        np.bitwise_xor(c0, c1, out=c0)
        np.bitwise_xor(c0, k0, out=c0)
        np.right_shift(product0, _HALF, out=c2)
        np.bitwise_xor(c2, c3, out=c2)
        np.bitwise_xor(c2, k1, out=c2)
        np.bitwise_and(product1, _MASK, out=c1)
        np.bitwise_and(product0, _MASK, out=c3)

"""Philox compiled by numba."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..cpu.random import NumpyRandom
from ..portable.random import KEY_STEPS, MASK32, MASK64, MULTIPLIERS, ROUNDS

Array = Any

_WORTH_IT = 256  # words: for fewer, NumPy is nearly as quick and nothing need be compiled
_AT_ONCE = 2048  # words that dropout draws before it uses them, so that they stay in cache


class JitRandom(NumpyRandom):
    def philox(self, key: tuple[int, int], counter: int, n: int, device: Any = None) -> Array:
        if n < _WORTH_IT:
            return super().philox(key, counter, n, device)
        words = np.empty(-(-n // 4) * 4, np.uint32)
        _compiled()[0](*_scalars(key, counter), words)
        return words[:n]

    def dropout(
        self, x: Array, key: tuple[int, int], counter: int, threshold: int, scale: float
    ) -> Array:
        if x.dtype not in (np.float32, np.float64) or x.size < _WORTH_IT or threshold == 0:
            return super().dropout(x, key, counter, threshold, scale)
        y = np.empty(x.shape, x.dtype)
        _compiled()[1](
            *_scalars(key, counter),
            np.uint32(threshold - 1),  # the largest word that keeps
            x.dtype.type(scale),
            np.ascontiguousarray(x).reshape(-1),
            y.reshape(-1),
        )
        return y


def _scalars(key: tuple[int, int], counter: int) -> tuple[Any, ...]:
    """Key and counter in the widths that `fill` computes in."""
    return (
        np.uint32(key[0]),
        np.uint32(key[1]),
        np.uint64(counter & MASK64),
        np.uint32((counter >> 64) & MASK32),
        np.uint32((counter >> 96) & MASK32),
    )


@cache
def _compiled() -> tuple[Any, Any]:
    from numba import njit, uint32, uint64

    m0, m1 = MULTIPLIERS
    step0, step1 = KEY_STEPS

    @njit(cache=True, nogil=True)
    def fill(k0, k1, first, high2, high3, words):
        for b in range(words.size // 4):
            block = first + uint64(b)
            c0, c1, c2, c3 = uint32(block), uint32(block >> uint64(32)), high2, high3
            a0, a1 = k0, k1
            for _ in range(ROUNDS):
                product0 = uint64(c0) * uint64(m0)
                product1 = uint64(c2) * uint64(m1)
                c0 = uint32(product1 >> uint64(32)) ^ c1 ^ a0
                c2 = uint32(product0 >> uint64(32)) ^ c3 ^ a1
                c1, c3 = uint32(product1), uint32(product0)
                a0, a1 = uint32(a0 + uint32(step0)), uint32(a1 + uint32(step1))
            words[4 * b] = c0
            words[4 * b + 1] = c1
            words[4 * b + 2] = c2
            words[4 * b + 3] = c3

    @njit(cache=True, nogil=True)
    def dropout(k0, k1, first, high2, high3, last, scale, x, y):
        words = np.empty(_AT_ONCE, np.uint32)
        zero = x.dtype.type(0)
        for start in range(0, x.size, _AT_ONCE):
            # Slices that begin at 0: an index that might be negative would keep LLVM from
            # working on many elements at a time.
            some, out = x[start : start + _AT_ONCE], y[start : start + _AT_ONCE]
            blocks = (some.size + 3) // 4
            fill(k0, k1, first + uint64(start // 4), high2, high3, words[: 4 * blocks])
            for i in range(some.size):
                kept = some[i] * scale
                out[i] = kept if words[i] <= last else zero

    return fill, dropout

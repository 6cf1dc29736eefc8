"""The compiled loops of `random.py`, which imports this file, and numba with it, when first used.

They stand at the top of a module because numba keeps compiled code on disk only for those: a
function made inside another, which refers to a second compiled one, is compiled in every process.
"""

from __future__ import annotations

import numpy as np
from numba import uint32, uint64

from ...portable.random import KEY_STEPS, MULTIPLIERS, ROUNDS
from ..codegen.compiling import compiled

M0, M1 = MULTIPLIERS
STEP0, STEP1 = KEY_STEPS
AT_ONCE = 2048  # words that dropout draws before it uses them, so that they stay in cache


@compiled
def fill(k0, k1, first, high2, high3, words):
    """Words, a multiple of four, of the blocks from `first` on: all arguments in C widths."""
    for b in range(words.size // 4):
        block = first + uint64(b)
        c0, c1, c2, c3 = uint32(block), uint32(block >> uint64(32)), high2, high3
        a0, a1 = k0, k1
        for _ in range(ROUNDS):
            product0 = uint64(c0) * uint64(M0)
            product1 = uint64(c2) * uint64(M1)
            c0 = uint32(product1 >> uint64(32)) ^ c1 ^ a0
            c2 = uint32(product0 >> uint64(32)) ^ c3 ^ a1
            c1, c3 = uint32(product1), uint32(product0)
            a0, a1 = uint32(a0 + uint32(STEP0)), uint32(a1 + uint32(STEP1))
        words[4 * b] = c0
        words[4 * b + 1] = c1
        words[4 * b + 2] = c2
        words[4 * b + 3] = c3


@compiled
def dropout(k0, k1, first, high2, high3, last, scale, x, y):
    """y = x scale where the word is at most `last`, else 0; x and y are vectors."""
    words = np.empty(AT_ONCE, np.uint32)
    zero = x.dtype.type(0)
    for start in range(0, x.size, AT_ONCE):
        # Slices that begin at 0: an index that might be negative would keep LLVM from working on
        # many elements at a time.
        some, out = x[start : start + AT_ONCE], y[start : start + AT_ONCE]
        blocks = (some.size + 3) // 4
        fill(k0, k1, first + uint64(start // 4), high2, high3, words[: 4 * blocks])
        for i in range(some.size):
            kept = some[i] * scale
            out[i] = kept if words[i] <= last else zero

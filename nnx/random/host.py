"""Draws made in host memory, with NumPy: those that sort, reject, or go through the quantile.

Each takes `words`, a function that gives the next n words (uint32) of a stream.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..typing import Array
from .normal import distribution, lower_quantile, quantile

Words = Callable[[int], Array]


def integers(words: Words, low: int, high: int, n: int) -> Array:
    """n integers (int64) in [low, high), every one exactly as likely as any other.

    By rejection: with a range of r = high - low, a b-bit number w below the largest multiple of r
    in 2^b gives w mod r; a w beyond it is thrown away, and drawn anew after the others.  b is 32
    where r <= 2^32 and 64 above, so at least half of the draws are kept, and nearly all for the
    ranges that occur in practice.
    """
    span = high - low
    bits = 32 if span <= 2**32 else 64
    last = 2**bits - 1 - 2**bits % span  # the largest number kept
    kept = np.empty(0, np.uint64)
    while kept.size < n:
        missing = n - kept.size
        drawn = words(missing).astype(np.uint64) if bits == 32 else _pairs(words, missing)
        kept = np.concatenate([kept, drawn[drawn <= np.uint64(last)]])
    if span < 2**64:  # the whole of int64 needs no remainder
        kept %= np.uint64(span)
    # Two's complement: adding `low` modulo 2^64 is right also where it is negative.
    return (kept + np.uint64(low % 2**64)).view(np.int64)


def permutation(words: Words, n: int) -> Array:
    """The numbers 0 .. n-1 (int64) in random order, all n! orders exactly equally likely.

    The order that sorts n random 64-bit keys.  Where two keys are equal (for n = 60,000 once in
    10^10 times) all are drawn again; given that they differ, every order is equally likely.
    """
    while True:
        keys = _pairs(words, n)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        if not np.any(keys[1:] == keys[:-1]):
            return order.astype(np.int64, copy=False)


def normal(words: Words, n: int) -> Array:
    """n draws (float64) from N(0, 1), two words each: +-Q(p), p uniform on a grid in (0, 1/2).

    Of the words v, w: p = ((v >> 6) 2^26 + (w >> 6) + 1/2) / 2^53, which is exact, and the lowest
    bit of w is the sign.  The largest value is -Q(2^-54) = 8.3.
    """
    drawn = words(2 * n)
    z = lower_quantile(_middles(drawn) * 2.0**-53)
    return np.where(drawn[1::2] & np.uint32(1) == 0, z, -z)


def truncated_normal(words: Words, low: float, high: float, n: int) -> Array:
    """n draws (float64) from N(0, 1) given that they lie in [low, high], two words each.

    Q(p) with p uniform between Phi(low) and Phi(high), so nothing is rejected however narrow or
    far out the interval is.  An interval right of 0 is drawn as its mirror image, because there
    Phi is too close to 1 to tell numbers apart.
    """
    if low > 0.0:
        return -truncated_normal(words, -high, -low, n)
    first = distribution(low)
    last = distribution(high) if high <= 0.0 else 1.0 - distribution(-high)
    u = _middles(words(2 * n)) * 2.0**-52  # in (0, 1)
    p = np.minimum(first + (last - first) * u, 1.0 - 2.0**-53)  # a sum that rounds to 1 is none
    return np.clip(quantile(p), low, high)


def _middles(drawn: Array) -> Array:
    """k + 1/2 (float64, exact) with k of 52 bits: the high 26 of each of a pair of words."""
    middles = (drawn[0::2] >> np.uint32(6)).astype(np.float64)
    middles *= 2.0**26
    middles += drawn[1::2] >> np.uint32(6)
    middles += 0.5
    return middles


def _pairs(words: Words, n: int) -> Array:
    """n 64-bit numbers, each of two words, the low one first."""
    drawn = words(2 * n).astype(np.uint64)
    return drawn[0::2] | (drawn[1::2] << np.uint64(32))

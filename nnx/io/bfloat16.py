"""bfloat16, the upper half of a float32, which NumPy lacks: its bits from numbers, and back."""

from __future__ import annotations

import numpy as np

_NAN = 0x7FC0


def from_bits(bits: np.ndarray) -> np.ndarray:
    """The numbers, float32, whose upper halves `bits` (uint16, any shape) are."""
    wide = bits.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def to_bits(x: np.ndarray) -> np.ndarray:
    """The bits (uint16) of the bfloat16 nearest to each number of x, of two the even one.

    float64 goes through a float32 that is rounded to odd: with the last bit set where anything was
    lost, the second rounding is as good as one (Boldo and Melquiond 2008).  NaN stays NaN, and
    keeps what of its bits fits.
    """
    with np.errstate(over="ignore"):
        narrow = np.asarray(x, dtype=np.float32, order="C")
    bits = narrow.view(np.uint32)
    if x.dtype == np.float64:
        lost = narrow.astype(np.float64) != x
        beyond = np.abs(narrow.astype(np.float64)) > np.abs(x)
        bits = np.where(lost, (bits - beyond) | np.uint32(1), bits).astype(np.uint32)
    even = (bits >> 16) & 1
    rounded = ((bits + np.uint32(0x7FFF) + even) >> 16).astype(np.uint16)
    nan = np.isnan(narrow)
    if nan.any():
        kept = (bits >> 16).astype(np.uint16)
        is_nan = (kept & 0x7F) != 0
        rounded = np.where(nan, np.where(is_nan, kept, kept | np.uint16(_NAN)), rounded)
    return rounded

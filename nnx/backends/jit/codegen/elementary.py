"""Elementary functions of one float32, for compiled loops: what LLVM can do to many at a time.

There are no branches, tables or calls in them, so that a loop over a slice becomes a loop over
vectors.  The coefficients are those of the Taylor series, cut where float32 no longer sees it.
Results are within 3 units in the last place, those of `erf` within 6.  NaN stays NaN.
"""

from __future__ import annotations

import numpy as np

from ...portable.activation import ERF_END, ERF_P, ERF_Q
from .compiling import inlined

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)

# Beyond these, e^x is 0 or infinite in float32.
LOWEST, HIGHEST = np.float32(-104.0), np.float32(89.0)

END_OF_SHARES = np.float32(-87.0)  # above it, e^x is a normal number

LOG2_E = np.float32(1.4426950408889634)
# log 2 in two parts: a small integer times the first is exact.
LOG_2 = np.float32(0.693359375)
LOG_2_REST = np.float32(-2.1219444005469057e-4)

# Added to a small number, it leaves the number rounded to an integer in the lowest bits.
ROUNDER = np.float32(1.5 * 2**23)
ROUNDER_BITS = np.int32(0x4B400000)

E2, E3, E4, E5, E6, E7 = (np.float32(1 / k) for k in (2, 6, 24, 120, 720, 5040))
A3, A5, A7, A9, A11, A13, A15 = (np.float32(1 / k) for k in (3, 5, 7, 9, 11, 13, 15))
P0, P1, P2, P3, P4, P5 = (np.float32(c) for c in ERF_P)
Q0, Q1, Q2, Q3, Q4, Q5 = (np.float32(c) for c in ERF_Q)
END = np.float32(ERF_END)


@inlined
def power_of_two(n):
    """2^n for n from -126 to 127: n as the exponent of a float32."""
    return np.int32(np.int32(n + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def reduced(x):
    """(n, e^r - 1) with x = n log 2 + r and |r| at most half of log 2, so that e^x = 2^n e^r."""
    t = x * LOG2_E + ROUNDER
    n = np.int32(np.float32(t).view(np.int32) - ROUNDER_BITS)
    k = t - ROUNDER
    r = (x - k * LOG_2) - k * LOG_2_REST
    return n, r + r * r * (E2 + r * (E3 + r * (E4 + r * (E5 + r * (E6 + r * E7)))))


@inlined
def exp(x):
    """e^x.  2^n is multiplied in two halves, each a normal number though the result may not be."""
    x = LOWEST if x < LOWEST else x
    x = HIGHEST if x > HIGHEST else x
    n, less_one = reduced(x)
    half = np.int32(n >> np.int32(1))
    return (less_one + ONE) * power_of_two(half) * power_of_two(np.int32(n - half))


@inlined
def expm1_below(x):
    """e^x - 1 for x <= 0: 2^n (e^r - 1) + (2^n - 1)."""
    x = np.float32(-80) if x < np.float32(-80) else x
    n, less_one = reduced(x)
    scale = power_of_two(n)
    return scale * less_one + (scale - ONE)


@inlined
def exp_below(x):
    """e^x for x <= 0, with what `expm1_below` computes too; 2e-35 where it is less."""
    x = np.float32(-80) if x < np.float32(-80) else x
    n, less_one = reduced(x)
    return power_of_two(n) * (less_one + ONE)


@inlined
def exp_of_a_share(x):
    """e^x for x up to 0, and a little above: 0 where it would be no normal number."""
    z = END_OF_SHARES if x < END_OF_SHARES else x
    n, less_one = reduced(z)
    y = power_of_two(n) * (less_one + ONE)
    return ZERO if x < END_OF_SHARES else y


@inlined
def tanh(x):
    """By t = e^(-2|x|) - 1, which is -tanh |x| (t + 2)."""
    t = expm1_below(TWO * (x if x < ZERO else -x))
    y = t / (t + TWO)
    return y if x < ZERO else ZERO - y


@inlined
def log1p_to_one(e):
    """log(1 + e) for e from 0 to 1: 2 artanh s with s = e / (2 + e), at most 1/3."""
    s = e / (e + TWO)
    t = s * s
    series = A3 + t * (A5 + t * (A7 + t * (A9 + t * (A11 + t * (A13 + t * A15)))))
    return TWO * (s + s * t * series)


@inlined
def sigmoid(x):
    """1 / (1 + e^-x)."""
    return ONE / (ONE + exp(-x))


@inlined
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)."""
    above = ZERO if x < ZERO else x
    return above + log1p_to_one(exp(x if x < ZERO else -x))


@inlined
def erf(x):
    """x P(x²)/Q(x²), see `portable/activation.py`."""
    near = -END if x < -END else x
    near = END if near > END else near
    t = near * near
    p = P0 + t * (P1 + t * (P2 + t * (P3 + t * (P4 + t * P5))))
    q = Q0 + t * (Q1 + t * (Q2 + t * (Q3 + t * (Q4 + t * Q5))))
    y = near * p / q
    y = ONE if x >= END else y
    return -ONE if x <= -END else y

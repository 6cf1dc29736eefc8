"""The normal quantile, with the same bits on every machine.

A draw from N(0, 1) is Q(p), where p is uniform in (0, 1) and Q is the inverse of the normal
distribution function Phi.  `log`, `exp` and `cos` of a C library differ in their last bit from
one machine to the next, and so would initial weights.  IEEE 754 rounds + - * / and the square
root correctly everywhere, so Q is computed here from those alone, each as a NumPy call of its
own, which leaves a compiler nothing to fuse.

Q is Wichura's algorithm AS 241 (PPND16, Applied Statistics 37, 1988, pages 477-484): with
q = p - 1/2 a quotient of two polynomials of degree 7

    Q(p) = q A(r) / B(r)          r = 0.425^2 - q^2          for |q| <= 0.425
    Q(p) = -C(r - 1.6) / D(..)    r = sqrt(-log p)           for smaller p and r <= 5
    Q(p) = -E(r - 5) / F(..)      r = sqrt(-log p)           for r > 5: p < 1.4e-11

good to about 1 part in 10^16; the upper half is the mirror image of the lower.
"""

from __future__ import annotations

import numpy as np

from ..typing import Array

# Numerators and denominators, highest power first, from the paper.
_CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
_TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
_FAR_TAIL = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)

# log 2 as a sum of two float64: the first has 32 bits, so its product with an exponent is exact.
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_SQRT_HALF = 0.70710678118654752440
_ATANH = tuple(1.0 / (2 * k + 1) for k in range(11, -1, -1))  # atanh s = s (1 + s^2/3 + ...)

_SMALLEST = 5.7255712225e-300  # about Phi(-37)

_BLOCK = 8192  # elements at a time, so that every temporary stays in cache


def log(x: Array) -> Array:
    """The natural logarithm of positive float64 numbers, from correctly rounded steps.

    x = m 2^e with m between sqrt(1/2) and sqrt(2), which only moves bits.  Then
    log x = e log 2 + 2 atanh s with s = (m - 1) / (m + 1), |s| < 0.172, where twelve terms of
    the odd series leave a remainder below s^24 / 25 = 2e-20.
    """
    m, e = np.frexp(x)  # m in [1/2, 1)
    low = m < _SQRT_HALF
    m = np.where(low, m + m, m)
    e = (e - low).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    small = (s + s) * _polynomial(_ATANH, s * s) + e * _LN2_LOW
    return e * _LN2_HIGH + small


def quantile(p: Array) -> Array:
    """Q(p) with Phi(Q(p)) = p, for float64 p in the open interval (0, 1), of any shape."""
    p = np.asarray(p, dtype=np.float64)
    flat = np.reshape(p, (-1,))
    upper = flat > 0.5
    z = lower_quantile(np.where(upper, 1.0 - flat, flat))
    return np.reshape(np.where(upper, -z, z), p.shape)


def lower_quantile(p: Array) -> Array:
    """Q(p) for a vector of p in (0, 1/2]: the half of which the other is the mirror image."""
    z = np.empty_like(p)
    for start in range(0, p.size, _BLOCK):
        block = p[start : start + _BLOCK]
        z[start : start + _BLOCK] = _centre(block)
        tail = np.nonzero(block < 0.075)[0]
        if tail.size:
            z[start + tail] = _tail(block[tail])
    return z


def _centre(p: Array) -> Array:
    q = p - 0.5
    r = 0.180625 - q * q
    return q * _quotient(_CENTRE, r)


def _tail(p: Array) -> Array:
    r = np.sqrt(-log(p))
    z = _quotient(_TAIL, r - 1.6)
    far = np.nonzero(r > 5.0)[0]
    if far.size:
        z[far] = _quotient(_FAR_TAIL, r[far] - 5.0)
    return -z


def _quotient(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    above, below = polynomials
    return _polynomial(above, x) / _polynomial(below, x)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, a product and a sum at a time."""
    y = coefficients[0] * x
    for c in coefficients[1:-1]:
        y += c
        y *= x
    y += coefficients[-1]
    return y


def distribution(x: float) -> float:
    """Phi(x) for x <= 0, as the p with Q(p) = x; below -37 it is taken as Phi(-37).

    Found by bisection on `lower_quantile`, since what a C library's `erfc` would give differs in
    the last bit between machines.  Positive floats are ordered as their bits are when read as
    integers, so halving the distance between bits reaches the answer in 62 steps.
    """
    assert x <= 0.0
    bits = np.asarray([_SMALLEST, 0.5]).view(np.int64)
    low, high = int(bits[0]), int(bits[1])  # Q(low) <= x <= Q(high)
    while high - low > 1:
        middle = (low + high) // 2
        if lower_quantile(np.asarray([middle]).view(np.float64))[0] < x:
            low = middle
        else:
            high = middle
    return float(np.asarray([high]).view(np.float64)[0])

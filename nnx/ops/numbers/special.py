"""The inverse of the error function, and numbers in the place of NaN and infinities."""

from __future__ import annotations

import math

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._operands import as_tensor
from ..array.autocast import in_float32
from ..elementwise import Pointwise
from ..select import where

# Wichura (1988), Algorithm AS 241, PPND16: the normal distribution's quantiles to about 16 digits,
# as quotients of polynomials, (numerator, denominator), in three ranges.  Highest power first.
_MIDDLE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_OUTER = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
     1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
     4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
     0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
     2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
     0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
     5.4637849111641143699, 6.6579046435011037772),
    (2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
     7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
     0.59983220655588793769, 1.0),
)  # fmt: skip


def _quotient(r: Array, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    """P(r) / Q(r), by Horner's rule."""
    above, below = coefficients
    p, q = r * above[0] + above[1], r * below[0] + below[1]
    for a, b in zip(above[2:], below[2:], strict=True):
        p, q = p * r + a, q * r + b
    return p / q


class Erfinv(Pointwise):
    """y with erf y = x.

    The normal distribution's function is Φ(z) = (1 + erf(z / √2)) / 2, and so y is
    Φ⁻¹((1 + x) / 2) / √2.  Wichura's quotients for Φ⁻¹(p) take p - 1/2 = x / 2 in the middle, and
    outside the tail min(p, 1 - p) = (1 - |x|) / 2: no digits are lost near 0 or near ±1.

    Backward.  From x = erf y: 1 = (2/√π) e^(-y²) dy/dx, so dx = g (√π / 2) e^(y²).
    """

    from_output = True

    def compute(self, x: Array) -> Array:
        xp = self.backend.xp
        one = xp.ones_like(x)
        q = x * 0.5
        middle = xp.abs(q) <= 0.425
        near = xp.where(middle, q, xp.zeros_like(x))
        z = near * _quotient(0.180625 - near * near, _MIDDLE)
        tail = (1 - xp.abs(x)) * 0.5
        inside = ~middle & (tail > 0)
        r = xp.sqrt(-xp.log(xp.where(inside, tail, one * 0.25)))
        far = r > 5
        outer = _quotient(xp.where(far, one, r) - 1.6, _OUTER)
        outer = xp.where(far, _quotient(xp.where(far, r, one * 5) - 5, _FAR), outer)
        outer = xp.where(inside, outer, one * math.inf)
        z = xp.where(middle, z, xp.sign(x) * outer) * math.sqrt(0.5)
        return xp.where(xp.abs(x) <= 1, z, one * math.nan)

    def backward(self, g: Array) -> Array:
        xp, y = self.backend.xp, self.y
        return g * (0.5 * math.sqrt(math.pi)) * xp.exp(y * y)


@in_float32
def erfinv(x: Tensor) -> Tensor:
    """The number whose error function `erf` is x, elementwise; ±inf at ±1, NaN outside of [-1, 1].

    √2 erfinv(2 p - 1) is the normal distribution's quantile: a uniform p becomes normal.
    """
    return Erfinv()(x)


def nan_to_num(
    x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with numbers in the place of NaN and of the infinities, which get no gradient.

    Args:
        x: of any shape; integers are as they are.
        nan: what stands for NaN.
        posinf: what stands for infinity; None: the largest number of the dtype.
        neginf: what stands for minus infinity; None: the smallest.
    """
    x = as_tensor("nan_to_num", x)
    home = backend_of(x.data)
    if not home.is_float(x.dtype):
        return x
    xp, limits = home.xp, home.xp.finfo(x.dtype)
    x = where(xp.isnan(x.data), float(nan), x)
    high = float(limits.max) if posinf is None else float(posinf)
    low = float(limits.min) if neginf is None else float(neginf)
    x = where(x.data == math.inf, high, x)
    return where(x.data == -math.inf, low, x)

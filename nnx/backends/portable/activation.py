"""Activations, and the error function that the array API lacks."""

from __future__ import annotations

import math
from typing import Any

from ...typing import Array

# erf(x) = x P(x²)/Q(x²) on |x| <= 3.92, beyond which float32 rounds it to ±1: a rational function
# with all coefficients positive (no cancellation), fitted to a relative error of 1.9e-8.
ERF_END = 3.92
ERF_P = (1.1283791, 0.19040529, 0.052748583, 0.0037655714, 0.00028488250, 2.0501059e-06)
ERF_Q = (1.0, 0.502075016, 0.114108637, 0.0149691235, 0.00116252608, 3.80918973e-05)

# For float64, the rational Chebyshev approximations of W. J. Cody (Mathematics of Computation 23,
# 1969): erf(x) = x P(x²)/Q(x²) up to 0.46875, then erfc(x) = exp(-x²) P(x)/Q(x) up to 4, then
# erfc(x) = exp(-x²)/x (1/√π - z P(z)/Q(z)) with z = 1/x².  Lowest power first.
CODY_SMALL_P = (
    *(3.20937758913846947e03, 3.77485237685302021e02, 1.13864154151050156e02),
    *(3.16112374387056560e00, 1.85777706184603153e-1),
)
CODY_SMALL_Q = (
    *(2.84423683343917062e03, 1.28261652607737228e03, 2.44024637934444173e02),
    *(2.36012909523441209e01, 1.0),
)
CODY_MIDDLE_P = (
    *(1.23033935479799725e03, 2.05107837782607147e03, 1.71204761263407058e03),
    *(8.81952221241769090e02, 2.98635138197400131e02, 6.61191906371416295e01),
    *(8.88314979438837594e00, 5.64188496988670089e-1, 2.15311535474403846e-8),
)
CODY_MIDDLE_Q = (
    *(1.23033935480374942e03, 3.43936767414372164e03, 4.36261909014324716e03),
    *(3.29079923573345963e03, 1.62138957456669019e03, 5.37181101862009858e02),
    *(1.17693950891312499e02, 1.57449261107098347e01, 1.0),
)
CODY_LARGE_P = (
    *(6.58749161529837803e-4, 1.60837851487422766e-2, 1.25781726111229246e-1),
    *(3.60344899949804439e-1, 3.05326634961232344e-1, 1.63153871373020978e-2),
)
CODY_LARGE_Q = (
    *(2.33520497626869185e-3, 6.05183413124413191e-2, 5.27905102951428412e-1),
    *(1.87295284992346047e00, 2.56852019228982242e00, 1.0),
)


class ActivationKernels:
    """The derivations are in `nnx.ops.activation` and `nnx.ops.softmax`."""

    xp: Any

    def sigmoid(self, x: Array) -> Array:
        """1 / (1 + exp(-x)), elementwise.  exp only sees -|x|, so that nothing overflows."""
        xp = self.xp
        e = xp.exp(-xp.abs(x))
        return xp.where(x >= 0, xp.ones_like(x), e) / (e + 1)

    def sigmoid_backward(self, g: Array, y: Array) -> Array:
        """g y (1 - y), for y = sigmoid(x)."""
        return g * (y * (1 - y))

    def tanh(self, x: Array) -> Array:
        """The hyperbolic tangent of x, elementwise."""
        return self.xp.tanh(x)

    def tanh_backward(self, g: Array, y: Array) -> Array:
        """g (1 - y²), elementwise, for y = tanh x."""
        return g * (1 - y * y)

    def slope_backward(self, g: Array, slope: Array) -> Array:
        """g · slope, elementwise: `slope` is the derivative that was computed beside the result."""
        return g * slope

    def silu(self, x: Array, slope: bool) -> tuple[Array, Array | None]:
        """x sigmoid(x), and its derivative if `slope`."""
        s = self.sigmoid(x)
        y = x * s
        return y, s + y * (1 - s) if slope else None

    def leaky_relu(self, x: Array, a: float, slope: bool) -> tuple[Array, Array | None]:
        """x where x > 0, else a x, elementwise, and its derivative (x's shape) if `slope`."""
        xp = self.xp
        positive = x > 0
        y = xp.where(positive, x, x * a)
        return y, xp.where(positive, xp.ones_like(x), xp.full_like(x, a)) if slope else None

    def hardtanh(self, x: Array, low: float, high: float) -> Array:
        """x held between low and high, elementwise."""
        return self.xp.clip(x, low, high)

    def hardtanh_backward(self, g: Array, y: Array, low: float, high: float) -> Array:
        """g where low < y < high, else 0, elementwise, for y = hardtanh(x, low, high)."""
        return self.xp.where((y > low) & (y < high), g, self.xp.zeros_like(g))

    def elu(
        self, x: Array, alpha: float, scale: float, width: float, slope: bool
    ) -> tuple[Array, Array | None]:
        """s x where x > 0, else s a (e^(x/b) - 1), elementwise, and its derivative (x's shape) if
        `slope`.

        Args:
            x: of any shape.
            alpha, scale, width: a, s and b.
            slope: whether a derivative is wanted; None stands for it otherwise.
        """
        xp = self.xp
        positive = x > 0
        below = xp.where(positive, xp.zeros_like(x), x) / width
        y = xp.where(positive, x * scale, xp.expm1(below) * (scale * alpha))
        if not slope:
            return y, None
        falling = xp.exp(below) * (scale * alpha / width)
        return y, xp.where(positive, xp.full_like(x, scale), falling)

    def softplus(self, x: Array) -> Array:
        """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
        xp = self.xp
        return xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))

    def erf(self, x: Array) -> Array:
        """The error function of x, elementwise, to within a few units in the last place."""
        xp = self.xp
        if x.dtype == xp.float64:
            return self._erf_by_cody(x)
        near = xp.clip(x, -ERF_END, ERF_END)
        t = near * near
        y = near * _polynomial(ERF_P, t) / _polynomial(ERF_Q, t)
        return xp.where(xp.abs(x) < ERF_END, y, xp.sign(x))

    def _erf_by_cody(self, x: Array) -> Array:
        xp = self.xp
        size = xp.abs(x)
        t = xp.where(size <= 0.46875, x * x, xp.zeros_like(x))
        small = x * _polynomial(CODY_SMALL_P, t) / _polynomial(CODY_SMALL_Q, t)
        y = xp.clip(size, 0.46875, 6.0)  # at 6, erfc is 2e-17
        middle = _polynomial(CODY_MIDDLE_P, y) / _polynomial(CODY_MIDDLE_Q, y)
        z = 1 / (y * y)
        tail = z * _polynomial(CODY_LARGE_P, z) / _polynomial(CODY_LARGE_Q, z)
        large = (1 / math.sqrt(math.pi) - tail) / y
        erfc = xp.exp(-y * y) * xp.where(y <= 4, middle, large)
        return xp.where(size <= 0.46875, small, xp.sign(x) * (1 - erfc))

    def gelu(self, x: Array, approximate: str, slope: bool) -> tuple[Array, Array | None]:
        """x Φ(x), elementwise, and its derivative (x's shape) if `slope`; approximate="tanh" by
        tanh.
        """
        xp = self.xp
        if approximate == "tanh":
            scale, cubic = math.sqrt(2 / math.pi), 0.044715
            # (1 + tanh u) / 2 = sigmoid(2u), which does not round to 0 where tanh u nears -1
            phi = self.sigmoid(2 * scale * (x + cubic * x * x * x))
            if not slope:
                return x * phi, None
            inner = scale * (1 + 3 * cubic * x * x)
            return x * phi, phi + 2 * x * phi * (1 - phi) * inner
        phi = 0.5 * (1 + self.erf(x * math.sqrt(0.5)))  # Φ(x)
        if not slope:
            return x * phi, None
        density = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return x * phi, phi + x * density

    def softmax(self, x: Array, axis: int) -> Array:
        """exp(x) / sum of exp(x) along an axis."""
        xp = self.xp
        e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
        return e / xp.sum(e, axis=axis, keepdims=True)

    def softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        """y (g - sum of g y along the axis), of g's shape, for y = softmax(x, axis)."""
        return y * (g - self.xp.sum(g * y, axis=axis, keepdims=True))

    def log_softmax(self, x: Array, axis: int) -> Array:
        """x - log sum of exp(x) along an axis."""
        xp = self.xp
        z = x - xp.max(x, axis=axis, keepdims=True)
        return z - xp.log(xp.sum(xp.exp(z), axis=axis, keepdims=True))

    def log_softmax_backward(self, g: Array, y: Array, axis: int) -> Array:
        """g - exp(y) (sum of g along the axis), of g's shape, for y = log_softmax(x, axis)."""
        return g - self.xp.exp(y) * self.xp.sum(g, axis=axis, keepdims=True)


def _polynomial(coefficients: tuple[float, ...], t: Array) -> Array:
    """Horner's rule, the lowest power first."""
    y = coefficients[-1] * t + coefficients[-2]
    for c in coefficients[-3::-1]:
        y = y * t + c
    return y

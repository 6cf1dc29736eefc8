"""Trigonometric and hyperbolic functions, and their inverses, elementwise.

In each, g = dL/dy and dx = g f'(x).  The derivatives of the inverses follow from x = f(y): dy/dx is
1 / f'(y), written in x.  √(1 + x²) is `hypot(x, 1)`, which squares nothing and so does not
overflow, and 1 - x² is (1 - x)(1 + x), which loses no digits near 1.  Where the derivative is
infinite (asin at 1), so is the gradient, and outside of what a function is defined for both are
NaN; NumPy says so as it does for 1/0.
"""

from __future__ import annotations

from typing import Any

from ...backends import Array
from ...tensor import Tensor
from .._broadcast import OfFloats
from ..array.autocast import in_float32
from ..elementwise import Pointwise


class Tan(Pointwise):
    """y = tan x:  dx = g / cos² x = g (1 + y²)."""

    from_output = True

    def compute(self, x: Array) -> Array:
        return self.backend.xp.tan(x)

    def backward(self, g: Array) -> Array:
        return g + g * self.y * self.y


class Asin(Pointwise):
    """y = asin x, x = sin y:  dx = g / cos y = g / √((1 - x)(1 + x))."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.asin(x)

    def backward(self, g: Array) -> Array:
        return g / self.backend.xp.sqrt((1 - self.x) * (1 + self.x))


class Acos(Asin):
    """y = acos x = π/2 - asin x:  dx = -g / √((1 - x)(1 + x))."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.acos(x)

    def backward(self, g: Array) -> Array:
        return -super().backward(g)


class Atan(Pointwise):
    """y = atan x, x = tan y:  dx = g / (1 + tan² y) = g / (1 + x²)."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.atan(x)

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        h = xp.hypot(self.x, xp.ones_like(self.x))
        return g / h / h


class Sinh(Pointwise):
    """y = sinh x = (e^x - e^-x) / 2:  dx = g cosh x."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.sinh(x)

    def backward(self, g: Array) -> Array:
        return g * self.backend.xp.cosh(self.x)


class Cosh(Pointwise):
    """y = cosh x = (e^x + e^-x) / 2:  dx = g sinh x."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.cosh(x)

    def backward(self, g: Array) -> Array:
        return g * self.backend.xp.sinh(self.x)


class Asinh(Pointwise):
    """y = asinh x, x = sinh y:  dx = g / cosh y = g / √(1 + x²)."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.asinh(x)

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        return g / xp.hypot(self.x, xp.ones_like(self.x))


class Acosh(Pointwise):
    """y = acosh x, x = cosh y:  dx = g / sinh y = g / √(x² - 1) = g / (√(x - 1) √(x + 1))."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.acosh(x)

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        return g / (xp.sqrt(self.x - 1) * xp.sqrt(self.x + 1))


class Atanh(Pointwise):
    """y = atanh x, x = tanh y:  dx = g / (1 - tanh² y) = g / ((1 - x)(1 + x))."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.atanh(x)

    def backward(self, g: Array) -> Array:
        return g / ((1 - self.x) * (1 + self.x))


class Atan2(OfFloats):
    """y = the angle of the point (b, a): tan y = a / b.

    With r = √(a² + b²), sin y = a/r and cos y = b/r.  Differentiate a = r sin y at a fixed b, where
    dr/da = sin y: 1 = sin² y + r cos y dy/da, so dy/da = cos y / r.  Likewise dy/db = -sin y / r.

        da = g b / r²,  db = -g a / r²,  both taken as 0 in the origin, where no angle is.
    """

    def forward(self, a: Any, b: Any) -> Array:
        a, b = self.arrays(a, b)
        if True in self.needs_input_grad:
            self.a, self.b = a, b
        return self.backend.xp.atan2(a, b)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp, a, b = self.backend.xp, self.a, self.b
        r = xp.hypot(a, b)
        r = xp.where(r == 0, xp.ones_like(r), r)
        g = g / r
        for_a, for_b = self.needs_input_grad
        return g * (b / r) if for_a else None, -g * (a / r) if for_b else None


class Hypot(OfFloats):
    """y = √(a² + b²):  da = g a / y,  db = g b / y, both taken as 0 where y = 0."""

    def forward(self, a: Any, b: Any) -> Array:
        a, b = self.arrays(a, b)
        y = self.backend.xp.hypot(a, b)
        if True in self.needs_input_grad:
            self.a, self.b, self.y = a, b, y
        return y

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp, y = self.backend.xp, self.y
        y = xp.where(y == 0, xp.ones_like(y), y)
        for_a, for_b = self.needs_input_grad
        return g * (self.a / y) if for_a else None, g * (self.b / y) if for_b else None


@in_float32
def tan(x: Tensor) -> Tensor:
    """The tangent of x, in radians, elementwise."""
    return Tan()(x)


@in_float32
def asin(x: Tensor) -> Tensor:
    """The angle from -π/2 to π/2 whose sine is x, elementwise; NaN outside of [-1, 1]."""
    return Asin()(x)


@in_float32
def acos(x: Tensor) -> Tensor:
    """The angle from 0 to π whose cosine is x, elementwise; NaN outside of [-1, 1]."""
    return Acos()(x)


def atan(x: Tensor) -> Tensor:
    """The angle from -π/2 to π/2 whose tangent is x, elementwise."""
    return Atan()(x)


@in_float32
def sinh(x: Tensor) -> Tensor:
    """The hyperbolic sine of x, elementwise."""
    return Sinh()(x)


@in_float32
def cosh(x: Tensor) -> Tensor:
    """The hyperbolic cosine of x, elementwise."""
    return Cosh()(x)


def asinh(x: Tensor) -> Tensor:
    """The number whose hyperbolic sine is x, elementwise."""
    return Asinh()(x)


def acosh(x: Tensor) -> Tensor:
    """The number of at least 0 whose hyperbolic cosine is x, elementwise; NaN below 1."""
    return Acosh()(x)


def atanh(x: Tensor) -> Tensor:
    """The number whose hyperbolic tangent is x, elementwise; NaN outside of [-1, 1]."""
    return Atanh()(x)


def atan2(a: Any, b: Any) -> Tensor:
    """The angle from -π to π of the point (b, a), elementwise, broadcast; one may be a number.

    Like atan(a / b), but in all four quadrants.  The gradient in the origin is 0.

    Raises:
        TypeError: neither operand is of a floating-point dtype.
    """
    return Atan2()(a, b)


def hypot(a: Any, b: Any) -> Tensor:
    """The length √(a² + b²) of (a, b), without overflow; broadcast, and one may be a number.

    The gradient where both are 0 is 0; where one is infinite it is NaN, as in PyTorch.

    Raises:
        TypeError: neither operand is of a floating-point dtype.
    """
    return Hypot()(a, b)

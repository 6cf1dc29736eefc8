"""Functions of one number, elementwise.

In each, g = dL/dy and dx = g f'(x); where f' is a function of y, only y is kept.  Where the
derivative is infinite (log and sqrt at 0), so is the gradient, and NumPy says so as it does for
1/0.
"""

from __future__ import annotations

import math

from ..backends import Array
from ..tensor import Tensor
from ._function import Unary
from .array.autocast import in_float32, in_float32_inside


class Pointwise(Unary):
    """y = f(x), number by number: a subclass gives `compute`, and `backward` from `self.x`.

    With `from_output` the derivative is computed from y alone, and it is `self.y` that is kept.
    """

    floats_only = True
    from_output = False

    def forward(self, x: Array) -> Array:
        y = self.compute(x)
        if self.needs_input_grad[0]:
            if self.from_output:
                self.y = y
            else:
                self.x = x
        return y

    def compute(self, x: Array) -> Array:
        raise NotImplementedError


class Exp(Pointwise):
    """y = e^x:  dx = g y."""

    from_output = True

    def compute(self, x: Array) -> Array:
        return self.backend.xp.exp(x)

    def backward(self, g: Array) -> Array:
        return g * self.y


class Expm1(Pointwise):
    """y = e^x - 1:  dx = g (y + 1)."""

    from_output = True

    def compute(self, x: Array) -> Array:
        return self.backend.xp.expm1(x)

    def backward(self, g: Array) -> Array:
        return g * (self.y + 1)


class Log(Pointwise):
    """y = log x:  dx = g / x."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.log(x)

    def backward(self, g: Array) -> Array:
        return g / self.x


class Log2(Pointwise):
    """y = log x / log 2:  dx = g / (x log 2)."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.log2(x)

    def backward(self, g: Array) -> Array:
        return g / (self.x * math.log(2))


class Log10(Pointwise):
    """y = log x / log 10:  dx = g / (x log 10)."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.log10(x)

    def backward(self, g: Array) -> Array:
        return g / (self.x * math.log(10))


class Log1p(Pointwise):
    """y = log(1 + x):  dx = g / (1 + x)."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.log1p(x)

    def backward(self, g: Array) -> Array:
        return g / (self.x + 1)


class Sqrt(Pointwise):
    """y = √x:  dx = g / (2 y)."""

    from_output = True

    def compute(self, x: Array) -> Array:
        return self.backend.xp.sqrt(x)

    def backward(self, g: Array) -> Array:
        return g / (self.y * 2)


class Square(Pointwise):
    """y = x²:  dx = 2 g x."""

    floats_only = False

    def compute(self, x: Array) -> Array:
        return x * x

    def backward(self, g: Array) -> Array:
        return g * (self.x * 2)


class Reciprocal(Pointwise):
    """y = 1/x:  dx = -g / x² = -g y²."""

    from_output = True

    def compute(self, x: Array) -> Array:
        return 1.0 / x

    def backward(self, g: Array) -> Array:
        return -g * (self.y * self.y)


class Abs(Pointwise):
    """y = |x|:  dx = g sign(x), which is 0 at 0."""

    floats_only = False

    def compute(self, x: Array) -> Array:
        return self.backend.xp.abs(x)

    def backward(self, g: Array) -> Array:
        return g * self.backend.xp.sign(self.x)


class Sign(Unary):
    """y = -1, 0 or 1:  flat wherever it is smooth, dx = 0."""

    def forward(self, x: Array) -> Array:
        return self.backend.xp.sign(x)

    def backward(self, g: Array) -> Array:
        return self.backend.xp.zeros_like(g)


class Tanh(Pointwise):
    """y = tanh x:  dx = g (1 - y²)."""

    from_output = True

    def compute(self, x: Array) -> Array:
        return self.backend.tanh(x)

    def backward(self, g: Array) -> Array:
        return self.backend.tanh_backward(g, self.y)


class Sin(Pointwise):
    """y = sin x:  dx = g cos x."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.sin(x)

    def backward(self, g: Array) -> Array:
        return g * self.backend.xp.cos(self.x)


class Cos(Pointwise):
    """y = cos x:  dx = -g sin x."""

    def compute(self, x: Array) -> Array:
        return self.backend.xp.cos(x)

    def backward(self, g: Array) -> Array:
        return -g * self.backend.xp.sin(self.x)


@in_float32
def exp(x: Tensor) -> Tensor:
    """e to the power x, elementwise."""
    return Exp()(x)


@in_float32
def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1, elementwise, accurate near 0."""
    return Expm1()(x)


@in_float32
def log(x: Tensor) -> Tensor:
    """The natural logarithm of x, elementwise; -inf at 0, NaN below."""
    return Log()(x)


@in_float32
def log2(x: Tensor) -> Tensor:
    """The logarithm of x to the base 2, elementwise; -inf at 0, NaN below."""
    return Log2()(x)


@in_float32
def log10(x: Tensor) -> Tensor:
    """The logarithm of x to the base 10, elementwise; -inf at 0, NaN below."""
    return Log10()(x)


@in_float32
def log1p(x: Tensor) -> Tensor:
    """log(1 + x), elementwise, accurate near 0."""
    return Log1p()(x)


def sqrt(x: Tensor) -> Tensor:
    """The square root of x, elementwise; NaN below 0.  The gradient at 0 is infinite."""
    return Sqrt()(x)


def square(x: Tensor) -> Tensor:
    """x * x, elementwise."""
    return Square()(x)


@in_float32
def reciprocal(x: Tensor) -> Tensor:
    """1 / x, elementwise."""
    return Reciprocal()(x)


def abs(x: Tensor) -> Tensor:
    """The absolute value of x, elementwise; the gradient at 0 is 0."""
    return Abs()(x)


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1 with the sign of x, elementwise; the gradient is 0 everywhere."""
    return Sign()(x)


@in_float32_inside
def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent of x, elementwise."""
    return Tanh()(x)


@in_float32_inside
def sin(x: Tensor) -> Tensor:
    """The sine of x (in radians), elementwise."""
    return Sin()(x)


@in_float32_inside
def cos(x: Tensor) -> Tensor:
    """The cosine of x (in radians), elementwise."""
    return Cos()(x)

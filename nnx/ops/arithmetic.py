"""Arithmetic, with broadcasting: the four operations, powers, the larger and the smaller."""

from __future__ import annotations

import math
import operator
from typing import Any

from ..backends import Array
from ..tensor import Tensor
from ._broadcast import Broadcasting, OfFloats
from ._function import Unary
from .array.autocast import in_float32


class Add(Broadcasting):
    """y = a + b:  da = g,  db = g."""

    def forward(self, a: Array, b: Array) -> Array:
        return a + b

    def backward(self, g: Array) -> tuple[Array, Array]:
        return g, g


class Subtract(Broadcasting):
    """y = a - b:  da = g,  db = -g."""

    def forward(self, a: Array, b: Array) -> Array:
        return a - b

    def backward(self, g: Array) -> tuple[Array, Array | None]:
        return g, -g if self.needs_input_grad[1] else None


class Multiply(Broadcasting):
    """y = a b:  da = g b,  db = g a."""

    def forward(self, a: Array, b: Array) -> Array:
        for_a, for_b = self.needs_input_grad
        if for_a:
            self.b = b
        if for_b:
            self.a = a
        return a * b

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        for_a, for_b = self.needs_input_grad
        return g * self.b if for_a else None, g * self.a if for_b else None


class Divide(Broadcasting):
    """y = a / b:  da = g / b,  db = -g a / b² = -g y / b.  Integers are divided in float32."""

    def forward(self, a: Array, b: Array) -> Array:
        for_a, for_b = self.needs_input_grad
        if not (for_a or for_b):
            return self._as_float(a) / self._as_float(b)
        y = a / b
        self.b = b
        if for_b:
            self.y = y
        return y

    def _as_float(self, x: Any) -> Any:
        if not hasattr(x, "dtype") or self.backend.is_float(x.dtype):
            return x
        return self.backend.xp.astype(x, self.backend.xp.float32)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        g = g / self.b
        for_a, for_b = self.needs_input_grad
        return g if for_a else None, -g * self.y if for_b else None


class Power(Broadcasting):
    """y = a^b:  da = g b a^(b-1),  db = g y log a.

    At the edges, as in PyTorch: b = 0 gives da = 0 (the constant 1, also at a = 0, though
    a^(b-1) is infinite there); a = 0 with b >= 0 gives db = 0; a < 0 gives db = NaN.
    """

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        y = a**b
        if self.needs_input_grad[1]:
            self.y = y
        return y

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        for_a, for_b = self.needs_input_grad
        return self._for_base(g) if for_a else None, self._for_exponent(g) if for_b else None

    def _for_base(self, g: Array) -> Array:
        xp, a, b = self.backend.xp, self.a, self.b
        if hasattr(b, "dtype"):
            constant = b == 0
            power = a ** xp.where(constant, xp.ones_like(b), b - 1)
            return g * xp.where(constant, xp.zeros_like(power), b * power)
        if b == 2:
            return g * (a * 2)
        return g * (a ** (b - 1) * b) if b != 0 else xp.zeros_like(g)

    def _for_exponent(self, g: Array) -> Array:
        xp, a, b = self.backend.xp, self.a, self.b
        if not hasattr(a, "dtype"):
            a = xp.full_like(b, a)
        positive = a > 0
        log = xp.log(xp.where(positive, a, xp.ones_like(a)))
        below = xp.where(a < 0, xp.full_like(a, math.nan), xp.full_like(a, -math.inf))
        log = xp.where(positive, log, below)
        flat = (a == 0) & (b >= 0)
        return g * xp.where(flat, xp.zeros_like(self.y), self.y * xp.where(flat, self.y, log))


class Maximum(Broadcasting):
    """y = max(a, b):  the gradient goes to the larger one; at a tie, half to each."""

    takes_a = staticmethod(operator.gt)

    def forward(self, a: Array, b: Array) -> Array:
        self.keep(a, b)
        return self.backend.xp.maximum(a, b)

    def keep(self, a: Array, b: Array) -> None:
        if True in self.needs_input_grad:
            self.won, self.tied = self.takes_a(a, b), a == b

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        zeros = xp.zeros_like(g)
        half = xp.where(self.tied, g * 0.5, zeros)
        for_a, for_b = self.needs_input_grad
        return (
            xp.where(self.won, g, half) if for_a else None,
            xp.where(self.won | self.tied, half, g) if for_b else None,
        )


class Minimum(Maximum):
    """y = min(a, b):  the gradient goes to the smaller one; at a tie, half to each."""

    takes_a = staticmethod(operator.lt)

    def forward(self, a: Array, b: Array) -> Array:
        self.keep(a, b)
        return self.backend.xp.minimum(a, b)


class LogAddExp(OfFloats):
    """y = log(e^a + e^b):  da = g e^(a-y) = g sigmoid(a-b),  db = g sigmoid(b-a).

    By the difference, not by y: in y the digits of a and b are lost beside the larger one's.  Where
    a = b each gets half of g, at ±inf too, where a - b is no number.
    """

    def forward(self, a: Array, b: Array) -> Array:
        xp = self.backend.xp
        a, b = self.arrays(a, b)
        if True in self.needs_input_grad:
            tied = a == b
            zero = xp.zeros_like(a)
            self.lead = xp.where(tied, zero, a) - xp.where(tied, zero, b)
        return xp.logaddexp(a, b)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        sigmoid, (for_a, for_b) = self.backend.sigmoid, self.needs_input_grad
        return (
            g * sigmoid(self.lead) if for_a else None,
            g * sigmoid(-self.lead) if for_b else None,
        )


class Negative(Unary):
    """y = -x:  dx = -g."""

    def forward(self, x: Array) -> Array:
        return -x

    def backward(self, g: Array) -> Array:
        return -g


def add(a: Any, b: Any) -> Tensor:
    """a + b, broadcast; one of the two may be a number."""
    return Add()(a, b)


def subtract(a: Any, b: Any) -> Tensor:
    """a - b, broadcast; one of the two may be a number."""
    return Subtract()(a, b)


def multiply(a: Any, b: Any) -> Tensor:
    """a * b, elementwise, broadcast; one of the two may be a number."""
    return Multiply()(a, b)


def divide(a: Any, b: Any) -> Tensor:
    """a / b, elementwise, broadcast; one of the two may be a number."""
    return Divide()(a, b)


@in_float32
def pow(a: Any, b: Any) -> Tensor:
    """a ** b, elementwise, broadcast; one of the two may be a number.

    0 ** 0 is 1.  A negative base with a fractional exponent is NaN.
    """
    return Power()(a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """The larger of a and b, elementwise, broadcast; NaN wins.  At a tie each gets half of g."""
    return Maximum()(a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """The smaller of a and b, elementwise, broadcast; NaN wins.  At a tie each gets half of g."""
    return Minimum()(a, b)


@in_float32
def logaddexp(a: Any, b: Any) -> Tensor:
    """log(exp(a) + exp(b)) without overflow, elementwise, broadcast; one may be a number.

    The sum of two probabilities that are given by their logarithms: -inf is a probability of 0.

    Raises:
        TypeError: neither is of a floating-point dtype.
    """
    return LogAddExp()(a, b)


def negative(x: Tensor) -> Tensor:
    """-x, elementwise."""
    return Negative()(x)

"""Whole numbers, remainders and signs, elementwise.

A rounded number stays the same while x moves a little, so its gradient is 0 (and not None, as that
of a comparison: what is computed from it may still reach x another way).
"""

from __future__ import annotations

from typing import Any

from ...backends import Array, backend_of, dtype_name
from ...tensor import Tensor
from .._broadcast import Broadcasting, OfFloats, float_arrays
from .._function import Unary
from .._operands import as_tensor
from ..compare import of_pair


class Round(Unary):
    """y = x rounded, by `how`: flat between its steps, dx = 0.  Integers are as they are."""

    def __init__(self, how: str) -> None:
        self.how = how

    def forward(self, x: Array) -> Array:
        return getattr(self.backend.xp, self.how)(x)

    def backward(self, g: Array) -> Array:
        return self.backend.xp.zeros_like(g)


class FloorDivide(Broadcasting):
    """y = floor(a / b): flat between its steps, da = db = 0."""

    def forward(self, a: Array, b: Array) -> Array:
        return a // b

    def backward(self, g: Array) -> tuple[Array, Array]:
        zeros = self.backend.xp.zeros_like(g)
        return zeros, zeros


class Remainder(Broadcasting):
    """y = a - b floor(a / b), which has the sign of b:  da = g,  db = -g floor(a / b)."""

    def forward(self, a: Array, b: Array) -> Array:
        if self.needs_input_grad[1]:
            self.a, self.b = a, b
        return a % b

    def backward(self, g: Array) -> tuple[Array, Array | None]:
        return g, -g * (self.a // self.b) if self.needs_input_grad[1] else None


class CopySign(OfFloats):
    """y = |a| with the sign of b:  da = g sign(a) sign(b), 0 at a = 0;  db = 0.

    The sign of b is that of its bits: -0.0 is negative.
    """

    def forward(self, a: Any, b: Any) -> Array:
        a, b = self.arrays(a, b)
        self.a, self.b = a, b
        return self.backend.xp.copysign(a, b)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        for_a, for_b = self.needs_input_grad
        turned = xp.copysign(xp.ones_like(g), self.b) * xp.sign(self.a) if for_a else None
        return g * turned if for_a else None, xp.zeros_like(g) if for_b else None


def floor(x: Tensor) -> Tensor:
    """The largest whole number not above x, elementwise, in x's dtype; the gradient is 0."""
    return Round("floor")(x)


def ceil(x: Tensor) -> Tensor:
    """The smallest whole number not below x, elementwise, in x's dtype; the gradient is 0."""
    return Round("ceil")(x)


def trunc(x: Tensor) -> Tensor:
    """The whole number next to x towards 0, elementwise, in x's dtype; the gradient is 0."""
    return Round("trunc")(x)


def round(x: Tensor) -> Tensor:
    """The whole number nearest to x, elementwise, of two the even one; the gradient is 0."""
    return Round("round")(x)


def floor_divide(a: Any, b: Any) -> Tensor:
    """floor(a / b), elementwise, broadcast; one may be a number; the gradients are 0."""
    return FloorDivide()(a, b)


def remainder(a: Any, b: Any) -> Tensor:
    """a - b floor(a / b), elementwise, broadcast: a % b, with the sign of b; one may be a number.

    Its gradient is that of the line between the jumps, which are not seen.
    """
    return Remainder()(a, b)


def copysign(a: Any, b: Any) -> Tensor:
    """|a| with the sign of b (-0.0 is negative), elementwise, broadcast; one may be a number.

    Raises:
        TypeError: neither operand is of a floating-point dtype.
    """
    return CopySign()(a, b)


def positive(x: Tensor) -> Tensor:
    """x itself: +x, in its shape."""
    same: Tensor = as_tensor("positive", x)
    return same


def signbit(x: Tensor) -> Tensor:
    """Whether the sign of x is negative, of -0.0 too: booleans, elementwise; no gradient.

    Raises:
        TypeError: x is not of a floating-point dtype.
    """
    x = as_tensor("signbit", x)
    home = backend_of(x.data)
    if not home.is_float(x.dtype):
        raise TypeError(
            f"signbit: the tensor must be of a floating-point dtype, not {dtype_name(x.dtype)}; "
            "use x < 0"
        )
    return Tensor(home.xp.signbit(x.data))


def nextafter(a: Any, b: Any) -> Tensor:
    """The next number of the dtype behind a on the way to b, elementwise, broadcast; no gradient.

    Raises:
        TypeError: neither operand is of a floating-point dtype.
        ValueError: the shapes cannot be broadcast.
    """
    return of_pair("nextafter", _after, a, b)


def _after(a: Any, b: Any) -> Array:
    home = backend_of(a if hasattr(a, "dtype") else b)
    a, b = float_arrays(home, "nextafter", a, b)
    return home.xp.nextafter(a, b)

"""The four operations, with broadcasting.

Each derivative below is elementwise; where an operand was broadcast, its gradient is then summed
over the stretched axes (`sum_to`), the transpose of broadcasting.  An operand may be a plain
number; in a mix of dtypes each gradient is cast back to its operand's.
"""

from __future__ import annotations

from typing import Any

from ..autograd import Function
from ..backends import Array
from ..tensor import Tensor
from ._shape import sum_to


class _Binary(Function):
    """What two broadcast operands share: remembering what they were, and going back to it."""

    def keep(self, a: Array, b: Array) -> None:
        self.like = [
            (x.shape, x.dtype) if need else None for x, need in zip((a, b), self.needs, strict=True)
        ]

    def back(self, g: Array, k: int) -> Array:
        """The gradient `g` in the shape and dtype of operand k."""
        kept = self.like[k]
        assert kept is not None
        shape, dtype = kept
        g = sum_to(self.backend.xp, g, shape)
        return g if g.dtype == dtype else self.backend.xp.astype(g, dtype)


class Add(_Binary):
    """y = a + b:  da = g,  db = g."""

    def forward(self, a: Array, b: Array) -> Array:
        self.keep(a, b)
        return a + b

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        return (
            self.back(g, 0) if self.needs[0] else None,
            self.back(g, 1) if self.needs[1] else None,
        )


class Subtract(_Binary):
    """y = a - b:  da = g,  db = -g."""

    def forward(self, a: Array, b: Array) -> Array:
        self.keep(a, b)
        return a - b

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        return (
            self.back(g, 0) if self.needs[0] else None,
            self.back(-g, 1) if self.needs[1] else None,
        )


class Multiply(_Binary):
    """y = a b:  da = g b,  db = g a."""

    def forward(self, a: Array, b: Array) -> Array:
        self.keep(a, b)
        self.a = a if self.needs[1] else None
        self.b = b if self.needs[0] else None
        return a * b

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        return (
            self.back(g * self.b, 0) if self.needs[0] else None,
            self.back(g * self.a, 1) if self.needs[1] else None,
        )


class Divide(_Binary):
    """y = a / b:  da = g / b,  db = -g a / b² = -g y / b."""

    def forward(self, a: Array, b: Array) -> Array:
        self.keep(a, b)
        y = a / b
        self.b = b
        self.y = y if self.needs[1] else None
        return y

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        g = g / self.b
        return (
            self.back(g, 0) if self.needs[0] else None,
            self.back(-g * self.y, 1) if self.needs[1] else None,
        )


class Negative(Function):
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


def negative(x: Tensor) -> Tensor:
    """-x, elementwise."""
    return Negative()(x)

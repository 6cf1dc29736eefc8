"""Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..backends import Array
from ..tensor import Tensor
from ._function import Unary
from ._operands import as_tensor, require_one_dtype

if TYPE_CHECKING:
    from ..random import Generator


class Dropout(Unary):
    """y = x m / (1 - p), m = 1 with probability 1 - p and else 0, for each number on its own.

    Scaling here rather than at test time ("inverted" dropout) leaves the expectation of y at x.

    Backward.  dx = g m / (1 - p): the same function of g.  The mask is a function of where in the
    random stream it was drawn, so it is drawn again and not kept.
    """

    def __init__(self, p: float, generator: Generator) -> None:
        self.keep, self.generator = 1.0 - p, generator

    def forward(self, x: Array) -> Array:
        n = 1
        for length in x.shape:
            n *= length
        self.place = self.generator.reserve(n)
        return self._masked(x)

    def backward(self, g: Array) -> Array:
        return self._masked(g)

    def _masked(self, x: Array) -> Array:
        scale = 1.0 / self.keep if self.keep else 0.0
        return self.backend.dropout(x, *self.place, round(self.keep * 2**32), scale)


def dropout(
    x: Tensor, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Zero each number with probability p and divide the others by 1 - p (Srivastava et al. 2014;
    Xu 9.26-9.29, which counts in the probability to *keep*); x itself where `training` is False.

    The result has x's shape.

    The mask comes from `generator`, or from the generator that `nnx.manual_seed` sets.

    Raises:
        ValueError: p is not between 0 and 1.
        TypeError: x is not of a floating-point dtype.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be between 0 and 1, got {p}")
    x = as_tensor("dropout", x)
    if not training or p == 0.0:
        return x
    require_one_dtype("dropout", x=x)
    if generator is None:
        from ..random import default_generator  # here, so that `import nnx` need not load it

        generator = default_generator()
    return Dropout(p, generator)(x)

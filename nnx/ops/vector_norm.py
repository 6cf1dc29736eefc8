"""Norms of vectors."""

from __future__ import annotations

import math

from ..backends import Array
from ..tensor import Tensor
from ._broadcast import Axis
from .array.autocast import in_float32
from .reduce import Reduction


class Norm(Reduction):
    """y = (sum |x|^p)^(1/p):  dx = g sign(x) (|x| / y)^(p-1), and 0 where x = 0.

    For p = 2 that is g x / y.  For p = ∞, y = max |x|, and p = -∞, y = min |x|, the gradient is
    shared evenly among the x with |x| = y.  For p = 0, y counts what is not zero, and dx = 0.
    """

    floats_only = True

    def __init__(self, p: float, axis: Axis, keepdims: bool) -> None:
        super().__init__(axis, keepdims)
        self.p = p

    def forward(self, x: Array) -> Array:
        xp, p = self.backend.xp, self.p
        axes = self.over(x)
        if math.isinf(p) and not all(x.shape[k] for k in axes):
            raise ValueError(
                f"norm: there is none of no values; axis {self.axis} of shape {tuple(x.shape)}"
            )
        over = {"axis": axes, "keepdims": self.keepdims}
        if p == 2:
            y = xp.sqrt(xp.sum(x * x, **over))
        elif p == math.inf:
            y = xp.max(xp.abs(x), **over)
        elif p == -math.inf:
            y = xp.min(xp.abs(x), **over)
        elif p == 0:
            y = xp.sum(xp.astype(x != 0, x.dtype), **over)
        elif p == 1:
            y = xp.sum(xp.abs(x), **over)
        else:
            y = xp.sum(xp.abs(x) ** p, **over) ** (1 / p)
        if self.needs_input_grad[0]:
            self.x, self.y = x, y
        return y

    def backward(self, g: Array) -> Array:
        xp, p, x = self.backend.xp, self.p, self.x
        g, y = self.full(g), self.full(self.y)
        if p == 0:
            return xp.zeros_like(x)
        if p == 1:
            return g * xp.sign(x)
        if math.isinf(p):
            hit = xp.astype(xp.abs(x) == y, x.dtype)
            return xp.sign(x) * hit * (g / xp.sum(hit, axis=self.axes, keepdims=True))
        y = xp.where(y == 0, xp.ones_like(y), y)
        if p == 2:
            return x * (g / y)
        size = xp.abs(x)
        share = (xp.where(size == 0, xp.ones_like(size), size) / y) ** (p - 1)
        return g * xp.sign(x) * share


@in_float32
def norm(x: Tensor, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The vector norm (sum |x|^ord)^(1/ord) over `axis`; over all axes of a matrix and for
    ord = 2 that is the Frobenius norm.

    `ord` is any number; inf and -inf give the largest and smallest |x|, 0 counts what is not 0.
    The gradient where the norm is 0 is 0, as in PyTorch.

    `keepdims` keeps the axes that go, with length 1.

    Raises:
        ValueError: x has no such axis, one is named twice, or `ord` is infinite and there is
            nothing along it.
    """
    return Norm(ord, axis, keepdims)(x)

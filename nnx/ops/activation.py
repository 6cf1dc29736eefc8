"""Activation functions."""

from __future__ import annotations

from ..autograd import Function
from ..backends import Array
from ..tensor import Tensor


class ReLU(Function):
    """y = max(x, 0):  dx = g where x > 0, else 0.

    The derivative at 0 is taken as 0.  x > 0 exactly where y > 0, so only y is kept.
    """

    def forward(self, x: Array) -> Array:
        y = self.backend.relu(x)
        if self.needs[0]:
            self.y = y
        return y

    def backward(self, g: Array) -> Array:
        return self.backend.relu_backward(g, self.y)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), elementwise (Nair and Hinton 2010; Xu 3.3); the derivative at 0 is 0."""
    return ReLU()(x)

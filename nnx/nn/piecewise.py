"""Activation functions made of pieces as modules: x of any shape -> y of the same shape and dtype.

Their gradients are derived in `nnx.ops.piecewise`.  Where PyTorch has the argument `inplace`, it is
accepted, and means nothing: y is a new array.
"""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .module import Module


class Threshold(Module):
    """x where it is above `threshold`, `value` elsewhere, elementwise; no gradient there.

    `inplace` is accepted, and means nothing.
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, x: Tensor) -> Tensor:
        return ops.threshold(x, self.threshold, self.value)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, value={self.value}"


class Hardshrink(Module):
    """x where |x| > lambd, 0 elsewhere, elementwise (Donoho and Johnstone 1994)."""

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(Module):
    """x moved towards 0 by lambd, 0 between ±lambd, elementwise (Donoho and Johnstone 1994).

    Raises:
        ValueError: when called, lambd is negative.
    """

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, x: Tensor) -> Tensor:
        return ops.softshrink(x, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Tanhshrink(Module):
    """x - tanh(x), elementwise: about x³/3 near 0."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanhshrink(x)


class Hardsigmoid(Module):
    """x/6 + 1/2 held between 0 and 1, elementwise (Howard et al. 2019).

    `inplace` is accepted, and means nothing.
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardsigmoid(x)


class Hardswish(Module):
    """x hardsigmoid(x), elementwise: 0 below -3, x above 3 (Howard et al. 2019).

    `inplace` is accepted, and means nothing.
    """

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        return ops.hardswish(x)


class RReLU(Module):
    """x where positive, a x elsewhere, elementwise, with a drawn in training (B. Xu et al. 2015).

    Args:
        lower, upper: in training each number has an a of its own, from U(lower, upper); in
            evaluation a is their mean.
        inplace: accepted; it means nothing.

    Raises:
        ValueError: lower is above upper.
        TypeError: when called, x is of integers.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        if not lower <= upper:
            raise ValueError(f"RReLU: lower must not be above upper; {lower} and {upper}")
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, x: Tensor) -> Tensor:
        return ops.rrelu(x, self.lower, self.upper, self.training)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"

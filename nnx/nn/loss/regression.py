"""Losses of a difference: `nnx.ops.loss.regression` derives them."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...tensor import Tensor
from .base import Loss


class MSELoss(Loss):
    """The squared difference (input - target)²; input and target of any one shape.

    The texts' losses have a ½ (Liu 1.2, Wang 1.1.1, Xu 7.20; a sum in Saito 3.2.1 and in the
    lecture notes): for one output and n samples theirs is half of this, so steps here are twice as
    long, and `weight_decay=λ` is the ridge regression of λ/2.  `0.5 * nn.MSELoss()(y, t)` is
    theirs.

    Args:
        reduction: "mean" over all elements, "sum", or "none": the input's shape.

    Raises:
        ValueError: when called, shapes that differ, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.mse_loss(input, target, self.reduction)


class L1Loss(Loss):
    """The absolute difference |input - target|, whose gradient where they are equal is 0.

    input and target have any one shape.

    Args:
        reduction: "mean" over all elements (the lecture notes have the sum), "sum", or "none": the
            input's shape.

    Raises:
        ValueError: when called, shapes that differ, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.l1_loss(input, target, self.reduction)


class SmoothL1Loss(Loss):
    """d² / (2 beta) where |d| < beta, else |d| - beta/2, of d = input - target (Girshick 2015).

    input and target have any one shape.

    Args:
        reduction: "mean" over all elements (the lecture notes have the sum), "sum", or "none": the
            input's shape.
        beta: at least 0; 0 is `L1Loss`.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or beta below 0.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("beta",)

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(Loss):
    """d²/2 where |d| <= delta, else delta (|d| - delta/2), of d = input - target (Huber 1964).

    input and target have any one shape.

    Args:
        reduction: "mean" over all elements, "sum", or "none": the input's shape.
        delta: positive; `SmoothL1Loss(beta=delta)` is this divided by delta.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or delta not positive.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("delta",)

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.huber_loss(input, target, self.reduction, self.delta)

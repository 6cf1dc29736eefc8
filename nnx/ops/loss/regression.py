"""Losses of the difference between an output and its target: d = x - t.

Each is l(d), so the gradient of x is l'(d) and that of t is -l'(d).
"""

from __future__ import annotations

from typing import Any

from ...backends import Array
from ...tensor import Tensor
from ..array.autocast import in_float32
from .reduction import ElementwiseLoss, check_reduction, matching


class OfDifference(ElementwiseLoss):
    def values(self, x: Array, t: Array) -> Array:
        d = x - t
        if True in self.needs_input_grad:
            self.d = d
        return self.loss(d)

    def loss(self, d: Array) -> Array:
        raise NotImplementedError

    def slope_t(self) -> Array:
        return -self.slope_x()


class MSE(OfDifference):
    """l = d²,  l' = 2 d."""

    def loss(self, d: Array) -> Array:
        return d * d

    def slope_x(self) -> Array:
        return self.d * 2


class L1(OfDifference):
    """l = |d|,  l' = sign d."""

    def loss(self, d: Array) -> Array:
        return self.backend.xp.abs(d)

    def slope_x(self) -> Array:
        return self.backend.xp.sign(self.d)


class Huber(OfDifference):
    """l = s d²/2 where |d| <= w, else s w (|d| - w/2);  l' = s d held between -s w and s w.

    A parabola with straight sides, which meet it with the same slope.  w = δ and s = 1 give
    Huber's loss, w = β and s = 1/β the smooth L1 loss.
    """

    def __init__(self, reduction: str, width: float, scale: float) -> None:
        super().__init__(reduction)
        self.width, self.slope = width, scale

    def loss(self, d: Array) -> Array:
        xp = self.backend.xp
        size = xp.abs(d)
        straight = (size - 0.5 * self.width) * (self.slope * self.width)
        return xp.where(size <= self.width, d * d * (0.5 * self.slope), straight)

    def slope_x(self) -> Array:
        return self.backend.xp.clip(self.d, -self.width, self.width) * self.slope


@in_float32
def mse_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """The squared difference, averaged over all elements.

    Without the ½ that the texts have: for n samples of one output, 1/(2n) Σ (y - t)² (Liu 1.2; Wang
    1.1.1) is half of this, so a step size or a λ counts twice here; for k outputs, the sums of the
    lecture notes and of Saito 3.2.1, ½ Σ (y - t)², are n k / 2 times this, and Xu's 7.20 k/2 times.

    Args:
        input: of any shape, floating-point.
        target: of the same shape; it is cast to the input's dtype, never broadcast.
        reduction: "mean", "sum" (one number each) or "none" (the input's shape).

    Raises:
        ValueError: input and target differ in shape, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("mse_loss", reduction)
    input, target = matching("mse_loss", input, target)
    return MSE(reduction)(input, target)


@in_float32
def l1_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """The absolute difference, averaged over all elements; the gradient at 0 is 0.

    Args:
        input: of any shape, floating-point.
        target: of the same shape; it is cast to the input's dtype, never broadcast.
        reduction: "mean" (the lecture notes have the sum), "sum" (one number each) or "none" (the
            input's shape).

    Raises:
        ValueError: input and target differ in shape, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("l1_loss", reduction)
    input, target = matching("l1_loss", input, target)
    return L1(reduction)(input, target)


@in_float32
def smooth_l1_loss(
    input: Tensor, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """d²/(2 beta) where |d| < beta, else |d| - beta/2, of d = input - target (Girshick 2015).

    Args:
        input: of any shape, floating-point.
        target: of the same shape; it is cast to the input's dtype, never broadcast.
        reduction: "mean" (the lecture notes have the sum), "sum" (one number each) or "none" (the
            input's shape).
        beta: where the parabola ends; 0 is `l1_loss`.

    Raises:
        ValueError: input and target differ in shape, an unknown reduction, or beta below 0.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("smooth_l1_loss", reduction)
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    input, target = matching("smooth_l1_loss", input, target)
    if beta == 0:
        return L1(reduction)(input, target)
    return Huber(reduction, beta, 1.0 / beta)(input, target)


@in_float32
def huber_loss(input: Tensor, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d²/2 where |d| <= delta, else delta (|d| - delta/2), of d = input - target (Huber 1964).

    Args:
        input: of any shape, floating-point.
        target: of the same shape; it is cast to the input's dtype, never broadcast.
        reduction: "mean", "sum" (one number each) or "none" (the input's shape).
        delta: where the parabola ends.

    Raises:
        ValueError: input and target differ in shape, an unknown reduction, or delta not positive.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("huber_loss", reduction)
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    input, target = matching("huber_loss", input, target)
    return Huber(reduction, delta, 1.0)(input, target)

"""Losses between probabilities: binary cross-entropy and the Kullback-Leibler divergence."""

from __future__ import annotations

from typing import Any

from ..backends import Array, backend_of
from ..tensor import Tensor
from ._reduction import REDUCTIONS, Elementwise, check_reduction, constant, matching

# log p is held above -100, so that a wrong answer given with certainty costs 100, not infinity.
LEAST_LOG = -100.0
TINY = 1e-44  # its logarithm is below -100, and float32 still tells it from 0


class BinaryCrossEntropy(Elementwise):
    """l = -t log p - (1 - t) log(1 - p), with both logarithms held above -100.

    dp = (p - t) / (p (1 - p)), where the denominator is held above 1e-12;
    dt = log(1 - p) - log p.
    """

    def values(self, p: Array, t: Array) -> Array:
        xp = self.backend.xp
        yes = xp.clip(xp.log(xp.clip(p, TINY, None)), LEAST_LOG, None)
        no = xp.clip(xp.log(xp.clip(1 - p, TINY, None)), LEAST_LOG, None)
        for_p, for_t = self.needs_input_grad
        if for_p:
            self.slope = (p - t) / xp.clip(p * (1 - p), 1e-12, None)
        if for_t:
            self.odds = no - yes
        return -t * yes - (1 - t) * no

    def slope_x(self) -> Array:
        return self.slope

    def slope_t(self) -> Array:
        return self.odds


class BinaryCrossEntropyWithLogits(Elementwise):
    """l = -q t log σ(x) - (1 - t) log σ(-x), with q the weight of the positive class.

    -log σ(x) = softplus(-x) = softplus(x) - x, which never overflows, so

        l = q t (softplus(x) - x) + (1 - t) softplus(x)

    dx = σ(x) (1 - t + q t) - q t;  dt = q (softplus(x) - x) - softplus(x).
    """

    def __init__(self, reduction: str, weight: Array | None, pos_weight: Array | None) -> None:
        super().__init__(reduction, weight)
        self.q = pos_weight

    def values(self, x: Array, t: Array) -> Array:
        s = self.backend.softplus(x)
        positive = t if self.q is None else t * self.q
        for_x, for_t = self.needs_input_grad
        if for_x:
            both = 1 - t + positive
            self.slope = self.backend.sigmoid(x) * both - positive
        if for_t:
            self.odds = (s - x if self.q is None else (s - x) * self.q) - s
        if self.q is None:
            return s - t * x
        return positive * (s - x) + (1 - t) * s

    def slope_x(self) -> Array:
        return self.slope

    def slope_t(self) -> Array:
        return self.odds


class KLDivergence(Elementwise):
    """l = t (log t - x), with x the logarithm of the other probability and 0 log 0 = 0.

    dx = -t,  dt = log t + 1 - x (at t = 0, where that is -infinity, -x).  For a target u = log t:
    l = e^u (u - x), dx = -e^u, du = e^u (u + 1 - x).
    """

    def __init__(self, reduction: str, log_target: bool) -> None:
        super().__init__("sum" if reduction == "batchmean" else reduction)
        self.log_target = log_target

    def values(self, x: Array, t: Array) -> Array:
        xp = self.backend.xp
        if self.log_target:
            p, log = xp.exp(t), t
        else:
            positive = t > 0
            p, log = t, xp.log(xp.where(positive, t, xp.ones_like(t)))
        for_x, for_t = self.needs_input_grad
        if for_x:
            self.p = p
        if for_t:
            slope = log + 1 - x
            self.slope = p * slope if self.log_target else xp.where(positive, slope, -x)
        return p * (log - x)

    def slope_x(self) -> Array:
        return -self.p

    def slope_t(self) -> Array:
        return self.slope


def binary_cross_entropy(
    input: Tensor, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """-t log p - (1 - t) log(1 - p) for probabilities `input` and targets between 0 and 1.

    `weight` broadcasts to the input's shape.  Where there are logits, use
    `binary_cross_entropy_with_logits`, which does not lose what sigmoid rounds away.

    Raises:
        ValueError: shapes that differ, an unknown reduction, or (where looking costs no wait for
            a device) an input outside [0, 1].
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    target = matching(name, input, target)
    home = backend_of(input.data)
    if home.checks_values:
        x = input.data
        if bool(home.xp.any((x < 0) | (x > 1))):
            raise ValueError(
                f"{name}: the input must be probabilities between 0 and 1; for logits use "
                "binary_cross_entropy_with_logits"
            )
    return BinaryCrossEntropy(reduction, constant(name, "weight", weight, input))(input, target)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Sigmoid and binary cross-entropy in one step, exact for logits of any size.

    `weight` and `pos_weight`, which multiplies the term of the positive class, broadcast to the
    input's shape.

    Raises:
        ValueError: shapes that do not fit, or an unknown reduction.
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, reduction)
    target = matching(name, input, target)
    weights = (
        constant(name, "weight", weight, input),
        constant(name, "pos_weight", pos_weight, input),
    )
    return BinaryCrossEntropyWithLogits(reduction, *weights)(input, target)


def kl_div(input: Tensor, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The divergence t (log t - input) of log-probabilities `input` from probabilities `target`.

    `reduction="batchmean"` divides the sum by the length of the first axis, which is the
    divergence per sample; "mean" divides by the number of all elements, as PyTorch does.
    `log_target` says that the target, too, is a logarithm.

    Raises:
        ValueError: input and target differ in shape, or an unknown reduction.
    """
    check_reduction("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    y = KLDivergence(reduction, log_target)(input, matching("kl_div", input, target))
    return y / input.shape[0] if reduction == "batchmean" else y

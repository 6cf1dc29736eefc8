"""Losses between probabilities: binary cross-entropy the Kullback-Leibler divergence,
and the likelihoods of counts and of numbers with a variance."""

from __future__ import annotations

import math
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._broadcast import fit_broadcast
from .._function import Function
from .._operands import as_tensor
from ..array.autocast import in_float32
from ..array.cast import astype
from ..array.shape import broadcast_to, expand_dims
from .reduction import REDUCTIONS, ElementwiseLoss, check_reduction, constant, matching, share_times

# log p is held above -100, so that a wrong answer given with certainty costs 100, not infinity.
LEAST_LOG = -100.0
TINY = 1e-44  # its logarithm is below -100, and float32 still tells it from 0


class BinaryCrossEntropy(ElementwiseLoss):
    """l = -t log p - (1 - t) log(1 - p), with both logarithms held above -100.

    log(1 - p) is computed as log1p(-p): 1 - p would round away a p below 1e-7 (in float32).

    dp = (p - t) / (p (1 - p)), where the denominator is held above 1e-12;
    dt = log(1 - p) - log p.
    """

    def values(self, p: Array, t: Array) -> Array:
        xp = self.backend.xp
        yes = xp.clip(xp.log(xp.clip(p, TINY, None)), LEAST_LOG, None)
        certain = p >= 1
        no = xp.log1p(-xp.where(certain, xp.zeros_like(p), p))
        no = xp.where(certain, xp.full_like(p, LEAST_LOG), xp.clip(no, LEAST_LOG, None))
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


class BinaryCrossEntropyWithLogits(ElementwiseLoss):
    """l = -q t log σ(x) - (1 - t) log σ(-x), with q the weight of the positive class.

    With L = log(1 + e^-|x|), which never overflows, -log σ(x) = L + max(-x, 0) and
    -log σ(-x) = L + max(x, 0).  Neither is a difference of large numbers, so neither they nor

        l = q t (L + max(-x, 0)) + (1 - t) (L + max(x, 0))

    lose a digit where x is large and the answer right (softplus(x) - x would be 0 from x = 17 on).
    A term without a share adds nothing, also where x is infinite.

    From d(-log σ(x))/dx = -σ(-x), likewise without 1 - σ(x),

        dx = (1 - t) σ(x) - q t σ(-x)
        dt = q (L + max(-x, 0)) - (L + max(x, 0)) = (q - 1) L - x,  or with -q x where x < 0
    """

    def __init__(self, reduction: str, weight: Array | None, pos_weight: Array | None) -> None:
        super().__init__(reduction, weight)
        self.q = pos_weight

    def values(self, x: Array, t: Array) -> Array:
        xp, q = self.backend.xp, self.q
        negative, positive = 1 - t, t if q is None else t * q
        for_x, for_t = self.needs_input_grad
        if for_x:
            self.slope = negative * self.backend.sigmoid(x) - positive * self.backend.sigmoid(-x)
        if for_t:
            self.odds = -x
            if q is not None:
                less = self.backend.softplus(-xp.abs(x)) * (q - 1)
                self.odds = less - xp.where(x < 0, x * q, x)
        yes, no = self.backend.softplus(-x), self.backend.softplus(x)
        return share_times(xp, positive, yes) + share_times(xp, negative, no)

    def slope_x(self) -> Array:
        return self.slope

    def slope_t(self) -> Array:
        return self.odds


class KLDivergence(ElementwiseLoss):
    """l = t (log t - x), with x the logarithm of the other probability.

    dx = -t,  dt = log t + 1 - x.  For a target u = log t: l = e^u (u - x), dx = -e^u,
    du = e^u (u + 1 - x).

    At t = 0 (u = -∞) l is 0, as t log t -> 0 with t; also where x = -∞, as 0 log(0/0) = 0.  There
    dt is taken as 0.  Its limit from above is -∞, so no finite slope is right for t itself; but
    whoever makes t has dt/du ∝ t (a softmax, a sigmoid, an exponential), and their gradient is
    t (log t + 1 - x) -> 0, which any finite dt gives and an infinite one makes NaN (0 · ∞; PyTorch
    gives NaN).  Of the finite ones 0 is what a term that is left out of the sum has.

    A target below 0 has no logarithm: l and dt are NaN.  Where nothing depends on that l, which is
    said by g = 0, its logarithm counts for nothing (as in PyTorch): dt is -g x, 0 unless x is NaN.
    """

    def __init__(self, reduction: str, log_target: bool) -> None:
        super().__init__("sum" if reduction == "batchmean" else reduction)
        self.log_target = log_target

    def values(self, x: Array, t: Array) -> Array:
        xp = self.backend.xp
        if self.log_target:
            p, log = xp.exp(t), t
        else:
            p, log = t, xp.log(xp.where(t == 0, xp.ones_like(t), t))
        for_x, for_t = self.needs_input_grad
        if for_x:
            self.p = p
        zeros = xp.zeros_like(p)
        ratio = xp.where(p == 0, zeros, log) - xp.where(p == 0, zeros, x)  # of the logarithms
        if for_t:
            self.x, self.t = x, t
            self.slope = p * (ratio + 1) if self.log_target else xp.where(p == 0, zeros, ratio + 1)
        return p * ratio

    def slope_x(self) -> Array:
        return -self.p

    def slope_t(self) -> Array:
        return self.slope

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        gx, gt = super().backward(g)
        if gt is not None and not self.log_target:
            gt = self.backend.xp.where((g == 0) & (self.t < 0), -g * self.x, gt)
        return gx, gt


class PoissonNLL(ElementwiseLoss):
    """The negative log-likelihood of a count t, of a Poisson distribution whose rate is e^x or x.

    From p(t) = λ^t e^-λ / t!,

        l = e^x - t x,           dx = e^x - t,           dt = -x       for the rate's logarithm x
        l = x - t log(x + ε),    dx = 1 - t / (x + ε),   dt = -log(x + ε)          for the rate x

    and, if `full`, log t! by Stirling where t > 1: t log t - t + ½ log 2πt, whose slope is
    log t + 1/(2t).
    """

    def __init__(self, reduction: str, log_input: bool, full: bool, eps: float) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def values(self, x: Array, t: Array) -> Array:
        xp = self.backend.xp
        log = x if self.log_input else xp.log(x + self.eps)
        rate = xp.exp(x) if self.log_input else x
        losses = rate - t * log
        for_x, for_t = self.needs_input_grad
        if for_x:
            self.slope = rate - t if self.log_input else 1 - t / (x + self.eps)
        if for_t:
            self.t_slope = -log
        if self.full:
            many = t > 1
            count = xp.where(many, t, xp.ones_like(t))
            log_t, zeros = xp.log(count), xp.zeros_like(t)
            stirling = count * log_t - count + 0.5 * (log_t + math.log(2 * math.pi))
            losses = losses + xp.where(many, stirling, zeros)
            if for_t:
                self.t_slope = self.t_slope + xp.where(many, log_t + 0.5 / count, zeros)
        return losses

    def slope_x(self) -> Array:
        return self.slope

    def slope_t(self) -> Array:
        return self.t_slope


class GaussianNLL(Function):
    """l = ½ (log v + d²/v), d = x - t, v = max(variance, ε): a normal distribution's (Nix and
    Weigend 1994), without ½ log 2π unless `full`.

        dx = d/v,    dt = -d/v,    dv = ½ (1/v - d²/v²)

    Where the variance is held at ε it gets that gradient all the same, as in PyTorch: it can then
    grow again.
    """

    def __init__(self, reduction: str, full: bool, eps: float) -> None:
        self.reduction, self.full, self.eps = reduction, full, eps

    def forward(self, x: Array, t: Array, variance: Array) -> Array:
        xp = self.backend.xp
        v = xp.clip(variance, self.eps, None)
        d = x - t
        if True in self.needs_input_grad:
            self.d, self.v = d, v
        losses = 0.5 * (xp.log(v) + d * d / v)
        if self.full:
            losses = losses + 0.5 * math.log(2 * math.pi)
        self.scale = 1.0
        if self.reduction == "none":
            return losses
        n = math.prod(losses.shape)
        self.scale = 1.0 if self.reduction == "sum" else 1 / n if n else math.nan
        return xp.sum(losses) * self.scale

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        g = g * self.scale
        for_x, for_t, for_v = self.needs_input_grad
        slope = g * (self.d / self.v)
        gv = 0.5 * (g - slope * self.d) / self.v if for_v else None
        return slope if for_x else None, -slope if for_t else None, gv

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return fit_broadcast(self.backend.xp, gradient, shape, dtype)


@in_float32
def binary_cross_entropy(
    input: Tensor, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """-t log p - (1 - t) log(1 - p) for probabilities p = input and targets t between 0 and 1.

    The loss of logistic regression (Wang 1.1.2).  The logarithms are held above -100.  Where there
    are logits, use `binary_cross_entropy_with_logits`, which does not lose what sigmoid rounds
    away.

    Args:
        input: of any shape, floating-point.
        target: of the same shape; it is cast to the input's dtype, never broadcast.
        weight: a factor for each element; broadcasts to the input's shape.
        reduction: "mean" over all elements, "sum" (one number each) or "none" (the input's shape).

    Raises:
        ValueError: shapes that differ, an unknown reduction, or (where looking costs no wait for
            a device) an input or a target outside [0, 1].
        TypeError: the input is not of a floating-point dtype.
    """
    name = "binary_cross_entropy"
    check_reduction(name, reduction)
    input, target = matching(name, input, target)
    home = backend_of(input.data)
    if home.checks_values:
        x = input.data
        if bool(home.xp.any((x < 0) | (x > 1))):
            raise ValueError(
                f"{name}: the input must be probabilities between 0 and 1; for logits use "
                "binary_cross_entropy_with_logits"
            )
    _check_targets(name, target)
    return BinaryCrossEntropy(reduction, constant(name, "weight", weight, input))(input, target)


def _check_targets(name: str, target: Tensor) -> None:
    """Raise where a target is no probability, such as the -1 of a margin loss; rounding is not."""
    t = target.data
    home = backend_of(t)
    if home.checks_values and bool(home.xp.any((t < -1e-3) | (t > 1.001))):
        others = t[(t < -1e-3) | (t > 1.001)]
        raise ValueError(
            f"{name}: targets must be between 0 and 1, but there is {float(others[0]):g}; "
            "labels of -1 and 1 become these as (target + 1) / 2"
        )


@in_float32
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input) in one step, exact for logits of any size.

    Args:
        input: logits of any shape, floating-point.
        target: between 0 and 1, of the same shape; it is cast to the input's dtype.
        weight: a factor for each element; broadcasts to the input's shape.
        reduction: "mean" over all elements, "sum" (one number each) or "none" (the input's shape).
        pos_weight: a factor for the term of the positive class; broadcasts likewise.

    Raises:
        ValueError: shapes that do not fit, an unknown reduction, or (where looking costs no wait
            for a device) a target outside [0, 1].
        TypeError: the input is not of a floating-point dtype.
    """
    name = "binary_cross_entropy_with_logits"
    check_reduction(name, reduction)
    input, target = matching(name, input, target)
    _check_targets(name, target)
    weights = (
        constant(name, "weight", weight, input),
        constant(name, "pos_weight", pos_weight, input),
    )
    return BinaryCrossEntropyWithLogits(reduction, *weights)(input, target)


@in_float32
def kl_div(input: Tensor, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The divergence t (log t - input) of log-probabilities `input` from probabilities `target`.

    (Kullback and Leibler 1951.)

    `reduction="batchmean"` divides the sum by the length of the first axis, which is the
    divergence per sample; "mean" divides by the number of all elements, as PyTorch does.
    `log_target` says that the target, too, is a logarithm.

    Raises:
        ValueError: input and target differ in shape, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("kl_div", reduction, (*REDUCTIONS, "batchmean"))
    input, target = matching("kl_div", input, target)
    y = KLDivergence(reduction, log_target)(input, target)
    return y / input.shape[0] if reduction == "batchmean" and input.ndim else y


@in_float32
def poisson_nll_loss(
    input: Tensor,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """The negative log-likelihood of counts, Poisson-distributed: e^x - t x, averaged.

    Args:
        input: the rate's logarithm x, or the rate; of any shape, floating-point.
        target: the counts t, of the same shape.
        log_input: False: input is the rate x itself, and the loss x - t log(x + eps).
        full: with log t!, by Stirling's formula where t > 1; it does not depend on the input.
        eps: keeps the logarithm of a rate of 0 finite.
        reduction: "mean", "sum" (one number each) or "none" (the input's shape).

    Raises:
        ValueError: input and target differ in shape, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("poisson_nll_loss", reduction)
    input, target = matching("poisson_nll_loss", input, target)
    return PoissonNLL(reduction, log_input, full, eps)(input, target)


@in_float32
def gaussian_nll_loss(
    input: Tensor,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """½ (log v + (x - t)²/v): the negative log-likelihood of t, of mean x and variance v (Nix and
    Weigend 1994).

    Args:
        input: the means x, of any shape, floating-point.
        target: t, of the same shape.
        var: the variances v, not negative: of input's shape, or with one axis of length 1, or
            without the last axis, or one number.
        full: with the constant ½ log 2π.
        eps: what the variances are held above.
        reduction: "mean", "sum" (one number each) or "none" (the input's shape).

    Raises:
        ValueError: shapes that do not fit, an unknown reduction, eps not positive, or (where
            looking costs no wait for a device) a variance below 0.
        TypeError: the input is not of a floating-point dtype.
    """
    name = "gaussian_nll_loss"
    check_reduction(name, reduction)
    if not eps > 0:
        raise ValueError(f"{name}: eps must be positive, got {eps}")
    input, target = matching(name, input, target)
    home = backend_of(input.data)
    if isinstance(var, int | float):
        var = Tensor(home.xp.full_like(input.data, var))
    var = as_tensor(name, var, input)
    if home.checks_values and bool(home.xp.any(var.data < 0)):
        low = float(home.xp.min(var.data))
        raise ValueError(f"{name}: variances must not be negative, but there is {low:g}")
    if var.dtype != input.dtype:
        var = astype(var, input.dtype)
    shape = var.shape
    if shape == input.shape[:-1] and shape != input.shape:
        var = expand_dims(var, axis=-1)
    others = [(a, b) for a, b in zip(input.shape, var.shape, strict=False) if a != b]
    if var.ndim != input.ndim or len(others) > 1 or (others and others[0][1] != 1):
        raise ValueError(
            f"{name}: var must have input's shape, or one axis of length 1, or no last axis; input "
            f"{input.shape}, var {shape}"
        )
    return GaussianNLL(reduction, full, eps)(input, target, broadcast_to(var, input.shape))

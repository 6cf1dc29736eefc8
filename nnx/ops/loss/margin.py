"""Margin losses: a right answer must be right by a distance."""

from __future__ import annotations

import math
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_array, as_tensor
from ..array.autocast import in_float32
from ..array.shape import reshape
from ..reduce import mean
from ..reduce import sum as sum_over
from .cross_entropy import as_rows, class_weight, flat_targets
from .probability import binary_cross_entropy_with_logits
from .reduction import ElementwiseLoss, check_reduction, matching, require_float


class Hinge(ElementwiseLoss):
    """l = max(0, a - t x), or half its square: with the margin t x at least a, nothing is lost.

    dx = -t where t x < a, else 0; for the square, -t (a - t x).
    """

    def __init__(self, reduction: str, margin: float, squared: bool) -> None:
        super().__init__(reduction)
        self.margin, self.squared = margin, squared

    def values(self, x: Array, t: Array) -> Array:
        xp = self.backend.xp
        short = xp.clip(self.margin - t * x, 0, None)
        if self.needs_input_grad[0]:
            size = short if self.squared else xp.astype(short > 0, x.dtype)
            self.slope = -t * size
        return short * short * 0.5 if self.squared else short

    def slope_x(self) -> Array:
        return self.slope


class SoftMargin(ElementwiseLoss):
    """l = log(1 + e^(-t x)) = softplus(-t x):  dx = -t sigmoid(-t x)."""

    def values(self, x: Array, t: Array) -> Array:
        z = -t * x
        if self.needs_input_grad[0]:
            self.t, self.z = t, z
        return self.backend.softplus(z)

    def slope_x(self) -> Array:
        return -self.t * self.backend.sigmoid(self.z)


class HingeEmbedding(ElementwiseLoss):
    """l = x where t = 1, max(0, a - x) where t = -1, for a distance x.

    dx = 1 where t = 1; where t = -1, -1 for x <= a and 0 beyond.
    """

    def __init__(self, reduction: str, margin: float) -> None:
        super().__init__(reduction)
        self.margin = margin

    def values(self, x: Array, t: Array) -> Array:
        xp = self.backend.xp
        zeros = xp.zeros_like(x)
        near, short = t == 1, self.margin - x
        far = t == -1
        if self.needs_input_grad[0]:
            ones = xp.ones_like(x)
            self.slope = xp.where(near, ones, zeros) - xp.where(far & (short >= 0), ones, zeros)
        return xp.where(near, x, zeros) + xp.where(far, xp.clip(short, 0, None), zeros)

    def slope_x(self) -> Array:
        return self.slope


class MultiMargin(ElementwiseLoss):
    """l = 1/C sum over c ≠ t of w[t] max(0, a - x[t] + x[c])^p, for a row x (C,) and its class t.

    With s[c] = p max(0, ...)^(p-1) where the margin is short, else 0, dx[c] = w[t] s[c] / C for
    c ≠ t, and dx[t] = -sum of those.
    """

    def __init__(self, reduction: str, p: int, margin: float, weight: Array | None) -> None:
        super().__init__(reduction)
        self.p, self.margin, self.class_weight = p, margin, weight

    def values(self, x: Array, t: Array) -> Array:
        xp = self.backend.xp
        n, classes = x.shape
        every = xp.arange(classes, dtype=t.dtype, device=x.device)
        right = xp.expand_dims(t, axis=1) == every  # (N, C)
        zeros = xp.zeros_like(x)
        own = xp.sum(xp.where(right, x, zeros), axis=1, keepdims=True)
        short = xp.where(right, zeros, xp.clip(self.margin - own + x, 0, None))
        factor = xp.full((n, 1), 1.0 / classes, dtype=x.dtype, device=x.device)
        if self.class_weight is not None:
            factor = factor * xp.expand_dims(xp.take(self.class_weight, t, axis=0), axis=1)
        if self.needs_input_grad[0]:
            steep = xp.astype(short > 0, x.dtype) if self.p == 1 else short * 2
            steep = steep * factor
            total = xp.sum(steep, axis=1, keepdims=True)
            self.slope = xp.where(right, -total, steep)
        return xp.sum((short if self.p == 1 else short * short) * factor, axis=1)

    def terms(self, x: Array) -> int:
        return int(x.shape[0])

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        if self.reduction == "none":
            g = self.backend.xp.expand_dims(g, axis=1)
        return self.slope * (g * self.scale), None


class Ranking(ElementwiseLoss):
    """l = max(0, a - t d) for a difference d of two scores: dd = -t where t d <= a, else 0."""

    def __init__(self, reduction: str, margin: float) -> None:
        super().__init__(reduction)
        self.margin = margin

    def values(self, d: Array, t: Array) -> Array:
        xp = self.backend.xp
        short = self.margin - t * d
        if self.needs_input_grad[0]:
            self.slope = xp.where(short >= 0, -t, xp.zeros_like(t))
        return xp.clip(short, 0, None)

    def slope_x(self) -> Array:
        return self.slope


class MultiLabelMargin(Unary):
    """l = 1/C sum over j in T and i not in T of max(0, 1 - x[j] + x[i]), for a row x (C,) and its
    classes T, each as often as it is named.

    With n[j] how often j is named, s[j,i] = 1 where the margin of j over an i not in T is short,
    else 0:

        dx[i] = 1/C sum_j n[j] s[j,i],     dx[j] = -1/C n[j] sum_i s[j,i]
    """

    def __init__(self, reduction: str, named: Array) -> None:
        self.reduction, self.named = reduction, named  # (N, K): classes, -1 for none

    def forward(self, x: Array) -> Array:
        xp = self.backend.xp
        rows, classes = x.shape
        every = xp.arange(classes, dtype=xp.int64, device=x.device)
        zeros = xp.zeros_like(x)
        hits = [xp.expand_dims(self.named[:, k], axis=1) == every for k in range(classes)]
        among = zeros > 0  # (N, C)
        for hit in hits:
            among = among | hit
        losses, slope = zeros[:, 0], zeros
        for hit in hits:  # one of the named classes of every row at a time: (N, C) numbers
            own = xp.sum(xp.where(hit, x, zeros), axis=1, keepdims=True)
            there = xp.any(hit, axis=1, keepdims=True)
            short = xp.where(there & ~among, 1 - own + x, zeros)
            losses = losses + xp.sum(xp.clip(short, 0, None), axis=1)
            if self.needs_input_grad[0]:
                counts = xp.astype(short > 0, x.dtype)
                total = xp.sum(counts, axis=1, keepdims=True)
                slope = slope + counts - xp.where(hit, total, zeros)
        self.slope, scale = slope, 1 / classes if classes else math.nan
        if self.reduction == "none":
            self.scale = scale
            return losses * scale
        self.scale = scale / rows if self.reduction == "mean" and rows else scale
        return xp.sum(losses) * self.scale

    def backward(self, g: Array) -> Array:
        if self.reduction == "none":
            g = self.backend.xp.expand_dims(g, axis=1)
        return self.slope * (g * self.scale)


def _signs(name: str, target: Tensor) -> Tensor:
    """The targets, off the tape, if they are 1 and -1; looked at where that waits for no device.

    Targets of 0 and 1, of another convention, would give the class 0 no gradient, silently.
    """
    t = target.data
    home = backend_of(t)
    if home.checks_values and not bool(home.xp.all((t == 1) | (t == -1))):
        others = t[(t != 1) & (t != -1)]
        raise ValueError(
            f"{name}: targets must be 1 or -1, but there is {float(others[0]):g}; "
            "labels of 0 and 1 become these as 2 * target - 1"
        )
    return target.detach()


@in_float32
def hinge_loss(
    input: Tensor,
    target: Any,
    margin: float = 1.0,
    squared: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - t x) for scores x and targets t of 1 or -1 (Cortes and Vapnik 1995).

    With `margin=0` this has the perceptron's values (Xu 1.8), but no gradient where a score is 0:
    from weights of 0 nothing ever moves.  `nnx.linear_model.Perceptron` counts that as a mistake.

    Args:
        input: the scores x, of any shape, floating-point.
        target: t, of the same shape; no gradient goes to it.
        margin: how far on the right side of 0 a score is to be.
        squared: half the square of that, the second of Liu's three margin functions (Liu 1.4).
        reduction: "mean", "sum" (one number each) or "none" (the input's shape).

    Raises:
        ValueError: input and target differ in shape, an unknown reduction, or (where looking
            costs no wait for a device) a target other than 1 and -1.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("hinge_loss", reduction)
    input, target = matching("hinge_loss", input, target)
    return Hinge(reduction, margin, squared)(input, _signs("hinge_loss", target))


@in_float32
def soft_margin_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-t x)) for scores x and targets t of 1 or -1: logistic regression (Liu 1.4).

    Args:
        input: the scores x, of any shape, floating-point.
        target: t, of the same shape; no gradient goes to it.
        reduction: "mean", "sum" (one number each) or "none" (the input's shape).

    Raises:
        ValueError: input and target differ in shape, an unknown reduction, or (where looking
            costs no wait for a device) a target other than 1 and -1.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("soft_margin_loss", reduction)
    input, target = matching("soft_margin_loss", input, target)
    return SoftMargin(reduction)(input, _signs("soft_margin_loss", target))


@in_float32
def hinge_embedding_loss(
    input: Tensor, target: Any, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """A distance x of two things: x where they are alike (t = 1), else (t = -1) max(0, margin - x).

    Args:
        input: the distances x, of any shape, floating-point.
        target: t, of the same shape; no gradient goes to it.
        margin: how far apart things that are not alike are to be.
        reduction: "mean", "sum" (one number each) or "none" (the input's shape).

    Raises:
        ValueError: input and target differ in shape, an unknown reduction, or (where looking
            costs no wait for a device) a target other than 1 and -1.
        TypeError: the input is not of a floating-point dtype.
    """
    check_reduction("hinge_embedding_loss", reduction)
    input, target = matching("hinge_embedding_loss", input, target)
    target = _signs("hinge_embedding_loss", target)
    return HingeEmbedding(reduction, margin)(input, target)


@in_float32
def multi_margin_loss(
    input: Tensor,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The hinge loss for C classes: every wrong class whose score comes closer than `margin` to the
    right one's costs the shortfall to the power p (1 or 2), divided by C (Weston and Watkins 1999).

    Args:
        input: scores (N, C), or (C,) for one sample.
        target: class indices (N,), or () for one sample.
        p: 1 or 2.
        margin: how far above the others the right class's score is to be.
        weight: (C,), a factor for each sample by its class.
        reduction: "mean" over the samples, "sum" (one number each) or "none" (the target's shape).

    Raises:
        ValueError: shapes that do not fit, p neither 1 nor 2, or an unknown reduction.
        IndexError: a target outside [0, C).
        TypeError: input is not of a floating-point dtype, or target not of integers.
    """
    name = "multi_margin_loss"
    check_reduction(name, reduction)
    input = as_tensor(name, input)
    require_float(name, input)
    if p not in (1, 2):
        raise ValueError(f"{name}: p must be 1 or 2, got {p}")
    if input.ndim not in (1, 2):
        raise ValueError(f"{name}: the input must be (N, C) or (C,); its shape is {input.shape}")
    targets = flat_targets(name, input, target)
    targets, _ = backend_of(targets).class_indices(targets, input.shape[-1], None)
    weights = class_weight(name, weight, input)
    loss = MultiMargin(reduction, p, margin, weights)(as_rows(input), Tensor(targets))
    return loss if input.ndim == 2 or reduction != "none" else reshape(loss, ())


@in_float32
def margin_ranking_loss(
    input1: Tensor, input2: Tensor, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, margin - t (x1 - x2)): t = 1 where x1 is to stand above x2, -1 where below.

    At a tie with margin 0 the gradient is that of the slope, -t, as in PyTorch.

    Args:
        input1, input2: the scores x1 and x2, of one shape, floating-point.
        target: t, of the same shape; no gradient goes to it.
        margin: by how much.
        reduction: "mean", "sum" (one number each) or "none" (the inputs' shape).

    Raises:
        ValueError: the shapes differ, or an unknown reduction.
        TypeError: input1 is not of a floating-point dtype.
    """
    name = "margin_ranking_loss"
    check_reduction(name, reduction)
    input1, input2 = matching(name, input1, input2)
    input1, target = matching(name, input1, target)
    return Ranking(reduction, margin)(input1 - input2, target.detach())


@in_float32
def multilabel_margin_loss(input: Tensor, target: Any, reduction: str = "mean") -> Tensor:
    """Every right class is to score by 1 more than every wrong one; the shortfalls, summed, over C.

    Args:
        input: scores (N, C), or (C,) for one sample.
        target: of the same shape: the right classes' indices one after the other, then -1; what
            stands after the first -1 is not read.
        reduction: "mean" over the samples, "sum" (one number each) or "none": (N,), or ().

    Raises:
        ValueError: shapes that do not fit, or an unknown reduction.
        IndexError: a target outside [-1, C), where looking costs no wait for a device.
        TypeError: input is not of a floating-point dtype, or target not of integers.
    """
    name = "multilabel_margin_loss"
    check_reduction(name, reduction)
    input = as_tensor(name, input)
    require_float(name, input)
    named = as_array(name, target, input)
    if input.ndim not in (1, 2) or tuple(named.shape) != input.shape:
        raise ValueError(
            f"{name}: input and target must both be (N, C) or (C,); input {input.shape}, target "
            f"{tuple(named.shape)}"
        )
    home, classes = backend_of(named), input.shape[-1]
    if not home.is_integer(named.dtype):
        raise TypeError(f"{name}: the target must be of integers, not {named.dtype}")
    xp = home.xp
    named = xp.reshape(home.positions(named), (-1, classes)) if classes else named
    if home.checks_values and math.prod(named.shape):
        low, high = int(xp.min(named)), int(xp.max(named))
        if low < -1 or high >= classes:
            raise IndexError(
                f"{name}: target {low if low < -1 else high} is not one of the {classes} classes, "
                "nor -1"
            )
    ended = xp.cumulative_sum(xp.astype(named < 0, xp.int64), axis=-1) > 0
    named = xp.where(ended, xp.full_like(named, -1), named)
    loss = MultiLabelMargin(reduction, named)(as_rows(input))
    return reshape(loss, ()) if input.ndim == 1 and reduction == "none" else loss


@in_float32
def multilabel_soft_margin_loss(
    input: Tensor, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """The mean over C classes of -t log σ(x) - (1 - t) log σ(-x): each is a yes or no of its own.

    It is `binary_cross_entropy_with_logits`, averaged over the last axis first.

    Args:
        input: scores x (..., C), floating-point.
        target: t of the same shape, between 0 and 1.
        weight: a factor for each class, (C,), or what broadcasts to the input.
        reduction: "mean" over the samples, "sum" (one number each) or "none": (...).

    Raises:
        ValueError: shapes that do not fit, an unknown reduction, or a target outside [0, 1].
        TypeError: input is not of a floating-point dtype.
    """
    name = "multilabel_soft_margin_loss"
    check_reduction(name, reduction)
    input = as_tensor(name, input)
    if not input.ndim:
        raise ValueError(f"{name}: the input must have an axis of classes; its shape is ()")
    input, target = matching(name, input, target)
    each = mean(binary_cross_entropy_with_logits(input, target, weight, "none"), axis=-1)
    if reduction == "none":
        return each
    return mean(each) if reduction == "mean" else sum_over(each)

"""Margin losses: a right answer must be right by a distance."""

from __future__ import annotations

from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._operands import as_tensor
from ..array.autocast import in_float32
from ..array.shape import reshape
from .cross_entropy import as_rows, class_weight, flat_targets
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

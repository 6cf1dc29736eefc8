"""Losses of probabilities: `nnx.ops.loss.probability` derives them."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...backends import Array
from ...tensor import Tensor
from .base import Loss


class BCELoss(Loss):
    """Binary cross-entropy -t log p - (1 - t) log(1 - p) of probabilities p = input, targets t.

    input and target have any one shape, and are between 0 and 1; the logarithms are held above
    -100, as in PyTorch.  For logits `BCEWithLogitsLoss` loses nothing (Wang 1.1.2 for the loss).

    Args:
        weight: a factor for each element; broadcasts to the input.
        reduction: "mean" over all elements, "sum", or "none": the input's shape.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or numbers outside [0,
            1].
        TypeError: the input is not of a floating-point dtype.
    """

    weight: Array | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight_buffer("weight", weight)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.binary_cross_entropy(input, target, self.weight, self.reduction)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of sigmoid(input), exact for logits of any size:

        l = pos_weight t softplus(-x) + (1 - t) softplus(x)        of x = input, t = target

    input and target have any one shape; targets are between 0 and 1.

    Args:
        weight: a factor for each element; broadcasts to the input.
        reduction: "mean" over all elements, "sum", or "none": the input's shape.
        pos_weight: a factor for the term of the positive class; broadcasts likewise.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or a target outside [0,
            1].
        TypeError: the input is not of a floating-point dtype.
    """

    weight: Array | None
    pos_weight: Array | None

    def __init__(
        self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None
    ) -> None:
        super().__init__(reduction)
        self.weight_buffer("weight", weight)
        self.weight_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )


class KLDivLoss(Loss):
    """The divergence t (log t - input) of log-probabilities `input` from probabilities t = target.

    (Kullback and Leibler 1951.)  input and target have any one shape.

    Args:
        reduction: "mean" over all elements, "sum", "batchmean": the sum over the length of the
            first axis, which is the divergence per sample, or "none": the input's shape.
        log_target: the target is log t.

    Raises:
        ValueError: when called, shapes that differ, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("log_target",)

    def __init__(self, *, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.kl_div(input, target, self.reduction, self.log_target)


class PoissonNLLLoss(Loss):
    """The negative log-likelihood of counts t = target: e^x - t x of x = input, a rate's logarithm.

    input and target have any one shape.

    Args:
        log_input: False: input is the rate x itself, and the loss x - t log(x + eps).
        full: with log t!, by Stirling's formula where t > 1.
        eps: keeps the logarithm of a rate of 0 finite.
        reduction: "mean" over all elements, "sum", or "none": the input's shape.

    Raises:
        ValueError: when called, shapes that differ, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("log_input", "full", "eps")

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        *,
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.poisson_nll_loss(
            input, target, self.log_input, self.full, self.eps, self.reduction
        )


class GaussianNLLLoss(Loss):
    """½ (log v + (x - t)²/v) of means x = input, targets t and variances v = var (Nix and Weigend
    1994).

    input and target have any one shape; var has it too, or one axis of length 1, or no last axis,
    or is one number.

    Args:
        full: with the constant ½ log 2π.
        eps: what the variances are held above; positive.
        reduction: "mean" over all elements, "sum", or "none": the input's shape.

    Call: `loss(input, target, var)`.

    Raises:
        ValueError: when called, shapes that do not fit, an unknown reduction, a negative variance,
            or eps not positive.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("full", "eps")

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Tensor, target: Any, var: Any) -> Tensor:
        return ops.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)

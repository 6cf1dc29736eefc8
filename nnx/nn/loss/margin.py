"""Losses with a margin: `nnx.ops.loss.margin` derives them."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...backends import Array
from ...tensor import Tensor
from .base import Loss


class HingeLoss(Loss):
    """max(0, margin - t x) for scores x = input and target t of 1 or -1, of any one shape.

    With `margin=0`, the perceptron's loss (Xu 1.8), weights of 0 stay 0: see
    `nnx.functional.hinge_loss`.

    Args:
        margin: how far on the right side of 0 a score is to be.
        squared: half the square of that.
        reduction: "mean" over all elements, "sum", or "none": the input's shape.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or a target other than
            ±1.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("margin", "squared")

    def __init__(
        self, margin: float = 1.0, *, squared: bool = False, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.margin, self.squared = margin, squared

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.hinge_loss(input, target, self.margin, self.squared, self.reduction)


class HingeEmbeddingLoss(Loss):
    """A distance x = input of two things: x where they are alike (t = 1), else max(0, margin - x).

    input and the target t have any one shape.

    Args:
        margin: how far apart things that are not alike are to be.
        reduction: "mean" over all elements, "sum", or "none": the input's shape.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or a target other than
            ±1.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("margin",)

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.hinge_embedding_loss(input, target, self.margin, self.reduction)


class SoftMarginLoss(Loss):
    """log(1 + exp(-t x)) for scores x = input and target t = ±1, of any one shape (Liu 1.4).

    Args:
        reduction: "mean" over all elements, "sum", or "none": the input's shape.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or a target other than
            ±1.
        TypeError: the input is not of a floating-point dtype.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.soft_margin_loss(input, target, self.reduction)


class MultiMarginLoss(Loss):
    """The hinge loss for C classes: 1/C sum over c ≠ k of max(0, margin - x_k + x_c)^p.

    (Weston and Watkins 1999.)  input x (N, C), target class indices k (N,); or (C,) and () for one
    sample.

    Args:
        p: 1 or 2.
        margin: how far above the others the right class's score is to be.
        weight: (C,), a factor for each sample by its class.
        reduction: "mean" over the samples, "sum", or "none": (N,).

    Raises:
        ValueError: when called, shapes that do not fit, p neither 1 nor 2, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype, or the target not of integers.
        IndexError: a target is no class.
    """

    shown = ("p", "margin")
    weight: Array | None

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.p, self.margin = p, margin
        self.weight_buffer("weight", weight)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, self.reduction
        )


class MarginRankingLoss(Loss):
    """max(0, margin - t (x1 - x2)) for scores x1, x2 and t = 1 or -1, all of one shape.

    Args:
        margin: by how much x1 is to stand above x2 (t = 1), or below (t = -1).
        reduction: "mean" over all elements, "sum", or "none": the inputs' shape.

    Call: `loss(input1, input2, target)`.

    Raises:
        ValueError: when called, shapes that differ, or an unknown reduction.
        TypeError: input1 is not of a floating-point dtype.
    """

    shown = ("margin",)

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Any) -> Tensor:
        return ops.margin_ranking_loss(input1, input2, target, self.margin, self.reduction)


class MultiLabelMarginLoss(Loss):
    """1/C sum over right classes j and wrong ones i of max(0, 1 - x[j] + x[i]).

    input x (N, C), or (C,); target of the same shape: the right classes' indices, then -1.

    Args:
        reduction: "mean" over the samples, "sum", or "none": (N,), or ().

    Raises:
        ValueError: when called, shapes that do not fit, or an unknown reduction.
        IndexError: a target is neither a class nor -1.
        TypeError: input is not of a floating-point dtype, or target not of integers.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.multilabel_margin_loss(input, target, self.reduction)


class MultiLabelSoftMarginLoss(Loss):
    """The mean over C classes of -t log σ(x) - (1 - t) log σ(-x), of x = input and t = target.

    input and target are (..., C); targets are between 0 and 1.

    Args:
        weight: (C,), a factor for each class.
        reduction: "mean" over the samples, "sum", or "none": (...).

    Raises:
        ValueError: when called, shapes that do not fit, an unknown reduction, or a target outside
            [0, 1].
        TypeError: input is not of a floating-point dtype.
    """

    weight: Array | None

    def __init__(self, weight: Any = None, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight_buffer("weight", weight)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.multilabel_soft_margin_loss(input, target, self.weight, self.reduction)

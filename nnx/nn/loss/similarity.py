"""Losses of two vectors or three: `nnx.ops.loss.similarity` derives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import ops
from ...tensor import Tensor
from .base import Loss


class CosineEmbeddingLoss(Loss):
    """1 - cos(x1, x2) of vectors that are alike (t = 1), else (t = -1) max(0, cos - margin).

    x1 and x2 are (N, D), t = target (N,); or (D,) and ().

    Args:
        margin: from -1 to 1: how alike others may be.
        reduction: "mean" over the pairs, "sum", or "none": the target's shape.

    Call: `loss(input1, input2, target)`.

    Raises:
        ValueError: when called, shapes that do not fit, or an unknown reduction.
        TypeError: input1 is not of a floating-point dtype.
    """

    shown = ("margin",)

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Any) -> Tensor:
        return ops.cosine_embedding_loss(input1, input2, target, self.margin, self.reduction)


class TripletMarginLoss(Loss):
    """max(0, d(a, p) - d(a, n) + margin): an anchor is to lie nearer to what is like it than to
    what is not (Balntas et al. 2016).

    anchor a, positive p and negative n are (N, D), or (D,).

    Args:
        margin: positive.
        p: which norm the distance d is.
        eps: added to each difference.
        swap: d(p, n) in place of d(a, n) where it is smaller.
        reduction: "mean" over the triplets, "sum", or "none": (N,), or ().

    Call: `loss(anchor, positive, negative)`.

    Raises:
        ValueError: when called, shapes that differ, margin not positive, or an unknown reduction.
        TypeError: the anchor is not of a floating-point dtype.
    """

    shown = ("margin", "p", "eps", "swap")

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Tensor, positive: Any, negative: Any) -> Tensor:
        return ops.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
        )


class TripletMarginWithDistanceLoss(Loss):
    """`TripletMarginLoss` with a distance of one's own.

    anchor, positive and negative have any one shape that the distance takes.

    Args:
        distance_function: of two tensors, or a module; None: `nnx.functional.pairwise_distance`.
        margin: positive.
        swap: as in `TripletMarginLoss`.
        reduction: "mean", "sum", or "none": the shape of the distances.

    Call: `loss(anchor, positive, negative)`.

    Raises:
        ValueError: when called, shapes that differ, margin not positive, or an unknown reduction.
        TypeError: the anchor is not of a floating-point dtype.
    """

    shown = ("margin", "swap")

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.distance_function = distance_function
        self.margin, self.swap = margin, swap

    def forward(self, anchor: Tensor, positive: Any, negative: Any) -> Tensor:
        return ops.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )

"""Loss functions as modules; the formulas are in `nnx.ops.loss`."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .module import Module


class CrossEntropyLoss(Module):
    """Softmax cross-entropy of logits (N, C) with class indices (N,)."""

    def __init__(self, ignore_index: int = -100, reduction: str = "mean") -> None:
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return ops.cross_entropy(
            logits, targets, reduction=self.reduction, ignore_index=self.ignore_index
        )

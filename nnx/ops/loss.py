"""Loss functions."""

from __future__ import annotations

from ..autograd import Function
from ..backends import Array
from ..tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


class CrossEntropy(Function):
    """Softmax and the negative log-likelihood of the right class, in one step.

    Forward.  With z a row of logits, t its class and p = softmax(z),

        loss = -log p[t] = log(sum_c exp z[c]) - z[t]

    computed with z - max(z), which changes neither p nor the loss and keeps exp in range.

    Backward.  d log(sum exp z) / dz[c] = p[c], so dloss/dz = p - onehot(t): the simple form the
    two have together (Xu 2.17-2.20).  It is made in the forward pass, while p is at hand.
    """

    def __init__(self, targets: Array, reduction: str, ignore_index: int) -> None:
        self.targets, self.reduction, self.ignore_index = targets, reduction, ignore_index

    def forward(self, logits: Array) -> Array:
        xp = self.backend.xp
        losses, gradient = self.backend.softmax_cross_entropy(logits, self.targets)
        if self.needs[0]:
            self.gradient = gradient
        if self.reduction == "none":
            return losses
        total = xp.sum(losses)
        if self.reduction == "sum":
            self.scale: Array | float = 1.0
            return total
        self.scale = 1.0 / losses.shape[0]
        return total * self.scale

    def backward(self, g: Array) -> Array:
        if self.reduction == "none":
            return self.gradient * self.backend.xp.expand_dims(g, axis=1)
        return self.gradient * (g * self.scale)


def cross_entropy(
    logits: Tensor, targets: Tensor, reduction: str = "mean", ignore_index: int = -100
) -> Tensor:
    """Softmax cross-entropy of logits (N, C) with class indices (N,)."""
    return CrossEntropy(targets.data, reduction, ignore_index)(logits)

"""How alike vectors are, and how far apart."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .module import Module


class CosineSimilarity(Module):
    """The cosine of the angle between vectors: x1, x2 (..., D, ...) -> (..., ...).

        (x1 · x2) / (max(|x1|, eps) max(|x2|, eps))

    Args:
        dim: the axis along which the vectors lie, and which goes.
        eps: what takes the place of a length that is smaller.

    Raises:
        ValueError: when called, there is no such axis, or the shapes cannot be broadcast.
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        self.dim, self.eps = dim, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return ops.cosine_similarity(x1, x2, self.dim, self.eps)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, eps={self.eps}"


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps, vector by vector: x1, x2 (..., D) -> (...,).

    Args:
        p: the norm's exponent.
        eps: added to every difference, as in PyTorch.
        keepdim: keep the last axis, with length 1.

    Raises:
        ValueError: when called, the shapes cannot be broadcast.
        TypeError: x1 is of integers.
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return ops.pairwise_distance(x1, x2, self.p, self.eps, self.keepdim)

    def extra_repr(self) -> str:
        return f"p={self.p}, eps={self.eps}, keepdim={self.keepdim}"

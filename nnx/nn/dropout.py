"""Dropout."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .module import Module


class Dropout(Module):
    """In training, zero each number with probability p and divide the others by 1 - p.

    The mean stays what it was, so that in evaluation (`module.eval()`) the input passes unchanged.
    p is the probability to *drop*; the textbook's is the one to keep (Xu 9.6).
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: p must be between 0 and 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"

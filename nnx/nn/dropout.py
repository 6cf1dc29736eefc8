"""Dropout."""

from __future__ import annotations

from .. import ops
from ..backends import backend_of
from ..ops._operands import as_tensor
from ..tensor import Tensor
from .module import Module


class Dropout(Module):
    """In training, zero each number with probability p and divide the others by 1 - p.

    x of any shape -> y of the same shape.  The mean stays what it was, so that in evaluation
    (`module.eval()`) x passes unchanged (Srivastava et al. 2014).  p is the probability to *drop*;
    the textbook's is the one to keep (Xu 9.26-9.29).

    Raises:
        ValueError: p is not between 0 and 1.
        TypeError: when called, x is not of a floating-point dtype.
    """

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{type(self).__name__}: p must be between 0 and 1, got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Dropout):
    """`Dropout` of whole feature maps: the pixels of a map are too alike to be dropped singly.

    x (N, C, H, W) -> (N, C, H, W); each of the N C maps is zeroed, with probability p, or divided
    by 1 - p, as one (Tompson et al. 2015).

    Raises:
        ValueError: p is not between 0 and 1, or x is not (N, C, H, W).
        TypeError: when called, x is not of a floating-point dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor("Dropout2d", x)
        if x.ndim != 4:
            raise ValueError(f"Dropout2d: the input must be (N, C, H, W); its shape is {x.shape}")
        if not self.training or self.p == 0.0:
            return x
        xp, (n, c, _, _) = backend_of(x.data).xp, x.shape
        kept = Tensor(xp.ones((n, c, 1, 1), dtype=x.dtype, device=x.device))
        return x * ops.dropout(kept, self.p)

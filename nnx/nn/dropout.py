"""Dropout."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .module import Module


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{type(self).__name__}: p must be between 0 and 1, got {p}")
        self.p, self.inplace = p, inplace

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout(_Dropout):
    """In training, zero each number with probability p and divide the others by 1 - p.

    x of any shape -> y of the same shape.  The mean stays what it was, so that in evaluation
    (`module.eval()`) x passes unchanged (Srivastava et al. 2014).  p is the probability to *drop*;
    the textbook's is the one to keep (Xu 9.26-9.29).  `inplace` is accepted, and means nothing.

    Raises:
        ValueError: p is not between 0 and 1.
        TypeError: when called, x is not of a floating-point dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training)


class Dropout1d(_Dropout):
    """`Dropout` of whole channels: x (N, C, L) or (C, L) -> the same shape.

    Each of the N C sequences is zeroed, with probability p, or divided by 1 - p, as one (Tompson et
    al. 2015).  `inplace` is accepted, and means nothing.

    Raises:
        ValueError: p is not between 0 and 1, or x has other axes.
        TypeError: when called, x is not of a floating-point dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout1d(x, self.p, self.training)


class Dropout2d(_Dropout):
    """`Dropout` of whole feature maps: the pixels of a map are too alike to be dropped singly.

    x (N, C, H, W) -> (N, C, H, W); each of the N C maps is zeroed, with probability p, or divided
    by 1 - p, as one (Tompson et al. 2015).  `inplace` is accepted, and means nothing.

    Raises:
        ValueError: p is not between 0 and 1, or x is not (N, C, H, W).
        TypeError: when called, x is not of a floating-point dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout2d(x, self.p, self.training)


class Dropout3d(_Dropout):
    """`Dropout` of whole channels: x (N, C, D, H, W) or (C, D, H, W) -> the same shape.

    Each of the N C volumes is zeroed, with probability p, or divided by 1 - p, as one (Tompson et
    al. 2015).  `inplace` is accepted, and means nothing.

    Raises:
        ValueError: p is not between 0 and 1, or x has other axes.
        TypeError: when called, x is not of a floating-point dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout3d(x, self.p, self.training)


class AlphaDropout(_Dropout):
    """Dropout beside `SELU`, which keeps mean 0 and variance 1 (Klambauer et al. 2017).

    x of any shape -> y of the same shape; with probability p a number becomes -1.758, before y is
    scaled and shifted as `nnx.ops.dropout.AlphaDropout` derives.  `inplace` is accepted, and means
    nothing.

    Raises:
        ValueError: p is not between 0 and 1.
        TypeError: when called, x is not of a floating-point dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.alpha_dropout(x, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    """`AlphaDropout` of whole channels: x (N, C, ...) -> the same shape.

    Each channel is dropped with probability p as one.  `inplace` is accepted, and means nothing.

    Raises:
        ValueError: p is not between 0 and 1, or x has fewer than two axes.
        TypeError: when called, x is not of a floating-point dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.feature_alpha_dropout(x, self.p, self.training)

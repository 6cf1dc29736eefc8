"""Loss functions as modules; derivations and sources are in `nnx.ops.loss`.

`loss(input, target)` compares what a model gives with what it should give.  With `reduction`
"mean" or "sum" one number comes back, with "none" a loss for each element or row.  A target whose
shape does not match is a ValueError, never a broadcast.  Weights are buffers: `loss.to("cupy")`
moves them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..backends import Array, active_backend, backend_of
from ..ops.loss.cross_entropy import (
    cross_entropy_of,
    looks_like_probabilities,
    warn_of_probabilities,
)
from ..tensor import Tensor
from .module import Module


class _Loss(Module):
    """What all losses share: how they are reduced, and how they are shown."""

    shown: tuple[str, ...] = ()

    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def weight_buffer(self, name: str, weight: Any) -> None:
        """Keep a weight as the buffer `name`: an array, a tensor, a list, or None for no weight."""
        if isinstance(weight, Tensor):
            weight = weight.data
        elif weight is not None and not hasattr(weight, "dtype"):
            weight = active_backend().asarray(weight)
        self.register_buffer(name, weight)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in (*self.shown, "reduction"))


def _weights_of(target: Any, weight: Array | None, ignore_index: int) -> np.ndarray:
    """The weight of each class index, 0 where it is ignored; of probabilities, 1 for each row."""
    array = target.data if isinstance(target, Tensor) else target
    t = np.asarray(backend_of(array).to_numpy(array))
    if t.dtype.kind == "f":
        return np.ones(len(t))
    weights = np.asarray(t != ignore_index, np.float64)
    if weight is not None:
        of_class = np.asarray(backend_of(weight).to_numpy(weight), np.float64)
        weights *= of_class[np.where(t != ignore_index, t, 0)]
    return weights


class CrossEntropyLoss(_Loss):
    """Softmax cross-entropy of logits, -log softmax(input)[target] (Xu 2.5, 2.13).

    input (N, C, ...), or (C,) for one sample; target class indices (N, ...), integers from 0 to C -
    1, or probabilities of the input's shape.  The first input is looked at: one of probabilities,
    as a Softmax layer before this loss gives them, is warned of (Saito 3.2.2 and Wang 1.1.2 define
    the loss of such probabilities, and take the softmax before it).

    Args:
        weight: (C,), a factor for each class.
        ignore_index: targets of this value count for nothing.
        reduction: "mean" over the targets, or over their classes' weights; "sum", the lecture
            notes' loss; "none": (N, ...).
        label_smoothing: e, for targets (1 - e) onehot + e / C.

    Raises:
        ValueError: when called, shapes that do not fit, or an unknown reduction or smoothing.
        TypeError: the input is not of a floating-point dtype.
        IndexError: a target is neither a class nor `ignore_index`.
    """

    shown = ("ignore_index", "label_smoothing")
    weight: Array | None

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self.weight_buffer("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        self._looked = False

    def forward(self, input: Tensor, target: Any) -> Tensor:
        if not self._looked:
            self._looked = True
            if isinstance(input, Tensor) and looks_like_probabilities(input):
                warn_of_probabilities(3)
        return cross_entropy_of(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )

    def weight_of(self, target: Any) -> float:
        """How much the mean over some targets counts beside the mean over others.

        Args:
            target: as the loss takes it.

        Returns:
            What "mean" divides by: the weights of the class indices, those ignored left out; N for
            probabilities.
        """
        return float(np.sum(self.weights_of(target)))

    def weights_of(self, target: Any) -> np.ndarray:
        """The weight of each target's class, of the targets' shape (N, ...); 0 where ignored.

        Args:
            target: class indices (N, ...), or probabilities (N, C, ...), whose N rows count 1.
        """
        return _weights_of(target, self.weight, self.ignore_index)


class NLLLoss(_Loss):
    """-input[target] for log-probabilities, as `LogSoftmax` gives them.

    input (N, C, ...), or (C,) for one sample; target class indices (N, ...), integers.

    Args:
        weight: (C,), a factor for each class.
        ignore_index: targets of this value count for nothing.
        reduction: "mean" over the targets, or over their classes' weights; "sum"; "none": (N, ...).

    Raises:
        ValueError: when called, shapes that do not fit, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype, or the target not of integers.
        IndexError: a target is neither a class nor `ignore_index`.
    """

    shown = ("ignore_index",)
    weight: Array | None

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        self.weight_buffer("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)

    def weight_of(self, target: Any) -> float:
        """How much the mean over some targets counts beside the mean over others.

        Args:
            target: as the loss takes it.

        Returns:
            What "mean" divides by: the weights of the class indices, those ignored left out.
        """
        return float(np.sum(self.weights_of(target)))

    def weights_of(self, target: Any) -> np.ndarray:
        """The weight of each target's class, of the targets' shape (N, ...); 0 where ignored.

        Args:
            target: class indices (N, ...), or probabilities (N, C, ...), whose N rows count 1.
        """
        return _weights_of(target, self.weight, self.ignore_index)


class MSELoss(_Loss):
    """The squared difference (input - target)²; input and target of any one shape.

    The texts' losses have a ½ (Liu 1.2, Wang 1.1.1, Xu 7.20; a sum in Saito 3.2.1 and in the
    lecture notes): for one output and n samples theirs is half of this, so steps here are twice as
    long, and `weight_decay=λ` is the ridge regression of λ/2.  `0.5 * nn.MSELoss()(y, t)` is
    theirs.

    Args:
        reduction: "mean" over all elements, "sum", or "none": the input's shape.

    Raises:
        ValueError: when called, shapes that differ, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """The absolute difference |input - target|, whose gradient where they are equal is 0.

    input and target have any one shape.

    Args:
        reduction: "mean" over all elements (the lecture notes have the sum), "sum", or "none": the
            input's shape.

    Raises:
        ValueError: when called, shapes that differ, or an unknown reduction.
        TypeError: the input is not of a floating-point dtype.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """d² / (2 beta) where |d| < beta, else |d| - beta/2, of d = input - target (Girshick 2015).

    input and target have any one shape.

    Args:
        reduction: "mean" over all elements (the lecture notes have the sum), "sum", or "none": the
            input's shape.
        beta: at least 0; 0 is `L1Loss`.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or beta below 0.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("beta",)

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """d²/2 where |d| <= delta, else delta (|d| - delta/2), of d = input - target (Huber 1964).

    input and target have any one shape.

    Args:
        reduction: "mean" over all elements, "sum", or "none": the input's shape.
        delta: positive; `SmoothL1Loss(beta=delta)` is this divided by delta.

    Raises:
        ValueError: when called, shapes that differ, an unknown reduction, or delta not positive.
        TypeError: the input is not of a floating-point dtype.
    """

    shown = ("delta",)

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Any) -> Tensor:
        return ops.huber_loss(input, target, self.reduction, self.delta)


class BCELoss(_Loss):
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


class BCEWithLogitsLoss(_Loss):
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


class KLDivLoss(_Loss):
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


class HingeLoss(_Loss):
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


class HingeEmbeddingLoss(_Loss):
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


class SoftMarginLoss(_Loss):
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


class MultiMarginLoss(_Loss):
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

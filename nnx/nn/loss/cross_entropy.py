"""Losses of classes: `nnx.ops.loss.cross_entropy` derives them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import ops
from ...backends import Array, backend_of
from ...ops.loss.cross_entropy import (
    cross_entropy_of,
    looks_like_probabilities,
    warn_of_probabilities,
)
from ...tensor import Tensor
from ..linear import Linear
from .base import Loss


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


class OfClasses(Loss):
    """What the losses with a weight for each class share."""

    weight: Array | None
    ignore_index: int

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


class CrossEntropyLoss(OfClasses):
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


class NLLLoss(OfClasses):
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


class LinearCrossEntropyLoss(Loss):
    """A dense layer and the softmax cross-entropy of its logits, x Wᵀ + b.

    input (N, in_features), or (in_features,); target class indices (N, *out_features), or
    probabilities (N, C, *out_features).

    Args:
        in_features: the features of the input.
        num_classes: C.
        out_features: further axes of the logits, (N, C, *out_features), as in `CrossEntropyLoss`.
        bias: whether there is b.
        dtype: of W and b; the input must have the same.
        reduction, weight, ignore_index, label_smoothing: as in `CrossEntropyLoss`; ignore_index
            None is -100.
        options: PyTorch's plan of computing in pieces; taken for its sake, it changes nothing here.

    Parameters: linear.weight (C prod(out_features), in_features), linear.bias, as in `Linear`.

    Raises:
        ValueError: a size is not positive; when called, shapes that do not fit, or an unknown
            reduction or smoothing.
        TypeError: the input and W are of different dtypes.
        IndexError: a target is neither a class nor `ignore_index`.
    """

    shown = ("num_classes", "out_features", "ignore_index", "label_smoothing")
    weight: Array | None

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        dtype: str = "float32",
        reduction: str = "mean",
        weight: Any = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        super().__init__(reduction)
        self.weight_buffer("weight", weight)
        self.num_classes, self.out_features = num_classes, tuple(out_features)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        rows = num_classes * math.prod(self.out_features)
        self.linear = Linear(in_features, rows, bias, dtype=dtype)

    def forward(self, input: Tensor, target: Any) -> Tensor:
        z = self.linear(input)
        z = ops.reshape(z, (*z.shape[:-1], self.num_classes, *self.out_features))
        ignored = -100 if self.ignore_index is None else self.ignore_index
        return cross_entropy_of(
            z, target, self.weight, ignored, self.reduction, self.label_smoothing
        )

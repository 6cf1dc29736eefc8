"""Connectionist temporal classification: `nnx.ops.loss.ctc` derives it."""

from __future__ import annotations

from typing import Any

from ... import ops
from ...tensor import Tensor
from .base import Loss


class CTCLoss(Loss):
    """-log of the probability of a sequence of labels whose times are not known (Graves et al.
    2006).

    log_probs (T, N, C), or (T, C), as `LogSoftmax` gives them; targets (N, S), or all in one row.

    Args:
        blank: the class that says nothing.
        reduction: "mean" over the batch of the losses divided by the number of labels; "sum"; or
            "none": (N,), or ().
        zero_infinity: losses that are infinite, for want of steps, and their gradients become 0.

    Call: `loss(log_probs, targets, input_lengths, target_lengths)`; see `nnx.functional.ctc_loss`.

    Raises:
        ValueError: when called, shapes or lengths that do not fit, or an unknown reduction.
        IndexError: a label, or the blank, is none of the C classes.
        TypeError: log_probs is not of a floating-point dtype, or the labels not of integers.
    """

    shown = ("blank", "zero_infinity")

    def __init__(
        self, blank: int = 0, *, reduction: str = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(
        self, log_probs: Tensor, targets: Any, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        return ops.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )

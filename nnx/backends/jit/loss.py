"""Softmax cross-entropy compiled by numba."""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..cpu.activation import with_tails
from ..cpu.loss import NumpyLoss, all_inside
from ..cpu.memory import empty
from . import activation, thresholds
from .linear import loops, takes


class JitLoss(NumpyLoss):
    @with_tails
    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Array]:
        n, classes = logits.shape
        if n * classes < thresholds.LOSS or not takes(logits):
            return super().softmax_cross_entropy(logits, targets)
        if not all_inside(targets, classes):
            return super().softmax_cross_entropy(logits, targets)
        z = empty(logits.shape, logits.dtype)
        losses = np.empty(n, logits.dtype)
        if classes > thresholds.LOSS_CLASSES and logits.dtype == np.float32:
            activation.loops().cross_entropy(logits, targets, z, losses)
            return losses, z
        loops().less_the_largest(logits, targets, z, losses)
        np.exp(z, out=z)  # NumPy's is vectorised
        loops().normalise(z, targets, losses)
        return losses, z

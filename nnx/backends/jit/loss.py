"""Softmax cross-entropy compiled by numba."""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..cpu.activation import with_tails
from ..cpu.loss import NumpyLoss, all_inside
from ..cpu.memory import empty
from . import activation
from .linear import WORTH_IT, loops, worth_compiled

_FEW = 64  # classes: up to here, e^z of all rows together is quicker than row by row


class JitLoss(NumpyLoss):
    @with_tails
    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Array]:
        n, classes = logits.shape
        if n * classes < WORTH_IT // 4 or not worth_compiled(logits, least=1):
            return super().softmax_cross_entropy(logits, targets)
        if not all_inside(targets, classes):
            return super().softmax_cross_entropy(logits, targets)
        z = empty(logits.shape, logits.dtype)
        losses = np.empty(n, logits.dtype)
        if classes > _FEW and logits.dtype == np.float32:
            activation.loops().cross_entropy(logits, targets, z, losses)
            return losses, z
        loops().less_the_largest(logits, targets, z, losses)
        np.exp(z, out=z)  # NumPy's is vectorised
        loops().normalise(z, targets, losses)
        return losses, z

"""Softmax with cross-entropy on NumPy: in place on one scratch array."""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..portable.loss import LossKernels
from . import thresholds
from .activation import with_tails


class NumpyLoss(LossKernels):
    @with_tails
    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Array]:
        n, classes = logits.shape
        if n == 0 or not all_inside(targets, classes):
            return super().softmax_cross_entropy(logits, targets)  # ignored rows
        targets = targets.astype(np.intp, copy=False)
        if classes > thresholds.LOSS_CLASSES:
            largest = np.maximum.reduce(logits, axis=1, keepdims=True)
            z = np.subtract(logits, largest, order="C")  # (N, C), however the logits lie
            hits = np.arange(0, n * classes, classes)  # where the right classes lie in memory
            hits += targets
            axis = 1
        else:
            z = logits.T.copy()  # (C, N)
            z -= np.maximum.reduce(z, axis=0, keepdims=True)
            hits = targets * n
            hits += np.arange(n)
            axis = 0
        flat = z.reshape(-1)
        picked = flat.take(hits)
        np.exp(z, out=z)
        total = np.add.reduce(z, axis=axis, keepdims=True)
        losses = np.log(total.reshape(-1))
        losses -= picked
        z /= total
        flat[hits] -= 1
        return losses, z if axis else z.T.copy()


def all_inside(targets: Array, classes: int) -> bool:
    """Whether every target is in [0, classes): one look, as -1 is a large unsigned number."""
    if targets.size == 0:
        return True
    unsigned = targets.astype(np.int64, copy=False).view(np.uint64)
    return bool(unsigned.item(unsigned.argmax()) < classes)  # a quarter of max()'s time

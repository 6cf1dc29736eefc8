"""Softmax with cross-entropy in one pass."""

from __future__ import annotations

from typing import Any

from ...typing import Array


class LossKernels:
    """The derivation is in `nnx.ops.loss.cross_entropy.CrossEntropy`."""

    xp: Any

    def softmax_cross_entropy(self, logits: Array, targets: Array) -> tuple[Array, Array]:
        """Per-row loss and its gradient.

        logits (N, C) floats, targets (N,) integers; a target outside [0, C) gives loss 0 and
        gradient 0 (that is how `ignore_index` is done).  Returns losses (N,) and
        softmax(logits) - onehot(targets), (N, C).
        """
        xp = self.xp
        classes = xp.arange(logits.shape[1], dtype=xp.int64, device=logits.device)
        onehot = xp.expand_dims(targets, axis=1) == classes  # (N, C) bool
        z = logits - xp.max(logits, axis=1, keepdims=True)
        e = xp.exp(z)
        total = xp.sum(e, axis=1, keepdims=True)
        zeros = xp.zeros_like(z)
        losses = xp.log(total[:, 0]) - xp.sum(xp.where(onehot, z, zeros), axis=1)
        gradient = xp.where(onehot, e / total - 1, e / total)
        counted = xp.any(onehot, axis=1)
        losses = xp.where(counted, losses, xp.zeros_like(losses))
        return losses, xp.where(xp.expand_dims(counted, axis=1), gradient, zeros)

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
        if logits.shape[1] == 0:  # of which no target is one
            return xp.sum(logits, axis=1), xp.zeros_like(logits)
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

    def cross_entropy_mean(
        self, logits: Array, targets: Array, ignore_index: int | None
    ) -> tuple[Array, Array, Array | None]:
        """The mean loss over the rows that count, without a look at which these are.

        logits (N, C), targets (N,); a row counts unless its target is outside [0, C) or
        `ignore_index`.  Returns the mean () (NaN where no row counts), the gradient of the *sum*
        of the losses (N, C), and the factor () that makes it the mean's, 0 where no row counts; or
        the mean's gradient itself, and None.
        """
        xp = self.xp
        counted = (targets >= 0) & (targets < logits.shape[1])
        if ignore_index is not None:
            counted = counted & (targets != ignore_index)
        none = xp.full_like(targets, -1)
        losses, gradient = self.softmax_cross_entropy(logits, xp.where(counted, targets, none))
        count = xp.sum(xp.astype(counted, losses.dtype))
        least_one = xp.where(count > 0, count, xp.ones_like(count))
        scale = xp.where(count > 0, 1 / least_one, xp.zeros_like(count))
        nan = xp.full_like(count, float("nan"))
        return xp.where(count > 0, xp.sum(losses) / least_one, nan), gradient, scale

    def scaled(self, x: Array, g: Array, scale: Array | None) -> Array:
        """x (g scale), where g and scale are arrays of shape (), or scale is None for 1."""
        return x * (g if scale is None else g * scale)

"""Softmax with cross-entropy in one pass, and the ways through a sequence of labels."""

from __future__ import annotations

import math
from typing import Any

from ...typing import Array
from .residuals import Residuals


class LossKernels:
    """The derivations are in `nnx.ops.loss`: `cross_entropy.CrossEntropy` and `ctc.CTC`."""

    xp: Any
    index_add: Any

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

    def ctc_loss(
        self, y: Array, targets: Array, steps: Array, labels: Array, blank: int
    ) -> tuple[Array, Residuals]:
        """-log p of each sequence's labels, (N,), infinite where no way leads to them; and what
        the backward takes.

        Args:
            y: log-probabilities (T, N, C).
            targets: (N, S) classes.
            steps, labels: (N,): how many of the T and of the S each sequence has.
            blank: the class that says nothing.
        """
        xp = self.xp
        length, n, _ = y.shape
        s = targets.shape[1]
        blanks = xp.full_like(targets, blank)
        between = xp.reshape(xp.stack([blanks, targets], axis=2), (n, 2 * s))
        said = xp.concat([between, xp.zeros_like(labels[:, None]) + blank], axis=1)  # (N, L)
        skips = (said != blank) & (said != _moved(xp, said, 2, blank))
        place = xp.arange(2 * s + 1, dtype=xp.int64, device=y.device)  # (L,)
        last = 2 * xp.expand_dims(labels, axis=1)  # (N, 1)
        ends = (place == last) | (place == last - 1)
        zeros = xp.zeros((n,), dtype=y.dtype, device=y.device)
        total = xp.where((steps == 0) & (labels == 0), zeros, -math.inf)
        if not length:
            return -total, Residuals((y, None))
        every = xp.broadcast_to(xp.expand_dims(said, axis=0), (length, n, 2 * s + 1))
        emitted = xp.take_along_axis(y, every, axis=2)  # (T, N, L)
        a = xp.where((place < 2) & (place <= last), emitted[0, ...], -math.inf)
        ways = [a]
        for t in range(length):
            if t:
                skipped = xp.where(skips, _moved(xp, a, 2, -math.inf), -math.inf)
                a = self._log_sum(a, _moved(xp, a, 1, -math.inf), skipped) + emitted[t, ...]
                ways.append(a)
            at_end = self._log_sum_along(xp.where(ends, a, -math.inf))
            total = xp.where(steps == t + 1, at_end, total)
        kept = (xp.stack(ways), emitted, said, skips, ends, steps, total)
        return -total, Residuals((y, kept))

    def ctc_loss_backward(self, g: Array, saved: Residuals) -> Array:
        """The gradient of y (T, N, C).

        Args:
            g: the gradient of the losses (N,).
            saved: what `ctc_loss` returned.
        """
        xp = self.xp
        y, kept = saved
        if kept is None:
            return xp.zeros_like(y)
        ways, emitted, said, skips, ends, steps, total = kept
        length, n, classes = y.shape
        nowhere = xp.full_like(emitted[0, ...], -math.inf)
        zeros = xp.zeros_like(nowhere)
        known = xp.where(total == -math.inf, xp.zeros_like(total), total)
        ahead = _moved(xp, skips, -2, False)
        through, b = [], nowhere
        for t in range(length - 1, -1, -1):
            if t < length - 1:
                c = b + emitted[t + 1, ...]
                skipped = xp.where(ahead, _moved(xp, c, -2, -math.inf), -math.inf)
                b = self._log_sum(c, _moved(xp, c, -1, -math.inf), skipped)
            left = xp.expand_dims(steps - 1 - t, axis=1)  # (N, 1)
            b = xp.where(left > 0, b, xp.where((left == 0) & ends, zeros, nowhere))
            through.append(xp.exp(ways[t, ...] + b - xp.expand_dims(known, axis=1)))
        through.reverse()
        weighted = xp.stack(through, axis=2) * xp.reshape(-g, (n, 1, 1))  # (N, L, T)
        rows = xp.reshape(weighted, (-1, length))
        first = xp.expand_dims(xp.arange(n, dtype=xp.int64, device=y.device), axis=1) * classes
        index = xp.reshape(xp.astype(said, xp.int64) + first, (-1,))
        summed = xp.reshape(self.index_add(rows, index, n * classes), (n, classes, length))
        return xp.permute_dims(summed, (2, 0, 1))

    def _log_sum(self, *terms: Array) -> Array:
        """log of the sum of e^term, number by number; -inf where all are."""
        xp = self.xp
        top = terms[0]
        for term in terms[1:]:
            top = xp.maximum(top, term)
        safe = xp.where(top == -math.inf, xp.zeros_like(top), top)
        total = xp.zeros_like(top)
        for term in terms:
            total = total + xp.exp(term - safe)
        none = total == 0
        return xp.where(none, top, safe + xp.log(xp.where(none, xp.ones_like(top), total)))

    def _log_sum_along(self, x: Array) -> Array:
        """log of the sum of e^x along the last axis, which goes."""
        xp = self.xp
        top = xp.max(x, axis=-1)
        safe = xp.where(top == -math.inf, xp.zeros_like(top), top)
        total = xp.sum(xp.exp(x - xp.expand_dims(safe, axis=-1)), axis=-1)
        none = total == 0
        return xp.where(none, top, safe + xp.log(xp.where(none, xp.ones_like(top), total)))


def _moved(xp: Any, a: Array, k: int, value: Any) -> Array:
    """a (N, L) moved k places to the right, or to the left where k < 0; `value` comes in."""
    n, length = a.shape
    step = min(abs(k), length)
    fill = xp.full((n, step), value, dtype=a.dtype, device=a.device)
    return xp.concat([fill, a[:, : length - step]] if k > 0 else [a[:, step:], fill], axis=1)

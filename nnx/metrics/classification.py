"""Right or wrong, counted over batches of any size."""

from __future__ import annotations

from typing import Any

from ..backends import Array, backend_of
from .metric import Metric


class _Share(Metric):
    """The share of right answers among those that count."""

    percent = True

    def right(self, xp: Any, output: Array, target: Array) -> Array:
        """One bool per answer, in the target's shape."""
        raise NotImplementedError(f"{type(self).__name__}.right")

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = ignore_index
        super().__init__()

    def add(self, xp: Any, output: Array, target: Array) -> None:
        home = backend_of(target)
        if home.is_integer(target.dtype):
            target = home.positions(target)  # a label of 8 bits cannot be held against class 300
        right = self.right(xp, output, target)
        if self.ignore_index is None:
            n = 1
            for length in right.shape:
                n *= length
            self.count += n
        else:
            counted = target != self.ignore_index
            right = right & counted
            self.keep("counted", xp.count_nonzero(counted))
        self.keep("right", xp.count_nonzero(right))

    def compute(self) -> float:
        count = self.count if self.ignore_index is None else self.total("counted")
        return self.total("right") / count if count else float("nan")


class Accuracy(_Share):
    """The share of examples whose largest logit is that of the right class.

    output (N, C) and target (N,) of class indices; or (N, C, d1, ...) and (N, d1, ...), where
    every position counts.  Of equal logits the first is the answer.

    Args:
        ignore_index: targets of this value do not count.
    """

    name = "accuracy"

    def right(self, xp: Any, output: Array, target: Array) -> Array:
        if output.ndim != target.ndim + 1 or output.shape[:1] != target.shape[:1]:
            raise ValueError(
                "accuracy: output must be (N, C, ...) and target (N, ...) of class indices; "
                f"output has shape {tuple(output.shape)}, target {tuple(target.shape)}"
            )
        return xp.argmax(output, axis=1) == target


class BinaryAccuracy(_Share):
    """The share of examples on the right side: output > threshold where target is not 0.

    output and target of one shape.  The threshold 0 is for logits; use 0.5 for probabilities.
    """

    name = "accuracy"

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        super().__init__()

    def right(self, xp: Any, output: Array, target: Array) -> Array:
        if output.shape != target.shape:
            raise ValueError(
                "binary accuracy: output and target must have one shape; "
                f"output has shape {tuple(output.shape)}, target {tuple(target.shape)}"
            )
        return (output > self.threshold) == (target != 0)


class TopK(_Share):
    """The share of examples whose right class is among the k largest logits.

    output (N, C), target (N,).  The right class has the rank  #{c: z[c] > z[t]} + #{c < t: z[c] =
    z[t]},  counted from 0: no sorting, and TopK(1) is Accuracy, ties included.
    """

    def __init__(self, k: int = 5, ignore_index: int | None = None) -> None:
        if k < 1:
            raise ValueError(f"TopK: k must be at least 1, got {k}")
        self.k = k
        self.name = f"top{k}"
        super().__init__(ignore_index)

    def right(self, xp: Any, output: Array, target: Array) -> Array:
        if output.ndim != 2 or output.shape[:1] != tuple(target.shape):
            raise ValueError(
                f"{self.name}: output must be (N, C) and target (N,); "
                f"output has shape {tuple(output.shape)}, target {tuple(target.shape)}"
            )
        classes = xp.arange(output.shape[1], dtype=target.dtype, device=output.device)  # (C,)
        t = xp.expand_dims(target, axis=1)  # (N, 1)
        zero = xp.zeros_like(output)
        z = xp.sum(xp.where(classes == t, output, zero), axis=1, keepdims=True)  # (N, 1)
        # Not "<=", so that a NaN stands before every number.
        above = ~(output <= z) | ((output == z) & (classes < t))
        inside = xp.any(classes == t, axis=1)  # a target outside [0, C) is never right
        return (xp.count_nonzero(above, axis=1) < self.k) & inside

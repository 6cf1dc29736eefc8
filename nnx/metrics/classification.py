"""Right or wrong, counted over batches of any size."""

from __future__ import annotations

from typing import Any

from ..backends import Array, backend_of
from .metric import Metric


class _Share(Metric):
    """The share of right answers among those that count."""

    percent = True
    _looked = False  # whether targets of two classes were seen to be 0 and 1, or -1 and 1

    def sides(self, xp: Any, output: Array, target: Array, threshold: float) -> Array:
        """Whether output > threshold where target is 1, and not where it is 0 or -1.

        The targets of the first batch are looked at.

        Args:
            xp: the arrays' namespace.
            output: of any shape.
            target: of the same shape.
            threshold: the border between the two classes.

        Returns:
            Bools of that shape.

        Raises:
            ValueError: a target is neither 0 nor 1, nor -1 nor 1.
        """
        home = backend_of(target)
        if not (home.is_float(target.dtype) or home.is_integer(target.dtype)):
            return (output > threshold) == target
        if not self._looked and self.ignore_index is None:
            self._looked = True
            one = target == 1
            if not (bool(xp.all(one | (target == 0))) or bool(xp.all(one | (target == -1)))):
                found = sorted(set(home.to_numpy(target).reshape(-1).tolist()))
                shown = ", ".join(f"{value:g}" for value in found[:6])
                raise ValueError(
                    "accuracy of two classes: targets must be 0 and 1, or -1 and 1; there are "
                    f"{shown}{', ...' if len(found) > 6 else ''}"
                )
        return (output > threshold) == (target > 0)

    def right(self, xp: Any, output: Array, target: Array) -> Array:
        """Which answers are right.

        Args:
            xp: the arrays' namespace.
            output: a batch's (N, ...).
            target: what was right, (N, ...).

        Returns:
            One bool per answer, in the target's shape.

        Raises:
            ValueError: shapes that do not fit together.
        """
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

    A single logit for two classes, output (N,) or (N, 1) and target (N,) or (N, 1), is right where
    it is positive for targets of 1 and not for those of 0 or -1, as for `BinaryAccuracy`, which
    has a threshold for probabilities.

    Args:
        ignore_index: targets of this value do not count.
    """

    name = "accuracy"

    def right(self, xp: Any, output: Array, target: Array) -> Array:
        if _single(output) and _single(target) and output.shape[0] == target.shape[0]:
            sides = self.sides(xp, xp.reshape(output, (-1,)), xp.reshape(target, (-1,)), 0.0)
            return xp.reshape(sides, target.shape)
        if output.ndim != target.ndim + 1 or output.shape[:1] != target.shape[:1]:
            raise ValueError(
                "accuracy: output must be (N, C, ...) and target (N, ...) of class indices, or "
                "both a single column; "
                f"output has shape {tuple(output.shape)}, target {tuple(target.shape)}. "
                "Rows of 0 and 1 (one-hot) become class indices by argmax; several answers for "
                "each example are what BinaryAccuracy counts"
            )
        return xp.argmax(output, axis=1) == target


class BinaryAccuracy(_Share):
    """The share of examples on the right side: output > threshold where the target is 1, and not
    where it is 0, or -1 as the margin losses have it.

    output and target of one shape.  The threshold 0 is for logits; use 0.5 for probabilities.
    The targets of the first batch are looked at.

    Raises:
        ValueError: the shapes differ, or a target is neither 0 nor 1, nor -1 nor 1.
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
        return self.sides(xp, output, target, self.threshold)


def _single(x: Array) -> bool:
    """Whether x has one number for each example: (N,) or (N, 1)."""
    return bool(x.ndim == 1 or (x.ndim == 2 and x.shape[1] == 1))


class TopK(_Share):
    """The share of examples whose right class is among the k largest logits.

    output (N, C), target (N,).  The right class has the rank  #{c: z[c] > z[t]} + #{c < t: z[c] =
    z[t]},  counted from 0: no sorting, and TopK(1) is Accuracy, ties included.

    Args:
        k: how many answers an example has.
        ignore_index: targets of this value do not count.

    Raises:
        ValueError: k is below 1.
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

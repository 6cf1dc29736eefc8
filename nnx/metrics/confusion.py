"""What was taken for what: the confusion matrix, and precision, recall and F1 that are read off it.

Of the matrix n (C, C), whose entry n[t, p] counts the examples of class t that were taken for p,
class c has

    TP = n[c, c]    FP = Σ_t n[t, c] - TP    FN = Σ_p n[c, p] - TP

    precision = TP / (TP + FP)    recall = TP / (TP + FN)    F1 = 2 TP / (2 TP + FP + FN)

(van Rijsbergen 1979).  A quotient 0 / 0 counts as 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends import Array, backend_of
from .metric import Metric

AVERAGES = ("macro", "micro", "weighted", "binary")


class _Confusion(Metric):
    """Base of what is read off the confusion matrix; see `Precision` for what it takes."""

    def __init__(
        self,
        *,
        classes: int | None = None,
        threshold: float = 0.0,
        ignore_index: int | None = None,
    ) -> None:
        self.classes, self.threshold, self.ignore_index = classes, threshold, ignore_index
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.counts: Array | None = None  # (C, C) integers
        self.single = False  # whether outputs are single numbers

    def add(self, xp: Any, output: Array, target: Array) -> None:
        home = backend_of(target)
        p, t, classes = self._indices(xp, output, target)
        wanted = xp.reshape(xp.arange(classes, dtype=t.dtype, device=t.device), (1, -1))
        of_target = xp.expand_dims(t, axis=1) == wanted  # (N, C)
        if self.ignore_index is not None:
            counted = xp.reshape(target, (-1,)) != self.ignore_index
            of_target = of_target & xp.expand_dims(counted, axis=1)
            self.keep("counted", xp.count_nonzero(counted))
        else:
            self.count += t.shape[0]
        taken_for = xp.expand_dims(p, axis=1) == wanted  # (N, C)
        # (C, N) x (N, C) -> (C, C): whole numbers that float32 holds exactly, up to 2^24 rows.
        left, right = (xp.astype(x, xp.float32) for x in (of_target, taken_for))
        self._take(home.positions(xp.matmul(left.T, right)))

    def _indices(self, xp: Any, output: Array, target: Array) -> tuple[Array, Array, int]:
        """The classes that were predicted (N,), the right ones (N,), and how many there are."""
        home = backend_of(target)
        t = home.positions(xp.reshape(target, (-1,)))
        if home.is_integer(output.dtype) and output.shape == target.shape:
            p = home.positions(xp.reshape(output, (-1,)))
            classes = self.classes
            if classes is None:
                ignored = -1 if self.ignore_index is None else self.ignore_index
                largest = xp.max(xp.where(t == ignored, xp.zeros_like(t), t)) if t.shape[0] else 0
                classes = 1 + max(int(largest), int(xp.max(p)) if t.shape[0] else 0)
            return p, t, classes
        if len(output.shape) in (1, 2) and math.prod(output.shape) == t.shape[0] == output.shape[0]:
            self.single = True
            return (
                home.positions(xp.reshape(output, (-1,)) > self.threshold),
                xp.where(t > 0, t, xp.zeros_like(t)),
                2,
            )
        if output.ndim != target.ndim + 1 or (output.shape[0], *output.shape[2:]) != target.shape:
            raise ValueError(
                f"{self.name}: output must be (N, C, ...) and target (N, ...) of class indices, or "
                "both a single column, or both class indices; output has shape "
                f"{tuple(output.shape)}, target {tuple(target.shape)}"
            )
        return xp.reshape(xp.argmax(output, axis=1), (-1,)), t, output.shape[1]

    def _take(self, counts: Array) -> None:
        """Add another matrix, which may have more classes, or be somewhere else."""
        mine = self.counts
        if mine is None:
            self.counts = counts
        elif type(mine) is type(counts) and mine.shape == counts.shape:
            self.counts = mine + counts
        else:
            a, b = (backend_of(x).to_numpy(x) for x in (mine, counts))
            size = max(len(a), len(b))
            self.counts = sum(np.pad(x, (0, size - len(x))) for x in (a, b))

    def matrix(self) -> np.ndarray:
        """The confusion matrix so far (C, C), int64: row t, column p.

        Raises:
            ValueError: some targets, or some predictions, were outside 0 .. C-1.
        """
        if self.counts is None:
            return np.zeros((self.classes or 0,) * 2, np.int64)
        counts = np.asarray(backend_of(self.counts).to_numpy(self.counts), np.int64)
        expected = self.count if self.ignore_index is None else int(self.total("counted"))
        if counts.sum() != expected:
            raise ValueError(
                f"{self.name}: {expected - counts.sum()} of {expected} targets or predictions are "
                f"outside 0 .. {len(counts) - 1}"
            )
        return counts

    def state_dict(self) -> dict[str, Any]:
        counts = None if self.counts is None else backend_of(self.counts).to_numpy(self.counts)
        return {**super().state_dict(), "counts": counts, "single": self.single}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.counts, self.single = state["counts"], state["single"]

    def merge(self, state: dict[str, Any]) -> None:
        self.merge_sums(state)
        self.single = self.single or state["single"]
        if state["counts"] is not None:
            self._take(state["counts"])


class ConfusionMatrix(_Confusion):
    """How often each class was taken for each: `compute()` gives (C, C), int64, row t, column p.

    It is a table, no number, so a Trainer does not take it as a metric of its history:

        confusion = nnx.metrics.ConfusionMatrix()
        for x, target in batches:
            confusion.update(model(x), target)
        print(confusion.compute())

    Outputs and targets as in `Precision`.

    Args:
        classes: C, where outputs are class indices; if not given, as many as the largest asks for.
        threshold: from which output on a single number means class 1: 0 for logits, 0.5 for
            probabilities.
        ignore_index: targets of this value do not count.
    """

    name = "confusion matrix"
    scalar = False

    def _repr_html_(self) -> str:
        from .. import notebook

        counts = self.matrix()
        rows = [(f"true {t}", *row) for t, row in enumerate(counts.tolist())]
        taken = [f"taken for {p}" for p in range(len(counts))]
        return notebook.table(("", *taken), rows, self.name)

    def compute(self) -> Any:
        return self.matrix()


class _OfClasses(_Confusion):
    """A quotient of counts for each class, and its average."""

    def __init__(self, average: str | None = None, **options: Any) -> None:
        if average not in (None, *AVERAGES):
            raise ValueError(
                f"{type(self).__name__}: average must be {', '.join(AVERAGES)} or None, got "
                f"{average!r}"
            )
        self.average = average
        super().__init__(**options)

    def quotient(self, tp: Any, fp: Any, fn: Any) -> tuple[Any, Any]:
        """Numerator and denominator of the measure.

        Args:
            tp, fp, fn: how many were rightly taken for a class, wrongly taken for it, and missed;
                numbers, or arrays (C,).
        """
        raise NotImplementedError(f"{type(self).__name__}.quotient")

    def _value(self, tp: Any, fp: Any, fn: Any) -> np.ndarray:
        above, below = np.broadcast_arrays(*self.quotient(tp, fp, fn))
        return np.where(below > 0, above / np.maximum(below, 1), 0.0)

    def per_class(self) -> np.ndarray:
        """The value of each class (C,), float64.

        Raises:
            ValueError: some targets, or some predictions, were outside 0 .. C-1.
        """
        n = self.matrix()
        tp = np.diagonal(n)
        return self._value(tp, n.sum(0) - tp, n.sum(1) - tp)

    def compute(self) -> float:
        n = self.matrix()
        if not n.sum():
            return math.nan
        average = self.average or ("binary" if self.single else "macro")
        tp = np.diagonal(n)
        fp, fn = n.sum(0) - tp, n.sum(1) - tp
        if average == "micro":
            return float(self._value(tp.sum(), fp.sum(), fn.sum()))
        values = self.per_class()
        if average == "binary":
            if len(values) != 2:
                raise ValueError(
                    f'{self.name}: average="binary" is for two classes, there are {len(values)}'
                )
            return float(values[1])
        there = tp + fp + fn > 0
        weights = (tp + fn if average == "weighted" else np.ones(len(n)))[there]
        return float(np.average(values[there], weights=weights))


class Precision(_OfClasses):
    """TP / (TP + FP): of what was taken for a class, the share that is of it (as in scikit-learn).

    output: logits or probabilities (N, C) or (N, C, d1, ...) with target (N,) or (N, d1, ...) of
    class indices; or a single number for each example, (N,) or (N, 1), for the classes 0 and 1,
    with targets of 0 and 1, or -1 and 1; or class indices, integers of the target's shape.

    Args:
        average: "macro", the mean over the classes that occur in targets or predictions; "micro",
            of the counts of all classes together; "weighted", the mean by how many examples each
            class has; "binary", the value of class 1.  If not given: "binary" for single outputs,
            else "macro".  `per_class()` gives the value of each.
        options: by name, classes: how many there are, where outputs are class indices; if not
            given, as many as the largest index asks for; threshold: from which output on a single
            number means class 1: 0 for logits, 0.5 for probabilities; ignore_index: targets of this
            value do not count.

    Raises:
        ValueError: an unknown average; the shapes do not fit; when it is read, a target is outside
            0 .. C-1.
    """

    name = "precision"

    def quotient(self, tp: Any, fp: Any, fn: Any) -> tuple[Any, Any]:
        return tp, tp + fp


class Recall(_OfClasses):
    """TP / (TP + FN): of what belongs to a class, the share that was found (as in scikit-learn).

    Outputs and targets as in `Precision`.

    Args:
        average: over the classes, as in `Precision`.
        options: classes, threshold and ignore_index, as in `Precision`.

    Raises:
        ValueError: an unknown average; the shapes do not fit; when it is read, a target is outside
            0 .. C-1.
    """

    name = "recall"

    def quotient(self, tp: Any, fp: Any, fn: Any) -> tuple[Any, Any]:
        return tp, tp + fn


class F1(_OfClasses):
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall (van Rijsbergen 1979).

    Outputs and targets as in `Precision`.

    Args:
        average: over the classes, as in `Precision`.
        options: classes, threshold and ignore_index, as in `Precision`.

    Raises:
        ValueError: an unknown average; the shapes do not fit; when it is read, a target is outside
            0 .. C-1.
    """

    name = "f1"

    def quotient(self, tp: Any, fp: Any, fn: Any) -> tuple[Any, Any]:
        return 2 * tp, 2 * tp + fp + fn

"""The area under the ROC curve."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends import Array, backend_of
from .metric import Metric


class AUC(Metric):
    """The area under the ROC curve: how often an example of a class has a higher score than one
    that is not of it, ties counted half (the statistic of Mann and Whitney 1947).

        AUC = (Σ_{positive i} rank_i - P (P + 1) / 2) / (P N)

    with P positives, N negatives, ranks from 1 on and equal scores sharing their mean rank.

    output (N,) or (N, 1): scores of class 1, target of 0 and 1, or -1 and 1.  output (N, C), target
    (N,): logits, of which softmax makes the scores, each class against the rest.  All scores are
    kept until `reset`, and read from a device when the value is.

    Args:
        average: over classes, "macro" or "weighted" by how many examples each has.
        probabilities: whether outputs (N, C) are probabilities already.

    A class without a positive or without a negative example makes the value NaN.

    Raises:
        ValueError: an unknown average; when called, shapes that do not fit together.
    """

    name = "auc"

    def __init__(self, average: str = "macro", probabilities: bool = False) -> None:
        if average not in ("macro", "weighted"):
            raise ValueError(f'AUC: average must be "macro" or "weighted", got {average!r}')
        self.average, self.probabilities = average, probabilities
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.batches: list[tuple[Array, Array]] = []

    def add(self, xp: Any, output: Array, target: Array) -> None:
        n = target.shape[0] if target.ndim else 0
        flat = math.prod(target.shape) == n and target.ndim in (1, 2)
        if not flat or output.ndim not in (1, 2) or output.shape[0] != n:
            raise ValueError(
                "auc: output must be (N,), (N, 1) or (N, C) and target (N,); output has shape "
                f"{tuple(output.shape)}, target {tuple(target.shape)}"
            )
        self.count += n
        self.batches.append((xp.reshape(output, (n, -1)), xp.reshape(target, (n,))))

    def per_class(self) -> np.ndarray:
        """The value of each class (C,), float64; of single scores that of class 1, (1,).

        Raises:
            ValueError: the batches have different numbers of scores for an example.
        """
        scores, target = self._all()
        classes = [1] if scores.shape[1] == 1 else range(scores.shape[1])
        column = [0] if scores.shape[1] == 1 else classes
        return np.array(
            [_area(scores[:, k], target == c) for k, c in zip(column, classes, strict=True)]
        )

    def compute(self) -> float:
        if not self.batches:
            return math.nan
        values = self.per_class()
        if len(values) == 1 or self.average == "macro":
            return float(np.mean(values))
        target = self._all()[1]
        return float(np.average(values, weights=[(target == c).sum() for c in range(len(values))]))

    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        """Scores (N, C) or (N, 1), and class indices (N,), in host memory."""
        pairs = [[backend_of(x).to_numpy(x) for x in pair] for pair in self.batches]
        widths = {score.shape[1] for score, _ in pairs}
        if len(widths) > 1:
            raise ValueError(f"auc: the batches have {sorted(widths)} scores for each example")
        scores = np.concatenate([score for score, _ in pairs]).astype(np.float64)
        target = np.concatenate([t for _, t in pairs])
        if scores.shape[1] == 2:
            scores = scores[:, 1:] if self.probabilities else scores[:, 1:] - scores[:, :1]
        elif scores.shape[1] > 1 and not self.probabilities:
            scores = scores - scores.max(1, keepdims=True)
            scores = scores - np.log(np.exp(scores).sum(1, keepdims=True))  # orders as softmax
        return scores, target

    def state_dict(self) -> dict[str, Any]:
        batches = [tuple(backend_of(x).to_numpy(x) for x in pair) for pair in self.batches]
        return {"count": self.count, "batches": batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reset()
        self.merge(state)

    def merge(self, state: dict[str, Any]) -> None:
        self.count += state["count"]
        self.batches += [tuple(pair) for pair in state["batches"]]


def _area(score: np.ndarray, positive: np.ndarray) -> float:
    """The share of pairs (positive, negative) that are in the right order."""
    p = int(positive.sum())
    n = len(positive) - p
    if not p or not n or np.isnan(score).any():
        return math.nan
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # the mean rank of each distinct score
    return float((rank[place][positive].sum() - p * (p + 1) / 2) / (p * n))

"""How far predictions are from the truth, over batches of any size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends import Array, backend_of, dtype_name
from .metric import Metric


class _Elementwise(Metric):
    """The mean over all elements of some distance between output and target."""

    higher_is_better = False

    def distance(self, xp: Any, difference: Array) -> Array:
        """The distance of each pair.

        Args:
            xp: the arrays' namespace.
            difference: output - target, float, of any shape; the distances have the same.
        """
        raise NotImplementedError(f"{type(self).__name__}.distance")

    def add(self, xp: Any, output: Array, target: Array) -> None:
        _require_one_shape(self.name, output, target)
        output, target = wide(xp, output), wide(xp, target)
        distance = self.distance(xp, output - target)
        n = 1
        for length in distance.shape:
            n *= length
        self.count += n
        self.keep("distance", xp.sum(distance))

    def compute(self) -> float:
        return self.total("distance") / self.count if self.count else math.nan


class MSE(_Elementwise):
    """The mean of (y - t)² over all elements of output y and target t, which have one shape."""

    name = "mse"

    def distance(self, xp: Any, difference: Array) -> Array:
        return difference * difference


class MAE(_Elementwise):
    """The mean of |y - t| over all elements of output y and target t, which have one shape."""

    name = "mae"

    def distance(self, xp: Any, difference: Array) -> Array:
        return xp.abs(difference)


class R2(Metric):
    """The coefficient of determination, as in scikit-learn.

    It is the mean over columns d of

        R²[d] = 1 - sum_n (t[n, d] - y[n, d])² / sum_n (t[n, d] - mean_n t[n, d])²

    output y and target t (N, ...), every position but the first a column.  A column of equal
    targets gives 1 where the prediction is exact, else 0.

    The denominator is not computed as sum t² - N mean², whose digits cancel where the mean is
    large against the spread.  Each batch gives its own mean and its own sum of squares about it,
    and two parts are joined by (Chan, Golub and LeVeque 1983)

        M = Ma + Mb + (mean_a - mean_b)² Na Nb / (Na + Nb)
    """

    name = "r2"

    def reset(self) -> None:
        super().reset()
        self.batches: list[tuple[int, Array]] = []  # N, (3, D): mean, squares about it, errors²

    def add(self, xp: Any, output: Array, target: Array) -> None:
        _require_one_shape(self.name, output, target)
        n = target.shape[0]
        if n == 0:
            return
        output, target = wide(xp, output), wide(xp, target)
        t, y = xp.reshape(target, (n, -1)), xp.reshape(output, (n, -1))  # (N, D)
        mean = xp.mean(t, axis=0)
        about = xp.sum((t - mean) * (t - mean), axis=0)
        errors = xp.sum((t - y) * (t - y), axis=0)
        self.count += n
        self.batches.append((n, xp.stack([mean, about, errors])))

    def compute(self) -> float:
        if not self.batches:
            return math.nan
        count, (mean, about, errors) = 0, np.zeros((3, self.batches[0][1].shape[1]))
        for n, sums in self._host():
            apart = sums[0] - mean
            about = about + sums[1] + apart**2 * (n * count / (n + count))
            mean = mean + apart * (n / (n + count))
            errors = errors + sums[2]
            count += n
        exact = np.where(errors == 0, 1.0, 0.0)
        constant = about == 0
        return float(np.mean(np.where(constant, exact, 1 - errors / np.where(constant, 1, about))))

    def _host(self) -> list[tuple[int, np.ndarray]]:
        return [
            (n, np.asarray(backend_of(sums).to_numpy(sums), np.float64)) for n, sums in self.batches
        ]

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "batches": [(n, sums) for n, sums in self._host()]}

    def merge(self, state: dict[str, Any]) -> None:
        self.count += state["count"]
        self.batches += [(n, sums) for n, sums in state["batches"]]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.reset()
        self.count = state["count"]
        self.batches = [(n, sums) for n, sums in state["batches"]]


def wide(xp: Any, x: Array) -> Array:
    """An array in a dtype whose sums and differences neither overflow nor wrap around."""
    name = dtype_name(x.dtype)
    if name in ("float32", "float64"):
        return x
    small = name in ("float16", "bfloat16", "bool", "int8", "uint8", "int16", "uint16")
    return xp.astype(x, xp.float32 if small else xp.float64)


def _require_one_shape(name: str, output: Array, target: Array) -> None:
    if output.shape != target.shape:
        raise ValueError(
            f"{name}: output and target must have one shape; "
            f"output has shape {tuple(output.shape)}, target {tuple(target.shape)}"
        )

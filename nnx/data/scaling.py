"""Scaling features, learnt on the training part alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..typing import Array
from .dataset import host_array


@dataclass(frozen=True)
class Scaling:
    """y = (x - shift) / scale, and back.

        scaling = standardize(train)
        train, test = scaling(train), scaling(test)

    Attributes:
        shift, scale: float64, of a shape that broadcasts to the data.
    """

    shift: np.ndarray
    scale: np.ndarray

    def __call__(self, x: Any, dtype: str = "float32") -> Array:
        """The scaled values, computed in float64 and rounded to dtype."""
        return ((host_array(x) - self.shift) / self.scale).astype(dtype)

    def inverse(self, y: Any, dtype: str = "float32") -> Array:
        """The values that scale to y, in its shape and in `dtype`."""
        return (host_array(y) * self.scale + self.shift).astype(dtype)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for a configuration in JSON."""
        return {"shift": self.shift.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Scaling:
        """The scaling that `to_dict` described as `state`."""
        return cls(np.asarray(state["shift"], float), np.asarray(state["scale"], float))


def standardize(train: Any, axis: int | tuple[int, ...] | None = 0) -> Scaling:
    """The scaling that gives the training data mean 0 and standard deviation 1.

    Args:
        train: the training data; nothing else should have a say.
        axis: over which axes to take mean and deviation: 0, each feature by itself; None, all.

    A feature that is constant is only shifted.

    Raises:
        ValueError: there are no values, or not all of them are finite.
    """
    x = _values("standardize", train)
    return Scaling(x.mean(axis=axis, keepdims=True), _not_zero(x.std(axis=axis, keepdims=True)))


def minmax(
    train: Any, low: float = 0.0, high: float = 1.0, axis: int | tuple[int, ...] | None = 0
) -> Scaling:
    """The scaling that spreads the training data, `train`, from `low` to `high`.

    `axis` is what the smallest and the largest value are taken over: 0 for each feature of its own,
    None for one pair for all.

    Later data may lie outside.  A feature that is constant becomes `low`.

    Raises:
        ValueError: low >= high, there are no values, or not all of them are finite.
    """
    if not low < high:
        raise ValueError(f"minmax: low must be less than high; low {low}, high {high}")
    x = _values("minmax", train)
    first, last = x.min(axis=axis, keepdims=True), x.max(axis=axis, keepdims=True)
    scale = _not_zero((last - first) / (high - low))
    return Scaling(first - low * scale, scale)


def _values(operation: str, train: Any) -> Array:
    x = host_array(train).astype(np.float64)
    if x.size == 0:
        raise ValueError(f"{operation}: there are no values to learn from; shape {x.shape}")
    if not np.isfinite(x).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise ValueError(f"{operation}: the values must be finite; at {at} there is {x[at]}")
    return x


def _not_zero(scale: Array) -> Array:
    return np.where(scale == 0.0, 1.0, scale)

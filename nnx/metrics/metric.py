"""`Metric`: fed batch by batch, read once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backends import Array, backend_of
from ..tensor import Tensor


class Deferred:
    """Numbers that a device computes: kept as arrays, and read all at once when someone asks.

    Reading a number waits for the device.  An epoch that reads each batch's loss would wait at
    each step; one that keeps them and reads at its end waits once.
    """

    def __init__(self) -> None:
        self._pending: list[Array] = []  # scalars, shape ()
        self._read: list[float] = []

    def __len__(self) -> int:
        return len(self._read) + len(self._pending)

    def append(self, scalar: Array | float) -> None:
        """Keep a scalar: an array of shape (), unread; or a number, where a library gave one."""
        if isinstance(scalar, int | float):
            self.values().append(scalar)
        else:
            self._pending.append(scalar)

    def values(self) -> list[float]:
        """All of them, as Python numbers."""
        if self._pending:
            backend = backend_of(self._pending[0])
            together = backend.xp.stack([backend.xp.asarray(x) for x in self._pending])
            self._read += backend.to_numpy(together).tolist()
            self._pending = []
        return self._read

    def restore(self, values: list[float]) -> None:
        """Go on from where `values()` was taken."""
        self._read, self._pending = list(values), []


class Metric:
    """Base of all metrics.

    A subclass adds up in `add`, per batch, and answers in `compute`.  What it adds up are arrays
    of shape () in `sums` and a count of examples, so a batch costs no wait for a device.

    Attributes:
        name: what it is called in the history and the log.
        higher_is_better: whether a larger value is the better one.
        percent: whether people read it as a percentage.
        scalar: whether it is a number, which a history can hold.
    """

    name: str
    higher_is_better = True
    percent = False
    scalar = True

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget every batch."""
        self.count: float = 0
        self.sums: dict[str, Deferred] = {}

    def update(self, output: Tensor | Array, target: Tensor | Array) -> None:
        """Take in one batch.

        Args:
            output: what the model gave, (N, ...).
            target: what was right, (N, ...); the class says which shapes fit together.

        Raises:
            ValueError: shapes that do not fit together.
        """
        output = output.data if isinstance(output, Tensor) else output
        target = target.data if isinstance(target, Tensor) else target
        self.add(backend_of(output, target).xp, output, target)

    def add(self, xp: Any, output: Array, target: Array) -> None:
        """Take in one batch of arrays; what a subclass says.

        Args:
            xp: their namespace.
            output: as in `update`, an array.
            target: likewise.

        Raises:
            ValueError: shapes that do not fit together.
        """
        raise NotImplementedError(f"{type(self).__name__}.add")

    def compute(self) -> float:
        """The value over everything since `reset`; NaN where that was nothing."""
        raise NotImplementedError(f"{type(self).__name__}.compute")

    def show(self, value: float) -> str:
        """The value as people read it."""
        return f"{100 * value:.2f}%" if self.percent else f"{value:.4g}"

    def merge(self, state: dict[str, Any]) -> None:
        """Take in what another metric of this kind has added up.

        Args:
            state: its `state_dict()`.

        Raises:
            NotImplementedError: a subclass keeps a state of its own and does not say how.
        """
        if type(self).state_dict is not Metric.state_dict:
            raise NotImplementedError(
                f"{type(self).__name__}.merge: the class has a state_dict of its own, so it must "
                "say how two states become one"
            )
        self.merge_sums(state)

    def merge_sums(self, state: dict[str, Any]) -> None:
        """The part of `merge(state)` that every metric has: the count, and what `keep` added up."""
        self.count += state["count"]
        for name, values in state["sums"].items():
            for value in values:
                self.keep(name, value)

    # ---- for subclasses ----

    def keep(self, name: str, scalar: Array | float) -> None:
        """Add a scalar, an array of shape (), to the sum called `name`."""
        part = self.sums.get(name)
        if part is None:
            part = self.sums[name] = Deferred()
        part.append(scalar)

    def total(self, name: str) -> float:
        """The sum called `name`."""
        part = self.sums.get(name)
        return exact_sum(part.values()) if part is not None else 0.0

    # ---- state, for a checkpoint in the middle of an epoch ----

    def state_dict(self) -> dict[str, Any]:
        """What was added up so far."""
        return {
            "count": self.count,
            "sums": {name: np.asarray(p.values(), np.float64) for name, p in self.sums.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where the state was taken, by `state_dict()`.

        Raises:
            ValueError: it is no state of such a metric.
        """
        self.reset()
        self.count = state["count"]
        for name, values in state["sums"].items():
            self.sums[name] = Deferred()
            self.sums[name].restore(numbers(values))


class Mean(Metric):
    """The mean of a number that is given per batch, weighted by the size of the batch.

    Args:
        name: what it is called in the history.
    """

    higher_is_better = False

    def __init__(self, name: str = "loss") -> None:
        self.name = name
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.sizes: list[float] = []
        self.parts = Deferred()

    def take(self, scalar: Array, size: float) -> None:
        """Take in one batch.

        Args:
            scalar: the batch's mean, an array of shape (); it is read when the value is.
            size: the number of examples in the batch, or the sum of their weights.
        """
        self.count += size
        self.sizes.append(size)
        self.parts.append(scalar)

    def compute(self) -> float:
        values = self.parts.values()
        if not self.count:
            return math.nan
        return exact_sum([v * n for v, n in zip(values, self.sizes, strict=True)]) / self.count

    def state_dict(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "sizes": np.asarray(self.sizes, None if self.sizes else np.int64),
            "values": np.asarray(self.parts.values(), np.float64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where the state was taken, by `state_dict()`.

        Raises:
            ValueError: its count, sizes and values do not agree.
        """
        self.reset()
        self.count, self.sizes = state["count"], numbers(state["sizes"])
        values = numbers(state["values"])
        if len(values) != len(self.sizes) or not math.isclose(self.count, sum(self.sizes)):
            raise ValueError(f"{self.name}: count, sizes and values of the state do not agree")
        self.parts.restore(values)


def numbers(values: Any) -> list[Any]:
    """A list or an array (N,) of numbers as a list of Python's.

    Raises:
        ValueError: it is something else.
    """
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
        raise ValueError(f"a state needs a list of numbers, it has {values!r:.60}")
    numbers: list[Any] = array.tolist()
    return numbers


def exact_sum(values: list[float]) -> float:
    """The sum, rounded once; inf - inf is NaN, and too much is inf, as everywhere."""
    try:
        return math.fsum(values)
    except (ValueError, OverflowError):
        return sum(values)

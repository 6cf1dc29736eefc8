"""In which order an epoch takes the examples."""

from __future__ import annotations

import operator
from typing import Protocol, runtime_checkable

import numpy as np

from ..random import Generator


class Sampler(Protocol):
    """Chooses the examples of an epoch."""

    def __len__(self) -> int:
        """How many examples an epoch has."""
        ...

    def order(self, generator: Generator) -> np.ndarray | None:
        """Their indices, int64 of shape (examples,), or None for all of them as they stand.

        `generator` is made for this epoch alone; what it draws is the same whenever the epoch is
        begun again.
        """
        ...


@runtime_checkable
class RowSampler(Sampler, Protocol):
    """Chooses, of every batch too, the rows that are loaded here."""

    def rows(self, start: int, stop: int) -> tuple[int, int]:
        """Of the batch start..stop-1 of an epoch's order, the run of places to be loaded."""
        ...


class SequentialSampler:
    """Each of `n` examples once, as they stand."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def order(self, generator: Generator) -> np.ndarray | None:
        """None, which is all of shape (n,) as they stand; nothing is drawn from `generator`."""
        return None


class RandomSampler:
    """Examples in random order.

    Args:
        n: the number of examples to choose from.
        replacement: False: no example twice in an epoch.  True: each draw is from all of them.
        samples: how many an epoch has; n if not given.

    Raises:
        ValueError: there is nothing to draw, or more than n are to be drawn without replacement.
    """

    def __init__(self, n: int, replacement: bool = False, samples: int | None = None) -> None:
        self.n = operator.index(n)
        self.samples = self.n if samples is None else operator.index(samples)
        self.replacement = replacement
        if self.n < 1 or self.samples < 1:
            raise ValueError(
                f"RandomSampler: n and samples must be at least 1; n {n}, samples {self.samples}"
            )
        if not replacement and self.samples > self.n:
            raise ValueError(
                f"RandomSampler: without replacement an epoch has at most n = {n} samples, "
                f"got {samples}"
            )

    def __len__(self) -> int:
        return self.samples

    def order(self, generator: Generator) -> np.ndarray | None:
        """Indices drawn from `generator`, int64 of shape (samples,)."""
        return generator.host_choice(self.n, self.samples, self.replacement)

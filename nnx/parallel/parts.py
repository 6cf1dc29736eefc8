"""The parts of a batch: their rows, what the forward of one gives, and a step what of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..data import Shard
from ..tensor import Tensor
from .communicator import Array

Batch = tuple[Tensor, ...]


@dataclass
class PartDone:
    """What the forward of one part gave."""

    number: int  # of the part
    rows: int
    weight: float  # how much its loss counts
    loss: float
    output: Any
    target: Any
    buffers: list[Array] = field(default_factory=list)


@dataclass
class StepDone:
    """What a step gave, over all parts of all ranks: the same on every rank.

    Attributes:
        loss: the mean of the parts' losses, by their weights; an array of shape ().
        rows: how many examples the batch had.
        losses: per part with examples, (part, loss).
        notes: per rank, what was given as `note`.
        mine: this rank's parts.
    """

    loss: Array
    rows: int
    losses: list[tuple[int, float]]
    notes: list[Any]
    mine: list[PartDone]


def size_of(batch: Batch) -> tuple[int, int]:
    """How many rows the whole batch has, and which of them is the first one here."""
    lengths = [x.shape[0] if x.ndim else -1 for x in batch]
    if len(set(lengths)) != 1:
        raise ValueError(
            "DataParallel: every array of a batch must have a row for each example; the shapes are "
            f"{', '.join(str(x.shape) for x in batch)}"
        )
    if isinstance(batch, Shard):
        return batch.size, batch.first
    return lengths[0], 0


def rows_between(x: Tensor | Array, low: int, high: int) -> Tensor:
    array = x.data if isinstance(x, Tensor) else x
    return Tensor(array[low:high, ...])

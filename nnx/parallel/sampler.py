"""`ShardedSampler`: each rank loads its own rows of a batch, and no others."""

from __future__ import annotations

import numpy as np

from ..data.sampler import RandomSampler, Sampler, SequentialSampler
from ..random import Generator
from .model import DataParallel
from .tree import rows_of_parts


class ShardedSampler:
    """Loads of each batch the rows of this rank's parts.

        loader = DataLoader(data, batch_size=256, sampler=ShardedSampler(model, len(data)), seed=1)

    The loader gives a `Shard`, which knows its place in the whole batch, and a `DataParallel` model
    takes it as it takes a whole batch.  Length, order, state and the number of batches are those of
    the whole data on every rank, so a checkpoint does not depend on the number of ranks.  A rank
    whose parts are empty gets a batch of no rows.

    Args:
        model: whose parts they are.
        examples: how many there are, in a random order; or a sampler that chooses.
        shuffle: False: the examples as they stand.
    """

    def __init__(self, model: DataParallel, examples: int | Sampler, shuffle: bool = True) -> None:
        self.parts, self.mine = model.parts, model.own_parts()
        if isinstance(examples, int):
            self.sampler: Sampler = (
                RandomSampler(examples) if shuffle else SequentialSampler(examples)
            )
        else:
            self.sampler = examples

    def __len__(self) -> int:
        return len(self.sampler)

    def order(self, generator: Generator) -> np.ndarray | None:
        """The order of all examples in an epoch, as the sampler inside draws it from `generator`:
        indices (examples,), or None for that in which they stand.
        """
        return self.sampler.order(generator)

    def rows(self, start: int, stop: int) -> tuple[int, int]:
        """Of the batch at the places start to stop - 1 of the order, this rank's run of places."""
        first, end = rows_of_parts(stop - start, self.parts, *self.mine)
        return start + first, start + end

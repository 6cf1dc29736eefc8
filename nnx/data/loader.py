"""`DataLoader`: batches of examples as tensors, in an order that can be repeated and resumed."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np

from ..backends import active_backend, backend_of
from ..names import refuse_theirs
from ..random import Generator
from ..tensor import Tensor
from .dataset import (
    ArrayDataset,
    Dataset,
    Subset,
    array_like,
    chosen_generator,
    require_numbers,
)
from .rows import ArrayRows, ItemRows, Rows
from .sampler import RandomSampler, RowSampler, Sampler, SequentialSampler
from .workers import WorkerRows, held_generator

Batch = tuple[Tensor, ...]


class Shard(tuple[Any, ...]):
    """The rows of a batch that are here, where others have the rest: see `ShardedSampler`.

    Attributes:
        first: which row of the whole batch is the first one here.
        size: the number of rows of the whole batch.
    """

    first: int
    size: int

    def __new__(cls, arrays: Iterable[Any], first: int, size: int) -> Shard:
        self = super().__new__(cls, arrays)
        self.first, self.size = first, size
        return self


# What PyTorch's takes -> what is done here.
THEIRS = {
    "batch_sampler": "batch_size=, and a sampler= of single examples",
    "collate_fn": "collate=, a function of a list of items that gives a tuple of arrays",
    "multiprocessing_context": "leave it out: workers are forked where that can be done",
    "persistent_workers": "leave it out: workers are made for each epoch",
    "pin_memory": "leave it out: data that fit are sent to a GPU once, see resident_bytes=",
    "prefetch_factor": "leave it out: each worker has two batches under way",
    "worker_init_fn": "leave it out: random generators are seeded for each item",
}


class DataLoader:
    """Iterates over a data set in batches, one epoch per `for` loop.

        for images, labels in DataLoader((x, y), batch_size=32, shuffle=True, seed=1):
            ...

    Each batch is a tuple of tensors on the active backend, one per array, without a gradient.  For
    data sets of arrays whole batches are taken at once; data of another library are moved to the
    active backend when the first epoch begins, all of them if they take no more than
    `resident_bytes`, else batch by batch.

    The order of an epoch is a function of the generator's state when the loader was made and of
    the number of the epoch, and of nothing else.  So `state_dict()`, taken between batches or
    between epochs, is enough to go on exactly there.  A loop that is left early ends its epoch.

    Args:
        data: a `Dataset`, an array, or a tuple of arrays of one length.
        batch_size: examples per batch; the last batch has what is left.
        shuffle: every epoch in a new random order, each example once.
        replacement: every example of every batch drawn from all of them (implies `shuffle`).
        drop_last: leave out the last batch where it is smaller.
        sampler: chooses the order in place of `shuffle` and `replacement`.
        seed: of the order; where neither a seed nor a generator is given, the shared generator
            draws one if the order is random.
        generator: in place of a seed.  It is only forked, so nothing is drawn from it.
        collate: makes a tuple of arrays of a list of items, for items that cannot be stacked,
            such as sequences of different lengths.
        resident_bytes: the most memory that data moved to another library may take at once.
        dtype: cast the floating-point arrays of each batch to this ("float32": data in float64,
            which layers in float32 refuse); integers, such as labels, stay.  Or one for each array
            of a batch, integers too, or None to leave it: ("float32", None).
        num_workers: how many processes load the items of a data set, where that is slow: reading
            files, augmenting.  The batches are the same with any number of them, also where items
            are drawn at random: from `nnx.random`, with no workers too; from `random`, `np.random`
            or torch's shared generator, with any number but 0.  Arrays are taken whole batches at a
            time, and need none.

    Raises:
        RuntimeError: a worker process was killed.
        ValueError: lengths differ, the batch size is less than 1, there are no examples, or no
            batch is left.
        TypeError: an array of the data holds texts, dates or objects.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        refuse_theirs(cls, DataLoader, kwargs, THEIRS)
        return super().__new__(cls)

    def __init__(
        self,
        data: Dataset | Any,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        replacement: bool = False,
        drop_last: bool = False,
        sampler: Sampler | None = None,
        seed: int | None = None,
        generator: Generator | None = None,
        collate: Callable[[list[Any]], tuple[Any, ...]] | None = None,
        resident_bytes: int = 1 << 30,
        dtype: Any = None,
        num_workers: int = 0,
    ) -> None:
        self.num_workers = operator.index(num_workers)
        if self.num_workers < 0:
            raise ValueError(f"DataLoader: num_workers must be at least 0, got {num_workers}")
        self.dtype = dtype
        self.dataset = _as_dataset(data)
        self.batch_size = operator.index(batch_size)
        self.drop_last = drop_last
        self.collate = collate
        self.resident_bytes = resident_bytes
        n = len(self.dataset)
        if self.batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        if n == 0:
            raise ValueError(f"DataLoader: there are no examples in {self.dataset!r}")
        if sampler is not None and (shuffle or replacement):
            raise ValueError("DataLoader: give a sampler, or shuffle and replacement, not both")
        random, chosen = shuffle or replacement, False
        self._require_numbers()
        if self.num_workers and (held := held_generator(self.dataset)):
            warnings.warn(
                f"DataLoader: {type(self.dataset).__name__}.{held} is a random generator, and each "
                "worker process begins each epoch with the same copy of it: items will repeat; "
                "draw from nnx.random, np.random or random instead",
                stacklevel=2,
            )
        if sampler is None:
            sampler = RandomSampler(n, replacement) if random else SequentialSampler(n)
        elif getattr(type(sampler), "order", Sampler.order) is Sampler.order:
            raise TypeError(
                "DataLoader: a sampler gives the indices of an epoch by its method "
                f"order(generator), an array of integers; {type(sampler).__name__} has none "
                "(__iter__, as PyTorch's samplers have, is not asked)"
            )
        elif len(sampler) == 0:
            raise ValueError(f"DataLoader: the sampler, {sampler!r}, chooses no example")
        else:
            chosen = True
        self.sampler: Sampler = sampler
        if len(self) == 0:
            raise ValueError(
                f"DataLoader: drop_last leaves no batch of {len(self.sampler)} examples with "
                f"batch_size {self.batch_size}"
            )
        if not random and not chosen and seed is None and generator is None:
            seed = 0  # nothing will be drawn: leave the shared generator alone
        self._generator = chosen_generator("DataLoader", seed, generator).fork("loader")
        self._epoch = 0  # under way, or the next one
        self._position = 0  # batches of it that were handed out
        self._resumed = False
        self._source: Rows | None = None

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        examples = len(self.sampler)
        if self.drop_last:
            return examples // self.batch_size
        return -(-examples // self.batch_size)

    def __repr__(self) -> str:
        return (
            f"DataLoader({self.dataset!r}, batch_size={self.batch_size}, "
            f"{type(self.sampler).__name__}; {len(self)} batches)"
        )

    def _repr_html_(self) -> str:
        from .. import notebook

        last = len(self.sampler) - (len(self) - 1) * self.batch_size
        rows = [
            ("data", repr(self.dataset)),
            ("examples of an epoch", len(self.sampler)),
            ("order", type(self.sampler).__name__),
            ("batches of an epoch", len(self)),
            ("examples of a batch", self.batch_size),
            ("of the last one", min(last, self.batch_size)),
            ("cast to", self.dtype),
            ("processes that load", self.num_workers),
            ("epochs done", self.epoch),
        ]
        return notebook.pairs([r for r in rows if r[1] not in (None, 0)], "DataLoader")

    @property
    def epoch(self) -> int:
        """The number of the epoch that is under way, or of the next one; the first is 0."""
        return self._epoch

    def __iter__(self) -> Iterator[Batch]:
        if self._position and not self._resumed:  # the last loop was left early
            self._epoch, self._position = self._epoch + 1, 0
        self._resumed = False
        return self._batches(self._epoch, self._position)

    def _batches(self, epoch: int, first: int) -> Iterator[Batch]:
        order = self._order(epoch)
        examples = len(self.sampler)
        bounds = [
            (k * self.batch_size, min((k + 1) * self.batch_size, examples))
            for k in range(first, len(self))
        ]
        # Not from the shared generator: a rank, or a process, that loads fewer items draws less.
        wanted, draws = bounds, self._generator.fork("items", epoch)
        if isinstance(self.sampler, RowSampler):
            wanted = [self.sampler.rows(start, stop) for start, stop in bounds]
        for k, batch in enumerate(self._rows().batches(order, wanted, draws)):
            self._epoch, self._position = epoch, first + k + 1
            if self.dtype is not None:
                batch = cast(batch, self.dtype, "DataLoader")
            if wanted is not bounds:
                start, stop = bounds[k]
                batch = Shard(batch, wanted[k][0] - start, stop - start)
            yield batch
        self._epoch, self._position = epoch + 1, 0

    def _order(self, epoch: int) -> np.ndarray | None:
        """What the sampler says, held against what it promised.

        Raises:
            ValueError: its order is no vector of as many integers as its length.
            IndexError: an index is outside the data set.
        """
        order = self.sampler.order(self._generator.fork("epoch", epoch))
        n, examples = len(self.dataset), len(self.sampler)
        name = type(self.sampler).__name__
        if order is None:
            if examples > n:
                raise ValueError(
                    f"DataLoader: {name} promises {examples} examples as they stand, the data set "
                    f"has {n}"
                )
            return None
        order = np.asarray(order)
        if order.shape != (examples,) or order.dtype.kind not in "iu":
            raise ValueError(
                f"DataLoader: {name} promises {examples} examples, so its order must be so many "
                f"integers; it has shape {order.shape}, dtype {order.dtype}"
            )
        if examples and not (order.min() >= 0 and order.max() < n):
            wrong = order[(order < 0) | (order >= n)]
            raise IndexError(f"DataLoader: {name} chose example {wrong[0]}, outside 0 .. {n - 1}")
        return order.astype(np.int64, copy=False)

    def _require_numbers(self) -> None:
        """Refuse texts at once, where the loader itself makes the tensors."""
        dataset = self.dataset
        while isinstance(dataset, Subset):
            dataset = dataset.dataset
        if isinstance(dataset, ArrayDataset) and self.collate is None:
            for k, array in enumerate(dataset.arrays):
                require_numbers("DataLoader", array, f"array {k}")

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without what was moved to another library's memory."""
        return {**vars(self), "_source": None}

    # ---- resuming ----

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is, in plain numbers: enough to hand out every batch that is left."""
        return {
            "generator": self._generator.state(),
            "epoch": self._epoch,
            "position": self._position,
            "batch_size": self.batch_size,
            "examples": len(self.sampler),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken by `state_dict()`: the next loop has the batches left then.

        Raises:
            ValueError: keys are missing, or the batch size or the number of examples differs.
        """
        own = self.state_dict()
        if set(state) != set(own):
            raise ValueError(
                f"DataLoader.load_state_dict: expected the keys {', '.join(own)}; "
                f"got {', '.join(map(str, state)) or 'none'}"
            )
        for key in ("batch_size", "examples"):
            if state[key] != own[key]:
                raise ValueError(
                    f"DataLoader.load_state_dict: the state is of a loader with {key} "
                    f"{state[key]}, this one has {own[key]}"
                )
        self._generator.set_state(state["generator"])
        self._epoch, self._position = int(state["epoch"]), int(state["position"])
        if self._position >= len(self):  # taken after the last batch: the epoch is done
            self._epoch, self._position = self._epoch + 1, 0
        self._resumed = True

    # ---- from indices to tensors ----

    def _rows(self) -> Rows:
        """Where batches come from; kept as long as the active backend stays the same."""
        backend = active_backend()
        if self._source is None or self._source.backend is not backend:
            dataset, chosen = self.dataset, None
            while isinstance(dataset, Subset):
                chosen = dataset.indices if chosen is None else dataset.indices[chosen]
                dataset = dataset.dataset
            if isinstance(dataset, ArrayDataset) and self.collate is None:
                self._source = ArrayRows(backend, dataset, chosen, self.resident_bytes)
            elif self.num_workers:
                self._source = WorkerRows(backend, self.dataset, self.collate, self.num_workers)
            else:
                self._source = ItemRows(backend, self.dataset, self.collate)
        return self._source


def cast(batch: Any, dtype: Any, name: str) -> Any:
    """A batch in other dtypes: one for its floating-point tensors, or one, or None, for each.

    Raises:
        ValueError: there are several dtypes, but not one for each tensor.
    """
    if isinstance(batch, Mapping):
        parts = cast(tuple(batch.values()), dtype, name)
        return dict(zip(batch, parts, strict=True))
    if not isinstance(dtype, tuple | list):
        floats = [backend_of(x.data).is_float(x.dtype) for x in batch]
        dtype = [dtype if f else None for f in floats]
    if len(dtype) != len(batch):
        raise ValueError(
            f"{name}: dtype must be one for all, or one for each of the {len(batch)} arrays of a "
            f"batch; got {len(dtype)}"
        )
    return tuple([x if d is None else x.astype(d) for x, d in zip(batch, dtype, strict=True)])


def _as_dataset(data: Any) -> Dataset:
    if isinstance(data, tuple | list) and not (data and isinstance(data[0], Mapping)):
        return ArrayDataset(*data)
    if array_like(data):
        return ArrayDataset(data)
    dataset: Dataset = data
    return dataset

"""`DataLoader`: batches of examples as tensors, in an order that can be repeated and resumed."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from ..backends import Array, Backend, active_backend, backend_of, dtype_name
from ..random import Generator, use_generator
from ..tensor import Tensor
from .dataset import ArrayDataset, Dataset, Subset, chosen_generator, host_array
from .sampler import RandomSampler, RowSampler, Sampler, SequentialSampler

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


# Rows are gathered for several small batches at once, about this many bytes, and the batches are
# slices of that: below it the calls cost more than the copying.
_GATHER_BYTES = 1 << 18


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

    Raises:
        ValueError: lengths differ, the batch size is less than 1, there are no examples, or no
            batch is left.
    """

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
    ) -> None:
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
        random = shuffle or replacement
        self.sampler: Sampler = sampler or (
            RandomSampler(n, replacement) if random else SequentialSampler(n)
        )
        if len(self) == 0:
            raise ValueError(
                f"DataLoader: drop_last leaves no batch of {len(self.sampler)} examples with "
                f"batch_size {self.batch_size}"
            )
        if not random and sampler is None and seed is None and generator is None:
            seed = 0  # nothing will be drawn: leave the shared generator alone
        self._generator = chosen_generator("DataLoader", seed, generator).fork("loader")
        self._epoch = 0  # under way, or the next one
        self._position = 0  # batches of it that were handed out
        self._resumed = False
        self._source: _Rows | None = None

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        examples = len(self.sampler)
        if self.drop_last:
            return examples // self.batch_size
        return -(-examples // self.batch_size)

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
        order = self.sampler.order(self._generator.fork("epoch", epoch))
        if order is not None:
            order = np.asarray(order).astype(np.int64, copy=False)
        examples = len(self.sampler)
        bounds = [
            (k * self.batch_size, min((k + 1) * self.batch_size, examples))
            for k in range(first, len(self))
        ]
        wanted, draws = bounds, None
        if isinstance(self.sampler, RowSampler):
            wanted = [self.sampler.rows(start, stop) for start, stop in bounds]
            draws = self._generator.fork("items", epoch)  # not from the shared generator, of which
            # a rank that loads fewer items would draw less
        for k, batch in enumerate(self._rows().batches(order, wanted, draws)):
            self._epoch, self._position = epoch, first + k + 1
            if self.dtype is not None:
                batch = cast(batch, self.dtype, "DataLoader")
            if wanted is not bounds:
                start, stop = bounds[k]
                batch = Shard(batch, wanted[k][0] - start, stop - start)
            yield batch
        self._epoch, self._position = epoch + 1, 0

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
        """Go on where `state_dict()` was taken: the next loop has the batches that were left.

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

    def _rows(self) -> _Rows:
        """Where batches come from; kept as long as the active backend stays the same."""
        backend = active_backend()
        if self._source is None or self._source.backend is not backend:
            dataset, chosen = self.dataset, None
            while isinstance(dataset, Subset):
                chosen = dataset.indices if chosen is None else dataset.indices[chosen]
                dataset = dataset.dataset
            if isinstance(dataset, ArrayDataset) and self.collate is None:
                self._source = _ArrayRows(backend, dataset, chosen, self.resident_bytes)
            else:
                self._source = _ItemRows(backend, self.dataset, self.collate)
        return self._source


def cast(batch: Batch, dtype: Any, name: str) -> Batch:
    """A batch in other dtypes: one for its floating-point tensors, or one, or None, for each.

    Raises:
        ValueError: there are several dtypes, but not one for each tensor.
    """
    if not isinstance(dtype, tuple | list):
        floats = [backend_of(x.data).is_float(x.dtype) for x in batch]
        dtype = [dtype if f else None for f in floats]
    if len(dtype) != len(batch):
        raise ValueError(
            f"{name}: dtype must be one for all, or one for each of the {len(batch)} arrays of a "
            f"batch; got {len(dtype)}"
        )
    return tuple([x if d is None else x.astype(d) for x, d in zip(batch, dtype, strict=True)])


class _Rows:
    """Makes batches of the examples that an order names."""

    backend: Backend

    def batches(
        self,
        order: np.ndarray | None,
        bounds: list[tuple[int, int]],
        draws: Generator | None = None,
    ) -> Iterator[Batch]:
        """A batch for each (start, stop) in `order`.

        With `draws`, what an item draws while it is loaded depends on its place in the order.
        """
        raise NotImplementedError


class _ArrayRows(_Rows):
    """Examples that are rows of arrays; of `chosen` rows only, where it is given."""

    def __init__(
        self,
        backend: Backend,
        dataset: ArrayDataset,
        chosen: np.ndarray | None,
        resident_bytes: int,
    ) -> None:
        self.backend, self.chosen = backend, chosen
        self.home, self.arrays = dataset.backend, dataset.arrays
        size = sum(_bytes(a) for a in self.arrays)
        self.row_bytes = max(1, size // len(dataset))
        self.there = self.home.xp is backend.xp and all(
            backend.device is None or a.device == backend.device for a in self.arrays
        )
        if not self.there and size <= resident_bytes:
            self.arrays = tuple(backend.from_numpy(self.home.to_numpy(a)) for a in self.arrays)
            self.home, self.there = backend, True

    def batches(
        self,
        order: np.ndarray | None,
        bounds: list[tuple[int, int]],
        draws: Generator | None = None,
    ) -> Iterator[Batch]:
        if self.chosen is not None:
            order = self.chosen if order is None else self.chosen[order]
        if order is None:
            for start, stop in bounds:
                yield self._tensors(a[start:stop, ...] for a in self.arrays)
            return
        if not bounds:
            return
        xp = self.home.xp
        # Once an epoch, to the device where the rows are.
        index = order if xp is np else xp.asarray(np.array(order), device=self.arrays[0].device)
        size = max(1, bounds[0][1] - bounds[0][0])
        at_once = max(1, _GATHER_BYTES // (self.row_bytes * size))
        for k in range(0, len(bounds), at_once):
            group = bounds[k : k + at_once]
            first, last = group[0][0], group[-1][1]
            wanted = index[first:last]
            if last - first > sum(stop - start for start, stop in group):  # others have the rest
                wanted = xp.concat([index[start:stop] for start, stop in group])
            some = [xp.take(a, wanted, axis=0) for a in self.arrays]
            end = 0
            for start, stop in group:
                first, end = end, end + stop - start
                yield self._tensors(a[first:end, ...] for a in some)

    def _tensors(self, arrays: Iterator[Array]) -> Batch:
        if self.there:
            return tuple([Tensor(a) for a in arrays])
        return tuple([Tensor(self.backend.from_numpy(self.home.to_numpy(a))) for a in arrays])


class _ItemRows(_Rows):
    """Examples that are asked for one by one."""

    def __init__(
        self, backend: Backend, dataset: Dataset, collate: Callable[[list[Any]], Any] | None
    ) -> None:
        self.backend, self.dataset, self.collate = backend, dataset, collate or stack_items

    def batches(
        self,
        order: np.ndarray | None,
        bounds: list[tuple[int, int]],
        draws: Generator | None = None,
    ) -> Iterator[Batch]:
        for start, stop in bounds:
            index = range(start, stop) if order is None else order[start:stop].tolist()
            empty = start == stop  # what shape would the rows have? Ask for one, and drop it
            items = []
            for place, i in [(0, 0)] if empty else enumerate(index, start):
                with nullcontext() if draws is None else use_generator(draws.fork(place)):
                    items.append(self.dataset[i])
            fields = self.collate(items)
            arrays = [host_array(f)[:0] if empty else host_array(f) for f in fields]
            yield tuple(Tensor(self.backend.asarray(a)) for a in arrays)


def _as_dataset(data: Any) -> Dataset:
    if isinstance(data, tuple | list):
        return ArrayDataset(*data)
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        return ArrayDataset(data)
    return data


def _bytes(array: Array) -> int:
    return math.prod(array.shape) * np.dtype(dtype_name(array.dtype)).itemsize


def stack_items(items: list[Any]) -> tuple[Array, ...]:
    """A list of items, each a value or a tuple of values, as one NumPy array per place.

    Raises:
        ValueError: the items do not have the same number of values, or the same shapes.
    """
    rows = [item if isinstance(item, tuple | list) else (item,) for item in items]
    if len({len(row) for row in rows}) != 1:
        raise ValueError(
            "DataLoader: all items of a batch must have the same number of values, got "
            f"{sorted({len(row) for row in rows})}"
        )
    fields = []
    for place, values in enumerate(zip(*rows, strict=True)):
        arrays = [host_array(v) for v in values]
        shapes = {a.shape for a in arrays}
        if len(shapes) != 1:
            raise ValueError(
                f"DataLoader: value {place} of the items of a batch has the shapes "
                f"{', '.join(map(str, sorted(shapes)))}; give a collate function, such as one "
                "that calls pad_sequences"
            )
        fields.append(np.stack(arrays))
    return tuple(fields)

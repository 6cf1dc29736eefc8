"""From the places of examples to batches of tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..backends import Array, Backend, dtype_name
from ..random import Generator, use_generator
from ..tensor import Tensor
from .dataset import ArrayDataset, Dataset, host_array, require_numbers

# Rows are gathered for several small batches at once, about this many bytes, and the batches are
# slices of that: below it the calls cost more than the copying.
_GATHER_BYTES = 1 << 18


class Rows:
    """Makes batches of the examples that an order names."""

    backend: Backend

    def batches(
        self,
        order: np.ndarray | None,
        bounds: list[tuple[int, int]],
        draws: Generator,
    ) -> Iterator[Any]:
        """A batch for each (start, stop) in `order`.

        From `draws` comes what an item draws while it is loaded: it depends on the item's place in
        the order, and not on who loads it, or what else draws.
        """
        raise NotImplementedError


class ArrayRows(Rows):
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
        draws: Generator,
    ) -> Iterator[Any]:
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
        index = (
            self.home.positions(order)
            if xp is np
            else xp.asarray(np.array(order), device=self.arrays[0].device)
        )
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

    def _tensors(self, arrays: Iterator[Array]) -> tuple[Tensor, ...]:
        if self.there:
            return tuple([Tensor(a) for a in arrays])
        return tuple([Tensor(self.backend.from_numpy(self.home.to_numpy(a))) for a in arrays])


class ItemRows(Rows):
    """Examples that are asked for one by one."""

    def __init__(
        self, backend: Backend, dataset: Dataset, collate: Callable[[list[Any]], Any] | None
    ) -> None:
        self.backend, self.dataset, self.collate = backend, dataset, collate or stack_items

    def batches(
        self,
        order: np.ndarray | None,
        bounds: list[tuple[int, int]],
        draws: Generator,
    ) -> Iterator[Any]:
        for start, stop in bounds:
            index = range(start, stop) if order is None else order[start:stop].tolist()
            yield self.tensors(*load(self.dataset, self.collate, index, start, draws))

    def tensors(self, fields: Any, empty: bool) -> Any:
        """What `load` gave, on the backend."""
        if isinstance(fields, Mapping):
            return {name: self._tensor(f, empty, name) for name, f in fields.items()}
        return tuple([self._tensor(f, empty, k) for k, f in enumerate(fields)])

    def _tensor(self, field: Any, empty: bool, place: Any) -> Tensor:
        array = host_array(field)
        require_numbers("DataLoader", array, f"value {place!r} of a batch")
        return Tensor(self.backend.asarray(array[:0] if empty else array))


def load(
    dataset: Dataset,
    collate: Callable[[list[Any]], Any],
    index: Any,
    start: int,
    draws: Generator,
    begin: Callable[[Generator], None] = lambda draws: None,
) -> tuple[Any, bool]:
    """The collated items of a batch that begins at place `start` of an epoch, and whether it is
    empty: then there is one item, which tells what shape the rows would have.

    `begin` is told of the generator of each item before it is loaded, and of the collating one's.
    """
    empty = len(index) == 0
    items = []
    for place, i in [(0, 0)] if empty else enumerate(index, start):
        with use_generator(drawn := draws.fork(place)):
            begin(drawn)
            items.append(dataset[i])
    with use_generator(drawn := draws.fork("collate", start)):
        begin(drawn)
        return collate(items), empty


def _bytes(array: Array) -> int:
    return int(math.prod(array.shape)) * np.dtype(dtype_name(array.dtype)).itemsize


def stack_items(items: list[Any]) -> Any:
    """A list of items, each a value or a tuple of values, as one NumPy array per place.

    Of items that are dicts it is a dict, with one array per key.

    Raises:
        ValueError: the items do not have the same number of values, or the same shapes.
    """
    if isinstance(items[0], Mapping):
        keys = list(items[0])
        odd = next((item for item in items if not isinstance(item, Mapping)), None)
        odd = odd or next((item for item in items if item.keys() != items[0].keys()), None)
        if odd is not None:
            has = ", ".join(map(str, odd)) if isinstance(odd, Mapping) else type(odd).__name__
            raise ValueError(
                f"DataLoader: all items of a batch must have the same keys, {', '.join(keys)}; one "
                f"has {has}"
            )
        return dict(zip(keys, stack_items([tuple(i[k] for k in keys) for i in items]), strict=True))
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

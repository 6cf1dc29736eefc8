"""Batches from whatever holds the data."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..backends import active_backend, backend_of
from ..data import DataLoader, RandomSampler, SequentialSampler, Shard
from ..data.dataset import array_like, plain_array, require_numbers
from ..data.loader import cast
from ..tensor import Tensor
from .losses import Losses, Share
from .weighting import Weighted, counted

Batch = tuple[Tensor, ...]


def rows_of(batch: Any) -> int:
    """How many examples a batch has: its last array's rows."""
    parts = list(batch.values()) if isinstance(batch, Mapping) else batch
    return len(parts[-1])


def parts_of(batch: Any, parts: int, loss: Any) -> Iterator[tuple[Any, Share]]:
    """Up to so many parts of a batch, of nearly equal size, each with its share of the loss.

    The loss of the batch is the sum of share times the loss of each part: the shares are those of
    the rows, or of the weights where the loss has weights; a loss that is a sum has shares of 1.
    Of several losses each has shares of its own, by name.
    """
    rows = rows_of(batch)
    ends = [rows * (k + 1) // parts for k in range(parts)]
    bounds = [(a, b) for a, b in zip([0, *ends], ends, strict=False) if b > a or rows == 0]
    cut = [_rows(batch, a, b) for a, b in bounds]
    if isinstance(loss, Losses) and loss.each:
        own = {name: _shares(one, cut) for name, one in loss.each.items()}
        for k, part in enumerate(cut):
            yield part, {name: shares[k] for name, shares in own.items()}
    else:
        yield from zip(cut, _shares(loss, cut), strict=True)


def _shares(loss: Any, cut: list[Any]) -> list[float]:
    if getattr(loss, "reduction", "mean") == "sum":
        return [1.0] * len(cut)
    weight_of = getattr(loss, "weight_of", None)
    weights: list[float]
    if isinstance(cut[0], Weighted):
        weights = [counted(loss, part[-2], part[-1]) for part in cut]
    elif weight_of is None or isinstance(cut[0], Mapping):
        weights = [float(rows_of(part)) for part in cut]
    else:
        weights = [weight_of(part[-1]) for part in cut]
    total = sum(weights) or 1.0
    return [weight / total for weight in weights]


def _rows(batch: Any, start: int, stop: int) -> Any:
    if isinstance(batch, Mapping):
        return {name: x[start:stop] for name, x in batch.items()}
    rows = tuple([x[start:stop] for x in batch])
    return Weighted(rows) if isinstance(batch, Weighted) else rows


def to_tensors(batch: Any, dtype: Any, target: bool = True) -> Any:
    """A batch, with or without its target, on the active backend and in other dtypes."""
    if isinstance(batch, Mapping):
        parts = to_tensors(tuple(batch.values()), dtype)
        return dict(zip(batch, parts, strict=True))
    if not isinstance(batch, tuple | list):
        batch = (batch,)
    tensors = tuple([_tensor(x) for x in batch])
    if not target and isinstance(dtype, tuple | list):
        dtype = dtype[:-1]
    if dtype is not None:
        tensors = cast(tensors, dtype, "Trainer")
    return Shard(tensors, batch.first, batch.size) if isinstance(batch, Shard) else tensors


def _tensor(x: Any) -> Tensor:
    """A tensor as it is; an array as a tensor, moved to the active backend."""
    if isinstance(x, Tensor):
        return x
    x = plain_array(x)
    require_numbers("Trainer", x)
    home, here = backend_of(x), active_backend()
    return Tensor(x if home.xp is here.xp else here.from_numpy(home.to_numpy(x)))


def slices_of(arrays: Any, batch_size: int) -> Iterator[tuple[Any, ...]]:
    """An array, or a tuple of arrays of one length, cut along the first axis.

    Of no examples there is one slice, an empty one: the model's output still has a shape.
    """
    if not isinstance(arrays, tuple | list):
        arrays = (arrays,)
    if not arrays or not all(array_like(array) and array.shape for array in arrays):
        raise TypeError(
            "predict: the inputs must be an array of examples, or a tuple of such arrays, or a "
            f"DataLoader, not {', '.join(type(array).__name__ for array in arrays) or 'nothing'}; "
            "lists become an array by nnx.tensor(...)"
        )
    arrays = [array if isinstance(array, Tensor) else plain_array(array) for array in arrays]
    n = arrays[0].shape[0]
    if any(array.shape[0] != n for array in arrays):
        raise ValueError(
            "predict: all inputs must have one length; they have shapes "
            f"{', '.join(str(tuple(a.shape)) for a in arrays)}"
        )
    for start in range(0, max(n, 1), batch_size):
        stop = min(start + batch_size, n)
        yield tuple([array[start:stop, ...] for array in arrays])


def are_arrays(data: Any) -> bool:
    """Whether data are arrays with a row per example: (x, target), not a list of batches."""
    if isinstance(data, tuple | list):
        return len(data) > 0 and array_like(data[0])
    return array_like(data)


def batches_of(data: Any, batch_size: int, who: str, **options: Any) -> Iterable[Any]:
    """A loader or another iterable of batches as it is; a data set or arrays (x, target) loaded.

    Raises:
        ValueError: it is one array, or a tuple of one: there is no target.
    """
    if are_arrays(data):
        arrays = tuple(data) if isinstance(data, tuple | list) else (data,)
        if len(arrays) < 2:
            raise ValueError(
                f"{who}: give the inputs and the targets, (x, y); this is one array of shape "
                f"{tuple(arrays[0].shape)}"
            )
        return DataLoader(arrays, batch_size, **options)
    if not hasattr(data, "__iter__"):
        return DataLoader(data, batch_size, **options)
    batches: Iterable[Any] = data
    return batches


def inputs_of(data: Any, batch_size: int, last: int = 1) -> Iterator[tuple[Any, ...]]:
    """The model's inputs, batch by batch, from arrays or whatever else holds examples.

    Of a batch with several arrays the `last` ones, the target as everywhere, and the weights where
    the batches have them, are left out.  A loader
    that shuffles is read in the order of its data set, or nobody could tell whose they are.
    """
    if isinstance(data, DataLoader) and isinstance(data.sampler, RandomSampler):
        data = copy.copy(data)
        data.sampler, data.drop_last = SequentialSampler(len(data.dataset)), False
    elif are_arrays(data) or (isinstance(data, tuple | list) and not _batches(data)):
        yield from slices_of(data, batch_size)
        return
    elif not hasattr(data, "__iter__"):
        if not hasattr(data, "__getitem__"):
            slices = slices_of(data, batch_size)  # says what is wrong
            yield from slices
            return
        data = DataLoader(data, batch_size)
    for batch in data:
        if isinstance(batch, Tensor) or array_like(batch):
            yield (batch,)
        else:
            yield tuple(batch[:-last]) if len(batch) > last else tuple(batch)


def _batches(data: Any) -> bool:
    """Whether a list holds batches: tuples or lists of arrays."""
    return len(data) > 0 and isinstance(data[0], tuple | list) and are_arrays(data[0])

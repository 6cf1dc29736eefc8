"""Batches from whatever holds the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..data import DataLoader
from ..tensor import Tensor

Batch = tuple[Tensor, ...]


def slices_of(arrays: Any, batch_size: int) -> Iterator[tuple[Any, ...]]:
    """An array, or a tuple of arrays of one length, cut along the first axis.

    Of no examples there is one slice, an empty one: the model's output still has a shape.
    """
    if not isinstance(arrays, tuple | list):
        arrays = (arrays,)
    if not arrays or any(not getattr(array, "shape", ()) for array in arrays):
        raise TypeError(
            "predict: the inputs must be an array of examples, or a tuple of such arrays, not "
            f"{', '.join(type(array).__name__ for array in arrays) or 'nothing'}; lists become one "
            "by nnx.tensor(...)"
        )
    n = arrays[0].shape[0]
    if any(array.shape[0] != n for array in arrays):
        raise ValueError(
            "predict: all inputs must have one length; they have shapes "
            f"{', '.join(str(tuple(a.shape)) for a in arrays)}"
        )
    for start in range(0, max(n, 1), batch_size):
        stop = min(start + batch_size, n)
        yield tuple([array[start:stop, ...] for array in arrays])


def batches_of(data: Any, batch_size: int) -> Iterable[Any]:
    """A loader or another iterable of batches as it is; a data set or arrays (x, target) loaded."""
    arrays = isinstance(data, tuple | list) and len(data) > 0 and hasattr(data[0], "shape")
    if arrays or not hasattr(data, "__iter__"):
        return DataLoader(data, batch_size)
    return data

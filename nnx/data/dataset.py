"""Data sets made of arrays, and parts of them."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ..backends import Array, backend_of, from_table, native
from ..random import Generator, default_generator
from ..tensor import Tensor


class Dataset(Protocol):
    """Anything with a length and items; an item is an array or number, or a tuple of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class ArrayDataset:
    """Arrays with one row per example: `ArrayDataset(images, labels)[3]` is image 3 and label 3.

    Args:
        arrays: of any supported library (all of the same), tensors, or nested lists.  They are
            not copied, and never written to.

    Raises:
        ValueError: there are no arrays, one has no axes, or their lengths differ.
    """

    def __init__(self, *arrays: Any) -> None:
        if not arrays:
            raise ValueError("ArrayDataset: give at least one array")
        self.arrays = tuple(plain_array(a) for a in arrays)
        self.backend = backend_of(*self.arrays)
        require_equal_lengths("ArrayDataset", self.arrays)

    def __len__(self) -> int:
        return int(self.arrays[0].shape[0])

    def __getitem__(self, index: int | slice) -> tuple[Array, ...]:
        return tuple(a[index, ...] for a in self.arrays)

    def __repr__(self) -> str:
        shapes = ", ".join(str(tuple(a.shape)) for a in self.arrays)
        return f"ArrayDataset({len(self)} examples; {shapes})"


class Subset:
    """Some examples of `dataset`, in the order of `indices`.

    Raises:
        ValueError: the indices are not a vector of integers.
        IndexError: an index is negative or not less than the number of examples.
    """

    def __init__(self, dataset: Dataset, indices: Any) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, dtype=np.int64 if len(indices) == 0 else None)
        if self.indices.ndim != 1 or self.indices.dtype.kind not in "iu":
            raise ValueError(
                f"Subset: indices must be a vector of integers; shape {self.indices.shape}, "
                f"dtype {self.indices.dtype}"
            )
        outside = (self.indices < 0) | (self.indices >= len(dataset))
        if outside.any():
            raise IndexError(
                f"Subset: index {self.indices[outside][0]} is outside 0 .. {len(dataset) - 1}"
            )
        self.indices = self.indices.astype(np.int64, copy=False)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.dataset!r})"


def random_split(
    dataset: Dataset,
    lengths: Sequence[int] | Sequence[float],
    seed: int | None = None,
    generator: Generator | None = None,
) -> list[Subset]:
    """Cut a data set into parts with no example in common, chosen at random.

    Args:
        dataset: what to cut.
        lengths: how many examples each part gets; or fractions that add up to 1, which are
            rounded down, and what is left over goes to the first parts, one each.
        seed: decides which examples go where; the shared generator draws one if neither this
            nor `generator` is given.
        generator: draws in place of a seed, and moves on.

    Raises:
        ValueError: the lengths are negative or do not add up.
    """
    n = len(dataset)
    lengths = list(lengths)
    if not all(x >= 0 for x in lengths):  # NaN neither
        raise ValueError(f"random_split: lengths must not be negative, got {lengths}")
    fractions = any(isinstance(x, float | np.floating) for x in lengths)
    if fractions and abs(sum(lengths) - 1) < 1e-6:
        parts = [int(n * x + 1e-9) for x in lengths]
        for k in range(n - sum(parts)):
            parts[k % len(parts)] += 1
    else:
        if sum(lengths) != n or fractions:
            raise ValueError(
                f"random_split: lengths must add up to {n}, the number of examples, or be "
                f"fractions that add up to 1; {lengths} add up to {sum(lengths)}"
            )
        parts = [operator.index(x) for x in lengths]  # type: ignore[arg-type]
    order = chosen_generator("random_split", seed, generator).host_permutation(n)
    ends = np.cumsum(parts)
    return [Subset(dataset, order[end - size : end]) for size, end in zip(parts, ends, strict=True)]


def train_test_split(
    *arrays: Any,
    test: int | float = 0.2,
    stratify: Any = None,
    seed: int | None = None,
    generator: Generator | None = None,
) -> list[Array]:
    """Cut arrays into a part to train on and a part to test on, at random, all the same way.

    `x_train, x_test, y_train, y_test = train_test_split(x, y)`

    Args:
        arrays: arrays or lists with one row per example; the parts are NumPy arrays.
        test: the number of rows to test on, or, as a float below 1, their share.
        stratify: class labels, one per row: then the share is taken of each class by itself,
            rounded, so that both parts have the classes in the same proportion.
        seed, generator: as in `random_split`.

    Raises:
        ValueError: lengths differ, or a part would be empty.
    """
    if not arrays:
        raise ValueError("train_test_split: give at least one array")
    rows = [host_array(a) for a in arrays]
    require_equal_lengths("train_test_split", rows)
    n = len(rows[0])
    share = _share(test, n)
    held_out = np.zeros(n, dtype=bool)
    draws = chosen_generator("train_test_split", seed, generator)
    if stratify is None:
        held_out[draws.host_permutation(n)[: round(n * share)]] = True
    else:
        labels = host_array(stratify)
        require_equal_lengths("train_test_split: stratify", [rows[0], labels])
        if labels.dtype.kind == "f" and np.isnan(labels).any():
            raise ValueError("train_test_split: stratify holds NaN, which is no class")
        for label in np.unique(labels):
            members = np.nonzero(labels == label)[0]
            order = draws.host_permutation(len(members))
            held_out[members[order[: round(len(members) * share)]]] = True
    if not 0 < held_out.sum() < n:
        raise ValueError(
            f"train_test_split: test={test} of {n} rows leaves {n - held_out.sum()} to train on "
            f"and {held_out.sum()} to test on"
        )
    return [part for a in rows for part in (a[~held_out], a[held_out])]


def _share(test: Any, n: int) -> float:
    """Which share of n rows `test` means."""
    if isinstance(test, int | np.integer) and not isinstance(test, bool):
        if not 0 <= test <= n:
            raise ValueError(
                f"train_test_split: test={test} rows to test on must be at least 1 and fewer than "
                f"the {n} rows there are"
            )
        return int(test) / n if n else 0.0
    if isinstance(test, float | np.floating) and 0 <= test <= 1:
        return float(test)
    raise ValueError(
        f"train_test_split: test must be a number of rows, or a share between 0 and 1; got {test!r}"
    )


def array_like(values: Any) -> bool:
    """Whether something is an array, a tensor, or a table (a data frame or one of its columns)."""
    return isinstance(values, Tensor) or (
        hasattr(values, "shape") and (hasattr(values, "dtype") or hasattr(values, "to_numpy"))
    )


def plain_array(values: Any) -> Array:
    """The array in a tensor; an array as it is; lists as a NumPy array, floats as float32.

    Data frames and series (pandas, polars, whatever has `to_numpy`) are what they give as NumPy.
    """
    if isinstance(values, Tensor):
        return values.data
    values = from_table(values)
    if isinstance(values, np.ndarray):
        return native(values)
    if hasattr(values, "shape") and hasattr(values, "dtype"):
        return values
    array = np.asarray(values)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def require_numbers(operation: str, array: Array, what: str = "an array") -> None:
    """Raise TypeError for an array of texts, dates or objects, which no tensor can hold."""
    if isinstance(array, np.ndarray) and array.dtype.kind in "OUSMmTV":
        kind = {"M": "dates", "m": "time spans", "O": "objects", "V": "records"}
        held = kind.get(array.dtype.kind, "texts")
        example = "" if array.size == 0 else f", such as {array.flat[0]!r:.40}"
        raise TypeError(
            f"{operation}: {what} of shape {array.shape} holds {held}{example}; a tensor holds "
            "numbers. Labels become class numbers by "
            "names, labels = np.unique(labels, return_inverse=True)"
        )


def host_array(values: Any) -> np.ndarray:
    """`plain_array`, in host memory."""
    array = plain_array(values)
    return array if isinstance(array, np.ndarray) else backend_of(array).to_numpy(array)


def require_equal_lengths(operation: str, arrays: Sequence[Array]) -> None:
    """Raise ValueError unless the arrays have a first axis, all of the same length."""
    shapes = [tuple(a.shape) for a in arrays]
    if () in shapes:
        raise ValueError(
            f"{operation}: an array of examples needs an axis to count them; shapes "
            f"{', '.join(map(str, shapes))}"
        )
    if len({shape[0] for shape in shapes}) != 1:
        raise ValueError(
            f"{operation}: all arrays must have the same length; shapes "
            f"{', '.join(map(str, shapes))}"
        )


def chosen_generator(operation: str, seed: int | None, generator: Generator | None) -> Generator:
    """The generator to draw from; a new one with a seed drawn from the shared one by default.

    Raises:
        ValueError: both a seed and a generator are given.
    """
    if seed is not None and generator is not None:
        raise ValueError(f"{operation}: give a seed or a generator, not both")
    if generator is not None:
        return generator
    if seed is None:
        seed = int(default_generator().host_integers(0, 2**63))
    return Generator(seed)

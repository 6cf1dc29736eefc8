"""Sequences of different lengths: padded to one, or packed without padding.

Three sequences a, b and c of 4, 2 and 1 steps, padded (T, N), and packed step by step, the longest
first, so that the sequences that still run are always the first ones:

    a0 b0 c0                 data         a0 b0 c0 | a1 b1 | a2 | a3
    a1 b1  .                 batch_sizes  3, 2, 1, 1
    a2  .  .
    a3  .  .

Recurrent layers take both: `layer(padded, lengths=lengths)`, or `layer(packed)`, which gives a
packed result; it is computed as the first, for the layers' kernels pass over what is beyond an end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ... import ops
from ...backends import backend_of
from ...ops._operands import as_tensor
from ...ops.array.indexing import Take
from ...ops.recurrent.layer import check_lengths
from ...tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence(NamedTuple):
    """Sequences of different lengths without padding; `pack_padded_sequence` makes one.

    `packed._replace(data=f(packed.data))` applies what looks at each step alone.

    Attributes:
        data: (all steps, ...): the first step of all sequences, then the second, ...
        batch_sizes: (T,), int64 in host memory: how many sequences have that step.
        sorted_indices: (N,), which sequence of the batch is the longest, the second, ..., in host
            memory; None: they were sorted already.
        unsorted_indices: (N,), its inverse: the place of each in that order.
    """

    data: Tensor
    batch_sizes: np.ndarray
    sorted_indices: np.ndarray | None = None
    unsorted_indices: np.ndarray | None = None


def invert_permutation(permutation: Any) -> np.ndarray | None:
    """The permutation (N,) that undoes another, in host memory; None for None.

    Args:
        permutation: (N,), each of 0 to N - 1 once.
    """
    return None if permutation is None else np.argsort(np.asarray(permutation))


def pack_padded_sequence(
    input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded batch without its padding.

    Args:
        input: (T, N, ...), or (N, T, ...) with batch_first.
        lengths: N integers from 1 to T.
        batch_first: the order of input's axes.
        enforce_sorted: True: the lengths must fall, the longest first, and no order is kept; False:
            any order, which `sorted_indices` remembers.

    Raises:
        ValueError: lengths that do not fit, or do not fall where they must.
        TypeError: input is no tensor.
    """
    name = "pack_padded_sequence"
    input = as_tensor(name, input)
    if input.ndim < 2:
        raise ValueError(f"{name}: input must have axes T and N; it has shape {input.shape}")
    n, steps = input.shape[:2] if batch_first else input.shape[1::-1]
    counts = check_lengths(name, lengths, steps, n)
    order = None
    if enforce_sorted:
        if (counts[1:] > counts[:-1]).any():
            raise ValueError(
                f"{name}: lengths must fall, the longest first, or enforce_sorted be False; "
                f"lengths {counts.tolist()}"
            )
    else:
        order = np.argsort(-counts, kind="stable")
    sizes = np.sum(np.arange(counts.max(initial=0))[:, None] < counts, axis=1)
    packed = PackedSequence(input, sizes, order, invert_permutation(order))
    return pack_as(packed, input, counts, batch_first)


def pack_as(
    packed: PackedSequence, padded: Tensor, counts: np.ndarray, batch_first: bool
) -> PackedSequence:
    """Another padded batch of the same lengths, in the order of what is packed already."""
    n, steps = padded.shape[:2] if batch_first else padded.shape[1::-1]
    sequence, step = _places(counts, packed.sorted_indices)
    place = sequence * steps + step if batch_first else step * n + sequence
    rows = ops.reshape(padded, (n * steps, *padded.shape[2:]))
    return packed._replace(data=Take(_beside(place, rows), 0)(rows))


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, np.ndarray]:
    """A packed batch padded again, and the lengths, in the order in which the sequences were.

    Args:
        sequence: what is packed.
        batch_first: (N, T, ...) comes back instead of (T, N, ...).
        padding_value: what stands beyond the ends.
        total_length: T; None: the longest sequence's.

    Returns:
        (T, N, ...) and (N,), int64 in host memory.

    Raises:
        ValueError: total_length is below the longest, or sequence's parts do not fit one another.
        TypeError: sequence is not packed.
    """
    name = "pad_packed_sequence"
    counts = lengths_of(name, sequence)
    longest = len(sequence.batch_sizes)
    steps = longest if total_length is None else total_length
    if steps < longest:
        raise ValueError(
            f"{name}: total_length must be at least the longest sequence's {longest} steps, got "
            f"{steps}"
        )
    n = len(counts)
    where, step = _places(counts, sequence.sorted_indices)
    index = np.zeros((n, steps) if batch_first else (steps, n), np.int64)
    there = np.zeros(index.shape, bool)
    at = (where, step) if batch_first else (step, where)
    index[at], there[at] = np.arange(len(where)), True
    data = as_tensor(name, sequence.data)
    rows = Take(_beside(index.reshape(-1), data), 0)(data)
    padded = ops.reshape(rows, (*index.shape, *data.shape[1:]))
    if not there.all():
        seen = _beside(there.reshape(*there.shape, *(1,) * (data.ndim - 1)), data)
        home = backend_of(data.data)
        value = padding_value if home.is_float(data.dtype) else int(padding_value)
        padded = ops.where(Tensor(seen), padded, value)
    return padded, counts


def pad_sequence(
    sequences: Sequence[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Sequences (length, ...) as one batch (T, N, ...) with the longest's T steps.

    Args:
        sequences: N tensors that differ in their first axis only.
        batch_first: (N, T, ...) comes back instead.
        padding_value: what the others are filled with.
        padding_side: "right": after the end; "left": before the beginning.

    Raises:
        ValueError: there are none, their other axes differ, or an unknown side.
        TypeError: one is no tensor.
    """
    name = "pad_sequence"
    if padding_side not in ("right", "left"):
        raise ValueError(f"{name}: padding_side must be right or left, got {padding_side!r:.60}")
    tensors = _alike(name, sequences)
    steps = max(x.shape[0] for x in tensors)
    padded = []
    for x in tensors:
        short = steps - x.shape[0]
        if short:
            home = backend_of(x.data)
            shape, like = (short, *x.shape[1:]), {"dtype": x.dtype, "device": x.data.device}
            more = Tensor(home.xp.full(shape, padding_value, **like))
            x = ops.concat([x, more] if padding_side == "right" else [more, x], axis=0)
        padded.append(x)
    return ops.stack(padded, axis=0 if batch_first else 1)


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences (length, ...) packed.

    Args:
        sequences: N tensors that differ in their first axis only.
        enforce_sorted: as in `pack_padded_sequence`.

    Raises:
        ValueError: there are none, one is empty, their other axes differ, or their lengths do not
            fall where they must.
        TypeError: one is no tensor.
    """
    tensors = _alike("pack_sequence", sequences)
    lengths = [x.shape[0] for x in tensors]
    return pack_padded_sequence(pad_sequence(tensors), lengths, enforce_sorted=enforce_sorted)


def unpad_sequence(
    padded_sequences: Tensor, lengths: Any, batch_first: bool = False
) -> list[Tensor]:
    """The sequences of a padded batch, each of shape (length, ...).

    Args:
        padded_sequences: (T, N, ...), or (N, T, ...) with batch_first.
        lengths: N integers from 1 to T.
        batch_first: the order of the axes.

    Raises:
        ValueError: lengths that do not fit.
        TypeError: padded_sequences is no tensor.
    """
    name = "unpad_sequence"
    padded = as_tensor(name, padded_sequences)
    if padded.ndim < 2:
        raise ValueError(f"{name}: there must be axes T and N; the tensor has shape {padded.shape}")
    n, steps = padded.shape[:2] if batch_first else padded.shape[1::-1]
    counts = check_lengths(name, lengths, steps, n).tolist()
    return [padded[k, :c] if batch_first else padded[:c, k] for k, c in enumerate(counts)]


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, each of shape (length, ...).

    Args:
        packed_sequences: what is packed.

    Raises:
        ValueError: its parts do not fit one another.
        TypeError: it is not packed.
    """
    return unpad_sequence(*pad_packed_sequence(packed_sequences))


def lengths_of(name: str, packed: PackedSequence) -> np.ndarray:
    """The lengths (N,) of what is packed, in the order of the batch.

    Raises:
        ValueError: its parts do not fit one another.
        TypeError: it is not packed.
    """
    if not isinstance(packed, PackedSequence):
        raise TypeError(f"{name} needs a PackedSequence, got {type(packed).__name__}")
    sizes = np.asarray(packed.batch_sizes)
    falling = sizes.ndim == 1 and len(sizes) > 0 and bool((np.diff(sizes) <= 0).all())
    data = as_tensor(name, packed.data)
    if not falling or sizes[-1] < 1 or data.ndim < 1 or data.shape[0] != int(sizes.sum()):
        raise ValueError(
            f"{name}: batch_sizes must fall to no less than 1, and add up to the rows of data; "
            f"batch_sizes {sizes.tolist()}, data has shape {data.shape}"
        )
    n = int(sizes[0])
    counts: np.ndarray = np.sum(
        sizes[:, None] > np.arange(n), axis=0
    )  # of the longest, the second, ...
    if packed.sorted_indices is None:
        return counts
    order = np.asarray(packed.sorted_indices)
    if sorted(order.tolist()) != list(range(n)):
        raise ValueError(
            f"{name}: sorted_indices must name each of the {n} sequences once; they are "
            f"{order.tolist()}"
        )
    in_batch = np.empty_like(counts)
    in_batch[order] = counts
    return in_batch


def _places(counts: np.ndarray, order: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which sequence, and which of its steps, each packed row is."""
    order = np.arange(len(counts)) if order is None else np.asarray(order)
    runs = np.arange(counts.max(initial=0))[:, None] < counts[order]  # (T, N)
    step, rank = np.nonzero(runs)
    return order[rank], step


def _beside(host: np.ndarray, x: Tensor) -> Any:
    home = backend_of(x.data)
    return home.xp.asarray(home.from_numpy(host), device=x.data.device)


def _alike(name: str, sequences: Sequence[Tensor]) -> list[Tensor]:
    """The sequences as tensors.

    Raises:
        ValueError: there are none, or their axes but the first differ.
        TypeError: one is no tensor.
    """
    tensors = [as_tensor(name, x) for x in sequences]
    shapes = [x.shape for x in tensors]
    if not tensors or any(not s or s[1:] != shapes[0][1:] for s in shapes):
        raise ValueError(
            f"{name}: there must be a sequence at least, and all alike but for the first axis; "
            f"shapes {', '.join(map(str, shapes)) or 'none'}"
        )
    return tensors

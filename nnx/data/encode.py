"""Class numbers as vectors, and sequences of different lengths as one array."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..typing import Array
from .dataset import host_array


def one_hot(labels: Any, classes: int | None = None, dtype: str = "float32") -> Array:
    """1 at the place of the label and 0 elsewhere: labels of any shape (...) -> (..., classes).

    Args:
        labels: integers from 0.
        classes: how many there are; one more than the largest label if not given.
        dtype: of the result, a NumPy array.

    Raises:
        TypeError: the labels are not integers.
        ValueError: a label is negative or not less than `classes`.
    """
    labels = _labels("one_hot", labels)
    if classes is None:
        classes = int(labels.max()) + 1 if labels.size else 0
    _hold_labels("one_hot", labels, classes)
    return (labels[..., np.newaxis] == np.arange(classes)).astype(dtype)


def _labels(name: str, labels: Any) -> Array:
    labels = host_array(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: labels must be integers, got {labels.dtype}")
    return labels


def _hold_labels(name: str, labels: Array, classes: int) -> None:
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(
            f"{name}: labels must be from 0 to {classes - 1}, there is a {labels[outside][0]}; "
            f"shape {labels.shape}"
        )


def class_weights(labels: Any, classes: int | None = None, dtype: str = "float32") -> Array:
    """Weights by which every class counts alike, however many examples it has: (classes,).

        w = class_weights(labels)
        loss = nn.CrossEntropyLoss(weight=w)                    # or, beside other losses,
        trainer.fit((x, labels), sample_weight=w[labels])

    w_c = N / (C n_c), with n_c of the N labels in class c of C; their mean over the labels is 1.
    (scikit-learn's "balanced"; King and Zeng 2001, "Logistic regression in rare events data".)

    Args:
        labels: integers from 0, of any shape (...).
        classes: how many there are; one more than the largest label if not given.
        dtype: of the result, a NumPy array.

    Raises:
        TypeError: the labels are not integers.
        ValueError: a label is negative or not less than `classes`; a class has no example.
    """
    labels = _labels("class_weights", labels)
    if classes is None:
        classes = int(labels.max()) + 1 if labels.size else 0
    _hold_labels("class_weights", labels, classes)
    counts = np.bincount(labels.ravel().astype(np.intp), minlength=classes)  # (C,)
    if not labels.size or not counts.all():
        empty = ", ".join(map(str, np.flatnonzero(counts == 0)[:10])) or "all"
        raise ValueError(
            f"class_weights: no example is of class {empty} of {classes}, so it has no weight"
        )
    return (labels.size / (classes * counts)).astype(dtype)


def pad_sequences(
    sequences: Sequence[Any],
    length: int | None = None,
    value: float = 0,
    padding: str = "post",
    truncation: str = "post",
    dtype: Any = None,
) -> tuple[Array, Array]:
    """Sequences of different lengths as one array, filled up with `value`.

    Args:
        sequences: N lists or arrays, of shape (T_i,) or (T_i, ...).
        length: of the result; the longest sequence's if not given.
        value: what to fill with.
        padding: where to fill, "pre" or "post".
        truncation: which end of a sequence longer than `length` is cut off, "pre" or "post".
        dtype: of the result; by default int64 for integers, float32 for Python floats, and for
            arrays their own.

    Returns:
        The padded array (N, length, ...) and the lengths that were kept (N,), int64.

    Raises:
        ValueError: there are no sequences, `length` is less than 1, an end is neither "pre" nor
            "post", or the sequences differ in more than their lengths.
    """
    for name, end in (("padding", padding), ("truncation", truncation)):
        if end not in ("pre", "post"):
            raise ValueError(f'pad_sequences: {name} must be "pre" or "post", got {end!r}')
    if len(sequences) == 0:
        raise ValueError("pad_sequences: there are no sequences")
    arrays = [host_array(s) for s in sequences]
    if any(a.ndim == 0 for a in arrays):
        raise ValueError(
            "pad_sequences: each sequence must have at least one axis; one is a number"
        )
    filled = [a for a in arrays if a.size] or arrays[:1]  # an empty list says nothing of its kind
    tails = {a.shape[1:] for a in filled}
    if len(tails) != 1:
        raise ValueError(
            "pad_sequences: sequences may differ in their first axis only; the others have the "
            f"shapes {', '.join(map(str, sorted(tails)))}"
        )
    longest = max(len(a) for a in arrays)
    length = max(longest, 1) if length is None else operator.index(length)
    if length < 1:
        raise ValueError(f"pad_sequences: length must be at least 1, got {length}")
    kept = [
        a if len(a) <= length else a[:length] if truncation == "post" else a[-length:]
        for a in filled
    ]
    lengths = np.asarray([min(len(a), length) for a in arrays], np.int64)  # (N,)
    if dtype is None:
        dtype = np.result_type(*{a.dtype for a in filled})
    padded = np.full((len(arrays), length, *tails.pop()), value, dtype)
    steps = np.arange(length)
    if padding == "post":
        inside = steps < lengths[:, np.newaxis]  # (N, length)
    else:
        inside = steps >= length - lengths[:, np.newaxis]
    padded[inside] = np.concatenate(kept)
    return padded, lengths

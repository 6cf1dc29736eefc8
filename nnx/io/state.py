"""`save_state` and `load_state`: nested dicts and lists, arrays among plain numbers.

What optimizers, schedulers and loaders call their state is such a nest.  Its arrays become the
tensors of the file; the rest becomes JSON, where each array leaves a note of its name (`nest.py`):

    {"step": 3, "state": {0: {"momentum": array}}}
    ->  tensor "state/0/momentum"
        {"step": 3, "state": {"$items": [[0, {"momentum": {"$tensor": "state/0/momentum"}}]]}}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Array
from ..tensor import Tensor
from .limits import CorruptFile
from .nest import pack, unpack
from .tensors import on_host, read, write

_MISSING = object()


def save_state(
    path: str | os.PathLike[str],
    state: Mapping[str, Any],
    tensors: Mapping[str, Array | Tensor] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a nest of dicts, lists, tuples, numbers, texts, None and arrays of any backend.

    Args:
        path: the file; see `save`.
        state: the nest; its arrays are named "state/..." in the file.
        tensors: arrays to stand beside it under their own names (a model's weights).
        metadata: what JSON can hold, to stand beside it in the header.

    Raises:
        TypeError: a value of another kind; the message says where it is.
        ValueError: an array in `tensors` or an entry of `metadata` whose name is taken.
        OSError: the file cannot be written.
    """
    arrays: dict[str, Array] = {}
    try:
        header = pack(dict(metadata or {}), "metadata", None, "metadata")
        packed = pack(state, "state", arrays)
    except (TypeError, ValueError) as error:
        raise type(error)(f"save_state: {error}") from None
    if "state" in header:
        raise ValueError("save_state: the entry 'state' of the metadata is kept for the state")
    taken = sorted(arrays.keys() & (tensors or {}).keys())
    if taken:
        raise ValueError(f"save_state: the names {taken} are kept for the state's own arrays")
    write(path, on_host({**(tensors or {}), **arrays}), {**header, "state": packed})


def load_state(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
    """The nest, the arrays beside it (of the shapes they had) and the metadata of a file at `path`.

    `save_state` wrote it.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is damaged, or holds no state.
        MemoryError: there is not enough for one of the arrays.
    """
    tensors, metadata = read(path)
    packed = metadata.pop("state", _MISSING)
    if not isinstance(packed, dict):
        raise CorruptFile(f"{path} holds no training state: it was not written by save_state")
    used: set[str] = set()
    try:
        state = unpack(packed, tensors, used)
        header = unpack(metadata, {}, set())
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{path}: the state in its header is damaged: {error}") from error
    if not isinstance(state, dict):
        raise CorruptFile(f"{path}: the state in its header is damaged: it is no dict")
    beside = {name: array for name, array in tensors.items() if name not in used}
    return state, beside, header

"""`save_state` and `load_state`: nested dicts and lists, arrays among plain numbers.

What optimizers, schedulers and loaders call their state is such a nest.  Its arrays become the
tensors of the file; the rest becomes JSON, where each array leaves a note of its name:

    {"step": 3, "state": {0: {"momentum": array}}}
    ->  tensor "state/0/momentum"
        {"step": 3, "state": {"$items": [[0, {"momentum": {"$tensor": "state/0/momentum"}}]]}}

JSON alone would turn tuples into lists and the keys of a dict into texts; `$tuple` and `$items`
keep them.  Python writes a float so that reading it gives the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Array
from ..tensor import Tensor
from .tensors import CorruptFile, load, save

MARKS = ("$tensor", "$tuple", "$items")
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
        metadata: JSON to stand beside it in the header.

    Raises:
        TypeError: a value of another kind; the message says where it is.
        ValueError: an array in `tensors` whose name is taken.
    """
    arrays: dict[str, Array] = {}
    header = {**(metadata or {}), "state": _packed(state, "state", arrays)}
    taken = sorted(arrays.keys() & (tensors or {}).keys())
    if taken:
        raise ValueError(f"save_state: the names {taken} are kept for the state's own arrays")
    save(path, {**(tensors or {}), **arrays}, header)


def load_state(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, Any]]:
    """The nest, the arrays beside it and the metadata of a file that `save_state` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is damaged, or holds no state.
    """
    tensors, metadata = load(path)
    packed = metadata.pop("state", _MISSING)
    if not isinstance(packed, dict):
        raise CorruptFile(f"{path} holds no training state: it was not written by save_state")
    try:
        state = _unpacked(packed, tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{path}: the state in its header is damaged: {error}") from error
    beside = {name: array for name, array in tensors.items() if not name.startswith("state/")}
    return state, beside, metadata


def _packed(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """`value` as JSON can hold it; arrays go to `arrays` under their place in the nest."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        plain = all(isinstance(key, str) and key not in MARKS for key in value)
        if plain:
            return {key: _packed(v, f"{name}/{key}", arrays) for key, v in value.items()}
        items = [
            [_packed(key, name, arrays), _packed(v, f"{name}/{key}", arrays)]
            for key, v in value.items()
        ]
        return {"$items": items}
    if isinstance(value, list | tuple):
        parts = [_packed(v, f"{name}/{k}", arrays) for k, v in enumerate(value)]
        return parts if isinstance(value, list) else {"$tuple": parts}
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        while name in arrays:  # the keys 0 and "0" of one dict
            name += "'"
        arrays[name] = value
        return {"$tensor": name}
    raise TypeError(
        f"save_state: {name} is of type {type(value).__name__}; a state holds dicts, lists, "
        "tuples, numbers, texts, None and arrays"
    )


def _unpacked(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$tensor"}:
        return tensors[value["$tensor"]]
    if value.keys() == {"$tuple"}:
        return tuple([_unpacked(v, tensors) for v in value["$tuple"]])
    if value.keys() == {"$items"}:
        return {_unpacked(k, tensors): _unpacked(v, tensors) for k, v in value["$items"]}
    return {key: _unpacked(v, tensors) for key, v in value.items()}

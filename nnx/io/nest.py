"""Nested dicts and lists as JSON can hold them, without losing a type; and their checksum.

JSON alone would turn tuples into lists and the keys of a dict into texts; `$tuple` and `$items`
keep them.  Arrays are put aside under their place in the nest, and `$tensor` notes where.  Python
writes a float so that reading it gives the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import backend_of
from ..tensor import Tensor

MARKS = ("$tensor", "$tuple", "$items", "$sha256")


def pack(value: Any, name: str, arrays: dict[str, Any] | None, what: str = "a state") -> Any:
    """`value` as JSON can hold it; arrays go to `arrays`, or are refused where that is None.

    Raises:
        TypeError: a value of another kind; the message says where it is.
        ValueError: dicts or lists are nested too deeply, or hold themselves.
    """
    try:
        return _pack(value, name, arrays, what)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply, or holds itself") from None


def _pack(value: Any, name: str, arrays: dict[str, Any] | None, what: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        plain = all(isinstance(key, str) and key not in MARKS for key in value)
        if plain:
            return {key: _pack(v, f"{name}/{key}", arrays, what) for key, v in value.items()}
        items = [
            [_pack(key, name, arrays, what), _pack(v, f"{name}/{key}", arrays, what)]
            for key, v in value.items()
        ]
        return {"$items": items}
    if isinstance(value, list | tuple):
        parts = [_pack(v, f"{name}/{k}", arrays, what) for k, v in enumerate(value)]
        return parts if isinstance(value, list) else {"$tuple": parts}
    if arrays is not None and hasattr(value, "shape") and hasattr(value, "dtype"):
        while name in arrays:  # the keys 0 and "0" of one dict
            name += "'"
        arrays[name] = value
        return {"$tensor": name}
    raise TypeError(
        f"{name} is of type {type(value).__name__}; {what} holds dicts, lists, tuples, numbers, "
        f"texts{', None and arrays' if arrays is not None else ' and None, what JSON can hold'}"
    )


def unpack(value: Any, tensors: Mapping[str, np.ndarray], used: set[str]) -> Any:
    """What `pack` made of a nest, as it was; the names of its arrays are added to `used`.

    Raises:
        KeyError, TypeError, ValueError, RecursionError: it was not made by `pack`.
    """
    if isinstance(value, list):
        return [unpack(v, tensors, used) for v in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$tensor"} and value["$tensor"] in tensors:
        used.add(value["$tensor"])
        return tensors[value["$tensor"]]
    if value.keys() == {"$tuple"}:
        return tuple([unpack(v, tensors, used) for v in value["$tuple"]])
    if value.keys() == {"$items"}:
        return {unpack(k, tensors, used): unpack(v, tensors, used) for k, v in value["$items"]}
    if "$tensor" in value:
        raise KeyError(f"there is no tensor {value['$tensor']!r:.80}")
    return {key: unpack(v, tensors, used) for key, v in value.items()}


def checksum(value: Any) -> str:
    """A SHA-256 over the nest `value`: kinds, keys, texts, bits of numbers, dtypes, shapes, values.

    The order of a dict's items does not matter.
    """
    total = hashlib.sha256()
    _add(total, value)
    return total.hexdigest()


def _add(total: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        value = value.data
    if value is None or isinstance(value, bool | int | float | str):
        total.update(_plain(value))
    elif isinstance(value, Mapping):
        total.update(b"{%d" % len(value))
        for key in sorted(value, key=lambda key: (type(key).__name__, repr(key))):
            _add(total, key)
            _add(total, value[key])
    elif isinstance(value, list | tuple):
        total.update(b"%c%d" % (b"[" if isinstance(value, list) else b"(", len(value)))
        for part in value:
            _add(total, part)
    else:
        host = np.asarray(backend_of(value).to_numpy(value), order="C")
        total.update(f"<{host.dtype.name} {host.shape}".encode())
        total.update(host.reshape(-1).view(np.uint8).data)


def _plain(value: Any) -> bytes:
    """A number or a text as JSON brings it back: a float of NumPy's is a float."""
    if isinstance(value, str):
        text = value.encode("utf-8", "surrogatepass")
        return b"s%d " % len(text) + text
    if isinstance(value, bool) or value is None:
        return repr(value).encode()
    write = float.__repr__ if isinstance(value, float) else int.__repr__
    return write(value).encode()

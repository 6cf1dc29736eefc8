"""The safetensors format itself: 8 bytes, JSON, bytes.  (github.com/huggingface/safetensors)

    8 bytes     n, the length of the header, little-endian
    n bytes     {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets"}, ...}
    the rest    the arrays' bytes, little-endian in C order, without a gap and without an overlap

A header is believed only where all of it fits: it is what stands between a file of a stranger and
memory that it may write to.  Refused is what the `safetensors` package refuses, and besides what
the format forbids but that package lets pass: a name that stands twice, an entry that is no object.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .kinds import other_kind
from .limits import CorruptFile, hold
from .reading import open_file

METADATA = "__metadata__"
BITS = {  # in the order that the format's own program lays arrays out by, last first
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
NAMES = {"BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64"}
NAMES |= {f"{sign}{n}": f"{'u' * (sign == 'U')}int{n}" for sign in "IU" for n in (8, 16, 32, 64)}
KINDS = {name: kind for kind, name in NAMES.items()}
_DEEPEST = 120  # containers in containers: the header itself has three
_LARGEST = 2**64 - 1


class Entry(NamedTuple):
    """Where an array of a file stands: its kind ("F32"), its shape, its first byte and its end."""

    kind: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: str | os.PathLike[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """The entries of the file at `path` by name, and its metadata; no array is read.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CorruptFile: it is no whole safetensors file.
        TooLarge: its header is beyond `limits.text` or `limits.items`.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size >= 8 + length:
            hold(path, "text", length, "bytes of header")
            raw = file.read(length)
            hold(path, "items", sum(raw.count(c) for c in (b"[", b"{")), "items of header")
    try:
        if size < 8 + length:
            raise ValueError(f"it has {size} bytes, and a header of {length} after the first 8")
        return _parsed(raw, 8 + length, size)
    except (ValueError, RecursionError) as error:
        kind = other_kind(path)
        if kind is not None:
            raise CorruptFile(f"{Path(path)} is no safetensors file: {kind}") from error
        raise CorruptFile(
            f"{Path(path)} is not a whole safetensors file: {error}; it is damaged, was cut off "
            "on the way, or is a file of another kind"
        ) from error


def _parsed(raw: bytes, first: int, size: int) -> tuple[dict[str, Entry], dict[str, str]]:
    """The header `raw` of a file of `size` bytes, whose arrays begin at `first`."""
    header = json.loads(
        raw.decode("utf-8"),
        object_pairs_hook=_object,
        parse_int=_integer,
        parse_float=_real,
        parse_constant=_constant,
    )
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    if _is_deep(header):
        raise ValueError("its header is nested too deeply")
    json.dumps(header, ensure_ascii=False).encode("utf-8")  # halves of surrogate pairs have none
    metadata = header.pop(METADATA, None)
    metadata = {} if metadata is None else metadata
    if not (isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())):
        raise ValueError(f"{METADATA} must be an object of texts")
    entries = {name: _entry(name, value, first) for name, value in header.items()}
    place = first
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != place:
            raise ValueError(
                f"{name:.80} begins at byte {entry.start - first}, and what stands before it ends "
                f"at {place - first}"
            )
        place = entry.end
    if place != size:
        raise ValueError(f"its arrays end at byte {place}, the file at {size}")
    return entries, metadata


def _entry(name: str, value: Any, first: int) -> Entry:
    """What a header says of one array, if it is consistent in itself."""
    if not (isinstance(value, dict) and {"dtype", "shape", "data_offsets"} <= value.keys()):
        raise ValueError(f"{name:.80} has no dtype, shape and data_offsets, but {value!r:.80}")
    kind, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(kind, str) or kind not in BITS:
        raise ValueError(f"{name:.80}: there is no dtype {kind!r:.40}")
    if not (_are_sizes(shape) and _are_sizes(offsets) and len(offsets) == 2):
        raise ValueError(f"{name:.80}: shape {shape!r:.80} or data_offsets {offsets!r:.80}")
    bits = BITS[kind]
    for n in (1, *shape):
        bits *= n
        if bits > _LARGEST:
            raise ValueError(f"{name:.80}: shape {shape!r:.80} has more bytes than can be counted")
    start, end = offsets
    if bits % 8 or end - start != bits // 8:
        raise ValueError(
            f"{name:.80}: {kind} of shape {shape!r:.80} takes {bits / 8:g} bytes, but there are "
            f"{end - start} for it"
        )
    return Entry(kind, tuple(shape), first + start, first + end)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n <= _LARGEST for n in value)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r:.80} stands twice in its header")
    return made


def _integer(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text)


def _real(text: str) -> float:
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError(f"{text:.40} is no number that can be held")
    return value


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for v in level
            if isinstance(v, dict | list)
            for inner in (v.values() if isinstance(v, dict) else v)
        ]
        if not level:
            return False
    return True


def write_container(
    file: BinaryIO, arrays: Mapping[str, tuple[str, np.ndarray]], metadata: Mapping[str, str]
) -> None:
    """Write a whole file: the bytes that the format's own program writes for the same arrays.

    Args:
        file: open for writing, at its beginning.
        arrays: by name, the kind ("F32") and the values, contiguous; of "BF16" their bits, uint16.
        metadata: texts by name.
    """
    order = list(BITS)
    names = sorted(arrays, key=lambda name: (-order.index(arrays[name][0]), name))
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    place = 0
    for name in names:
        kind, values = arrays[name]
        end = place + values.nbytes
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # so that the arrays begin where numbers of 8 bytes may
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        for part in _little_endian(arrays[name][1]):
            file.write(part)


def _little_endian(values: np.ndarray) -> Iterator[memoryview]:
    """The bytes of an array as the format has them, in parts."""
    flat = values.reshape(-1)
    step = 2**22
    for k in range(0, flat.size, step):
        part = flat[k : k + step]
        yield part.astype(part.dtype.newbyteorder("<"), copy=False).view(np.uint8).data

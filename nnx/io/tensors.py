"""`save` and `load`: named arrays in a safetensors file, with configuration in its header."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import Array, backend_of
from ..tensor import Tensor
from .atomic import replacing
from .kinds import other_kind
from .limits import CorruptFile, hold
from .nest import checksum, pack, unpack
from .reading import hold_json, open_file, parse_json
from .shown import printable

KEY = "nnx"  # the entry of the header's metadata that holds our JSON
CHECKSUM = "$sha256"  # the entry of our JSON that holds the checksum of all else


class UnknownDtype(CorruptFile, TypeError):
    """An array of a safetensors file has a dtype that NumPy lacks (float8)."""


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array | Tensor],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write named arrays, of any backend, and a header to a safetensors file.

    What was written is read again before it takes an older file's place.

    Args:
        path: the file; an older one is replaced in a single step, and stays if writing fails.
        tensors: arrays or tensors by name.
        metadata: dicts, lists, tuples, numbers, texts and None; it comes back from `load` as it
            was.

    Raises:
        TypeError: metadata of another kind, a name that is no text, or an array of a dtype the
            format lacks.
        ValueError: a name or a text that the format cannot hold, or more metadata than `load`
            reads.
        OSError: the file cannot be written.
    """
    if not isinstance(tensors, Mapping):
        raise TypeError(
            f"save: tensors must be a dict of arrays by name, got {type(tensors).__name__}; "
            "of a model, model.state_dict()"
        )
    host = {_name(name): _to_host(name, array) for name, array in tensors.items()}
    try:
        plain = pack({} if metadata is None else metadata, "metadata", None, "metadata")
    except TypeError as error:
        raise TypeError(f"save: the metadata for {path} is not JSON: {error}") from None
    write(path, host, plain)


def write(path: str | os.PathLike[str], host: dict[str, np.ndarray], plain: Any) -> None:
    """Write arrays and packed metadata (`nest.pack`), with a checksum of both."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    if not isinstance(plain, dict) or CHECKSUM in plain:
        raise ValueError(f"save: metadata for {path} must be a dict without the key {CHECKSUM!r}")
    try:
        text = json.dumps({**plain, CHECKSUM: checksum([plain, host])}, ensure_ascii=False)
        text.encode("utf-8")
    except (RecursionError, ValueError) as error:  # an integer of 5,000 digits; half a surrogate
        raise ValueError(f"save: the metadata for {path} cannot be written: {error}") from None
    hold_json(path, text)  # or `load` would refuse it
    # One entry, because the format writes several in no fixed order: the same state is to give
    # the same file, byte for byte.
    with replacing(path) as beside:
        try:
            save_file(host, beside, {KEY: text})
        except SafetensorError as error:
            raise OSError(f"save: {path} could not be written: {error}") from error
        found, header = _header(beside)
        same = {name: (a.dtype.name, a.shape) for name, a in host.items()} == found
        if not same or header.get(KEY) != text:
            raise ValueError(f"save: {path} would not hold what it was given; nothing is replaced")


def load(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of the safetensors file at `path`, by name and in their shapes, and its metadata.

    A file of another program gives its own metadata, texts by name.  Arrays in bfloat16, which
    NumPy lacks, come as float32 of the same values.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is cut off, damaged, or no safetensors file; of the kinds that people have
            weights in (.pt, .npz, HDF5) the message says how to get at them.
        TypeError: an array's dtype is none of NumPy's.
        MemoryError: there is not enough for one of the arrays.
    """
    tensors, metadata = read(path)
    try:
        return tensors, unpack(metadata, {}, set())
    except (KeyError, TypeError, ValueError, RecursionError):
        return tensors, metadata  # the notes of `save_state`, which `load_state` follows


def read(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata as it is packed, held against their checksum; see `load`."""
    from safetensors import SafetensorError, safe_open

    found, header = _header(path)
    tensors = {}
    halves = any(kind == "BF16" for kind, _ in found.values())
    places = _places(path) if halves else {}
    with open_file(path) as raw, safe_open(path, framework="numpy") as file:
        for name, (kind, shape) in found.items():
            if kind not in _DTYPES and kind != "BF16":
                raise UnknownDtype(
                    f"{path}: {name} is {kind}, a dtype NumPy lacks; write it as float32 where it "
                    "comes from"
                )
            try:
                if kind == "BF16":
                    tensors[name] = _bfloat16(raw, *places[name]).reshape(shape)
                else:
                    tensors[name] = file.get_tensor(name)
            except MemoryError as error:
                raise MemoryError(f"{path}: not enough memory for {printable(name, 80)}") from error
            except (SafetensorError, TypeError, ValueError, OverflowError) as error:
                raise CorruptFile(
                    f"{path}: NumPy cannot hold {printable(name, 80)}, {kind} {shape!r:.200}: "
                    f"{error}"
                ) from error
    if KEY not in header:
        return tensors, dict(header)
    try:
        metadata = parse_json(path, header[KEY])
    except CorruptFile as error:
        raise CorruptFile(f"{path}: the JSON in its header is damaged: {error}") from error
    if not isinstance(metadata, dict):
        raise CorruptFile(f"{path}: the JSON in its header is no object, but {metadata!r:.40}")
    noted = metadata.pop(CHECKSUM, None)
    if noted is not None and noted != checksum([metadata, tensors]):
        raise CorruptFile(f"{path} is damaged: its contents do not have the checksum it notes")
    return tensors, metadata


def _places(path: str | os.PathLike[str]) -> dict[str, tuple[int, int]]:
    """Where in the file each array begins and ends; the library has looked at the header before."""
    with open_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        entries = parse_json(path, file.read(length).decode("utf-8", "replace"))
    first = 8 + length
    return {
        name: (first + entry["data_offsets"][0], first + entry["data_offsets"][1])
        for name, entry in entries.items()
        if name != "__metadata__"
    }


def _bfloat16(file: io.BufferedReader, start: int, end: int) -> np.ndarray:
    """An array in bfloat16, which NumPy lacks, as float32, whose upper 16 bits it is."""
    file.seek(start)
    bits = np.frombuffer(file.read(end - start), "<u2").astype(np.uint32)
    bits <<= 16
    return bits.view(np.float32)


def _header(
    path: str | os.PathLike[str],
) -> tuple[dict[str, tuple[str, tuple[int, ...]]], dict[str, str]]:
    """dtype and shape of each array, and the metadata, without the arrays' values."""
    from safetensors import SafetensorError, safe_open

    with open_file(path) as file:
        length = int.from_bytes(file.read(8), "little")
        if length < os.fstat(file.fileno()).st_size:  # else the library says what is wrong
            hold(path, "text", length, "bytes of header")
            start = file.read(length)
            hold(path, "items", sum(start.count(c) for c in (b"[", b"{")), "items of header")
    try:
        with safe_open(path, framework="numpy") as opened:
            header = opened.metadata() or {}
            found = {}
            for name in opened.keys():
                part = opened.get_slice(name)
                kind = part.get_dtype()
                found[name] = (_NAMES.get(kind, kind), tuple(part.get_shape()))
    except (SafetensorError, UnicodeError, OverflowError) as error:
        kind = other_kind(path)
        if kind is not None:
            raise CorruptFile(f"{Path(path)} is no safetensors file: {kind}") from error
        raise CorruptFile(
            f"{Path(path)} is not a whole safetensors file: {error}; it is damaged, was cut off "
            "on the way, or is a file of another kind"
        ) from error
    return found, header


_NAMES = {"BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64", "C64": "complex64"}
_NAMES |= {f"{sign}{n}": f"{'u' * (sign == 'U')}int{n}" for sign in "IU" for n in (8, 16, 32, 64)}
_DTYPES = frozenset(_NAMES.values())


def _name(name: Any) -> str:
    """A name that a reader will find again."""
    if not isinstance(name, str):
        raise TypeError(f"save: the name of an array must be a text, got {name!r:.80}")
    if name == "__metadata__":
        raise ValueError("save: no array can be called '__metadata__', as the header itself is")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"save: {name!r:.80} cannot be an array's name: {error.reason}") from None
    return name


def _to_host(name: str, array: Array | Tensor) -> np.ndarray:
    """The array's values as the format needs them: NumPy, contiguous, in C order."""
    data = array.data if isinstance(array, Tensor) else array
    host = np.asarray(backend_of(data).to_numpy(data), order="C")
    if host.dtype.name not in _DTYPES:
        raise TypeError(f"save: {name} has dtype {host.dtype}, which safetensors files do not hold")
    return host.astype(host.dtype.newbyteorder("="), copy=False)

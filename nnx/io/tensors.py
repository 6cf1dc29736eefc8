"""`save` and `load`: named arrays in a safetensors file, with configuration in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Array, backend_of, dtype_name
from ..tensor import Tensor
from . import bfloat16
from .atomic import replacing
from .container import KINDS, NAMES, Entry, read_header, write_container
from .kinds import warn_of_suffix
from .limits import CorruptFile
from .nest import checksum, pack, unpack
from .reading import hold_json, open_file, parse_json
from .shown import printable

KEY = "nnx"  # the entry of the header's metadata that holds our JSON
CHECKSUM = "$sha256"  # the entry of our JSON that holds the checksum of all else
FLOATS = ("bfloat16", "float16", "float32", "float64")
_CHUNK = 2**24  # bytes read at once


class UnknownDtype(CorruptFile, TypeError):
    """An array of a safetensors file has a dtype that NumPy lacks (float8)."""


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array | Tensor],
    metadata: Mapping[str, Any] | None = None,
    dtype: str | None = None,
) -> None:
    """Write named arrays, of any backend, and a header to a safetensors file.

    What was written is read again before it takes an older file's place.

    Args:
        path: the file; an older one is replaced in a single step, and stays if writing fails.
        tensors: arrays or tensors by name.
        metadata: dicts, lists, tuples, numbers, texts and None; it comes back from `load` as it
            was.
        dtype: "bfloat16", "float16", "float32" or "float64": round the floating-point arrays to
            it; None: each keeps its own.

    Raises:
        TypeError: metadata of another kind, a name that is no text, or an array of a dtype the
            format lacks.
        ValueError: a name or a text that the format cannot hold, more metadata than `load`
            reads, an unknown dtype, or a number beyond the largest of it.
        OSError: the file cannot be written.
    """
    if not isinstance(tensors, Mapping):
        raise TypeError(
            f"save: tensors must be a dict of arrays by name, got {type(tensors).__name__}; "
            "of a model, model.state_dict()"
        )
    host = on_host(tensors, dtype)
    try:
        plain = pack({} if metadata is None else metadata, "metadata", None, "metadata")
    except TypeError as error:
        raise TypeError(f"save: the metadata for {path} is not JSON: {error}") from None
    write(path, host, plain)


Held = dict[str, tuple[str, np.ndarray]]  # by name, the kind and the values; of "BF16" the bits


def on_host(tensors: Mapping[str, Array | Tensor], dtype: str | None = None) -> Held:
    """Named arrays as the format needs them: see `save`."""
    if dtype is not None and dtype not in FLOATS:
        raise ValueError(f"save: dtype must be one of {', '.join(FLOATS)}, or None; got {dtype!r}")
    return {_name(name): _to_host(name, array, dtype) for name, array in tensors.items()}


def as_read(held: Held) -> dict[str, np.ndarray]:
    """Arrays as `read` will give them."""
    return {
        name: bfloat16.from_bits(values) if kind == "BF16" else values
        for name, (kind, values) in held.items()
    }


def write(path: str | os.PathLike[str], held: Held, plain: Any) -> None:
    """Write arrays and packed metadata (`nest.pack`), with a checksum of both."""
    if not isinstance(plain, dict) or CHECKSUM in plain:
        raise ValueError(f"save: metadata for {path} must be a dict without the key {CHECKSUM!r}")
    try:
        total = checksum([plain, as_read(held)])
        text = json.dumps({**plain, CHECKSUM: total}, ensure_ascii=False)
        text.encode("utf-8")
    except (RecursionError, ValueError) as error:  # an integer of 5,000 digits; half a surrogate
        raise ValueError(f"save: the metadata for {path} cannot be written: {error}") from None
    hold_json(path, text)  # or `load` would refuse it
    warn_of_suffix(path)
    with replacing(path) as beside:
        with beside.open("wb") as file:
            write_container(file, held, {KEY: text})
        found, header = read_header(beside)
        same = {name: (kind, a.shape) for name, (kind, a) in held.items()} == {
            name: (entry.kind, entry.shape) for name, entry in found.items()
        }
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
    found, header = read_header(path)
    tensors = {}
    with open_file(path) as file:
        for name, entry in found.items():
            if entry.kind not in NAMES and entry.kind != "BF16":
                raise UnknownDtype(
                    f"{path}: {name} is {entry.kind}, a dtype NumPy lacks; write it as float32 "
                    "where it comes from"
                )
            try:
                tensors[name] = _array(file, entry)
            except MemoryError as error:
                raise MemoryError(f"{path}: not enough memory for {printable(name, 80)}") from error
            except (ValueError, OverflowError) as error:
                raise CorruptFile(
                    f"{path}: NumPy cannot hold {printable(name, 80)}, {entry.kind} "
                    f"{entry.shape!r:.200}: {error}"
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


def _array(file: Any, entry: Entry) -> np.ndarray:
    """The array of an entry, read from its place; bfloat16 as float32."""
    content = np.empty(entry.end - entry.start, np.uint8)
    file.seek(entry.start)
    view, found = content.data, 0
    while found < len(content) and (n := file.readinto(view[found : found + _CHUNK])):
        found += n
    if found < len(content):
        raise ValueError("the file became shorter while it was read")
    kind = "<u2" if entry.kind == "BF16" else np.dtype(NAMES[entry.kind]).newbyteorder("<")
    values = content.view(kind)
    if entry.kind == "BF16":
        values = bfloat16.from_bits(values)
    elif entry.kind == "BOOL":
        values = content != 0
    return values.astype(values.dtype.newbyteorder("="), copy=False).reshape(entry.shape)


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


def _to_host(name: str, array: Array | Tensor, dtype: str | None) -> tuple[str, np.ndarray]:
    """The array's kind and values as the format needs them: NumPy, contiguous, in C order."""
    data = array.data if isinstance(array, Tensor) else array
    home = backend_of(data)
    if dtype_name(data.dtype) == "bfloat16":  # PyTorch has it, and NumPy by ml_dtypes
        if dtype in (None, "bfloat16"):
            bits = home.to_numpy(data.view(home.xp.int16))
            return "BF16", np.asarray(bits, order="C").view(np.uint16)
        data = home.xp.astype(data, home.xp.float32)
    host = np.asarray(home.to_numpy(data), order="C")
    if host.dtype.name not in KINDS:
        raise TypeError(f"save: {name} has dtype {host.dtype}, which safetensors files do not hold")
    host = host.astype(host.dtype.newbyteorder("="), copy=False)
    if dtype is None or host.dtype.kind != "f" or host.dtype.name == dtype:
        return KINDS[host.dtype.name], host
    with np.errstate(over="ignore"):
        if dtype == "bfloat16":
            made, kind = bfloat16.to_bits(host), "BF16"
            values = bfloat16.from_bits(made)
        else:
            values = made = host.astype(dtype)
            kind = KINDS[dtype]
    if bool(np.any(np.isinf(values) & ~np.isinf(host))):
        largest = np.max(np.abs(host), initial=0, where=np.isfinite(host))
        raise ValueError(f"save: {name} holds {largest:g}, beyond the largest number of {dtype}")
    return kind, made

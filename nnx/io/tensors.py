"""`save` and `load`: named arrays in a safetensors file, with configuration in its header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..backends import Array, backend_of
from ..tensor import Tensor
from .atomic import replacing

KEY = "nnx"  # the entry of the header's metadata that holds our JSON


class CorruptFile(ValueError):
    """A file that is cut off, damaged or of another kind; the message names it."""


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array | Tensor],
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write named arrays, of any backend, and a header to a safetensors file.

    Args:
        path: the file; an older one is replaced in a single step, and stays if writing fails.
        tensors: arrays or tensors by name.
        metadata: what JSON can hold; it comes back from `load` as it was.

    Raises:
        TypeError: metadata that JSON cannot hold, or an array of a dtype the format lacks.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        text = json.dumps({} if metadata is None else metadata, ensure_ascii=False)
    except TypeError as error:
        raise TypeError(
            f"save: the metadata for {path} cannot be written as JSON: {error}"
        ) from None
    # One entry, because the format writes several in no fixed order: the same state is to give
    # the same file, byte for byte.
    host = {name: _to_host(name, array) for name, array in tensors.items()}
    with replacing(path) as beside:
        try:
            save_file(host, beside, {KEY: text})
        except SafetensorError as error:
            raise OSError(f"save: {path} could not be written: {error}") from error


def load(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a safetensors file, as NumPy arrays by name, and its metadata.

    A file of another program gives its own metadata, texts by name.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is cut off, damaged, or no safetensors file.
        TypeError: an array's dtype is none of NumPy's.
    """
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # noqa: PTH123 - the system's own message for what cannot be opened
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {}
            for name in file.keys():
                try:
                    tensors[name] = file.get_tensor(name)
                except (TypeError, AttributeError) as error:  # bfloat16, float8
                    kind = file.get_slice(name).get_dtype()
                    raise TypeError(f"{path}: {name} is {kind}, a dtype NumPy lacks") from error
    except SafetensorError as error:
        raise CorruptFile(
            f"{path} is not a whole safetensors file: {error}; it is damaged, was cut off on the "
            "way, or is a file of another kind"
        ) from error
    if KEY not in header:
        return tensors, dict(header)
    try:
        metadata = json.loads(header[KEY])
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path}: the JSON in its header is damaged: {error}") from error
    if not isinstance(metadata, dict):
        raise CorruptFile(f"{path}: the JSON in its header is no object, but {metadata!r:.40}")
    return tensors, metadata


_DTYPES = {"bool", "float16", "float32", "float64", "complex64"} | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def _to_host(name: str, array: Array | Tensor) -> np.ndarray:
    """The array's values as the format needs them: NumPy, contiguous, in C order."""
    data = array.data if isinstance(array, Tensor) else array
    host = np.asarray(backend_of(data).to_numpy(data), order="C")
    if host.dtype.name not in _DTYPES:
        raise TypeError(f"save: {name} has dtype {host.dtype}, which safetensors files do not hold")
    return host

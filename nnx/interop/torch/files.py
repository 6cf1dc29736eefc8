"""State dictionaries in memory and in files: PyTorch's tensors, our arrays, the same names."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...backends import backend_of
from ...io import CorruptFile, load_weights, open_file, replacing, save_weights
from ...tensor import Tensor


def from_state_dict(state: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays (in their shapes) of PyTorch's state dictionary, by its names; copies.

    Args:
        state: tensors by name.  bfloat16 becomes float32 of the same values.

    Raises:
        TypeError: it is no dict of tensors by name, as one with a whole training run in it.
    """
    if not isinstance(state, Mapping):
        raise TypeError(
            f"from_state_dict: needs a dict of tensors by name, got {type(state).__name__}; of a "
            "module, module.state_dict()"
        )
    return {name: _array(name, value, state) for name, value in state.items()}


def _array(name: str, value: Any, state: Mapping[str, Any]) -> np.ndarray:
    if not (hasattr(value, "detach") and hasattr(value, "cpu")):
        raise TypeError(
            f"from_state_dict: {name!r:.80} is of type {type(value).__name__}, not a tensor; there "
            f"are {', '.join(map(repr, list(state)[:10]))}: where one of them is the state, give it"
        )
    host = value.detach().cpu()
    if str(host.dtype) == "torch.bfloat16":
        host = host.float()
    return np.array(host.numpy())


def to_state_dict(model: Any) -> dict[str, Any]:
    """The state of a module, or arrays by name, as PyTorch's tensors; copies.

        torch_model.load_state_dict(nnx.interop.torch.to_state_dict(model))

    Args:
        model: a module of nnx, or a dict of arrays of any library.

    Raises:
        TypeError: it is neither.
    """
    import torch

    state = model.state_dict() if hasattr(model, "state_dict") else model
    if not isinstance(state, Mapping):
        raise TypeError(
            f"to_state_dict: needs a module or arrays by name, got {type(model).__name__}"
        )
    return {name: torch.from_numpy(_host(value)) for name, value in state.items()}


def _host(value: Any) -> np.ndarray:
    data = value.data if isinstance(value, Tensor) else value
    return np.array(backend_of(data).to_numpy(data))


def load(path: str | os.PathLike[str], key: str | None = None) -> dict[str, np.ndarray]:
    """The arrays (in their shapes) of a file of PyTorch's weights, by name.

    Args:
        path: a .safetensors file; or, where PyTorch is installed, one that `torch.save` wrote
            (.pt, .pth, .bin).  PyTorch reads it with `weights_only=True`, so that nothing in it is
            run.
        key: the entry of the file's dict that is the state, where it holds more than that.

    Raises:
        FileNotFoundError: there is no such file.
        CorruptFile: it is damaged, or holds objects that only running it could make.
        ImportError: it is no safetensors file, and PyTorch is not installed.
        KeyError: there is no such entry.
        TypeError: what it holds is no dict of tensors by name.
        MemoryError: there is not enough for one of the arrays.
    """
    with open_file(path) as file:
        start = file.read(2)
    if start != b"PK" and start[:1] != b"\x80":
        return load_weights(path)
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{path} is a pickle, as torch.save writes, and only PyTorch can read it safely: "
            "install it, or write safetensors where the file comes from"
        ) from error
    try:
        damaged = _damaged_part(path) if start == b"PK" else None
        if damaged is not None:
            raise ValueError(f"{damaged:.80} does not have the checksum that is noted for it")
        held = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise CorruptFile(
            f"{path} holds more than tensors (a whole model, or objects of a program), or is "
            "damaged; what would have to be run is not: write model.state_dict() where it comes "
            f"from. PyTorch says: {str(error).partition(chr(10))[0]}"
        ) from error
    except Exception as error:  # a damaged archive raises whatever it comes upon
        raise CorruptFile(f"{path} is a damaged PyTorch file: {error}") from error
    if key is not None:
        if not (isinstance(held, Mapping) and key in held):
            names = list(held)[:20] if isinstance(held, Mapping) else type(held).__name__
            raise KeyError(f"{path} has no entry {key!r}; it holds {names}")
        held = held[key]
    return from_state_dict(held)


def _damaged_part(path: str | os.PathLike[str]) -> str | None:
    """The first part of an archive whose CRC-32 is wrong, at which PyTorch does not look."""
    with open_file(path) as file, zipfile.ZipFile(file) as archive:
        return archive.testzip()


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a module's weights, or arrays by name, as PyTorch reads them.

    Args:
        model: a module of nnx, or a dict of arrays by name.
        path: by its suffix, a .safetensors file, which `safetensors.torch.load_file` reads and the
            same that `nnx.save` writes; or .pt, .pth or .bin, which `torch.load(path,
            weights_only=True)` reads.

    Raises:
        ValueError: the suffix is another.
        TypeError: it is neither a module nor a dict of arrays.
        ImportError: it is to be a .pt file, and PyTorch is not installed.
        OSError: the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        save_weights(model, path)
        return
    if suffix not in (".pt", ".pth", ".bin"):
        raise ValueError(f"save: {path} must end in .safetensors, .pt, .pth or .bin")
    import torch

    state = to_state_dict(model)
    with replacing(path) as beside:
        torch.save(state, beside)

"""Files of other kinds that people have weights in: what they are, and how to get at the arrays."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from .reading import open_file

_NUMPY = "np.load(path) gives its array, and module.load_state_dict takes a dict of such by name"
_ARCHIVE = "nnx.load(path) gives its arrays, and module.load_state_dict takes them by name"
_PICKLE = (
    "which is read by running what it says, so nnx does not read it. Where PyTorch is installed, "
    "nnx.interop.torch.load(path) has it read the tensors alone, with weights_only=True; "
    'elsewhere, where it comes from: safetensors.torch.save_file(state, "x.safetensors")'
)
_OTHERS = {  # how other programs call their files -> what writes those
    ".h5": "nnx.interop.keras.save_weights(model, path) writes such",
    ".hdf5": "nnx.interop.keras.save_weights(model, path) writes such",
    ".npy": "numpy.save(path, array) writes such",
    ".onnx": "nnx.onnx.export(model, x, path) writes such",
    ".pkl": "pickle.load cannot read it",
    ".pt": "torch.load cannot read it; nnx.interop.torch.save(model, path) writes such",
    ".pth": "torch.load cannot read it; nnx.interop.torch.save(model, path) writes such",
}


def warn_of_suffix(path: str | os.PathLike[str]) -> None:
    """Say so where a safetensors file has the name of another program's.

    It is written all the same: what it holds may have taken days.
    """
    others = _OTHERS.get(Path(path).suffix.lower())
    if others is not None:
        warnings.warn(
            f"{os.fspath(path)!r} is a safetensors file, as nnx.load and nnx.io read it, under "
            f"another format's name: {others}",
            stacklevel=4,
        )


def is_npz(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an archive whose first member is an array of NumPy's, or an empty one."""
    with open_file(path) as file:
        start = file.read(128)
    length = int.from_bytes(start[26:28], "little")
    return start.startswith(b"PK\x05\x06") or (
        start.startswith(b"PK\x03\x04") and start[30 : 30 + length].endswith(b".npy")
    )


def other_kind(path: str | os.PathLike[str]) -> str | None:
    """A sentence about a file that is no safetensors file, from its first bytes; or None."""
    with open_file(path) as file:
        start = file.read(128)
    if start.startswith(b"PK\x03\x04"):
        length = int.from_bytes(start[26:28], "little")
        first = start[30 : 30 + length]  # the name of the archive's first member
        if first.endswith(b".npy"):
            return f"it is a NumPy archive (.npz): {_ARCHIVE}"
        if first.endswith((b"/data.pkl", b"/.format_version", b"/byteorder")):
            return f"it is a PyTorch file (.pt): an archive with a pickle in it, {_PICKLE}"
        return "it is a zip archive: nnx reads the safetensors files that may be in it"
    if start.startswith(b"\x93NUMPY"):
        return f"it is a NumPy file (.npy): {_NUMPY}"
    if start.startswith(b"\x80") and start[1:2] in b"\x02\x03\x04\x05":
        return f"it is a pickle (old PyTorch files are), {_PICKLE}"
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return (
            "it is an HDF5 file: nnx.interop.keras reads the .weights.h5 that Keras writes; h5py "
            "reads the arrays of any"
        )
    return None

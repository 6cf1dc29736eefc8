"""NumPy's archives of named arrays (.npz): numbers only, nothing of them is ever run."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from collections.abc import Mapping

import numpy as np

from .atomic import replacing
from .limits import CorruptFile, hold
from .npy import parse_npy
from .reading import open_file

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same arrays give the same bytes, whenever they are written


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of the .npz file at `path`, by name and in their shapes.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CorruptFile: it is damaged, or holds something else than arrays of numbers.
        TooLarge: it unpacks to more than `limits.unpacked`, or has more than `limits.members`.
        MemoryError: there is not enough for one of the arrays.
    """
    tensors: dict[str, np.ndarray] = {}
    with open_file(path) as raw:
        try:
            with zipfile.ZipFile(raw) as archive:
                members = archive.infolist()
                hold(path, "members", len(members), "members")
                packed = [m for m in members if m.compress_type != zipfile.ZIP_STORED]
                hold(path, "unpacked", sum(m.file_size for m in packed), "bytes promised")
                for member in members:
                    name = member.filename.removesuffix(".npy")
                    if name in tensors:
                        raise CorruptFile(f"{path}: {name:.80} stands twice in it")
                    if name == member.filename or member.is_dir():
                        raise CorruptFile(f"{path}: {name:.80} in it is no array (.npy)")
                    with archive.open(member) as file:
                        content = file.read(member.file_size)
                        if len(content) < member.file_size or file.read(1):
                            raise zipfile.BadZipFile(f"{name:.80} has another length than noted")
                    what = f"{path}, {name:.80}"
                    tensors[name] = parse_npy(what, io.BytesIO(content), len(content))
        except (CorruptFile, MemoryError):
            raise
        except Exception as error:  # what zipfile comes upon in a damaged archive has no one class
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a seek before 0
                raise
            raise CorruptFile(f"{path} is a damaged .npz file: {error}") from error
    return tensors


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of numbers by name to the .npz file at `path`, whole or not at all.

    Raises:
        ValueError: a name that a zip archive cannot hold.
        OSError: the file cannot be written.
    """
    for name in arrays:
        if not name or name != name.strip("/") or "\0" in name or "\\" in name:
            raise ValueError(f"save: {name!r:.80} cannot be a name in an .npz file")
    with replacing(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name, values in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, values, allow_pickle=False)

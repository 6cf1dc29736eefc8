"""IDX, the file format of MNIST: a magic number, the lengths of the axes, the values.

    00 00 TT DD   TT the type of the values, DD the number of axes
    DD lengths    32 bits each, big-endian
    values        row-major, big-endian

gzipped or not: the contents decide, not the name.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from ..io import replacing
from ..io.reading import open_unpacked, read_exactly
from ..typing import Array
from .types import DataError

_TYPES: dict[int, np.dtype[Any]] = {  # code -> dtype in the file
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def read_idx(path: str | os.PathLike[str], expect: tuple[str, int] | None = None) -> Array:
    """The array of an IDX file, gzipped or not.

    Args:
        path: the file.
        expect: dtype and number of axes the file must have, such as ("uint8", 3) for images.

    Raises:
        DataError: the file is truncated, damaged, has the wrong magic number or more bytes than
            its header promises, or is not as expected; it is packed and promises more than
            `nnx.io.limits.unpacked`.  The message names the file.
        FileNotFoundError: there is no such file.
        MemoryError: there is not enough for the values.
    """
    path = Path(path)
    with open_unpacked(path) as file:
        start = file.read(4)
        if len(start) < 4:
            raise DataError(
                f"{path}: truncated: an IDX file begins with 4 bytes, this has {len(start)}"
            )
        kind, ndim = _magic(path, start, expect)
        lengths = file.read(4 * ndim)
        if len(lengths) < 4 * ndim:
            raise DataError(
                f"{path}: truncated: the header for {ndim} axes takes {4 + 4 * ndim} bytes, "
                f"the file has {4 + len(lengths)}"
            )
        shape = struct.unpack(f">{ndim}I", lengths)
        promised = math.prod(shape) * kind.itemsize
        what = f"the header promises {promised} bytes of values for shape {shape}"
        values = read_exactly(path, file, promised, what).view(kind)
    if not kind.isnative:
        values = values.byteswap(inplace=True).view(kind.newbyteorder("="))
    try:
        return values.reshape(shape)
    except ValueError as error:  # (0, 2^32 - 1, 2^32 - 1); more than 64 axes
        raise DataError(f"{path}: NumPy has no array of shape {shape}: {error}") from None


def _magic(path: Path, start: bytes, expect: tuple[str, int] | None) -> tuple[np.dtype[Any], int]:
    """dtype and number of axes that the first four bytes tell."""
    zero, code, ndim = struct.unpack(">HBB", start)
    if zero != 0 or code not in _TYPES or ndim == 0:
        raise DataError(
            f"{path}: not an IDX file: its magic number is {start.hex(' ')}, but must be "
            f"00 00, a type ({', '.join(f'{t:02x}' for t in _TYPES)}) and the number of axes"
        )
    kind = _TYPES[code]
    if expect is not None and (kind.newbyteorder("=").name, ndim) != expect:
        wanted = next(t for t, d in _TYPES.items() if d.newbyteorder("=").name == expect[0])
        raise DataError(
            f"{path}: wrong magic number {start.hex(' ')}: expected {expect[0]} with "
            f"{expect[1]} axes (00 00 {wanted:02x} {expect[1]:02x}), this holds "
            f"{kind.newbyteorder('=').name} with {ndim}"
        )
    return kind, ndim


def write_idx(path: str | os.PathLike[str], array: Array) -> None:
    """Write an array as an IDX file.

    Args:
        path: the file, gzipped where its name ends in .gz; it is written beside and renamed.
        array: of uint8, int8, int16, int32, float32 or float64, with 1 to 255 axes.

    Raises:
        ValueError: IDX has no such dtype, or the array has no axes or more than 255.
    """
    path, array = Path(path), np.asarray(array)
    codes = {d.newbyteorder("=").name: code for code, d in _TYPES.items()}
    if array.dtype.name not in codes:
        raise ValueError(f"write_idx: IDX has {', '.join(codes)}, but not {array.dtype}; {path}")
    if not 1 <= array.ndim <= 255:
        raise ValueError(f"write_idx: an IDX file has 1 to 255 axes; shape {array.shape}; {path}")
    code = codes[array.dtype.name]
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    content = header + array.astype(_TYPES[code]).tobytes()
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    with replacing(path) as beside:
        beside.write_bytes(content)

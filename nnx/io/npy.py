"""Arrays of numbers from NPY files."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .limits import CorruptFile
from .reading import open_file, read_exactly

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an NPY file of numbers: Booleans, integers, floating-point or complex ones.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CorruptFile: it is cut off, too long, damaged, or not one of numbers.
        MemoryError: there is no memory for it.
    """
    path = Path(path)
    with open_file(path) as file:
        return parse_npy(str(path), file, os.fstat(file.fileno()).st_size)


def parse_npy(where: str, file: BinaryIO, size: int) -> np.ndarray:
    """The array of an NPY file of `size` bytes, open at its beginning; see `read_npy`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers as Python 2 wrote them
        try:
            version = np.lib.format.read_magic(file)
            if version not in _HEADERS:
                raise ValueError(f"version {version} is none of numbers alone")
            shape, columns_first, dtype = _HEADERS[version](file, max_header_size=10_000)
        except OSError:
            raise
        except Exception as error:  # NumPy parses the header as Python, with all that can go wrong
            raise CorruptFile(f"{where}: damaged NPY file: {error}") from None
    if dtype.kind not in "biufc" or dtype.hasobject:
        raise CorruptFile(f"{where}: an NPY file of {dtype!s:.80}, but numbers are needed")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise CorruptFile(f"{where}: damaged NPY file: its shape is {shape!r:.200}")
    promised = math.prod(shape) * dtype.itemsize
    what = f"damaged NPY file: the header promises {promised} bytes, {dtype} {shape!r:.200}"
    values = read_exactly(where, file, promised, what, size - file.tell()).view(dtype)
    if not dtype.isnative:
        values = values.byteswap(inplace=True).view(dtype.newbyteorder("="))
    try:
        return values.reshape(shape, order="F" if columns_first else "C")
    except ValueError as error:  # (0, 2^63); more than 64 axes
        raise CorruptFile(f"{where}: NumPy has no such array: {error}; {shape!r:.200}") from None

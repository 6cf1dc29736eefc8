"""What a file from elsewhere may take.

A file of some kilobytes can promise, or unpack to, more than any machine has.  Readers therefore
read headers first, then exactly what these promise and one byte more, and hold what no header
promises to the limits here.  Each error says which limit was met and how to allow more:

    nnx.io.limits.pixels = 10**9                     in a program
    NNX_LIMIT_PIXELS=1000000000 nnx predict ...      on the command line
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

from .shown import printable

_DEFAULTS = {
    "unpacked": 2**30,
    "text": 2**24,
    "items": 1_500_000,
    "line": 2**20,
    "rows": 1_000_000,
    "columns": 4096,
    "members": 200_000,
    "header": 2**14,
    "pixels": 2**26,
    "pictures": 100_000,
}


class CorruptFile(ValueError):
    """A file that is cut off, damaged, too large or of another kind; the message names it.

    Whatever the message repeats of the file is made fit to be shown (`nnx.io.printable`).
    """

    def __init__(self, message: object) -> None:
        super().__init__(printable(message))


class TooLarge(CorruptFile):
    """A file beyond one of `nnx.io.limits`; the message names the limit."""


class Limits:
    """The limits, in this process; one that was not set is the environment's or the default.

    Attributes:
        unpacked: bytes of a packed file's contents.  2^30
        text: bytes of a small text file, or of the header of a safetensors file.  2^24
        items: values, texts and brackets in JSON.  1.5 million
        line: bytes of a line, of a field of a CSV file, of a text in an archive.  2^20
        rows, columns: of a table, the words and numbers of word vectors among them.  10^6, 4096
        members: of an archive.  200,000
        header: bytes of a header within an archive.  2^14
        pixels: of a picture.  2^26
        pictures: in a file.  100,000
    """

    unpacked: int
    text: int
    items: int
    line: int
    rows: int
    columns: int
    members: int
    header: int
    pixels: int
    pictures: int

    def __getattr__(self, name: str) -> int:
        if name not in _DEFAULTS:
            raise AttributeError(f"there is no limit {name!r}, only {', '.join(_DEFAULTS)}")
        variable = _variable(name)
        text = os.environ.get(variable, "")
        if not text:
            return _DEFAULTS[name]
        if not (text.isascii() and text.isdecimal() and len(text) <= 18 and int(text)):
            raise ValueError(f"{variable}={text!r:.40} must be a whole number from 1 on")
        return int(text)

    def __setattr__(self, name: str, value: int) -> None:
        if name not in _DEFAULTS:
            raise AttributeError(f"there is no limit {name!r}, only {', '.join(_DEFAULTS)}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"limits.{name} must be a whole number from 1 on, got {value!r:.40}")
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return list(_DEFAULTS)

    def __repr__(self) -> str:
        return f"Limits({', '.join(f'{name}={getattr(self, name):,}' for name in _DEFAULTS)})"


limits = Limits()


def hold(path: str | os.PathLike[str], name: str, count: int, what: str) -> None:
    """Raise TooLarge where `count` is beyond the limit of this name; `what` says of what."""
    if count > getattr(limits, name):
        refuse(path, name, f"{count:,} {what}")


def refuse(path: str | os.PathLike[str], name: str, found: str) -> NoReturn:
    """The error for a file that goes beyond a limit."""
    raise TooLarge(
        f"{Path(path)}: {found}, but the limit is {getattr(limits, name):,}; where that is meant, "
        f"allow more: nnx.io.limits.{name}, or {_variable(name)} in the environment"
    )


def _variable(name: str) -> str:
    return f"NNX_LIMIT_{name.upper()}"

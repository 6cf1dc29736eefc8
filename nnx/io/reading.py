"""Opening files that may come from strangers: regular ones only, unpacked within limits."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .limits import CorruptFile, hold, limits, refuse

_MOST_PACKED = 1100  # bytes that one byte of a gzip stream can stand for are fewer


def open_file(path: str | os.PathLike[str]) -> io.BufferedReader:
    """The regular file at `path`, to read its bytes.

    Opening a named pipe or reading a terminal would wait for whoever writes to it, perhaps for
    ever; a device may have no end.

    Raises:
        OSError: there is no such file, or it cannot be read.
        IsADirectoryError: it is a folder.
        CorruptFile: it is no regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            kind = "a named pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
            raise CorruptFile(f"{Path(path)} is {kind}, not a file")
        return open(descriptor, "rb")  # noqa: PTH123
    except BaseException:
        os.close(descriptor)
        raise


def open_unpacked(path: str | os.PathLike[str], limit: bool = True) -> io.BufferedReader:
    """A regular file's bytes, unpacked where it is gzipped: its contents decide, not its name.

    Args:
        path: the file.
        limit: whether what is packed is held to `limits.unpacked`.

    While it is read:

    Raises:
        CorruptFile: the gzip stream is damaged or ends early, or goes beyond the limit.
    """
    raw = open_file(path)
    try:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
    except BaseException:
        raw.close()
        raise
    if not packed:
        return raw
    return io.BufferedReader(_Unpacked(path, raw, limit), 2**16)


class _Unpacked(io.RawIOBase):
    """A gzip stream that names its file in its errors, and has a limit."""

    def __init__(self, path: str | os.PathLike[str], raw: io.BufferedReader, limit: bool) -> None:
        self._path, self._raw, self._file = path, raw, gzip.GzipFile(fileobj=raw)
        self._left = limits.unpacked if limit else 2**63

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        try:
            count = self._file.readinto(view[: self._left + 1])
        except EOFError:
            raise CorruptFile(
                f"{self._path}: truncated: the gzip stream ends early, after "
                f"{os.fstat(self._raw.fileno()).st_size} bytes"
            ) from None
        except (gzip.BadGzipFile, zlib.error, struct.error) as error:
            raise CorruptFile(f"{self._path}: damaged gzip file: {error}") from error
        self._left -= count
        if self._left < 0:
            refuse(self._path, "unpacked", "it unpacks to more bytes than are allowed")
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            self._raw.close()
        super().close()


def read_exactly(
    path: str | os.PathLike[str], file: Any, count: int, what: str, left: int | None = None
) -> np.ndarray:
    """The `count` bytes, uint8, that a header promises of the rest of a file, and no more.

    The file is one of those that `open_file` and `open_unpacked` give, or, with `left` bytes in it,
    any other.

    Raises:
        CorruptFile: there are fewer or more; `what` says where they were promised.
        TooLarge: the file is packed, and they are beyond `limits.unpacked`.
        MemoryError: there is no memory for them; the message names the file.
    """
    if isinstance(getattr(file, "raw", None), _Unpacked):
        size = os.fstat(file.raw._raw.fileno()).st_size
        there = size * _MOST_PACKED
        if there >= count:
            hold(path, "unpacked", count, "bytes promised")
        else:
            raise CorruptFile(f"{path}: truncated: {what}, the file of {size} bytes has fewer")
    else:
        there = os.fstat(file.fileno()).st_size - file.tell() if left is None else left
        if there != count:
            fault = "truncated" if there < count else "too long"
            raise CorruptFile(f"{path}: {fault}: {what}, the file has {there}")
    try:
        content = np.empty(count, np.uint8)
    except (MemoryError, ValueError) as error:
        raise MemoryError(f"{path}: not enough memory for {count:,} bytes") from error
    view, found = content.data, 0
    while found < count and (n := file.readinto(view[found : found + 2**24])):
        found += n
    if found < count:
        raise CorruptFile(f"{path}: truncated: {what}, the file has {found}")
    more = len(file.read(1))  # reading to the end also compares a gzip stream's checksum
    if more:
        while n := len(file.read(2**16)):
            more += n
        raise CorruptFile(f"{path}: too long: {what}, the file has {count + more}")
    return content


def read_lines(
    path: str | os.PathLike[str], file: io.BufferedReader, newline: str = ""
) -> Iterator[str]:
    """The lines of UTF-8 text, with or without a byte order mark, each as it ends.

    Args:
        path: the file, for errors.
        file: its bytes.
        newline: what ends a line, "\\n" for example; by default \\n, \\r and both together.

    Raises:
        CorruptFile: it is no UTF-8 text.
        TooLarge: a line is beyond `limits.line`.
    """
    most = limits.line
    text = io.TextIOWrapper(file, "utf-8-sig", newline=newline)
    number = 0
    try:
        while line := text.readline(most + 1):
            number += 1
            if len(line) > most:
                refuse(path, "line", f"line {number} is longer than is allowed")
            yield line
    except UnicodeDecodeError as error:
        raise CorruptFile(
            f"{path}: not UTF-8 text: {error.reason}, in line {number + 1} or soon after"
        ) from None
    finally:
        text.close()


def but_empty_last(lines: Iterable[str]) -> Iterator[str]:
    """Lines without the space at their end, and without empty ones at the end of the file."""
    empty = 0
    for line in lines:
        line = line.rstrip()
        if not line:
            empty += 1
            continue
        for _ in range(empty):
            yield ""
        empty = 0
        yield line


def read_text(path: str | os.PathLike[str]) -> str:
    """The contents of the small text file at `path`, UTF-8.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CorruptFile: it is no UTF-8 text, or beyond `limits.text`.
    """
    most = limits.text
    with open_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        refuse(path, "text", "more bytes than are allowed")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"{path} is no UTF-8 text: byte {error.start}: {error.reason}") from None


def read_json(path: str | os.PathLike[str]) -> Any:
    """The value in the JSON file at `path`.

    Raises:
        OSError: there is no such file, or it cannot be read.
        CorruptFile: it is damaged, or beyond `limits.text` or `limits.items`.
    """
    return parse_json(path, read_text(path))


def parse_json(path: str | os.PathLike[str], text: str) -> Any:
    """The value of JSON that stands in this file; see `read_json`."""
    hold_json(path, text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{path} is damaged: {error}") from None


def hold_json(path: str | os.PathLike[str], text: str) -> None:
    """Hold JSON to the limits: as Python objects, short items take many times their bytes."""
    hold(path, "text", len(text), "characters of JSON")
    hold(path, "items", sum(text.count(c) for c in "[{,:"), "items of JSON")

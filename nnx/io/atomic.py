"""Files that are never half: written beside their place, then renamed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the same folder, for the `with` block to write the file `path` to.

    When the block ends, the file is forced to the disk and renamed, which replaces an older one
    in a single step: whoever opens `path`, at any time and after any crash, finds the old file
    whole or the new file whole.  When the block fails, the old file stays as it was.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{token_hex(4)}.tmp")
    try:
        beside.touch(exist_ok=False)
        mode = beside.stat().st_mode
        yield beside
        beside.chmod(mode)  # a writer may have put a file of its own there, readable by no other
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file (UTF-8), whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, on the systems that let a folder be opened (not Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

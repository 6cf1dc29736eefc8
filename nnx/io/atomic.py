"""Files that are never half: written beside their place, then renamed into it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

_OURS = re.compile(r"\..+\.(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.tmp")
_DAY = 86_400  # seconds after which a temporary file is nobody's, whichever machine wrote it
_LONGEST = 200  # bytes of a name that is repeated in the temporary one: 255 are allowed in all


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the same folder, for the `with` block to write the file `path` to.

    When the block ends, the file is forced to the disk and renamed, which replaces an older one
    in a single step: whoever opens `path`, at any time and after any crash, finds the old file
    whole or the new file whole.  When the block fails, the old file stays as it was.  What killed
    processes left in the folder is cleared away.

    A file that is replaced keeps its mode.  A link is replaced itself, not what it points to.

    Raises:
        OSError: the file cannot be written; `path` is a folder, a device or a pipe.
    """
    path = Path(path)
    mode = _mode_of(path)
    folder = path.parent
    beside = folder / _temporary_name(path.name)
    try:
        beside.touch(exist_ok=False)
        if mode is None:
            mode = stat.S_IMODE(beside.stat().st_mode)
        yield beside
        beside.chmod(mode)  # a writer may have put a file of its own there, readable by no other
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(beside)) and error.errno:
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    _sync_folder(folder)
    _clear(folder)


@contextmanager
def new_folder(name_of: Callable[[], Path]) -> Iterator[Path]:
    """A temporary folder, for the `with` block to fill; it is then renamed to a new one.

    So whoever sees the folder sees all that the block put into it.  What killed processes left
    beside it is cleared away.

    Args:
        name_of: what it shall be called, asked for again where another process was faster; the
            first answer's parent must exist.
    """
    path = name_of()
    beside = path.parent / _temporary_name(path.name)
    beside.mkdir()
    try:
        yield beside
        while True:
            path = name_of()
            try:
                if not path.exists():
                    beside.rename(path)
                    break
            except OSError:
                if not path.exists():
                    raise
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    _sync_folder(path.parent)
    _clear(path.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` into the file at `path` (UTF-8), whole or not at all."""
    content = text.encode("utf-8")
    with replacing(path) as beside:
        beside.write_bytes(content)


def _mode_of(path: Path) -> int | None:
    """The mode of the regular file that is to be replaced; None where there is none."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return stat.S_IMODE(mode)
    if stat.S_ISLNK(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
    raise FileExistsError(17, f"there is {kind} of this name, which no file can replace", str(path))


def _temporary_name(name: str) -> str:
    """A name that nobody has, and that tells which process of which machine made it."""
    if len(os.fsencode(name)) > _LONGEST:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}.{_host()}-{os.getpid()}-{token_hex(4)}.tmp"


def _host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _clear(folder: Path) -> None:
    """Remove temporary files and folders whose process is gone, or that are older than a day."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            made = _OURS.fullmatch(entry.name)
            if made and not _is_at_work(made, entry):
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry)
                    else:
                        Path(entry).unlink()


def _is_at_work(made: re.Match[str], entry: os.DirEntry[str]) -> bool:
    """Whether the process that made a temporary file may still be writing it."""
    if made["host"] != _host() or os.name != "posix":
        return time.time() - entry.stat(follow_symlinks=False).st_mtime < _DAY
    try:
        os.kill(int(made["pid"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # another user's
    return True


def _sync_folder(folder: Path) -> None:
    """Force a rename to the disk, where folders can be opened (not Windows) and synced.

    Some network shares refuse; the file is in its place all the same.
    """
    if os.name != "posix":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

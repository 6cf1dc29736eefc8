"""`compiled`: numba's `njit`, quiet, without the GIL, and with a cache that is never stale.

numba keeps compiled code on disk beside the source, or where that is read-only in the user's cache
folder (`NUMBA_CACHE_DIR` chooses another).  It compiles again when the function's *own file*
changes; but code of the functions that it calls is part of what is kept, and those stand in other
files of `jit/`.  So the stamp it compares is made of all files there, in all folders.

A function can only be kept if it stands at the top of its module.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from llvmlite.binding import ffi as llvm
from numba import njit
from numba.core import event
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock

from ...compiles import began
from ...forks import wait_before

OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile at the first call for its arguments' types, or load what was compiled before."""
    dispatcher = njit(**OPTIONS, **options)(function)
    _keep(dispatcher)
    return dispatcher


def fused(function: Callable[..., Any], **options: Any) -> Any:
    """`compiled`, and a product and a sum may become one operation with one rounding."""
    return compiled(function, fastmath={"contract"}, **options)


def inlined(function: Callable[..., Any]) -> Any:
    """`fused`, and compiled into the loops that call it, which LLVM may then vectorise."""
    return fused(function, inline="always")


def summing(function: Callable[..., Any]) -> Any:
    """`compiled`, and sums may be added in another order: many at a time, in wide registers."""
    return compiled(function, fastmath={"reassoc"})


def callable_from_c(function: Callable[..., Any], signature: Any) -> Any:
    """Compile now, or load, as a function that other compiled code calls at its `.address`.

    What `numba.cfunc` does, in two steps.
    """
    made = CFunc(function, (signature.args, signature.return_type), locals={}, options=OPTIONS)
    _keep(made)
    made.compile()
    return made


def _keep(made: Any) -> None:
    """Let numba keep on disk what it will compile, unless no folder can be written.

    What is kept is code, and numba's index of it is a pickle: it is read only from a folder where
    nobody else can have put it.
    """
    before = made._cache
    try:
        made.enable_caching()
    except RuntimeError:
        return
    if why := why_not_trusted(Path(made._cache.cache_path)):
        made._cache = before
        _warn(why)
        return
    # numba has no public way to say it: without this only the function's own file counts.
    file = getattr(made._cache, "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = _stamp()  # type: ignore[union-attr]


@cache
def why_not_trusted(folder: Path) -> str | None:
    """Why others could have put compiled code into a folder; None where they could not.

    The folder, made or still to be made, and every one above it must belong to this user or the
    administrator, and be writable by no one else; or, as /tmp is, writable by all but "sticky".
    A group of which the user is the only member counts as the user.
    """
    if os.name != "posix":
        return None
    folder = Path(os.path.realpath(folder))
    for place in (folder, *folder.parents):
        try:
            state = place.stat()
        except FileNotFoundError:
            continue  # numba makes it, for this user
        if state.st_uid not in (0, os.geteuid()):
            return f"{place} belongs to another user"
        open_to = 0o002 if _is_own_group(state.st_gid) else 0o022
        sticky = place != folder and state.st_mode & stat.S_ISVTX
        if state.st_mode & open_to and not sticky:
            return f"{place} can be written to by others"
    return None


def _is_own_group(gid: int) -> bool:
    """Whether a group is the one that many systems make for each user alone."""
    import grp
    import pwd

    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and not group.gr_mem


@cache
def _warn(why: str) -> None:
    """Say once why every start will compile anew."""
    warnings.warn(
        f"compiled code is not kept: {why}; make it writable for yourself alone, or set "
        "NUMBA_CACHE_DIR to a folder of your own",
        RuntimeWarning,
        stacklevel=2,
    )


@cache
def _stamp() -> str:
    """The fingerprint of every source file that compiled code may come from: all of `jit/`."""
    return fingerprint(Path(__file__).parents[1])


def fingerprint(folder: Path) -> str:
    """A hash of the names and the text of all Python files in a folder and its folders."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        total.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


# ---- who listens ----


class _Outermost(event.Listener):  # type: ignore[misc]
    """Tells of what is compiled, but not of its parts."""

    def __init__(self) -> None:
        self.here = threading.local()

    def on_start(self, event: Any) -> None:
        self.here.depth = getattr(self.here, "depth", 0) + 1
        if self.here.depth == 1:
            began(getattr(event.data.get("dispatcher"), "__name__", "a kernel"))

    def on_end(self, event: Any) -> None:
        self.here.depth -= 1


event.register("numba:compile", _Outermost())


# ---- forks ----


class _NoLock:
    def __enter__(self) -> None: ...

    def __exit__(self, *error: Any) -> None: ...


_llvm_lock: Any = getattr(llvm.lib, "_lock", _NoLock())


def _before_fork() -> None:
    """Wait for what other threads compile: in a child they would hold numba's locks for ever."""
    global_compiler_lock.acquire()
    _llvm_lock.__enter__()


def _after_fork() -> None:
    _llvm_lock.__exit__(None, None, None)
    global_compiler_lock.release()


wait_before(_before_fork, _after_fork)

"""`compiled`: numba's `njit`, quiet, without the GIL, and with a cache that is never stale.

numba keeps compiled code on disk beside the source, or where that is read-only in the user's cache
folder (`NUMBA_CACHE_DIR` chooses another).  It compiles again when the function's *own file*
changes; but code of the functions that it calls is part of what is kept, and those stand in other
files of `jit/`.  So the stamp it compares is made of all files there, in all folders.

A function can only be kept if it stands at the top of its module.
"""

from __future__ import annotations

import gc
import glob
import hashlib
import os
import stat
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

from llvmlite.binding import ffi as llvm
from numba import config, njit
from numba.core import event
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from ...compiles import began, listening, missing
from ...forks import wait_before
from .pipeline import Compiler

C_OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
OPTIONS = {**C_OPTIONS, "no_cfunc_wrapper": True}  # for calls from C, which nobody makes

# LLVM's level for functions that C calls.  They hold no loops over numbers that it could
# vectorise: its third level takes a fifth longer, for code that is no faster.
FOR_C = 2

PATIENCE = 60.0  # seconds for which another process may compile a function

_folders: set[Path] = set()  # where compiled code is kept

# Answers in the place of `callable_from_c`: see `ahead.py`.
stand_in: Callable[[Callable[..., Any], Any], Any] | None = None


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile at the first call for its arguments' types, or load what was compiled before."""
    dispatcher = njit(pipeline_class=Compiler, **OPTIONS, **options)(function)
    _keep(dispatcher)
    return dispatcher


def inner(function: Callable[..., Any], **options: Any) -> Any:
    """`compiled`, for what compiled functions alone call: without what Python would need to call
    it, which takes two fifths of the time."""
    return compiled(function, no_cpython_wrapper=True, **options)


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
    if stand_in is not None:
        return stand_in(function, signature)
    made = _for_c(function, signature)
    made.compile()
    return made


def _for_c(function: Callable[..., Any], signature: Any) -> Any:
    made = CFunc(
        function, (signature.args, signature.return_type), locals={}, options=C_OPTIONS,
        pipeline_class=Compiler,
    )  # fmt: skip
    _keep(made)
    return made


def compile_now(function: Any, types: Any, tell: Callable[[str], None]) -> None:
    """Compile what `compiled` made, or a function for C, for these types, and keep it on disk.

    Args:
        function: the one or the other.
        types: a tuple of the arguments' types, or the signature for C.
        tell: as in `compiles.listening`.
    """
    with listening(tell):
        if isinstance(types, tuple):
            function.compile(types)
        else:
            callable_from_c(function, types)


def is_kept(function: Any, types: Any) -> bool:
    """Whether it lies on the disk, compiled for these types, as in `compile_now`."""
    return _is_kept(function if isinstance(types, tuple) else _for_c(function, types), types)


def _is_kept(made: Any, types: Any) -> bool:
    """numba has no public way to ask, but to load it."""
    try:
        key = made._cache._index_key(types, cpu_target.target_context.codegen())
        return key in made._cache._cache_file._load_index()
    except (AttributeError, OSError):
        return False


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
    folder = Path(made._cache.cache_path)
    if why := why_not_trusted(folder):
        made._cache = before
        _warn(why)
        return
    # numba has no public way to say it: without this only the function's own file counts.
    file: Any = getattr(made._cache, "_cache_file", None)
    if not hasattr(file, "_source_stamp"):
        return
    file._source_stamp = _stamp()
    _folders.add(folder)
    compile = made.compile

    def compile_once(*given: Any) -> Any:
        """Load what is on the disk; compile what nobody else compiles, else wait for that."""
        types = given[0] if given else made._sig  # a function for C has types of its own
        with global_compiler_lock:  # before the other lock: never wait for it holding that
            if _is_kept(made, types):
                return compile(*given)
            missing()
            with _alone(folder, file._index_name), _no_collection():
                _remove_stale(folder)
                if given or _is_kept(made, types):
                    return compile(*given)
                _enter(made.__name__)  # numba tells of those that Python calls
                usual, config.OPT = config.OPT, FOR_C
                try:
                    return compile()
                finally:
                    config.OPT = usual
                    _leave()

    made.compile = compile_once


def keeps() -> bool:
    """Whether what is compiled goes to the disk."""
    return bool(_folders)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without Python's garbage collector, which takes a sixth of the time that numba compiles."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@contextmanager
def _alone(folder: Path, name: str) -> Iterator[None]:
    """Wait while another process is inside such a block for this name; not for ever.

    A byte of one file stands for each name.  Such locks end with their process.
    """
    place, held = crc32(name.encode()), False
    end = time.monotonic() + PATIENCE
    with suppress(OSError, ImportError):  # no locks on this system, or in this folder
        import fcntl

        descriptor = _lock_file(folder)
        while not held and time.monotonic() < end:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
                held = True
            except BlockingIOError:
                time.sleep(0.005)
    try:
        yield
    finally:
        if held:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, place)


@cache
def _lock_file(folder: Path) -> int:
    """Opened once: to close any descriptor of a file is to give up all locks on it."""
    return os.open(folder / "nnx.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@cache
def _remove_stale(folder: Path) -> None:
    """Remove what was compiled from other sources, once in a process that compiles.

    numba writes over the code of a function that has changed, but leaves that of one which moved
    to another line, or is gone.  An index holds the stamp that it was made with.
    """
    suffix = f".py{sys.version_info[0]}{sys.version_info[1]}{getattr(sys, 'abiflags', '')}.nbi"
    for index in folder.glob(f"*{suffix}"):
        with suppress(OSError):
            if _stamp().encode() not in index.read_bytes():
                for path in (index, *folder.glob(f"{glob.escape(index.stem)}.*.nbc")):
                    path.unlink()


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


_here = threading.local()  # how many functions are being compiled in this thread, one in another


def _enter(name: str) -> None:
    """Tell of what is compiled, but not of its parts."""
    _here.depth = getattr(_here, "depth", 0) + 1
    if _here.depth == 1:
        began(name)


def _leave() -> None:
    _here.depth -= 1


class _Compilations(event.Listener):  # type: ignore[misc]
    def on_start(self, event: Any) -> None:
        _enter(getattr(event.data.get("dispatcher"), "__name__", "a kernel"))

    def on_end(self, event: Any) -> None:
        _leave()


event.register("numba:compile", _Compilations())


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

"""`compiled`: numba's `njit`, quiet, without the GIL, and with a cache that is never stale.

numba keeps compiled code on disk beside the source, or where that is read-only in the user's cache
folder (`NUMBA_CACHE_DIR` chooses another).  It compiles again when the function's *own file*
changes; but code of the functions that it calls is part of what is kept, and those stand in other
files of `jit/`.  So the stamp it compares is made of all files there, in all folders.

A function can only be kept if it stands at the top of its module.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.ccallback import CFunc

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
    """Let numba keep on disk what it will compile, unless no folder can be written."""
    try:
        made.enable_caching()
    except RuntimeError:
        return
    # numba has no public way to say it: without this only the function's own file counts.
    file = getattr(made._cache, "_cache_file", None)
    if hasattr(file, "_source_stamp"):
        file._source_stamp = _stamp()  # type: ignore[union-attr]


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

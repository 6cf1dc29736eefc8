"""A fixed number of threads while the parts of a batch are computed.

BLAS adds up a product's terms in another order with another number of threads, so the number
belongs to the result.  Ranks that are threads of one process share BLAS: the first that enters sets
the number, the last that leaves restores what was.  (Where BLAS is built on OpenMP, the number is
each thread's own, and each sets its own.)
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..backends import jit_enabled
from ..backends.blas import libraries
from ..backends.forks import renew_in_child

_lock = threading.Lock()
_inside = 0
_before: list[tuple[Any, int]] = []


def _in_child() -> None:
    """A forked child cannot wait for a thread it does not have."""
    global _lock
    _lock = threading.Lock()


renew_in_child(_in_child)


@contextmanager
def fixed_threads(n: int) -> Iterator[None]:
    """BLAS and the compiled kernels compute with n threads inside a `with` block."""
    global _inside
    with _lock:
        own = [_change(library, n) for library in libraries() if _each_thread(library)]
        if _inside == 0:
            _before.extend(_change(lib, n) for lib in libraries() if not _each_thread(lib))
            if jit_enabled():
                from ..backends.jit.codegen import threads

                _before.append((None, threads.set_thread_count(n) or 0))
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            for library, before in own:
                _set(library, before)
            if _inside == 0:
                _restore()


def _each_thread(library: Any) -> bool:
    return getattr(library, "threading_layer", None) == "openmp"


def _change(library: Any, n: int) -> tuple[Any, int]:
    """Set the number of threads; the library, and what it was."""
    before = library.get_num_threads()
    if before != n:
        _set(library, n)
    return library, before


def _set(library: Any, n: int) -> None:
    # threadpoolctl lets one thread alone set the number, and ignores the others without a word:
    # here they take turns.
    free = getattr(library, "clear_controlling_thread", None)
    if free is not None:
        free(force=True)
    library.set_num_threads(n)
    if free is not None:
        free(force=True)


def _restore() -> None:
    while _before:
        library, before = _before.pop()
        if library is not None:
            _set(library, before)
        else:
            from ..backends.jit.codegen import threads

            threads.set_thread_count(before or None)

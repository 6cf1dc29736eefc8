"""A fixed number of threads while the parts of a batch are computed.

BLAS adds up a product's terms in another order with another number of threads, so the number
belongs to the result.  Ranks that are threads of one process share BLAS: the first that enters sets
the number, the last that leaves restores what was.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..backends import jit_enabled

_lock = threading.Lock()
_inside = 0
_before: list[tuple[Any, int]] = []
_blas: list[Any] | None = None


@contextmanager
def fixed_threads(n: int) -> Iterator[None]:
    """BLAS and the compiled kernels compute with n threads inside a `with` block."""
    global _inside
    with _lock:
        if _inside == 0:
            _set(n)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore()


def _set(n: int) -> None:
    global _blas
    if _blas is None:
        from threadpoolctl import ThreadpoolController

        _blas = ThreadpoolController().select(user_api="blas").lib_controllers
    for library in _blas:
        before = library.get_num_threads()
        if before != n:
            _before.append((library, before))
            library.set_num_threads(n)
    if jit_enabled():
        from ..backends.jit.codegen import threads

        if threads.thread_count() != n:
            _before.append((None, threads.set_thread_count(n) or 0))


def _restore() -> None:
    while _before:
        library, before = _before.pop()
        if library is not None:
            library.set_num_threads(before)
        else:
            from ..backends.jit.codegen import threads

            threads.set_thread_count(before or None)

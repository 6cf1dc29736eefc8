"""One pool of threads at a time.

Three libraries would like to keep every core busy: BLAS, numba, and whoever calls both.  Two
pools in one training step cost more than they bring: a BLAS thread goes on spinning for
milliseconds after its product is done, on the core that the next compiled kernel wants.  So here
the compiled kernels are single-threaded and release the GIL (`@njit(nogil=True)`, which also
compiles in half the time of `parallel=True`), and *this* file splits the work:

    split(kernel, n, *args)     runs kernel(lo, hi, *args) over parts of range(n), on all threads
    matmul(a, b)                a product, its rows split likewise, BLAS with one thread in each

`matmul` is for the dense layers of a network whose other layers call `split`: BLAS never wakes its
own threads between two compiled kernels.  A network of dense layers alone is left to BLAS.  Nothing
is changed for the caller's own use of BLAS.

The pool is made at its first use, and made again in a forked child, which has no threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np

from ....typing import Array
from ...blas import libraries
from ...cpu.memory import empty
from ...forks import processors, renew_in_child
from ...meter import in_turn, is_measuring
from .. import thresholds

MOST = 1024  # threads that may be asked for


class _Job:
    """One part of a split: what to run, and whether it is done."""

    __slots__ = ("args", "done", "error", "run")

    def __init__(self, run: Callable[..., None], args: tuple[Any, ...]) -> None:
        self.run, self.args = run, args
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class _Pool:
    """Worker threads, one less than there are cores: the caller works too."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.size = 1
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        for k in range(thread_count() - 1):
            try:
                threading.Thread(target=self._work, name=f"nnx-{k + 1}", daemon=True).start()
            except (RuntimeError, MemoryError):  # no more memory or processes for a thread
                break
            self.size += 1

    def _work(self) -> None:
        while (job := self.jobs.get()) is not None:
            try:
                job.run(*job.args)
            except BaseException as error:
                job.error = error
            finally:
                job.done.release()
                del job  # its arrays must not live until the next job


_pool: _Pool | None = None
_guard = threading.Lock()
_set: int | None = None
_found: int | None = None  # what the environment and the system said when they were asked
_compiled_kernels_run = False


def thread_count() -> int:
    """How many threads compute: `set_thread_count`, else `NNX_NUM_THREADS`, else
    `OMP_NUM_THREADS`, else one for each core this process may use.

    The environment and the system are asked once; `set_thread_count(None)` asks them again.
    """
    global _found
    if _set is not None:
        return _set
    if _found is None:
        _found = _environment_count() or processors()
    return _found


def _environment_count() -> int | None:
    """What the environment says, if it says something.

    Raises:
        ValueError: NNX_NUM_THREADS is no number of threads.  OMP_NUM_THREADS, which others read
            too and which may be a list, is then passed over.
    """
    for name in ("NNX_NUM_THREADS", "OMP_NUM_THREADS"):
        value = os.environ.get(name, "").strip()
        if value.isascii() and value.isdecimal() and len(value) <= 4 and 0 < int(value) <= MOST:
            return int(value)
        if value and name == "NNX_NUM_THREADS":
            raise ValueError(f"{name} must be a whole number from 1 to {MOST}, got {value!r:.40}")
    return None


def set_thread_count(n: int | None) -> int | None:
    """Compute with n threads from now on; None asks the environment again.  Returns what was set
    before."""
    global _set, _found, _pool
    if n is not None and not (isinstance(n, int) and 1 <= n <= MOST):
        raise ValueError(f"set_thread_count: n must be a whole number from 1 to {MOST}, got {n!r}")
    with _guard:
        before, _set, _found = _set, n, None
        if _pool is not None and _pool.pid == os.getpid():
            for _ in range(_pool.size - 1):
                _pool.jobs.put(None)
        _pool = None
    return before


def _the_pool() -> _Pool:
    global _pool
    pool = _pool
    if pool is None or pool.pid != os.getpid():
        with _guard:
            if _pool is None or _pool.pid != os.getpid():
                _pool = _Pool()
            pool = _pool
    return pool


def parts(n: int, least: int = 1) -> list[tuple[int, int]]:
    """range(n) in as many even parts as there are threads, none shorter than `least`."""
    count = max(1, min(thread_count(), n // max(1, least)))
    return [(n * k // count, n * (k + 1) // count) for k in range(count)]


def split(kernel: Callable[..., None], n: int, *args: Any, least: int = 1) -> None:
    """Run `kernel(lo, hi, *args)` so that the parts lo..hi together are range(n).

    The kernel must release the GIL and write only what belongs to its own part.  A thread is not
    bothered for fewer than `least` items.  An error in any part is raised here.
    """
    global _compiled_kernels_run
    _compiled_kernels_run = True
    if n < 2 * least or thread_count() == 1:
        kernel(0, n, *args)
    else:
        _run(kernel, parts(n, least), args)


def _run(
    kernel: Callable[..., None], pieces: Sequence[tuple[int, ...]], args: tuple[Any, ...]
) -> None:
    if len(pieces) == 1:
        kernel(*pieces[0], *args)
        return
    if is_measuring():
        in_turn(kernel, pieces, *args)
        return
    pool = _the_pool()
    if pool.size == 1:  # no thread could be started
        for piece in pieces:
            kernel(*piece, *args)
        return
    jobs = [_Job(kernel, (*piece, *args)) for piece in pieces[1:]]
    for job in jobs:
        pool.jobs.put(job)
    try:
        kernel(*pieces[0], *args)
    finally:
        for job in jobs:
            job.done.acquire()
    for job in jobs:
        if job.error is not None:
            raise job.error


def compiled_kernels_run() -> bool:
    """Whether this process has computed with `split`: dense layers then use `matmul` below."""
    return _compiled_kernels_run


# ---- BLAS ----

_blas_lock = threading.RLock()
_blas_before: list[int] | None = None  # threads as the user has them, where they are set to one


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """BLAS computes with one thread inside a `with` block (2 µs: libraries are found once)."""
    global _blas_before
    with _blas_lock:
        found = libraries()
        before = [library.get_num_threads() for library in found]
        if _blas_before is None:
            _blas_before = before
        for library, n in zip(found, before, strict=True):
            if n != 1:
                library.set_num_threads(1)
        try:
            yield
        finally:
            for library, n in zip(found, before, strict=True):
                if n != 1:
                    library.set_num_threads(n)
            if _blas_before is before:
                _blas_before = None


def _product(lo: int, hi: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a[lo:hi], b, out=out[lo:hi])


def _product_of_columns(lo: int, hi: int, a: Array, b: Array, out: Array) -> None:
    np.matmul(a, b[:, lo:hi], out=out[:, lo:hi])


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """a (M, K) x b (K, N) -> (M, N), the longer side of the result split over the threads."""
    m, k = a.shape
    n = b.shape[1]
    if out is None:
        out = empty((m, n), np.result_type(a, b))
    with one_blas_thread():
        if m * n * k < thresholds.PRODUCT_THREAD or thread_count() == 1:
            return np.matmul(a, b, out=out)
        if m >= n:
            _run(_product, parts(m, 16), (a, b, out))
        else:
            _run(_product_of_columns, parts(n, 16), (a, b, out))
    return out


# ---- forks ----


def _in_child() -> None:
    """A forked child has no threads but its own, and nobody who would release what others held."""
    global _guard, _blas_lock, _blas_before, _pool
    _guard, _blas_lock, _pool = threading.Lock(), threading.RLock(), None
    if _blas_before is not None:
        for library, n in zip(libraries(), _blas_before, strict=True):
            library.set_num_threads(n)
    _blas_before = None


renew_in_child(_in_child)

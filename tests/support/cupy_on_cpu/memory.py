"""Arrays of CuPy's on host memory, and the one way in which work is done on them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cupy
import numpy as np

from cupy_on_cpu.ledger import note

ALIGNMENT = 512  # bytes, as CUDA's allocations have
POISON = 0xFF  # NaN in every floating dtype


def allocate(size: int) -> Any:
    """An allocator for `cupy.cuda.set_allocator`."""
    memory = (ctypes.c_byte * (size + ALIGNMENT))()
    at = -(-ctypes.addressof(memory) // ALIGNMENT) * ALIGNMENT
    ctypes.memset(at, POISON, size)
    return cupy.cuda.MemoryPointer(cupy.cuda.UnownedMemory(at, max(size, 1), memory, 0), 0)


class _Memory:
    """What NumPy reads an array's memory from, and what keeps that alive."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.__array_interface__ = {
            "version": 3,
            "shape": array.shape,
            "strides": array.strides,
            "typestr": array.dtype.str,
            "data": (array.data.ptr, False),
        }


def host(value: Any) -> Any:
    """The same memory as an array of NumPy's; lists and tuples part by part; others as they are."""
    if isinstance(value, cupy.ndarray):
        return np.asarray(_Memory(value)) if value.size else np.empty(value.shape, value.dtype)
    if type(value) in (list, tuple):
        return type(value)(host(part) for part in value)
    if isinstance(value, dict):
        return {key: host(part) for key, part in value.items()}
    return value


def new(values: Any) -> Any:
    """A new, contiguous array of CuPy's with the values of one of NumPy's."""
    values = np.asarray(values)
    array = cupy.ndarray(values.shape, values.dtype)
    if values.size:
        host(array)[...] = values
    return array


class _Current(threading.local):
    """What this thread's work is recorded into; None: it is done at once."""

    graph: list[Callable[[], None]] | None = None


current = _Current()


class _Forgotten(list[Callable[[], None]]):
    """Work that nobody will do, and that keeps no array alive."""

    def append(self, work: Callable[[], None]) -> None:
        pass


@contextmanager
def asked_only() -> Iterator[None]:
    """Nothing is computed inside the `with` but the shapes: to count launches of full size."""
    before, current.graph = current.graph, _Forgotten()
    try:
        yield
    finally:
        current.graph = before


def do(work: Callable[[], None]) -> None:
    """Now, or at each replay of the graph that is being recorded."""
    if current.graph is None:
        work()
    else:
        current.graph.append(work)


def compute(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    out: Any = None,
    launches: int = 1,
) -> Any:
    """What `function` makes of the arrays' host memory: a new array (or several), or `out`.

    While a graph is recorded nothing is computed but the shapes.
    """
    note("launches", name, launches)
    kwargs = kwargs or {}

    def result() -> Any:
        with np.errstate(all="ignore"):
            return function(*host(args), **host(kwargs))

    if out is None:
        first = result()
        out = _empty(first)
        if current.graph is None:
            _write(out, first)
            return out
    do(lambda: _write(out, result()))
    return out


def _empty(values: Any) -> Any:
    if isinstance(values, tuple | list):
        return type(values)(_empty(v) for v in values)
    values = np.asarray(values)
    return cupy.ndarray(values.shape, values.dtype)


def _write(out: Any, values: Any) -> None:
    if isinstance(out, tuple | list):
        for part, value in zip(out, values, strict=True):
            _write(part, value)
    elif out.size:
        host(out)[...] = values


def wait(name: str) -> None:
    """The host waits here for the device; refused while a stream is captured."""
    note("waits", name)
    _refused_in_capture()


def send(name: str) -> None:
    """A copy from host memory that may change afterwards; refused while a stream is captured."""
    note("sent", name)
    _refused_in_capture()


def _refused_in_capture() -> None:
    if current.graph is not None:
        raise cupy.cuda.runtime.CUDARuntimeError(900)  # not permitted when stream is capturing


def refuse_host_arrays(name: str, args: Any) -> None:
    """CuPy takes no array of NumPy's that is not 0-d."""
    for value in args:
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError(f"{name}: Unsupported type {type(value)}")

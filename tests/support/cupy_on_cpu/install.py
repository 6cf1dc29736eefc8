"""Putting the replacements in their places, and what was there back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

MISSING = object()


@contextmanager
def installed() -> Iterator[Any]:
    """CuPy computes on host memory inside the `with`; yields a `CupyBackend`."""
    import cupy

    from cupy_on_cpu.memory import allocate
    from nnx import backends

    before = [(owner, name, vars(owner).get(name, MISSING)) for owner, name, _ in _replacements()]
    allocator = cupy.cuda.get_allocator()
    known = dict(backends._by_name), dict(backends._by_type)
    for owner, name, value in _replacements():
        setattr(owner, name, value)
    cupy.cuda.set_allocator(allocate)
    backend = _backend()
    backend._ones.clear()  # what one test only asked for is not there for the next
    try:
        yield backend
    finally:
        cupy.cuda.set_allocator(allocator)
        for owner, name, value in before:
            if value is MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
        for table, entries in zip((backends._by_name, backends._by_type), known, strict=True):
            for key in set(table) - set(entries):  # what was made on this device
                if "cupy" in str(key):
                    del table[key]


@cache
def _backend() -> Any:
    """One for all tests, so that what one test compiles serves the next."""
    from nnx.backends.cupy import CupyBackend

    return CupyBackend()


@cache
def _replacements() -> list[tuple[Any, str, Any]]:
    """(owner, name, what takes its place), each once: the last word counts."""
    import array_api_compat.cupy as compat
    import cupy

    import nnx.backends.cupy as ours
    from cupy_on_cpu import functions, methods, runtime

    found: dict[tuple[int, str], tuple[Any, str, Any]] = {}

    def replace(owner: Any, name: str, value: Any) -> None:
        found[id(owner), name] = (owner, name, value)

    for name, value in functions.replacements():
        # array-api-compat has names of its own for some, and took all by value
        for alias, theirs in vars(compat).items():
            if theirs is getattr(cupy, name):
                replace(compat, alias, value)
        replace(cupy, name, value)
    for name, value in methods.replacements():
        replace(cupy.ndarray, name, value)
    for owner, name, value in runtime.replacements():
        replace(owner, name, value)
    replace(ours, "compile_kernel", runtime.compile_kernel)
    replace(ours, "resident_blocks", runtime.resident_blocks)
    replace(ours, "processors", runtime.processors)
    replace(ours, "load_library", lambda: runtime.cublas.namespace)
    return list(found.values())

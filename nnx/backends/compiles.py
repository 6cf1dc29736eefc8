"""Who wants to know that kernels are compiled: `listening`.

numba compiles a kernel when it is first called for its arguments' types, once for a processor; that
takes seconds, in which nothing else seems to happen.  Somebody may listen before numba is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], None]] = []


@contextmanager
def listening(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell(name)` whenever a kernel begins to be compiled, inside a `with` block.

    What is compiled as a part of another kernel is not told, nor what is read from the disk.
    """
    _listeners.append(tell)
    try:
        yield
    finally:
        _listeners.remove(tell)


def began(name: str) -> None:
    """Say that a kernel of this name is being compiled now."""
    for tell in list(_listeners):
        tell(name)

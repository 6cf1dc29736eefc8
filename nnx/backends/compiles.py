"""Who wants to know that kernels are compiled: `listening`.

numba compiles a kernel when it is first called for its arguments' types, once for a processor; that
takes seconds, in which nothing else seems to happen.  Somebody may listen before numba is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], None]] = []
_first: list[Callable[[], None]] = []
_others: list[Callable[[], tuple[int, int]]] = []


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


@contextmanager
def at_the_first(
    begin: Callable[[], None], others: Callable[[], tuple[int, int]]
) -> Iterator[None]:
    """Call `begin()` before the first kernel that is compiled inside a `with` block, if one is.

    Args:
        begin: has other processes help.
        others: how many kernels they have begun, and how many there are to be, 0 if nobody knows.
    """
    _first.append(begin)
    _others.append(others)
    try:
        yield
    finally:
        _others.remove(others)
        if begin in _first:
            _first.remove(begin)


def by_others() -> tuple[int, int]:
    """How many kernels other processes have begun for this one, and how many it will need in all,
    0 if nobody knows."""
    return _others[-1]() if _others else (0, 0)


def missing() -> None:
    """Say that a kernel is going to be compiled, before anything is done for it."""
    while _first:
        _first.pop()()


def began(name: str) -> None:
    """Say that a kernel of this name is being compiled now."""
    for tell in list(_listeners):
        tell(name)


def forget() -> None:
    """Nobody listens, and nobody helps: in a process that itself helps another."""
    for those in (_listeners, _first, _others):
        those.clear()

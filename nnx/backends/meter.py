"""`Meter`: how much memory NumPy's arrays take, and took at most, between two moments."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..scoped import Block, Scoped
from .cpu import memory
from .cpu.memory import keeping_nothing

__all__ = ["Meter", "can_measure", "keeping_nothing"]

_measuring: Scoped[bool] = Scoped("nnx memory measured")
_together = 0  # bytes, as `in_turn` found them since the peak was last asked for


class Meter:
    """Counts memory for as long as it lives, by Python's `tracemalloc`.

    What was there before is not counted, but for what lies ready for use again (`cpu.memory`); nor
    is what compiled code takes for itself.  Where the caller counts already, its peak begins anew.
    """

    def __init__(self) -> None:
        self._ready = memory.idle_bytes()
        self._ours = not tracemalloc.is_tracing()
        if self._ours:
            tracemalloc.start()

    def __del__(self) -> None:
        if self._ours:
            tracemalloc.stop()
        memory.forget()

    def read(self) -> tuple[int, int]:
        """How many bytes are in use, without those that lie ready for use again; and the most that
        were taken since the last reading, with them.
        """
        live = tracemalloc.get_traced_memory()[0]
        return live + self._ready - memory.idle_bytes(), _peak() + self._ready

    def forget(self) -> None:
        """Give back what lies ready for use again."""
        memory.forget()
        self._ready = 0


def measuring() -> Block[bool]:
    """A `with` block in which what threads would compute is computed `in_turn`."""
    return _measuring(True)


def is_measuring() -> bool:
    return bool(_measuring.open) and _measuring.get() is True


def in_turn(kernel: Callable[..., None], parts: Iterable[tuple[int, ...]], *args: Any) -> None:
    """Run `kernel(*part, *args)` for one part after another, and count their memory as if each were
    computed by a thread of its own and all were at their most together.

    Whether they are depends on the moment at which the system lets a thread run: so a model would
    take another amount of memory each time it is measured.
    """
    global _together
    most, together = _peak(), tracemalloc.get_traced_memory()[0]
    with keeping_nothing():
        for part in parts:
            before = tracemalloc.get_traced_memory()[0]
            kernel(*part, *args)
            together += max(0, _peak() - before)
    _together = max(most, together)


def _peak() -> int:
    """The most that was taken since this was asked before."""
    global _together
    peak = max(tracemalloc.get_traced_memory()[1], _together)
    tracemalloc.reset_peak()
    _together = 0
    return peak


def forget() -> None:
    """Give back what lies ready for use again, so that a first step finds nothing."""
    memory.forget()


def can_measure(array: Any) -> bool:
    """Whether `Meter` sees the memory of an array: that of NumPy, or of a library that wraps it."""
    return isinstance(array, np.ndarray) or type(array).__module__.startswith("array_api_strict.")

"""`Meter`: how much memory NumPy's arrays take, and took at most, between two moments."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np

from .cpu import memory
from .cpu.memory import keeping_nothing

__all__ = ["Meter", "can_measure", "keeping_nothing"]


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
        live, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        return live + self._ready - memory.idle_bytes(), peak + self._ready

    def forget(self) -> None:
        """Give back what lies ready for use again."""
        memory.forget()
        self._ready = 0


def forget() -> None:
    """Give back what lies ready for use again, so that a first step finds nothing."""
    memory.forget()


def can_measure(array: Any) -> bool:
    """Whether `Meter` sees the memory of an array: that of NumPy, or of a library that wraps it."""
    return isinstance(array, np.ndarray) or type(array).__module__.startswith("array_api_strict.")

"""SIGTERM and SIGHUP: a system that shuts down, a terminal that was closed."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from .interrupt import Interrupted

_NAMES = ("SIGTERM", "SIGHUP")  # the second is not there on Windows


class Terminations:
    """While a `with` block runs, the first such signal is only noted; the second ends at once.

    Whoever asks a process to end by these gives it some seconds, enough to complete a step and to
    write a checkpoint.  Where a signal is ignored (`nohup`) or somebody else handles it, and
    outside the main thread, nothing is changed.

    Attributes:
        number: the signal that came, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """Raise Interrupted if the process was asked to end."""
        if self.number is not None:
            raise Interrupted

    def leave(self) -> None:
        """End the process as it was asked to: with the status of one that the signal ended."""
        if self.number is not None:
            raise SystemExit(128 + self.number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise SystemExit(128 + number)
        self.number = number

    def __enter__(self) -> Self:
        self.number = None
        if threading.current_thread() is threading.main_thread():
            for name in _NAMES:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                    self._before[number] = signal.SIG_DFL
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(ValueError):  # of another thread than the main one
            for number, handler in self._before.items():
                signal.signal(number, handler)
        self._before = {}

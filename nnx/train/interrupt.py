"""Ctrl-C, heard between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupted(Exception):
    """The user asked to stop, and the step that was running is complete."""


class Interrupts:
    """While a `with` block runs, the first Ctrl-C is only noted; the second interrupts at once.

    An interrupt in the middle of an optimizer's step would leave some parameters updated and
    others not, and a checkpoint of that could not be resumed exactly.  Where someone else already
    handles the signal, and outside the main thread, which alone receives it, nothing is changed.

    Args:
        tell: whether it is said what Ctrl-C does.

    Attributes:
        pending: whether Ctrl-C was pressed.
    """

    pending = False

    def __init__(self, tell: bool = True) -> None:
        self.tell = tell

    def check(self) -> None:
        """Raise Interrupted if Ctrl-C was pressed."""
        if self.pending:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True
        if self.tell:
            print("\nCtrl-C: ending after this step (again: at once)", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        self.pending = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if self._before is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._note)
            else:
                self._before = None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

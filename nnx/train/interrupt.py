"""Ctrl-C, heard between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self


class Interrupted(Exception):
    """The user asked to stop, and the step that was running is complete."""


class _Block:
    """Lives as long as the `with` block that it was made for."""


class Interrupts:
    """While `heard()` runs, the first Ctrl-C is only noted; the second interrupts at once.

    An interrupt in the middle of an optimizer's step would leave some parameters updated and
    others not, and a checkpoint of that could not be resumed exactly.  Where someone else already
    handles the signal, and outside the main thread, which alone receives it, nothing is changed.

    Args:
        tell: whether it is said what Ctrl-C does.
    """

    def __init__(self, tell: bool = True) -> None:
        self.tell, self.pressed = tell, False
        self.block: weakref.ref[_Block] | None = None  # the one that is running

    def __getstate__(self) -> dict[str, Any]:
        """Without the block, which lives in this process alone."""
        return {**vars(self), "block": None}

    @property
    def pending(self) -> bool:
        """Whether Ctrl-C was pressed, in the block that is running."""
        return self.pressed and self.block is not None and self.block() is not None

    def check(self) -> None:
        """Raise Interrupted if Ctrl-C was pressed."""
        if self.pending:
            raise Interrupted

    @contextmanager
    def heard(self) -> Iterator[Self]:
        """Note the first Ctrl-C inside a `with` block.

        The second one may strike anywhere, also where the block is being left.  So the handler is
        bound to an object that the block alone holds: when that is gone, the handler before takes
        its place again.
        """
        self.pressed = False
        before = signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        if main and before is signal.default_int_handler:
            block = _Block()
            handler = _Handler(self, block)
            self.block = handler.block
            signal.signal(signal.SIGINT, handler.hear)
            yield self
            del block
        else:
            yield self


class _Handler:
    """What SIGINT calls while a block lives."""

    def __init__(self, interrupts: Interrupts, block: _Block) -> None:
        self.interrupts = interrupts
        self.block = weakref.ref(block, self.leave)

    def hear(self, number: int, frame: FrameType | None) -> None:
        if self.block() is None:
            self.leave()
            raise KeyboardInterrupt
        if self.interrupts.pressed:
            raise KeyboardInterrupt
        self.interrupts.pressed = True
        if self.interrupts.tell:
            print("\nCtrl-C: ending after this step (again: at once)", file=sys.stderr, flush=True)

    def leave(self, _: object = None) -> None:
        """Give the signal back, as far as this thread may."""
        with suppress(ValueError):
            if signal.getsignal(signal.SIGINT) == self.hear:
                signal.signal(signal.SIGINT, signal.default_int_handler)

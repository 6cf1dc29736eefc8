"""Compiling what a step will call, in other processes, while this one begins to compute.

Most of a compilation is numba's own Python, so threads do not help, and processes do.  They are
forked, know everything that this one knows, and hand over what they compiled on the disk.

Which functions a step calls, and with which types, the step itself tells: a forked child runs it
with compiled functions that do nothing but note their arguments' types (`_noted`).  What it changes
there, parameters or random numbers, ends with the child.  Where a step depends on numbers that are
then missing it fails in the middle, and what comes later is compiled when it is met.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

from ... import compiles
from . import compiling, threads

COUNTED = 8  # bytes of a number in a pipe

Step = Callable[[], None]
Work = list[tuple[Any, Any]]  # functions, and the types for which they are to be compiled


def can_help() -> bool:
    """Whether others can compile for this process: by a fork that is safe, and a disk."""
    return sys.platform == "linux" and compiling.keeps()


class Helpers:
    """Processes that compile what some steps call, as far as it is not on the disk.

    Args:
        steps: each is run in a child; an error in one ends that one.
        count: how many processes, at least 1.
        backwards: whether they begin with what is called last, since somebody else begins with
            the first.

    Raises:
        OSError: no process could be started.
    """

    def __init__(self, steps: list[Step], count: int, backwards: bool = False) -> None:
        self.total = 0  # functions that were to be compiled; 0 until that is known
        self.begun: list[str] = []  # the names of those that a helper began
        self._rest = b""
        cpu_target.target_context.refresh()  # what numba knows, read once for all of them
        self._out, into = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forks with threads
            try:
                self._child = os.fork()
            except OSError:
                os.close(self._out)
                os.close(into)
                raise
        if self._child == 0:
            try:
                _help(steps, count, backwards, into)
            finally:
                os._exit(0)
        os.close(into)

    def read(self) -> bool:
        """Wait for news, and take it in; False where there will be no more."""
        data = os.read(self._out, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.isdigit():
                self.total = int(line)
            else:
                self.begun.append(line.decode())
        return bool(data)

    def wait(self, seconds: float) -> None:
        """Wait until it is known how much is to be done; no longer than this."""
        end = time.monotonic() + seconds
        while not self.total and (left := end - time.monotonic()) > 0:
            if not select.select([self._out], [], [], left)[0] or not self.read():
                return

    def look(self) -> None:
        """Take in what news there are, without waiting."""
        os.set_blocking(self._out, False)
        with suppress(BlockingIOError):
            while self.read():
                pass
        os.set_blocking(self._out, True)

    def end(self) -> None:
        """Let them do no more."""
        with suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGTERM)
        with suppress(ChildProcessError):
            os.waitpid(self._child, 0)
        os.close(self._out)


def _help(steps: list[Step], count: int, backwards: bool, into: int) -> None:
    """The life of a child."""
    compiles.forget()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    work = [one for one in _noted(steps) if not compiling.is_kept(*one)]
    if backwards:
        work.reverse()
    os.write(into, b"%d\n" % len(work))
    numbers, tickets = os.pipe()  # whoever reads the next number does that piece of work
    os.write(tickets, b"".join(k.to_bytes(COUNTED, "little") for k in range(len(work))))
    os.close(tickets)

    def tell(name: str) -> None:
        os.write(into, f"{name}\n".encode())

    above = os.getppid()
    for _ in range(min(count, len(work)) - 1):
        me = os.getpid()
        if os.fork() == 0:
            above = me
            break
    else:
        me = 0
    while (ticket := os.read(numbers, COUNTED)) and os.getppid() == above:
        function, types = work[int.from_bytes(ticket, "little")]
        with suppress(Exception):
            compiling.compile_now(function, types, tell)
    if me == 0:
        with suppress(ChildProcessError):
            while True:
                os.wait()


def _noted(steps: list[Step]) -> Work:
    """Which compiled functions the steps call, and for which types; none is executed.  This leaves
    the process good for nothing but compiling."""
    work: dict[tuple[Any, Any], None] = {}
    nothing = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value

    def note(dispatcher: Any, *args: Any, **kwargs: Any) -> Callable[..., None]:
        work[dispatcher, tuple(dispatcher.typeof_pyval(a) for a in args)] = None
        return lambda *args, **kwargs: None

    def stand_in(function: Callable[..., Any], signature: Any) -> Any:
        work[function, signature] = None
        return SimpleNamespace(address=nothing)  # what is compiled already may still call it

    Dispatcher._compile_for_args = note  # type: ignore[attr-defined]
    compiling.stand_in = stand_in
    threads.set_thread_count(1)
    warnings.simplefilter("ignore")
    with np.errstate(all="ignore"):
        for step in steps:
            with suppress(Exception):
                step()
    del Dispatcher._compile_for_args  # type: ignore[attr-defined]
    compiling.stand_in = None
    return list(work)

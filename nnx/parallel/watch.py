"""The watch: no rank waits for ever for one that has failed.

- An exception that nobody catches ends all ranks, not only its own.
- A rank that waits for another soon asks it how it is.  That one's watch, a thread of
  its own, answers: it waits itself; or it computes, and shows signs of life; or it shows none; or
  its program has come to its end.  A rank that answers nothing is dead or frozen.  In the last
  three cases there is nothing to wait for, and all ranks end.

A sign of life is: a message to another rank, a call of an operation, a look that finds the main
thread inside nnx, numba or an import.  Code of one's own that computes for long calls `alive()`.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol

from ..autograd import calls_made
from .communicator import CONTROL

TIMEOUT = 5.0  # seconds without a sign of life
EVERY = 0.1  # seconds between two looks of the watch
PATIENCE = 0.5  # seconds of waiting before the first question

_ROOT = str(Path(__file__).parent.parent) + os.sep
_BUSY = ("numba", "llvmlite", "importlib")  # at work, whoever called them
# Who called these, and the standard library, decides whether that is work or a hang.
_THROUGH = frozenset(
    (
        "array_api_compat click contextlib cupy matplotlib numpy PIL pooch requests rich "
        "threadpoolctl urllib3"
    ).split()
) | frozenset(sys.stdlib_module_names - {"importlib"})


def timeout() -> float:
    """Seconds without a sign of life after which a rank has failed: `NNX_PARALLEL_TIMEOUT`."""
    text = os.environ.get("NNX_PARALLEL_TIMEOUT", "")
    try:
        seconds = float(text or TIMEOUT)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise ValueError(f"NNX_PARALLEL_TIMEOUT must be a number of seconds above 0, got {text!r}")
    return seconds


def place_of(frame: FrameType | None) -> tuple[str, bool]:
    """Where a thread is, and whether it is at work there: in nnx, or what nnx has called.

    Where the parts of a batch run in threads of their own, the main thread only waits for them.
    """
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        room = name.partition(".")[0]
        if room not in _THROUGH:
            file = frame.f_code.co_filename
            ours = file.startswith(_ROOT) and not file.endswith("lockstep.py")
            busy = ours or room in _BUSY or file.startswith("<frozen importlib")
            return f"{file}, line {frame.f_lineno}, in {frame.f_code.co_name}", busy
        frame = frame.f_back
    return "", False


class Rank(Protocol):
    """What a watch asks of the rank that it answers for."""

    rank: int
    size: int

    @property
    def mpi(self) -> Any: ...

    def end(self) -> None: ...

    def abort(self, cause: str) -> None: ...


class Watch:
    """The thread of one rank that answers for it, and asks the others."""

    def __init__(self, rank: Rank, comm: Any) -> None:
        self.rank, self.comm, self.timeout = rank, comm, timeout()
        self.main = threading.main_thread().ident
        self.peers: dict[int, tuple[int, ...]] = {}  # per channel, for whom this rank waits
        self.since: dict[int, float] = {}
        self.asked: dict[int, float] = {}  # peers whose answer is due, and since when
        self.ended = False  # this rank's program
        self.over = False  # all of them
        self.calls = 0
        self.sign = time.monotonic()
        self.lock = threading.Lock()

    def start(self) -> None:
        self._excepthook = sys.excepthook
        sys.excepthook = self._uncaught
        atexit.register(self._end)
        self.thread = threading.Thread(target=self._run, name="nnx-watch", daemon=True)
        self.thread.start()

    # ---- what the rank tells its watch ----

    def alive(self) -> None:
        """A sign of life."""
        self.sign = time.monotonic()

    def waits(self, channel: int, peers: Sequence[int]) -> None:
        """This rank waits for these, or, where there are none, no longer."""
        with self.lock:
            if peers:
                self.peers[channel], self.since[channel] = tuple(peers), time.monotonic()
            else:
                self.peers.pop(channel, None)
                self.asked.clear()

    # ---- the end ----

    def _uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        text = "".join(traceback.format_exception(kind, error, trace))
        last = traceback.format_exception_only(kind, error)[-1].strip()
        self.rank.abort(f"rank {self.rank.rank} of {self.rank.size} failed: {last}\n{text}")

    def _end(self) -> None:
        self.ended = True
        self.rank.end()
        self.over = True
        self.thread.join()  # it must not call MPI once that is closed

    # ---- the thread ----

    def _run(self) -> None:
        try:
            while not self.over:
                time.sleep(EVERY)
                self._answer()
                self._ask()
        except Exception as error:
            self.rank.abort(f"rank {self.rank.rank} of {self.rank.size}: its watch failed: {error}")

    def _answer(self) -> None:
        """Answer whoever asks how this rank is; take in the answers of others."""
        status = self.rank.mpi.Status()
        while (message := self.comm.Improbe(status=status)) is not None:
            text = bytearray(status.Get_count(self.rank.mpi.BYTE))
            peer = status.Get_source()
            message.Recv([text, self.rank.mpi.BYTE])
            if text == b"?":
                self._send(peer, json.dumps(self._state()).encode())
            else:
                self._judge(peer, json.loads(text))

    def _send(self, to: int, text: bytes) -> None:
        request = self.comm.Isend([text, self.rank.mpi.BYTE], to)
        end = time.monotonic() + 1.0
        while not request.Test() and time.monotonic() < end:
            time.sleep(0.001)

    def _state(self) -> dict[str, Any]:
        with self.lock:
            waits = CONTROL in self.peers  # the main thread; the gradients' is another
        where, busy = self._where()
        calls = calls_made()
        if busy or calls != self.calls:
            self.calls = calls
            self.alive()
        silent = 0.0 if waits else time.monotonic() - self.sign
        return {"ended": self.ended, "silent": silent, "where": where}

    def _where(self) -> tuple[str, bool]:
        """Where the main thread is, and whether that is a place where it is at work."""
        return place_of(sys._current_frames().get(self.main or 0))

    def _ask(self) -> None:
        now = time.monotonic()
        with self.lock:
            long = {
                peer
                for channel, peers in self.peers.items()
                if now - self.since[channel] > PATIENCE
                for peer in peers
            }
            due = {p: t for p, t in self.asked.items() if p in long}
            self.asked = due | {p: now for p in long if p not in due}
        for peer in long - due.keys():
            self._send(peer, b"?")
        for peer, since in due.items():
            if now - since > self.timeout:
                self._failed(peer, f"it has not answered for {now - since:.0f} s")

    def _judge(self, peer: int, state: dict[str, Any]) -> None:
        with self.lock:
            if self.asked.pop(peer, None) is None:
                return  # the wait is over
        if state["ended"]:
            self._failed(peer, f"its program has ended, while rank {self.rank.rank} waits for it")
        elif state["silent"] > self.timeout:
            self._failed(
                peer,
                f"it hangs: no sign of life for {state['silent']:.0f} s, at {state['where']} "
                "(NNX_PARALLEL_TIMEOUT is how long to wait)",
            )

    def _failed(self, peer: int, cause: str) -> None:
        self.rank.abort(f"rank {peer} of {self.rank.size} failed: {cause}")

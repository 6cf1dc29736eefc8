"""Ranks as processes that MPI started: messages by mpi4py, and an end for all when one fails."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .communicator import CONTROL, Array, Communicator
from .watch import Watch

SPIN = 200  # polls before the first nap: a message that is on its way comes within these
NAP = 5e-5  # seconds; the shortest


class MPIRank(Communicator):
    """This process's rank in the MPI job.

    Waiting is done by asking, with naps between: MPI's own waiting keeps a processor busy, which
    here another thread of this rank, or another rank, has use for.

    Args:
        comm: an mpi4py communicator; all ranks of the job if not given.

    Raises:
        RuntimeError: the MPI library cannot be called by several threads.
    """

    name = "MPI"

    def __init__(self, comm: Any = None) -> None:
        from mpi4py import MPI

        if MPI.Query_thread() < MPI.THREAD_MULTIPLE:
            raise RuntimeError(
                "this MPI library does not let several threads call it (MPI_THREAD_MULTIPLE), "
                "which sending gradients during the backward pass needs"
            )
        self.mpi = MPI
        comm = MPI.COMM_WORLD if comm is None else comm
        self.rank, self.size = comm.Get_rank(), comm.Get_size()
        # Messages of two of these never meet: control, gradients, the watch's, and the end.
        self.comms = [comm.Dup() for _ in range(4)]
        self.watch = Watch(self, self.comms[2]) if self.size > 1 else None
        if self.watch is not None:
            self.watch.start()
        if "NNX_LAUNCH_ID" in os.environ and hasattr(signal, "SIGUSR1"):
            # `nnx launch` passes Ctrl-C on as this: the starter would end everything at once.
            signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGINT))

    def exchange(
        self,
        sends: Sequence[tuple[int, Array]],
        receives: Sequence[tuple[int, Array]],
        channel: int = CONTROL,
    ) -> None:
        comm = self.comms[channel]
        requests = [comm.Irecv(_bytes(vector), source) for source, vector in receives]
        requests += [comm.Isend(_bytes(vector), to) for to, vector in sends]
        peers = [source for source, _ in receives] or [to for to, _ in sends]
        self.wait(lambda: self.mpi.Request.Testall(requests), peers, channel)

    def send_bytes(self, to: int, message: bytes) -> None:
        request = self.comms[CONTROL].Isend([message, self.mpi.BYTE], to)
        self.wait(request.Test, [to], CONTROL)

    def receive_bytes(self, source: int) -> bytes:
        found: list[Any] = []

        def arrived() -> bool:
            status = self.mpi.Status()
            message = self.comms[CONTROL].Improbe(source, status=status)
            if message is None:
                return False
            found.extend((message, status.Get_count(self.mpi.BYTE)))
            return True

        self.wait(arrived, [source], CONTROL)
        message, length = found
        text = bytearray(length)
        message.Recv([text, self.mpi.BYTE])
        return bytes(text)

    def wait(self, ready: Callable[[], bool], peers: Sequence[int], channel: int) -> None:
        """Ask until it is so, and let the watch know for whom this rank waits meanwhile."""
        for _ in range(SPIN):
            if ready():
                break
        else:
            if self.watch is not None:
                self.watch.waits(channel, peers)
            nap = NAP
            while not ready():
                time.sleep(nap)
                nap = min(nap * 1.2, 2e-3)
            if self.watch is not None:
                self.watch.waits(channel, ())
        if self.watch is not None:
            self.watch.alive()

    def end(self) -> None:
        """At the end of the process: wait until all ranks have come to theirs."""
        request = self.comms[3].Ibarrier()
        while not request.Test():
            time.sleep(0.01)

    def abort(self, cause: str) -> None:
        """End all ranks, with one message: the lower rank speaks first, and then there is no
        second.  On a busy machine it takes the others a while to end."""
        time.sleep(min(1.0 * self.rank, 3.0))
        sys.stdout.flush()
        print(f"nnx: {cause}", file=sys.stderr, flush=True)
        self.mpi.COMM_WORLD.Abort(1)
        os._exit(1)


def _bytes(vector: Array) -> Array:
    """A contiguous vector as MPI takes it, without regard to its dtype."""
    return vector.view(np.uint8)

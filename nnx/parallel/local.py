"""Ranks as threads of one process: `LocalWorld(n)`, for tests and for counting what messages cost.

Their arrays travel through queues, copied as they would be by a network.  With a `Link` each rank
also has a clock that is not the wall's: a message arrives `latency` after it was sent and then
takes bytes/bandwidth, so an exchange among 512 ranks can be timed on two processors.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from ..random import Generator, default_generator, use_generator
from ..scoped import Block, Scoped
from .communicator import CONTROL, Array, Communicator, RankFailed

_rank: Scoped[Communicator] = Scoped("rank")


def this_rank() -> Communicator | None:
    """The rank of a LocalWorld that this thread computes for."""
    return _rank.get()


def as_rank(communicator: Communicator) -> Block[Communicator]:
    """Inside a `with` block `parallel.world()` is this communicator, in this thread."""
    return _rank(communicator)


@dataclass(frozen=True)
class Link:
    """What connects two ranks, each way.

    Args:
        latency: seconds for an empty message.
        bandwidth: bytes a second.
    """

    latency: float
    bandwidth: float


class LocalWorld:
    """n ranks, each a thread.

        def train():
            model = parallel.DataParallel(make_model(), parallel.world(), parts=8)
            ...
            return model.state_dict()

        states = LocalWorld(4).run(train)       # one for each rank

    Each rank draws from a generator of its own, a copy of the shared one, and has the active
    backend of whoever called.

    Args:
        n: how many ranks.
        link: count what messages cost, by this.
        timeout: seconds that a rank waits for another.

    Attributes:
        seconds: after `run`, with a link: the time on each rank's clock.

    Raises:
        ValueError: n is below 1.
    """

    def __init__(self, n: int, link: Link | None = None, timeout: float = 60.0) -> None:
        if n < 1:
            raise ValueError(f"LocalWorld: n must be at least 1, got {n}")
        self.n, self.link, self.timeout = n, link, timeout
        self.seconds = [0.0] * n

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> list[Any]:
        """Call a function in every rank.

        Args:
            function: called with args and kwargs.

        Returns:
            What it returned, by rank.

        Raises:
            RankFailed: a rank raised an error (it is the cause of this one), or did not answer.
            Exception: the error itself, where all ranks raised the same.
        """
        hub = _Hub(self.n, self.link, self.timeout)
        ranks = [LocalRank(hub, rank) for rank in range(self.n)]
        results: list[Any] = [None] * self.n
        state = default_generator().state()

        def body(rank: LocalRank) -> None:
            generator = Generator()
            generator.set_state(state)
            try:
                with as_rank(rank), use_generator(generator):
                    results[rank.rank] = function(*args, **kwargs)
            except BaseException as error:
                hub.errors[rank.rank] = error
                hub.fail(rank.rank, f"{type(error).__name__}: {error}")
            finally:
                hub.done[rank.rank].set()
                hub.waiting[rank.rank] = None

        for rank in ranks:
            context = contextvars.copy_context()
            threading.Thread(
                target=context.run, args=(body, rank), name=f"rank-{rank.rank}", daemon=True
            ).start()
        try:
            hub.wait()
        except BaseException:
            hub.fail(-1, "interrupted")
            raise
        self.seconds = [rank.clock for rank in ranks]
        if hub.failure is not None:
            raise self._failure(hub)
        return results

    def _failure(self, hub: _Hub) -> BaseException:
        assert hub.failure is not None
        rank, cause = hub.failure
        own = {r: e for r, e in hub.errors.items() if not isinstance(e, RankFailed)}
        if len(own) == self.n and len({f"{type(e)}{e}" for e in own.values()}) == 1:
            return own[0]
        failure = RankFailed(rank, cause)
        failure.__cause__ = hub.errors.get(rank)
        return failure


class _Hub:
    """What the ranks of a LocalWorld share."""

    def __init__(self, n: int, link: Link | None, timeout: float) -> None:
        self.n, self.link, self.timeout = n, link, timeout
        self.queues: dict[tuple[int, int, int], SimpleQueue[Any]] = defaultdict(SimpleQueue)
        self.lock = threading.Lock()
        self.failure: tuple[int, str] | None = None
        self.errors: dict[int, BaseException] = {}
        self.waiting: list[int | None] = [None] * n  # for which rank each one waits
        self.done = [threading.Event() for _ in range(n)]

    def queue(self, source: int, to: int, channel: int) -> SimpleQueue[Any]:
        with self.lock:
            return self.queues[source, to, channel]

    def fail(self, rank: int, cause: str) -> None:
        """Note the first failure; every rank that waits will see it."""
        with self.lock:
            if self.failure is None:
                self.failure = (rank, cause)

    def get(self, source: int, to: int, channel: int) -> Any:
        """The next message; an error where one has failed, or nobody answers."""
        queue = self.queue(source, to, channel)
        began = time.monotonic()
        if channel == CONTROL:
            self.waiting[to] = source
        try:
            while True:
                try:
                    return queue.get(timeout=0.05)
                except Empty:
                    pass
                if self.failure is not None:
                    raise RankFailed(*self.failure)
                if self.done[source].is_set() and queue.empty():
                    self.fail(source, f"it has ended, and rank {to} still waits for it")
                elif time.monotonic() - began > self.timeout:
                    culprit = self.culprit(source)
                    self.fail(culprit, f"it has not answered for {self.timeout:g} s")
        finally:
            if channel == CONTROL:
                self.waiting[to] = None

    def culprit(self, rank: int) -> int:
        """Who keeps the others waiting: the one that waits for nobody."""
        seen: set[int] = set()
        while (other := self.waiting[rank]) is not None and rank not in seen:
            seen.add(rank)
            rank = other
        return rank

    def wait(self) -> None:
        """Until all ranks have ended; a rank that hangs is left behind a while after a failure."""
        for event in self.done:
            while not event.wait(0.05):
                if self.failure is not None and not event.wait(2.0):
                    break


class LocalRank(Communicator):
    """One thread of a LocalWorld."""

    name = "threads of one process"

    def __init__(self, hub: _Hub, rank: int) -> None:
        self.hub, self.rank, self.size = hub, rank, hub.n
        self.clock = 0.0  # seconds, by the link

    def exchange(
        self,
        sends: Sequence[tuple[int, Array]],
        receives: Sequence[tuple[int, Array]],
        channel: int = CONTROL,
    ) -> None:
        link, sent = self.hub.link, self.clock
        arrived = sent
        for to, vector in sends:
            if link is not None:  # one after the other out of one socket
                sent += vector.nbytes / link.bandwidth
                arrived = sent + link.latency
            self.hub.queue(self.rank, to, channel).put((vector.copy(), arrived))
        latest = self.clock if link is None else sent
        for source, into in receives:
            vector, when = self.hub.get(source, self.rank, channel)
            if vector.shape != into.shape or vector.dtype != into.dtype:
                raise ValueError(
                    f"rank {self.rank} expects {into.dtype} {into.shape} from rank {source}, "
                    f"which sends {vector.dtype} {vector.shape}"
                )
            into[...] = vector
            latest = max(latest, when)
        self.clock = latest

    def send_bytes(self, to: int, message: bytes) -> None:
        self.hub.queue(self.rank, to, CONTROL).put((message, self.clock))

    def receive_bytes(self, source: int) -> bytes:
        message: bytes
        message, when = self.hub.get(source, self.rank, CONTROL)
        self.clock = max(self.clock, when)
        return message

    def abort(self, cause: str) -> None:
        self.hub.fail(self.rank, cause)
        raise RankFailed(self.rank, cause)

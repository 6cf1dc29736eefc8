"""The parts of one rank side by side, for layers that sum over the whole batch.

`SyncBatchNorm` needs the statistics of all parts before any part can go on.  So the parts run in a
thread each, but never two at once: a part runs until it comes to a sum, then the next one does;
when the last has come there, the sum is made, with the other ranks, and the first goes on.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..nn.norm.batch import summing
from .communicator import CONTROL, Array, Communicator
from .tree import Nodes, Span

T = TypeVar("T")


class _Stopped(Exception):
    """Another part failed."""


class Lockstep:
    """Runs a function for each of a rank's parts.

    Args:
        communicator: the ranks.
        parts: of the whole batch.
        mine: this rank's parts, first and end.
        told: whether some rank has no part with examples.  It cannot know which sums there are,
            and is told by rank 0, which always has one.
    """

    def __init__(self, communicator: Communicator, parts: int, mine: Span, told: bool) -> None:
        self.communicator, self.parts, self.mine, self.told = communicator, parts, mine, told
        self.turn = 0
        self.sums = 0  # made so far
        self.ended = 0  # parts
        self.changed = threading.Condition()
        self.failure: BaseException | None = None

    def run(self, function: Callable[[int], T], count: int) -> list[T]:
        """function(0), ..., function(count - 1), where each may call `nnx.nn.norm.batch`'s sum."""
        if count == 0:
            self._listen()
            return []
        self.count = count
        self.values: list[Array] = [None] * count
        results: list[Any] = [None] * count

        def body(k: int) -> None:
            try:
                self._wait(k, 0)
                with summing(lambda vector: self._sum(k, vector)):
                    results[k] = function(k)
            except _Stopped:
                pass
            except BaseException as error:
                self._fail(error)
            else:
                with self.changed:
                    self.ended += 1
                    self.turn = k + 1
                    self.changed.notify_all()

        threads = [
            threading.Thread(
                target=contextvars.copy_context().run, args=(body, k), name=f"part-{k}", daemon=True
            )
            for k in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failure is not None:
            raise self.failure
        if self.told:
            self.communicator.broadcast_value(None)
        return results

    def _sum(self, k: int, vector: Array) -> Array:
        """A vector of each part, float64, summed over all parts of all ranks."""
        if self.ended:
            raise RuntimeError(
                "SyncBatchNorm: the parts of a batch must go through the same layers, but one has "
                "ended and another comes to a sum"
            )
        self.values[k] = vector
        made = self.sums
        if k == self.count - 1:
            self.total = self._total([np.array(v, np.float64) for v in self.values])
            made += 1
        with self.changed:
            self.sums = made
            self.turn = (k + 1) % self.count
            self.changed.notify_all()
        self._wait(k, made if k == self.count - 1 else made + 1)
        return self.total

    def _wait(self, k: int, sums: int) -> None:
        with self.changed:
            while not (self.turn == k and self.sums >= sums):
                if self.failure is not None:
                    raise _Stopped
                self.changed.wait(0.5)

    def _fail(self, error: BaseException) -> None:
        with self.changed:
            self.failure = self.failure or error
            self.changed.notify_all()

    def _total(self, values: list[Array]) -> Array:
        if self.told:
            self.communicator.broadcast_value(len(values[0]))
        nodes = Nodes()
        for part, number in enumerate(range(*self.mine)):
            leaf = values[part] if part < len(values) else np.zeros_like(values[0])
            nodes.add((number, number + 1), leaf)
        return self.communicator.tree_sum(self.parts, nodes.take(), CONTROL)

    def _listen(self) -> None:
        """Take part in the others' sums, with zeros."""
        while (length := self.communicator.broadcast_value()) is not None:
            self._total_of_nothing(length)

    def _total_of_nothing(self, length: int) -> None:
        nodes = Nodes()
        for number in range(*self.mine):
            nodes.add((number, number + 1), np.zeros(length))
        self.communicator.tree_sum(self.parts, nodes.take(), CONTROL)

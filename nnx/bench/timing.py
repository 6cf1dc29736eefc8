"""Times of things that do the same, taken in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

try:
    import resource
except ImportError:  # Windows: a guard there finds every turn quiet
    resource = None  # type: ignore[assignment]

__all__ = ["Guard", "interleaved", "percentile"]

PAUSE = 0.12  # seconds: OpenBLAS's threads spin for about 0.1 s after a product
LOST = 0.1  # of a turn: where others had the core for longer, the turn was disturbed


class Guard:
    """Notices turns in which other work took the core away, and has them made again.

    The system counts how often a process was stopped for another one, and how long each thread has
    run: a thread that ran for less than the turn took, in a process that was stopped, has waited
    for its core.

    Args:
        patience: how many turns may be made again, in all.

    Attributes:
        turns: how many there were.
        disturbed: how many of them were disturbed and count all the same.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.turns = self.disturbed = 0

    def start(self) -> None:
        """A turn begins."""
        self._stops, self._ran, self._clock = _stops(), time.thread_time(), time.perf_counter()

    def again(self) -> bool:
        """Whether the turn that ends here was disturbed, and is to be made again."""
        took, ran = time.perf_counter() - self._clock, time.thread_time() - self._ran
        disturbed = _stops() > self._stops and took - ran > LOST * took
        if disturbed and self.patience > 0:
            self.patience -= 1
            return True
        self.turns += 1
        self.disturbed += disturbed
        return False

    def __str__(self) -> str:
        return f"{self.disturbed} of {self.turns} turns disturbed by other work"


def _stops() -> int:
    """How often the system has stopped a thread of this process to run something else."""
    return 0 if resource is None else resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def interleaved(
    steps: Mapping[str, Callable[[], Any]],
    rounds: int,
    seconds: float,
    least: int = 1,
    guard: Guard | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds that each step takes, many times over.

    A machine that does other things as well is slower now and quicker then: so the steps take
    turns, and a ratio of two of them is that of neighbours in time.

    Args:
        steps: what is timed, by name.
        rounds: how many turns each has.
        seconds: about how long a turn is counted.
        least: the fewest calls that are counted in a turn; so many, or one less, are made before.
        guard: has disturbed turns made again; None: all count.
        clock: `time.process_time` counts what the process has computed, in all its threads, and
            not what it waited for others: for one thread on a busy machine.
    """
    counts = {}
    for name, step in steps.items():
        for _ in range(least):  # caches, compilation
            step()
        start = time.perf_counter()
        step()
        counts[name] = max(least, int(seconds / (time.perf_counter() - start)))
    guard = guard or Guard(0)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            turn = _turn(step, counts[name], least, guard, clock)
            while guard.again():
                turn = _turn(step, counts[name], least, guard, clock)
            times[name] += turn
    return times


def _turn(
    step: Callable[[], Any], count: int, least: int, guard: Guard, clock: Callable[[], float]
) -> list[float]:
    time.sleep(PAUSE)  # the threads of what ran before stop spinning
    for _ in range(max(least - 1, count // 5)):
        step()
    guard.start()
    times = []
    for _ in range(count):
        start = clock()
        step()
        times.append(clock() - start)
    return times


def percentile(values: list[float], q: float) -> float:
    """The value that a share `q` of the values does not exceed: 0.1 is the least disturbed."""
    return sorted(values)[int(q * (len(values) - 1))]

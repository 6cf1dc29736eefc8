"""Times of things that do the same, taken in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["interleaved", "percentile"]

PAUSE = 0.12  # seconds: OpenBLAS's threads spin for about 0.1 s after a product


def interleaved(
    steps: Mapping[str, Callable[[], Any]], rounds: int, seconds: float, least: int = 1
) -> dict[str, list[float]]:
    """Seconds that each step takes, many times over.

    A machine that does other things as well is slower now and quicker then: so the steps take
    turns, and a ratio of two of them is that of neighbours in time.

    Args:
        steps: what is timed, by name.
        rounds: how many turns each has.
        seconds: about how long a turn is counted.
        least: the fewest calls that are counted in a turn; so many, or one less, are made before.
    """
    counts = {}
    for name, step in steps.items():
        for _ in range(least):  # caches, compilation
            step()
        start = time.perf_counter()
        step()
        counts[name] = max(least, int(seconds / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            time.sleep(PAUSE)  # the threads of what ran before stop spinning
            for _ in range(max(least - 1, counts[name] // 5)):
                step()
            for _ in range(counts[name]):
                start = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - start)
    return times


def percentile(values: list[float], q: float) -> float:
    """The value that a share `q` of the values does not exceed: 0.1 is the least disturbed."""
    return sorted(values)[int(q * (len(values) - 1))]

"""The kernels and steps of the GPU table on the active backend, each in a benchmark of its own.

    python -m pytest benchmarks/test_gpu_rows.py --benchmark-only                      # on a CPU
    NNX_BACKEND=cupy python -m pytest benchmarks/test_gpu_rows.py --benchmark-only     # on a GPU

On a GPU the clock is the device's: it is read when all that was asked for is done.
"""

from __future__ import annotations

import time
from functools import cache
from itertools import cycle
from typing import Any

import pytest

from benchmarks.gpu_rows import ROWS
from nnx.backends import active_backend


def on_gpu() -> bool:
    return active_backend().name.startswith("cupy")


@cache
def first_event() -> Any:
    import cupy

    event = cupy.cuda.Event()
    event.record()
    return event


def device_clock() -> float:
    """Seconds; on a GPU since the event that the first call recorded there."""
    if not on_gpu():
        return time.perf_counter()
    import cupy

    start, now = first_event(), cupy.cuda.Event()
    now.record()
    now.synchronize()
    return cupy.cuda.get_elapsed_time(start, now) / 1e3


@pytest.mark.benchmark(timer=device_clock)
@pytest.mark.parametrize("name", ROWS)
def test_row(benchmark, name):
    case = ROWS[name].case(active_backend(), "full" if on_gpu() else "small")
    steps = cycle(case.ours)
    for _ in range(3):  # compilation, memory pools
        next(steps)()
    benchmark.extra_info["bytes"] = case.moved
    benchmark.extra_info["operations"] = case.computed
    assert benchmark(lambda: next(steps)()) is not None


@pytest.mark.gpu
@pytest.mark.benchmark(timer=device_clock)
@pytest.mark.parametrize("name", ROWS)
def test_captured(benchmark, name):
    if not on_gpu():
        pytest.skip("a CUDA graph needs NNX_BACKEND=cupy and a GPU")
    case = ROWS[name].case(active_backend(), "full")
    if case.captured is None:
        pytest.skip("one kernel needs no graph")
    step = case.captured()
    for _ in range(4):  # as it is, recorded, replayed
        step()
    benchmark(step)

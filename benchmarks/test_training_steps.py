"""Whole training steps, in nnx and in what it is held against: pytest benchmarks --benchmark-only.

pytest-benchmark times one after the other; for ratios on a machine that does other things as well
use `python -m benchmarks.compare`, which lets the two take turns.
"""

from __future__ import annotations

import pytest

from benchmarks.compare import THREADS
from benchmarks.steps import all_rows

ROWS = {name: row for name, row in all_rows().items() if not row.more}


@pytest.mark.parametrize("name", ROWS)
def test_nnx(benchmark, name):
    benchmark.group = name
    step, _ = ROWS[name].build()
    step()
    benchmark(step)


@pytest.mark.parametrize("name", ROWS)
def test_the_other(benchmark, name):
    if ROWS[name].against == "PyTorch":
        pytest.importorskip("torch").set_num_threads(THREADS)
    benchmark.group = name
    _, build = ROWS[name].build()
    step = build()
    step()
    benchmark(step)

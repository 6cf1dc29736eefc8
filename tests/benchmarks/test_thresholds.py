"""Every threshold can be measured, and measuring leaves it as it was."""

from __future__ import annotations

import pytest

pytest.importorskip("numba")

from benchmarks import thresholds as bench
from nnx.backends.cpu import thresholds as cpu


@pytest.mark.parametrize("where", [bench.cpu, bench.jit], ids=["cpu", "jit"])
def test_each_threshold_has_a_row(where):
    named = {name for name in vars(where) if name.isupper()}
    assert named == {row.name for row in bench.ROWS if row.where is where}


def test_the_two_ways_are_two():
    """Either side of the threshold runs in turn, and then it is what it was."""
    seen = []
    row = bench.Row(cpu, "STRETCH", lambda k, size: lambda: seen.append(cpu.STRETCH), "", 0, 0)
    before = cpu.STRETCH
    bench.both_ways(row, 10, 2, 1e-6)
    assert set(seen) == {0, bench.OUT_OF_REACH} and before == cpu.STRETCH

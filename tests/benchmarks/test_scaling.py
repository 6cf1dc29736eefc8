"""Where the cost of a unit of work rises is found, and every sweep can be made."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.memory import step_of
from benchmarks.scaling import SWEEPS, cliffs


def test_a_rise_of_over_a_half_is_a_cliff():
    units = [1.0, 2.0, 4.0, 8.0]
    figures = {"NumPy": [9.0, 10.0, 31.0, 60.0], "PyTorch": [1.0, 2.0, 4.0, 8.0]}
    assert cliffs((1, 2, 4, 8), figures, units) == ["NumPy, 2 to 4: 1.55 (PyTorch 1.00)"]
    assert cliffs((1, 2, 4, 8), {"NumPy": [9.0, 10.0, 29.0, 60.0]}, units) == []
    assert cliffs((1, 2, 4, 8), {"PyTorch": figures["NumPy"]}, units) == []


@pytest.mark.parametrize("name", SWEEPS)
def test_the_work_of_neighbours_about_doubles(name):
    sweep = SWEEPS[name]
    rises = [sweep.units(b) / sweep.units(a) for a, b in pairwise(sweep.sizes)]
    assert all(1.7 < rise < 2.3 for rise in rises[:-1]) and 1 < rises[-1] < 2.3
    step = step_of(lambda: sweep.build(sweep.sizes[0]), theirs=False)
    assert step().item() > 0

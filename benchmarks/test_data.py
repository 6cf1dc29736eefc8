"""Feeding batches, beside the step they are fed to, and drawing random numbers.

    python -m pytest benchmarks/test_data.py --benchmark-only

An epoch of a loader shall cost less than the same number of steps of a small network.
"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.steps import ROWS
from nnx.backends import active_backend
from nnx.data import DataLoader
from nnx.datasets import load_digits
from nnx.random import Generator

BATCH = 32


@pytest.fixture(scope="module")
def digits():
    train, _ = load_digits()
    return train.scaled().reshape(-1, 64), train.labels


@pytest.mark.benchmark(group="an epoch of digits, 46 batches of 32")
@pytest.mark.parametrize("order", ["as they stand", "shuffled", "with replacement"])
def test_loading(benchmark, digits, order):
    loader = DataLoader(
        digits, BATCH, order == "shuffled", replacement=order == "with replacement", seed=0
    )
    batches = benchmark(list, loader)
    assert len(batches) == len(loader) == 46


@pytest.mark.benchmark(group="an epoch of digits, 46 batches of 32")
def test_the_steps_of_a_small_network(benchmark):
    step, _ = ROWS["small"].build()

    def epoch():
        for _ in range(46):
            step()

    benchmark(epoch)


N = 400_000
DRAWS = {
    "mask": lambda g: g.bernoulli(0.5, N),
    "uniform float32": lambda g: g.uniform(N),
    "uniform float64": lambda g: g.uniform(N, dtype="float64"),
    "normal float32": lambda g: g.normal(N),
    "integers": lambda g: g.integers(0, 60_000, N),
    "permutation": lambda g: g.permutation(N),
}


@pytest.mark.benchmark(group="400,000 random numbers")
@pytest.mark.parametrize("what", DRAWS)
def test_drawing(benchmark, what):
    generator, backend = Generator(0), active_backend()

    def draw():
        values = DRAWS[what](generator)
        backend.synchronize()
        return values

    assert benchmark(draw).shape == (N,)


@pytest.mark.benchmark(group="400,000 random numbers")
def test_dropout(benchmark):
    backend = active_backend()
    x = backend.from_numpy(np.ones((N // 64, 64), np.float32))

    def draw():
        y = backend.dropout(x, (0, 0), 0, 2**31, 2.0)
        backend.synchronize()
        return y

    assert benchmark(draw).shape == x.shape

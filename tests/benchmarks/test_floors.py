"""The products that are a training step's floor."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from benchmarks import layers
from benchmarks.floors import floor, products
from nnx import nn
from nnx.backends import backend_of

X = {
    "dense": np.zeros((4, 6), "f4"),
    "conv": np.zeros((2, 3, 8, 8), "f4"),
    "lstm": np.zeros((5, 2, 3), "f4"),
}
NETS = {
    "dense": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)),
    "conv": lambda: nn.Conv2d(3, 8, 3),
    "lstm": lambda: nn.LSTM(3, 7, 2),
}
EXPECTED = {  # the first layer has no gradient of x to compute
    "dense": [(4, 6, 5, 1), (5, 4, 6, 1), (4, 5, 2, 1), (2, 4, 5, 1), (4, 2, 5, 1)],
    "conv": [(72, 27, 8, 1), (8, 72, 27, 1)],
    "lstm": [
        *[(10, 3, 28, 1), (28, 10, 3, 1)],
        *[(2, 7, 28, 5), (2, 28, 7, 5), (28, 10, 7, 1)],
        *[(10, 7, 28, 1), (28, 10, 7, 1), (10, 28, 7, 1)],
        *[(2, 7, 28, 5), (2, 28, 7, 5), (28, 10, 7, 1)],
    ],
}


@pytest.mark.parametrize("kind", NETS)
def test_the_products_of_a_step(kind):
    model, x = NETS[kind](), nnx.tensor(X[kind])
    assert products(model, x) == EXPECTED[kind]
    floor(model, x)()


def test_a_layer_beside_pytorchs():
    pytest.importorskip("torch")
    pytest.importorskip("numba")
    used = backend_of(np.zeros(1))
    try:
        for step in layers.steps_of("Softplus").values():
            assert step().shape == layers.ROWS
    finally:
        layers.use(None)
    assert type(backend_of(np.zeros(1))) is type(used)
    assert len(layers.LAYERS) >= 35

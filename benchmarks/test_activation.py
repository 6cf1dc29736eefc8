"""Activations, softmax and cross-entropy on (256, 1024), forward and backward, PyTorch beside them.

    pytest benchmarks/test_activation.py --benchmark-only --benchmark-columns=min,median

With `NNX_JIT=0` in the environment nnx computes without numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnx
from benchmarks.compare import THREADS

SHAPE = (256, 1024)
OPERATIONS = {
    "relu": lambda F, x: F.relu(x),
    "leaky_relu": lambda F, x: F.leaky_relu(x),
    "relu6": lambda F, x: F.relu6(x),
    "tanh": lambda F, x: x.tanh(),
    "sigmoid": lambda F, x: F.sigmoid(x),
    "softplus": lambda F, x: F.softplus(x),
    "silu": lambda F, x: F.silu(x),
    "elu": lambda F, x: F.elu(x),
    "gelu": lambda F, x: F.gelu(x),
    "gelu, tanh": lambda F, x: F.gelu(x, approximate="tanh"),
    "softmax": lambda F, x: F.softmax(x, -1),
    "log_softmax": lambda F, x: F.log_softmax(x, -1),
}


def steps_of(name: str, library: str) -> Callable[[], Any]:
    """Forward, and backward with a gradient of ones (cross-entropy: of its mean)."""
    rng = np.random.default_rng(0)
    values = (3 * rng.standard_normal(SHAPE)).astype("float32")
    classes = rng.integers(0, SHAPE[1], SHAPE[0])
    F: Any
    if library == "nnx":
        F, x = nnx.functional, nnx.tensor(values, requires_grad=True)
        ones, targets = np.ones_like(values), nnx.tensor(classes)
    else:
        torch = pytest.importorskip("torch")
        torch.set_num_threads(THREADS)
        F, x = torch.nn.functional, torch.tensor(values, requires_grad=True)
        ones, targets = torch.ones(SHAPE), torch.tensor(classes)

    def step() -> Any:
        x.grad = None
        if name == "cross_entropy":
            y = F.cross_entropy(x, targets)
            y.backward()
        else:
            y = OPERATIONS[name](F, x)
            y.backward(ones)
        return x.grad

    return step


@pytest.mark.parametrize("library", ["nnx", "torch"])
@pytest.mark.parametrize("name", [*OPERATIONS, "cross_entropy"])
def test_activation(benchmark, name, library):
    benchmark.group = name
    gradient = benchmark(steps_of(name, library))
    assert tuple(gradient.shape) == SHAPE

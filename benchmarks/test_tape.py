"""What the tape costs per operation, on arrays so small that nothing else counts.

    pytest benchmarks/test_tape.py --benchmark-only

Each figure is for a chain of 100 operations on 4 x 4 numbers: forward, and forward with backward.
Where PyTorch is installed, the same chain in PyTorch stands beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnx

STEPS = 100
OPERATIONS = {
    "add": lambda y, x: y + x,
    "multiply": lambda y, x: y * x,
    "negative": lambda y, x: -y,
    "times a number": lambda y, x: y * 1.0,
}


def leaf(library: str) -> tuple[Any, Any]:
    """A tensor that wants a gradient, and a gradient of ones."""
    ones = np.ones((4, 4), "float32")
    if library == "nnx":
        return nnx.Tensor(ones, requires_grad=True), ones
    torch = pytest.importorskip("torch")
    return torch.tensor(ones, requires_grad=True), torch.tensor(ones)


@pytest.mark.parametrize("library", ["nnx", "torch"])
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("with_backward", [False, True], ids=["forward", "both"])
def test_chain(benchmark, name, library, with_backward):
    x, ones = leaf(library)
    operation = OPERATIONS[name]

    def chain():
        y = x
        for _ in range(STEPS):
            y = operation(y, x)
        if with_backward:
            x.grad = None
            y.backward(ones)
        return y

    benchmark.group = f"{name}, {'forward and backward' if with_backward else 'forward'}"
    y = benchmark(chain)
    assert tuple(y.shape) == (4, 4)
    assert (x.grad is not None) == with_backward

"""Recurrent layers and cells on each set of kernels, and PyTorch's beside them.

    pytest benchmarks/test_recurrent.py --benchmark-only

The textbook's layers alone (whole training steps: `test_training_steps.py`), sizes that are in
use elsewhere, and padded batches; forward, which keeps what backward needs, and both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnx
from benchmarks.compare import THREADS
from benchmarks.sets import LIBRARIES, computing_with
from nnx import nn

# kind, T, N, D, H, options, whether lengths differ
LAYERS: dict[str, tuple[str, int, int, int, int, dict[str, Any], bool]] = {
    "rnn": ("RNN", 10, 32, 30, 30, {}, False),
    "lstm": ("LSTM", 64, 32, 128, 128, {}, False),
    "gru": ("GRU", 400, 16, 50, 32, {}, False),
    "bigru": ("GRU", 400, 16, 64, 32, {"bidirectional": True}, False),
    "lstm, H 512": ("LSTM", 64, 32, 512, 512, {}, False),
    "gru, H 512": ("GRU", 64, 32, 512, 512, {}, False),
    "bilstm, 2 layers": ("LSTM", 32, 64, 256, 256, {"num_layers": 2, "bidirectional": True}, False),
    "bigru, 2 layers": ("GRU", 32, 64, 256, 256, {"num_layers": 2, "bidirectional": True}, False),
    "lstm, lengths": ("LSTM", 64, 32, 128, 128, {}, True),
    "bigru, lengths": ("GRU", 64, 32, 128, 128, {"bidirectional": True}, True),
}
CELLS = {"rnn": "RNNCell", "lstm": "LSTMCell", "gru": "GRUCell"}

Calls = tuple[Callable[[], Any], Callable[[], Any]]


def tensors(library: str, *arrays: np.ndarray) -> tuple[list[Any], Any]:
    """The arrays as tensors that want gradients, and the library's `nn`."""
    if library != "torch":
        return [nnx.Tensor(a, requires_grad=True) for a in arrays], nn
    torch = pytest.importorskip("torch")
    torch.set_num_threads(THREADS)
    return [torch.tensor(a, requires_grad=True) for a in arrays], torch.nn


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def with_backward(forward: Callable[[], Any], gradient: Any) -> Callable[[], Any]:
    def both() -> Any:
        y = forward()
        y.backward(gradient)
        return y

    return both


def layer(name: str, library: str) -> Calls:
    """Forward, and forward with backward, of one layer; both give y."""
    kind, steps, n, features, hidden, options, unequal = LAYERS[name]
    (x,), framework = tensors(library, normal(steps, n, features))
    module = getattr(framework, kind)(features, hidden, **options)
    lengths = np.linspace(steps // 4, steps, n).astype(int)

    def forward() -> Any:
        if not unequal:
            return module(x)[0]
        if library != "torch":
            return module(x, lengths=lengths)[0]
        packed = framework.utils.rnn
        inputs = packed.pack_padded_sequence(x, lengths, enforce_sorted=False)
        return packed.pad_packed_sequence(module(inputs)[0], total_length=steps)[0]

    width = hidden * (2 if options.get("bidirectional") else 1)
    (gradient,), _ = tensors(library, normal(steps, n, width))
    return forward, with_backward(forward, gradient.detach())


def cell(name: str, library: str) -> Calls:
    """One step on 32 rows of 128 units; both give h."""
    kind = CELLS[name]
    (x, h, c, gradient), framework = tensors(library, *[normal(32, 128) for _ in range(4)])
    module = getattr(framework, kind)(128, 128)

    def forward() -> Any:
        return module(x, (h, c))[0] if kind == "LSTMCell" else module(x, h)

    return forward, with_backward(forward, gradient.detach())


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("name", LAYERS)
def test_layer(benchmark, name, backward, library):
    benchmark.group = f"{name}, {'forward and backward' if backward else 'forward'}"
    with computing_with(library):
        call = layer(name, library)[backward]
        y = call()
        benchmark.pedantic(call, rounds=5, iterations=1, warmup_rounds=1)
    _, steps, n, _, hidden, options, _ = LAYERS[name]
    assert tuple(y.shape) == (steps, n, hidden * (2 if options.get("bidirectional") else 1))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("name", CELLS)
def test_cell(benchmark, name, backward, library):
    benchmark.group = f"{name} cell, {'forward and backward' if backward else 'forward'}"
    with computing_with(library):
        call = cell(name, library)[backward]
        y = call()
        benchmark(call)
    assert tuple(y.shape) == (32, 128)

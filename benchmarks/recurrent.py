"""Training steps of the textbook's recurrent networks (chapters 7 to 9)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import nnx
from benchmarks.steps import Step, pair, row
from nnx import nn, optim


def last_step(
    framework: Any,
    kind: str,
    features: int,
    hidden: int,
    outputs: int,
    layers: int = 3,
    **options: Any,
) -> Any:
    """A recurrent stack and a dense layer on its last step, in either library."""

    class LastStep(framework.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = getattr(framework, kind)
            self.recurrent = layer(features, hidden, layers, batch_first=True, **options)
            width = hidden * (2 if options.get("bidirectional") else 1)
            self.output = framework.Linear(width, outputs)

        def forward(self, x: Any) -> Any:
            y, _ = self.recurrent(x)
            return self.output(y[:, -1])

    return LastStep()


def sequences(
    kind: str,
    features: int,
    hidden: int,
    outputs: int,
    steps: int,
    batch: int,
    optimizer: Callable[[Any], Any],
    classes: bool,
    **options: Any,
) -> tuple[Step, Callable[[], Step]]:
    nnx.random.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, steps, features)).astype("float32")
    if classes:
        y = rng.integers(0, outputs, batch)
    else:
        y = rng.standard_normal((batch, outputs)).astype("float32")

    def loss(framework: Any) -> Any:
        return framework.CrossEntropyLoss() if classes else framework.MSELoss()

    return pair(
        last_step(nn, kind, features, hidden, outputs, **options),
        loss(nn),
        optimizer(optim),
        lambda torch: (
            last_step(torch.nn, kind, features, hidden, outputs, **options),
            loss(torch.nn),
            optimizer(torch.optim),
        ),
        x,
        y,
    )


@row("rnn", numpy=0.35, jit=0.25)
def rnn() -> tuple[Step, Callable[[], Step]]:
    """RNN, 3 layers of 30, 10 steps, batch 32, SGD."""
    return sequences("RNN", 1, 30, 1, 10, 32, lambda o: partial(o.SGD, lr=0.01), False)


@row("lstm", numpy=2.2, jit=1.1)
def lstm() -> tuple[Step, Callable[[], Step]]:
    """LSTM, 3 layers of 128, 64 steps, batch 32, Adagrad."""
    return sequences("LSTM", 3, 128, 20, 64, 32, lambda o: partial(o.Adagrad, lr=0.01), False)


@row("gru", numpy=0.35, jit=0.12)
def gru() -> tuple[Step, Callable[[], Step]]:
    """GRU, 3 layers of 32, 400 steps, batch 16, Adam."""
    return sequences("GRU", 50, 32, 2, 400, 16, lambda o: o.Adam, True)


@row("bigru", same=False, numpy=0.35, jit=0.12)
def bigru() -> tuple[Step, Callable[[], Step]]:
    """The same in both directions, with dropout."""
    return sequences(
        "GRU", 50, 32, 2, 400, 16, lambda o: o.Adam, True, bidirectional=True, dropout=0.5
    )

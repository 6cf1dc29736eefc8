"""Training steps of convolutional networks, for `compare.py` and `test_training_steps.py`.

The LeNet-like network of the textbook (Xu, table 5.3), with and without batch norm, Adam.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nnx
from benchmarks.steps import Step, pair, row
from nnx import nn, optim


def lenet(nn: Any, norm: bool) -> Any:
    """conv 5x5x32 - pool - conv 5x5x64 - pool - 512 - 10, in nnx or in PyTorch."""
    layers: list[Any] = []
    for channels, filters in ((1, 32), (32, 64)):
        layers.append(nn.Conv2d(channels, filters, 5, padding=2))
        layers += [nn.BatchNorm2d(filters)] if norm else []
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 10))


def step(batch: int, norm: bool) -> tuple[Step, Callable[[], Step]]:
    nnx.random.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 1, 28, 28)).astype("float32")
    y = rng.integers(0, 10, batch)
    return pair(
        lenet(nn, norm),
        nn.CrossEntropyLoss(),
        optim.Adam,
        lambda torch: (lenet(torch.nn, norm), torch.nn.CrossEntropyLoss(), torch.optim.Adam),
        x,
        y,
    )


@row("lenet-32", numpy=1.4, jit=0.8)
def lenet_32() -> tuple[Step, Callable[[], Step]]:
    """Batch 32."""
    return step(32, norm=False)


@row("lenet-256", numpy=1.4, jit=0.8)
def lenet_256() -> tuple[Step, Callable[[], Step]]:
    """Batch 256."""
    return step(256, norm=False)


@row("lenet-bn-32", numpy=1.4, jit=0.8)
def lenet_bn_32() -> tuple[Step, Callable[[], Step]]:
    """With batch norm, batch 32."""
    return step(32, norm=True)


@row("lenet-bn-256", numpy=1.4, jit=0.8)
def lenet_bn_256() -> tuple[Step, Callable[[], Step]]:
    """With batch norm, batch 256."""
    return step(256, norm=True)

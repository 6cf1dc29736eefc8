"""Whole training steps of the textbook's network beside the textbook's own style of computing.

The opponent is what chapter 5 of the textbook (Xu) builds: windows laid out as columns by a loop
over the output's pixels, a product for each image, the gradients as correlations with columns
again, pooling by argmax and ones, Adam formula by formula.  Plain NumPy, float32.  Its layers are
those of `nnx.reference`; two things are better than in the book, the gradient of the images, which
nobody needs, is not computed, and Adam counts its steps.

The ratio is nnx's time divided by the textbook's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nnx
from benchmarks.cnn import lenet
from benchmarks.steps import Step, TrainingStep, row
from nnx import nn, optim
from nnx.bench import lenet as lenet_bench

Array = np.ndarray


def textbook_step(batch: int, lr: float = 1e-3) -> tuple[Step, list[Array]]:
    """A training step, and the parameters that it changes."""
    parameters = lenet_bench.weights()
    network = lenet_bench.textbook(batch, parameters)
    m, v = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    beta1, beta2, eps, t = 0.9, 0.999, 1e-8, 0

    def step() -> Any:
        nonlocal t
        t += 1
        loss, _ = network.walk()
        for k, g in enumerate(network.gradients()):  # Xu 5.18 to 5.22
            m[k] = beta1 * m[k] + (1 - beta1) * g
            v[k] = beta2 * v[k] + (1 - beta2) * g**2
            first = m[k] / (1 - beta1**t)
            second = v[k] / (1 - beta2**t)
            parameters[k] += -lr * first / (np.sqrt(second) + eps)
        return np.float32(loss)

    return step, parameters


def nnx_step(batch: int, lr: float = 1e-3) -> tuple[Step, nn.Module]:
    """The same through nnx's public API."""
    model = lenet(nn, norm=False)
    names = list(model.state_dict())
    model.load_state_dict(dict(zip(names, lenet_bench.weights(), strict=True)))
    adam = optim.Adam(model.parameters(), lr=lr)
    x, target = map(nnx.tensor, lenet_bench.batch_of(batch))
    return TrainingStep(model, nn.CrossEntropyLoss(), adam, x, target), model


def beside(batch: int) -> tuple[Step, Callable[[], Step]]:
    return nnx_step(batch)[0], lambda: textbook_step(batch)[0]


@row("lenet-32/textbook", against="textbook", numpy=0.25, jit=0.12)
def lenet_32() -> tuple[Step, Callable[[], Step]]:
    """Batch 32."""
    return beside(32)


@row("lenet-256/textbook", against="textbook", numpy=0.25, jit=0.12)
def lenet_256() -> tuple[Step, Callable[[], Step]]:
    """Batch 256."""
    return beside(256)

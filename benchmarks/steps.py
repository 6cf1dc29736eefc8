"""The training steps that are timed, each in nnx and in PyTorch with the same weights and data.

To add one, write a function that builds the two networks and hand them to `pair`:

    @row("my-network", numpy=0.8, jit=0.6)      # goals: nnx / PyTorch, without and with numba
    def my_network():
        return pair(
            nn.Sequential(...), nn.CrossEntropyLoss(), partial(optim.SGD, lr=0.1),
            lambda torch: (torch.nn.Sequential(...), torch.nn.CrossEntropyLoss(),
                           partial(torch.optim.SGD, lr=0.1)),
            x, y)

A new file beside this one is named in FILES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

import nnx
from nnx import nn, optim

Step = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """A training step: `build()` gives nnx's step, and a function that builds the other's."""

    name: str
    build: Callable[[], tuple[Step, Callable[[], Step]]]
    goals: dict[str, float]
    same: bool  # whether both must compute the same loss: not where each draws its own dropout
    against: str  # what the second step computes with
    more: bool  # run only where it is asked for: it takes long


ROWS: dict[str, Row] = {}

FILES = ("steps", "recurrent", "cnn", "textbook", "networks")


def all_rows() -> dict[str, Row]:
    """The rows of all files."""
    for name in FILES:
        import_module(f"benchmarks.{name}")
    return ROWS


def row(
    name: str, same: bool = True, against: str = "PyTorch", more: bool = False, **goals: float
) -> Callable[[Callable], Callable]:
    """Register a builder under a name, with the ratios to reach: `numpy=` and `jit=`."""

    def register(build: Callable) -> Callable:
        ROWS[name] = Row(name, build, goals, same, against, more)
        return build

    return register


@dataclass(frozen=True)
class TrainingStep:
    """One whole training step through the public API; the same code for both libraries."""

    model: Any
    loss_function: Any
    optimizer: Any
    x: Any
    y: Any

    def __call__(self) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss_function(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss


def pair(
    model: nn.Module,
    loss_function: nn.Module,
    optimizer: Callable[[Any], optim.Optimizer],
    theirs: Callable[[Any], tuple[Any, Any, Any]],
    x: np.ndarray,
    y: np.ndarray,
) -> tuple[Step, Callable[[], Step]]:
    """nnx's step, and how to build PyTorch's: its network gets the weights of `model`."""
    state = {name: np.array(array) for name, array in model.state_dict().items()}

    def build_theirs() -> Step:
        import torch

        net, loss, make = theirs(torch)
        net.load_state_dict({name: torch.from_numpy(np.array(a)) for name, a in state.items()})
        return TrainingStep(net, loss, make(net.parameters()), torch.tensor(x), torch.tensor(y))

    ours = TrainingStep(
        model, loss_function, optimizer(model.parameters()), nnx.tensor(x), nnx.tensor(y)
    )
    return ours, build_theirs


def dense(
    sizes: list[int], batch: int, ours: Callable, theirs: Callable[[Any], Callable]
) -> tuple[Step, Callable[[], Step]]:
    """Dense layers with ReLU between them, softmax cross-entropy at the end."""
    nnx.random.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, sizes[0])).astype("float32")
    y = rng.integers(0, sizes[-1], batch)

    def stack(nn: Any) -> Any:
        layers: list[Any] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return pair(
        stack(nn),
        nn.CrossEntropyLoss(),
        ours,
        lambda torch: (stack(torch.nn), torch.nn.CrossEntropyLoss(), theirs(torch)),
        x,
        y,
    )


@row("softmax", numpy=0.8, jit=0.7)
def softmax_regression() -> tuple[Step, Callable[[], Step]]:
    """784-10, batch 256, SGD."""
    return dense([784, 10], 256, partial(optim.SGD, lr=0.1), lambda t: partial(t.optim.SGD, lr=0.1))


@row("mlp-sgd", numpy=0.7, jit=0.65)
def mlp_sgd() -> tuple[Step, Callable[[], Step]]:
    """784-512-10, batch 256, SGD with L2 1e-4."""
    options = {"lr": 0.1, "weight_decay": 1e-4}
    return dense(
        [784, 512, 10],
        256,
        partial(optim.SGD, **options),
        lambda t: partial(t.optim.SGD, **options),
    )


@row("mlp-adam", numpy=0.8, jit=0.6)
def mlp_adam() -> tuple[Step, Callable[[], Step]]:
    """784-512-10, batch 256, Adam."""
    return dense([784, 512, 10], 256, optim.Adam, lambda t: t.optim.Adam)


@row("small", numpy=1.0, jit=0.6)
def small() -> tuple[Step, Callable[[], Step]]:
    """64-32-10, batch 32, SGD: bound by Python."""
    return dense(
        [64, 32, 10], 32, partial(optim.SGD, lr=0.1), lambda t: partial(t.optim.SGD, lr=0.1)
    )

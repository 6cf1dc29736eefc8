"""Where the time of a convolutional network goes: each layer, forward and backward (Xu 5.2).

The textbook's network (Xu, table 5.3) in the textbook's style, in nnx, and in PyTorch where it is
installed, with the same weights and images, and held to one another before they are timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from .. import nn, reference
from ..tensor import Tensor
from ..typing import Array
from .timing import PAUSE, percentile

__all__ = ["ROWS", "Network", "Stage", "networks", "time_networks"]

Spent = dict[str, tuple[float, float]]  # row -> seconds forward and backward

ROWS = ("conv-1 + ReLU", "pool-1", "conv-2 + ReLU", "pool-2", "dense-1 + ReLU", "dense-2", "loss")
TOLERANCE = 1e-3  # of a gradient's largest value: near-ties of ReLU and pooling may fall otherwise


class Stage(NamedTuple):
    """A part of the network.

    Args:
        row: what the table calls it.
        forward: x -> y and what `backward` is given with y's gradient.
        backward: y's gradient and that -> x's gradient.
    """

    row: str
    forward: Callable[[Any], tuple[Any, Any]]
    backward: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Network:
    """The stages in a row; the last one's result is the loss.

    Args:
        name: what the table calls it.
        x: the images (N, 1, 28, 28).
        stages: from the images to the loss.
        gradients: gives those of `weights`, in that order, after a walk.
        clear: forgets them.
    """

    name: str
    x: Any
    stages: Sequence[Stage]
    gradients: Callable[[], list[Array]]
    clear: Callable[[], None] = lambda: None

    def walk(self) -> tuple[float, Spent]:
        """A training step without its optimizer: the loss, and seconds forward and backward."""
        self.clear()
        x, kept, times = self.x, [], {}
        for stage in self.stages:
            start = time.perf_counter()
            x, saved = stage.forward(x)
            times[stage.row] = (time.perf_counter() - start, 0.0)
            kept.append(saved)
        g = None
        for stage in reversed(self.stages):
            start = time.perf_counter()
            g = stage.backward(g, kept.pop())
            times[stage.row] = (times[stage.row][0], time.perf_counter() - start)
        return float(x.item()), times


def weights() -> list[Array]:
    """Weight and bias of the four layers, float32."""
    rng = np.random.default_rng(0)
    shapes = [(32, 1, 5, 5), (64, 32, 5, 5), (512, 3136), (10, 512)]
    found = []
    for shape in shapes:
        fan_in = int(np.prod(shape[1:]))
        found.append((rng.standard_normal(shape) / np.sqrt(fan_in / 2)).astype("float32"))
        found.append(np.zeros(shape[0], "float32"))
    return found


def batch_of(n: int) -> tuple[Array, Array]:
    """Images and classes."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 1, 28, 28)).astype("float32"), rng.integers(0, 10, n)


# ---- in the textbook's style ----


def textbook(batch: int, parameters: list[Array] | None = None) -> Network:
    """NumPy alone, each layer a pair of functions; `gradients` are in the weights' order."""
    p = weights() if parameters is None else parameters
    x, target = batch_of(batch)
    found: list[Array] = [None] * len(p)

    def conv(k: int, x: Array) -> tuple[Array, Any]:
        y = np.maximum(reference.conv2d_columns(x, p[k], p[k + 1], 2), 0)
        return y, (x, y)

    def conv_backward(k: int, g: Array, saved: Any) -> Array:
        x, y = saved
        gx, *found[k : k + 2] = reference.conv2d_columns_backward(g * (y > 0), x, p[k], 2, k > 0)
        return gx

    def dense(k: int, relu: bool, x: Array) -> tuple[Array, Any]:
        z = np.matmul(x.reshape(len(x), -1), p[k].T) + p[k + 1]
        y = np.maximum(z, 0) if relu else z
        return y, (x, y)

    def dense_backward(k: int, relu: bool, g: Array, saved: Any) -> Array:
        x, y = saved
        g = g * (y > 0) if relu else g
        found[k : k + 2] = np.matmul(g.T, x.reshape(len(x), -1)), g.sum(axis=0)
        return np.matmul(g, p[k]).reshape(x.shape)

    def loss(z: Array) -> tuple[Array, Any]:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        y = e / e.sum(axis=1, keepdims=True)
        return -np.log(y[np.arange(batch), target]).mean(), y

    def loss_backward(_: Any, y: Array) -> Array:
        return (y - np.eye(10, dtype=y.dtype)[target]) / np.float32(batch)

    pool = partial(reference.max_pool2d_columns, size=2)
    unpool = reference.max_pool2d_columns_backward
    parts: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
        (partial(conv, 0), partial(conv_backward, 0)),
        (pool, unpool),
        (partial(conv, 2), partial(conv_backward, 2)),
        (pool, unpool),
        (partial(dense, 4, True), partial(dense_backward, 4, True)),
        (partial(dense, 6, False), partial(dense_backward, 6, False)),
        (loss, loss_backward),
    ]
    stages = [Stage(row, *part) for row, part in zip(ROWS, parts, strict=True)]
    return Network("textbook's style", x, stages, lambda: found)


# ---- on a tape ----


def taped(
    name: str,
    library: Any,
    tensor: Callable[..., Any],
    leaf: Callable[..., Any],
    batch: int,
    fuse: bool,
) -> Network:
    """The same of `library`, nnx.nn or torch.nn.

    Args:
        tensor: an array as a tensor.
        leaf: a tensor's values as the beginning of a new tape, with a gradient or without.
        fuse: whether the pooling is in one `Sequential` with its convolution.
    """
    c1, c2 = library.Conv2d(1, 32, 5, padding=2), library.Conv2d(32, 64, 5, padding=2)
    d1, d2 = library.Linear(3136, 512), library.Linear(512, 10)
    learnt = library.Sequential(c1, c2, d1, d2)
    names = [f"{k}.{kind}" for k in range(4) for kind in ("weight", "bias")]
    learnt.load_state_dict(dict(zip(names, map(tensor, weights()), strict=True)))
    x, target = map(tensor, batch_of(batch))
    measure = library.CrossEntropyLoss()

    def block(conv: Any) -> list[Any]:
        layers = [conv, library.ReLU()]
        pool = library.MaxPool2d(2)
        return (
            [library.Sequential(*layers, pool), None]
            if fuse
            else [library.Sequential(*layers), pool]
        )

    layers = [
        *block(c1),
        *block(c2),
        library.Sequential(library.Flatten(), d1, library.ReLU()),
        d2,
        lambda z: measure(z, target),
    ]

    def forward(layer: Callable[..., Any], first: bool, x: Any) -> tuple[Any, Any]:
        x = leaf(x, not first)
        y = layer(x)
        return y, (x, y)

    def backward(g: Any, saved: Any) -> Any:
        x, y = saved
        y.backward() if g is None else y.backward(g)
        return x.grad

    def clear() -> None:
        for p in learnt.parameters():
            p.grad = None

    stages = [
        Stage(row, partial(forward, layer, row == ROWS[0]), backward)
        for row, layer in zip(ROWS, layers, strict=True)
        if layer is not None
    ]
    return Network(
        name, x, stages, lambda: [np.asarray(p.grad) for p in learnt.parameters()], clear
    )


def networks(batch: int) -> Iterator[Network]:
    """The textbook's style, nnx layer by layer and as `Sequential` runs it, and PyTorch where it is
    installed, with the same weights and a `batch` of so many images.
    """
    yield textbook(batch)
    ours = (nn, Tensor, lambda x, learns: Tensor(x.data, requires_grad=learns), batch)
    yield taped("nnx, layer by layer", *ours, False)
    yield taped("nnx", *ours, True)
    if find_spec("torch") is not None:
        import torch

        yield taped(
            "PyTorch",
            torch.nn,
            torch.from_numpy,
            lambda x, learns: x.detach().requires_grad_(learns),
            batch,
            False,
        )


def time_networks(batch: int, rounds: int, each: int = 3) -> dict[str, Spent]:
    """Check every network, then let them take turns.

    Args:
        batch: how many images.
        rounds: how many turns each has.
        each: steps in a turn that are counted, after one that is not.

    Returns:
        By network and row, seconds forward and backward: those that a tenth of the steps does not
        exceed.

    Raises:
        RuntimeError: two of them do not compute the same.
    """
    found = list(networks(batch))
    agree(found)
    times: dict[str, list[Spent]] = {net.name: [] for net in found}
    for _ in range(rounds):
        for net in found:
            time.sleep(PAUSE)  # the threads of what ran before stop spinning
            times[net.name] += [net.walk()[1] for _ in range(each + 1)][1:]

    def low(walks: list[Spent], row: str, k: int) -> float:
        return percentile([walk[row][k] for walk in walks], 0.1)

    return {
        name: {row: (low(walks, row, 0), low(walks, row, 1)) for row in walks[0]}
        for name, walks in times.items()
    }


def agree(found: Sequence[Network]) -> None:
    """Hold the networks' losses and gradients to the first one's."""
    losses = [net.walk()[0] for net in found]
    first, *others = [net.gradients() for net in found]
    for net, loss, gradients in zip(found[1:], losses[1:], others, strict=True):
        if not abs(loss - losses[0]) <= 1e-4 * abs(losses[0]):
            raise RuntimeError(f"{net.name}: the loss is {loss}, {found[0].name}: {losses[0]}")
        for k, (g, e) in enumerate(zip(gradients, first, strict=True)):
            far = float(np.abs(g - e).max())
            if not far <= TOLERANCE * float(np.abs(e).max()):
                raise RuntimeError(
                    f"{net.name} and {found[0].name} differ in gradient {k} {g.shape} by {far:.3g}"
                )

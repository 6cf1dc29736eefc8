"""What is timed on a GPU: kernels, recurrent layers, optimizers and whole steps, beside PyTorch.

Each row has three sizes: `full`, for a GPU; `small`, for a CPU; `tiny`, for tests.
To add one, write a function that takes the sizes and returns a `Case`, and register it:

    @row("my kernel", full=(256, 64), small=(8, 4), tiny=(1, 2), goal="1.5x unfold")
    def my_kernel(b, n, c):
        ...
        return Case(ours, theirs, moved=bytes, computed=flops)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import nnx
from benchmarks.steps import TrainingStep
from nnx import nn, optim
from nnx.backends import Backend, use_backend
from nnx.backends.portable.window import Window

Step = Callable[[], Any]
FLOAT = 4  # bytes


@dataclass
class Case:
    """A row at one size.

    `ours` and `theirs(torch, device, graph)` give the same computation on one or more sets of
    inputs, to be gone through in turn, so that none finds its data in a cache; `graph` says that
    it will be captured.  `moved` and `computed` are the fewest bytes and operations.  `captured`
    is nnx's own step as a CUDA graph.  Of what the steps return, the first `compared` results
    must agree.
    """

    ours: list[Step]
    theirs: Callable[[Any, str, bool], list[Step]]
    moved: float
    computed: float = 0.0
    captured: Callable[[], Step] | None = None
    compared: int = 1


@dataclass(frozen=True)
class Row:
    name: str
    build: Callable[..., Case]
    sizes: dict[str, tuple[Any, ...]]
    goal: str

    def case(self, backend: Backend, size: str) -> Case:
        with use_backend(backend):
            nnx.manual_seed(0)
            return self.build(backend, *self.sizes[size])


ROWS: dict[str, Row] = {}


def row(name: str, goal: str = "", **sizes: tuple[Any, ...]) -> Callable[[Callable], Callable]:
    def register(build: Callable) -> Callable:
        ROWS[name] = Row(name, build, sizes, goal)
        return build

    return register


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def bind(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Step:
    return lambda: function(*args, **kwargs)


def through(layer: Any, x: Any, gy: Any) -> Step:
    """Forward and backward, the same code for both libraries; the output and x's gradient."""

    def step() -> Any:
        layer.zero_grad()
        x.grad = None
        y = layer(x)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(gy)
        return y, x.grad

    return step


# ---- kernels ----

WINDOW = Window((3, 3), padding=((1, 1), (1, 1)))
PLANES = {"full": (256, 64, 56), "small": (8, 16, 28), "tiny": (2, 3, 5)}


@row("im2col, 3x3", goal="1.5x unfold", **PLANES)
def im2col(b: Backend, n: int, c: int, h: int) -> Case:
    xs = [random(n, c, h, h, seed=k) for k in range(2)]

    def theirs(torch: Any, device: str, graph: bool) -> list[Step]:
        unfold = torch.nn.functional.unfold
        return [bind(unfold, torch.tensor(x, device=device), 3, padding=1) for x in xs]

    ours = [bind(b.im2col, b.from_numpy(x), WINDOW) for x in xs]
    return Case(ours, theirs, moved=10 * xs[0].size * FLOAT)


@row("col2im, 3x3", goal="1.1x fold", **PLANES)
def col2im(b: Backend, n: int, c: int, h: int) -> Case:
    cols = random(n, 9 * c, h * h)

    def theirs(torch: Any, device: str, graph: bool) -> list[Step]:
        given = torch.tensor(cols, device=device)
        return [bind(torch.nn.functional.fold, given, (h, h), 3, padding=1)]

    ours = [bind(b.col2im, b.from_numpy(cols), (n, c, h, h), WINDOW)]
    return Case(ours, theirs, moved=10 * n * c * h * h * FLOAT)


POOL = Window((2, 2), (2, 2))
POOLED = {"full": (256, 64, 112), "small": (16, 16, 28), "tiny": (2, 3, 6)}


@row("max-pool 2x2 forward", goal="1.4x", **POOLED)
def max_pool(b: Backend, n: int, c: int, h: int) -> Case:
    xs = [random(n, c, h, h, seed=k) for k in range(2)]

    def theirs(torch: Any, device: str, graph: bool) -> list[Step]:
        pool = torch.ops.aten.max_pool2d_with_indices
        return [bind(pool, torch.tensor(x, device=device), [2, 2], [2, 2]) for x in xs]

    ours = [bind(b.max_pool2d, b.from_numpy(x), POOL) for x in xs]
    return Case(ours, theirs, moved=(5 * FLOAT + 1) * xs[0].size / 4)


@row("max-pool 2x2 backward", goal="2x", **POOLED)
def max_pool_backward(b: Backend, n: int, c: int, h: int) -> Case:
    x, gy = random(n, c, h, h), random(n, c, h // 2, h // 2, seed=1)
    _, place = b.max_pool2d(b.from_numpy(x), POOL)

    def theirs(torch: Any, device: str, graph: bool) -> list[Step]:
        given, g = (torch.tensor(a, device=device) for a in (x, gy))
        _, indices = torch.ops.aten.max_pool2d_with_indices(given, [2, 2], [2, 2])
        backward = torch.ops.aten.max_pool2d_with_indices_backward
        numbers = [2, 2], [2, 2], [0, 0], [1, 1], False
        return [bind(backward, g, given, *numbers, indices)]

    ours = [bind(b.max_pool2d_backward, b.from_numpy(gy), place, x.shape, POOL)]
    return Case(ours, theirs, moved=(5 * FLOAT + 1) * gy.size)


@row("batch norm, forward and backward", **PLANES)
def batch_norm(b: Backend, n: int, c: int, h: int) -> Case:
    x, gy = random(n, c, h, h), random(n, c, h, h, seed=1)
    layer = nn.BatchNorm2d(c)
    given, g = nnx.Tensor(b.from_numpy(x), True), b.from_numpy(gy)

    def theirs(torch: Any, device: str, graph: bool) -> list[Step]:
        other = torch.nn.BatchNorm2d(c, device=device)
        return [
            through(
                other,
                torch.tensor(x, device=device, requires_grad=True),
                torch.tensor(gy, device=device),
            )
        ]

    return Case([through(layer, given, g)], theirs, moved=8 * x.size * FLOAT, compared=2)


# ---- recurrent layers, forward and backward ----


def recurrent(
    b: Backend, kind: str, layers: int, batch: int, steps: int, hidden: int, bidirectional: bool
) -> Case:
    """As wide in as out; the gradient of everything."""
    options = {"num_layers": layers, "bidirectional": bidirectional}
    directions = 2 if bidirectional else 1
    layer = getattr(nn, kind)(hidden, hidden, **options)
    x = random(steps, batch, hidden)
    gy = random(steps, batch, directions * hidden, seed=1)
    state = {name: np.array(b.to_numpy(a)) for name, a in layer.state_dict().items()}

    def theirs(torch: Any, device: str, graph: bool) -> list[Step]:
        other = getattr(torch.nn, kind)(hidden, hidden, **options)
        other.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in state.items()})
        given = torch.tensor(x, device=device, requires_grad=True)
        return [through(other.to(device), given, torch.tensor(gy, device=device))]

    given, g = b.from_numpy(x), b.from_numpy(gy)
    # The products: forward, and twice as much backward.  Bytes: pre-activations, gates and their
    # gradients, each written and read once.
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind] * hidden
    weights = sum(a.size for name, a in state.items() if name.startswith("weight"))
    rows = layers * directions * steps * batch

    def captured() -> Step:
        step = nnx.capture(lambda x, g: through(layer, nnx.Tensor(x.data, True), g.data)(), layer)
        return bind(step, given, g)

    return Case(
        [through(layer, nnx.Tensor(given, True), g)],
        theirs,
        moved=6 * rows * gates * FLOAT,
        computed=3 * 2.0 * steps * batch * weights,
        captured=captured,
        compared=2,
    )


@row(
    "RNN, forward and backward",
    goal="1.5x cuDNN",
    full=(3, 32, 64, 128),
    small=(1, 8, 16, 32),
    tiny=(1, 2, 3, 4),
)
def rnn(b: Backend, layers: int, batch: int, steps: int, hidden: int) -> Case:
    return recurrent(b, "RNN", layers, batch, steps, hidden, False)


@row(
    "LSTM, forward and backward",
    goal="1.5x cuDNN",
    full=(3, 32, 64, 128),
    small=(1, 8, 16, 32),
    tiny=(1, 2, 3, 4),
)
def lstm(b: Backend, layers: int, batch: int, steps: int, hidden: int) -> Case:
    return recurrent(b, "LSTM", layers, batch, steps, hidden, False)


@row(
    "LSTM of 512 units, forward and backward",
    goal="1.2x cuDNN",
    full=(1, 64, 256, 512),
    small=(1, 8, 8, 160),
    tiny=(1, 2, 2, 129),
)
def wide_lstm(b: Backend, layers: int, batch: int, steps: int, hidden: int) -> Case:
    return recurrent(b, "LSTM", layers, batch, steps, hidden, False)


@row(
    "BiGRU, forward and backward",
    goal="1.5x cuDNN",
    full=(3, 16, 400, 32),
    small=(1, 8, 50, 32),
    tiny=(1, 2, 3, 4),
)
def bigru(b: Backend, layers: int, batch: int, steps: int, hidden: int) -> Case:
    return recurrent(b, "GRU", layers, batch, steps, hidden, True)


# ---- whole training steps ----


def training(b: Backend, stack: Callable[[Any], Any], x: np.ndarray, classes: int) -> Case:
    """Forward, backward and Adam; `stack(nn)` makes the network of either library's layers."""
    y = np.random.default_rng(1).integers(0, classes, len(x))
    model = stack(nn)
    optimizer = optim.Adam(model.parameters())
    state = {name: np.array(b.to_numpy(a)) for name, a in model.state_dict().items()}

    def theirs(torch: Any, device: str, graph: bool) -> list[Step]:
        net = stack(torch.nn)
        net.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in state.items()})
        net = net.to(device)
        adam = torch.optim.Adam(net.parameters(), capturable=graph)
        given, targets = torch.tensor(x, device=device), torch.tensor(y, device=device)
        return [TrainingStep(net, torch.nn.CrossEntropyLoss(), adam, given, targets)]

    loss_of = nn.CrossEntropyLoss()
    given, targets = nnx.Tensor(b.from_numpy(x)), nnx.Tensor(b.from_numpy(y))

    def captured() -> Step:
        def whole(x: Any, y: Any) -> Any:
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        step = nnx.capture(whole, model, optimizer)
        return lambda: step(given, targets)

    parameters = sum(p.size for p in model.parameters())
    return Case(
        [TrainingStep(model, loss_of, optimizer, given, targets)],
        theirs,
        moved=28 * parameters + 3 * x.size * FLOAT,
        computed=operations(model, x.shape),
        captured=captured,
    )


def operations(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Of the products in a training step: forward, and twice as much backward, but for the
    gradient of the input."""
    total = first = 0.0
    for layer in model.children():
        if isinstance(layer, nn.Conv2d):
            n, _, h, w = shape
            k = layer.weight.shape[2]
            shape = n, layer.weight.shape[0], h - k + 1, w - k + 1
            done = 2.0 * n * layer.weight.size * shape[2] * shape[3]
        elif isinstance(layer, nn.MaxPool2d):
            shape, done = (*shape[:2], shape[2] // 2, shape[3] // 2), 0.0
        elif isinstance(layer, nn.Linear):
            done = 2.0 * shape[0] * layer.weight.size
        else:
            done = 0.0
        total += 3 * done
        first = first or done
    return total - first


@row(
    "LeNet training step",
    goal="4x eager, 1x graph",
    full=(256, 32, 64, 512),
    small=(32, 8, 16, 64),
    tiny=(4, 2, 3, 5),
)
def lenet(b: Backend, batch: int, first: int, second: int, hidden: int) -> Case:
    def stack(nn: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(1, first, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * second, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 10),
        )

    return training(b, stack, random(batch, 1, 28, 28), 10)


@row(
    "MLP training step",
    goal="5x eager, 1x graph",
    full=(256, 784, 512),
    small=(64, 784, 128),
    tiny=(4, 6, 5),
)
def mlp(b: Backend, batch: int, features: int, hidden: int) -> Case:
    def stack(nn: Any) -> Any:
        return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 10))

    return training(b, stack, random(batch, features), 10)


# ---- optimizers ----


def adam(b: Backend, millions: float, fused: bool) -> Case:
    """Parameters in 16 tensors, their gradients given."""
    n = int(millions * 1e6) // 16
    values = [random(n, seed=k) for k in range(2)]
    params = [nn.Parameter(b.from_numpy(values[0])) for _ in range(16)]
    for p in params:
        p.grad = b.from_numpy(values[1])
    optimizer = optim.Adam(params)

    def theirs(torch: Any, device: str, graph: bool) -> list[Step]:
        others = [torch.tensor(values[0], device=device, requires_grad=True) for _ in range(16)]
        for p in others:
            p.grad = torch.tensor(values[1], device=device)
        options = {"fused": True} if fused else {}
        other = torch.optim.Adam(others, capturable=graph, **options)
        return [lambda: (other.step(), others[0])[1:]]

    ours = [lambda: (optimizer.step(), params[0])[1:]]
    return Case(ours, theirs, moved=7 * FLOAT * 16 * n)


@row("Adam, 10 M parameters", goal="2x", full=(10,), small=(1,), tiny=(0.01,))
def adam_10(b: Backend, millions: float) -> Case:
    return adam(b, millions, fused=False)


@row("Adam, 10 M, beside fused", goal="0.95x", full=(10,), small=(1,), tiny=(0.01,))
def adam_10_fused(b: Backend, millions: float) -> Case:
    return adam(b, millions, fused=True)


@row("Adam, 100 M parameters", goal="2x", full=(100,), small=(2,), tiny=(0.01,))
def adam_100(b: Backend, millions: float) -> Case:
    return adam(b, millions, fused=False)

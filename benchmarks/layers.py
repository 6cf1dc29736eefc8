"""Single layers, forward and backward, beside PyTorch's: NumPy, numba and PyTorch take turns.

    python -m benchmarks.layers                    # all rows
    python -m benchmarks.layers GELU GroupNorm --rounds 20

All three compute in one process, from the same weights, and their results are compared first.  A
figure is nnx's time divided by PyTorch's: the tenth percentile, and in brackets the median; below 1
is faster than PyTorch.  A star marks what is above the goal, 1.5 with NumPy alone and 1.0 with
numba.  Turns that other work on the machine disturbed are made again, as far as `--patience` goes;
on a busy machine only `--processor` says something: one thread, and the clock is the time that the
process computes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

import nnx
from benchmarks.compare import THREADS, machine, set_threads
from nnx.backends import override
from nnx.bench.timing import Guard, interleaved, percentile

GOALS = {"numpy": 1.5, "numba": 1.0}

ROWS = (256, 512)
IMAGES = (32, 32, 28, 28)
SIGNALS = (32, 32, 784)
SMALL = (32, 32, 14, 14)
SMALL64 = (16, 64, 14, 14)
PHOTOS = (2, 3, 112, 112)
VOLUMES = (2, 16, 16, 16, 16)
STEPS = (64, 32, 64)  # 64 steps, 32 sequences, 64 features

# name -> the layer, in nnx or in PyTorch, and what it takes
LAYERS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "ReLU": (lambda nn: nn.ReLU(), ROWS),
    "LeakyReLU": (lambda nn: nn.LeakyReLU(), ROWS),
    "Hardtanh": (lambda nn: nn.Hardtanh(), ROWS),
    "Tanh": (lambda nn: nn.Tanh(), ROWS),
    "Sigmoid": (lambda nn: nn.Sigmoid(), ROWS),
    "Softplus": (lambda nn: nn.Softplus(), ROWS),
    "SiLU": (lambda nn: nn.SiLU(), ROWS),
    "Mish": (lambda nn: nn.Mish(), ROWS),
    "ELU": (lambda nn: nn.ELU(), ROWS),
    "SELU": (lambda nn: nn.SELU(), ROWS),
    "GELU": (lambda nn: nn.GELU(), ROWS),
    "Softmax": (lambda nn: nn.Softmax(1), ROWS),
    "LogSoftmax": (lambda nn: nn.LogSoftmax(1), ROWS),
    "Dropout": (lambda nn: nn.Dropout(0.5), ROWS),
    "LayerNorm": (lambda nn: nn.LayerNorm(512), ROWS),
    "BatchNorm1d": (lambda nn: nn.BatchNorm1d(512), ROWS),
    "BatchNorm2d": (lambda nn: nn.BatchNorm2d(32), IMAGES),
    "GroupNorm": (lambda nn: nn.GroupNorm(8, 32), IMAGES),
    "Embedding": (lambda nn: nn.Embedding(5000, 64), (64, 32)),
    "Conv 1x1": (lambda nn: nn.Conv2d(32, 32, 1), IMAGES),
    "Conv 3x3": (lambda nn: nn.Conv2d(32, 32, 3, padding=1), IMAGES),
    "Conv stride 2": (lambda nn: nn.Conv2d(32, 32, 3, stride=2, padding=1), IMAGES),
    "Conv dilated": (lambda nn: nn.Conv2d(32, 32, 3, padding=2, dilation=2), IMAGES),
    "Conv groups of 4": (lambda nn: nn.Conv2d(32, 32, 3, padding=1, groups=8), IMAGES),
    "Conv depthwise": (lambda nn: nn.Conv2d(32, 32, 3, padding=1, groups=32), IMAGES),
    "Conv transposed": (lambda nn: nn.ConvTranspose2d(32, 32, 2, stride=2), IMAGES),
    "Conv 5x5": (lambda nn: nn.Conv2d(32, 64, 5, padding=2), SMALL),
    "Conv first": (lambda nn: nn.Conv2d(3, 64, 7, stride=2, padding=3), PHOTOS),
    "Conv 64": (lambda nn: nn.Conv2d(64, 64, 3, padding=1), (8, 64, 32, 32)),
    "Conv 256": (lambda nn: nn.Conv2d(256, 256, 3, padding=1), (8, 256, 8, 8)),
    "Conv 512": (lambda nn: nn.Conv2d(512, 512, 3, padding=1), (8, 512, 4, 4)),
    "Conv 1x1 256": (lambda nn: nn.Conv2d(256, 256, 1), (8, 256, 8, 8)),
    "Conv groups of 16": (lambda nn: nn.Conv2d(64, 64, 3, padding=1, groups=4), SMALL64),
    "Conv depthwise stride 2": (
        lambda nn: nn.Conv2d(64, 64, 3, stride=2, padding=1, groups=64),
        SMALL64,
    ),
    "Conv depthwise 256": (
        lambda nn: nn.Conv2d(256, 256, 3, padding=1, groups=256),
        (16, 256, 8, 8),
    ),
    "Conv transposed 4x4": (
        lambda nn: nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        SMALL64,
    ),
    "Conv1d": (lambda nn: nn.Conv1d(32, 32, 3, padding=1), SIGNALS),
    "Conv1d depthwise": (lambda nn: nn.Conv1d(32, 32, 3, padding=1, groups=32), SIGNALS),
    "Conv1d transposed": (lambda nn: nn.ConvTranspose1d(32, 32, 4, stride=2, padding=1), SIGNALS),
    "Conv3d": (lambda nn: nn.Conv3d(16, 16, 3, padding=1), VOLUMES),
    "Conv3d transposed": (lambda nn: nn.ConvTranspose3d(16, 16, 2, stride=2), VOLUMES),
    "Conv3d transposed 3x3x3": (lambda nn: nn.ConvTranspose3d(16, 16, 3, padding=1), VOLUMES),
    "MaxPool 2": (lambda nn: nn.MaxPool2d(2), IMAGES),
    "MaxPool 3 stride 2": (lambda nn: nn.MaxPool2d(3, 2), IMAGES),
    "AvgPool 2": (lambda nn: nn.AvgPool2d(2), IMAGES),
    "AdaptiveAvgPool": (lambda nn: nn.AdaptiveAvgPool2d(7), IMAGES),
    "RNN 256": (lambda nn: nn.RNN(64, 256), STEPS),
    "GRU 256": (lambda nn: nn.GRU(64, 256), STEPS),
    "LSTM 256": (lambda nn: nn.LSTM(64, 256), STEPS),
    "LSTM 512": (lambda nn: nn.LSTM(64, 512), (16, 32, 64)),
    "BiLSTM 128": (lambda nn: nn.LSTM(64, 128, bidirectional=True), STEPS),
    "BiLSTM 32": (lambda nn: nn.LSTM(64, 32, bidirectional=True), STEPS),
}
RANDOM = ("Dropout",)  # each library draws its own numbers

_used: list[Any] = [None]  # the backend that `use` chose
_until_then = ExitStack()


def steps_of(name: str) -> dict[str, Callable[[], Any]]:
    """Forward and backward of one layer, for each library; what a step returns is the result.

    Raises:
        AssertionError: the results differ.
    """
    import torch

    from nnx.backends.jit import JitBackend
    from nnx.backends.numpy import NumpyBackend

    make, shape = LAYERS[name]
    nnx.random.manual_seed(0)
    rng = np.random.default_rng(0)
    indices = name == "Embedding"
    x = rng.integers(0, 5000, shape) if indices else rng.standard_normal(shape).astype("float32")
    ours, theirs = make(nnx.nn), make(torch.nn)
    state = {key: np.array(a) for key, a in ours.state_dict().items()}
    theirs.load_state_dict({key: torch.from_numpy(a) for key, a in state.items()})
    first = result(theirs(torch.tensor(x)))
    g = rng.standard_normal(tuple(first.shape)).astype("float32")

    def ours_with(backend: Any) -> Callable[[], Any]:
        inputs = nnx.tensor(x, requires_grad=not indices)

        def step() -> Any:
            use(backend)
            inputs.grad = None
            ours.zero_grad()
            y = result(ours(inputs))
            y.backward(g)
            return y

        return step

    their_x, their_g = torch.tensor(x, requires_grad=not indices), torch.tensor(g)

    def their_step() -> Any:
        their_x.grad = None
        theirs.zero_grad()
        y = result(theirs(their_x))
        y.backward(their_g)
        return y

    steps = {"numpy": ours_with(NumpyBackend()), "numba": ours_with(JitBackend())}
    if name not in RANDOM:
        for who, step in steps.items():
            off = np.abs(step().detach().numpy() - first.detach().numpy()).max()
            if off > 1e-3:
                raise AssertionError(f"{name} with {who} is off PyTorch's result by {off}")
    return {**steps, "PyTorch": their_step}


def use(backend: Any) -> None:
    """Compute with a backend until another is asked for; None: with what was used before them all.

    Changing it takes a tenth of the smallest layer's time; it is done at the first step of a turn,
    which is not counted.
    """
    if _used[0] is not backend:
        _until_then.close()
        if backend is not None:
            _until_then.enter_context(override(np.ndarray, backend))
        _used[0] = backend


def result(y: Any) -> Any:
    """A layer's result; of a recurrent layer, that of all steps."""
    return y[0] if isinstance(y, tuple) else y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="names of layers; all where none is given")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.05, help="counted time of a turn")
    parser.add_argument("--patience", type=int, default=20, help="turns of a row made again")
    parser.add_argument("--threads", type=int, default=THREADS, help="for each of the three")
    parser.add_argument("--processor", action="store_true", help="one thread, processor time")
    args = parser.parse_args()
    set_threads(1 if args.processor else args.threads)
    clock = time.process_time if args.processor else time.perf_counter
    print(f"# {machine()}")
    print("| layer | PyTorch ms | NumPy | with numba |")
    print("| --- | --- | --- | --- |")
    turns = disturbed = 0
    for name in args.rows or LAYERS:
        guard = Guard(0 if args.processor else args.patience)
        times = interleaved(steps_of(name), args.rounds, args.seconds, guard=guard, clock=clock)
        low, middle = ({who: percentile(t, q) for who, t in times.items()} for q in (0.1, 0.5))
        cells = []
        for who, goal in GOALS.items():
            least, median = (a[who] / a["PyTorch"] for a in (low, middle))
            cells.append(f"{least:.2f}{'*' if least > goal else ''} ({median:.2f})")
        print(f"| {name} | {low['PyTorch'] * 1e3:.3f} | {' | '.join(cells)} |", flush=True)
        turns, disturbed = turns + guard.turns, disturbed + guard.disturbed
    print(f"# {disturbed} of {turns} turns disturbed by other work")


if __name__ == "__main__":
    main()

"""How a training step's cost grows with the work: nnx with NumPy, with numba, and PyTorch.

    python -m benchmarks.scaling                   # all sweeps; pictures into docs/scaling/
    python -m benchmarks.scaling lenet gru --rounds 9
    python -m benchmarks.scaling --quick           # about five minutes
    python -m benchmarks.scaling --processor       # one thread each, on a busy machine

Each sweep makes one thing larger, so that the work doubles from one size to the next: the batch,
an image's side, the steps of a sequence, a layer's width.  Its picture shows two figures for a unit
of work (an example, a pixel, a step, a multiply-add), both at most constant once calls cost little:

- time of a training step, the tenth percentile; the three take turns in one process;
- memory: how far the process's peak of resident memory, while steps are made, is above what it had
  with network and batch made.  Each way has a process of its own, on Linux alone, where the peak
  can be set back between sizes.

A cliff is a unit that takes over 1.5 times what it took at the size before, that is, a step that
takes over three times as much where the work doubles.  Cliffs are listed, with what PyTorch does
there; a time that looks like one is measured once more first.  Memory below a megabyte is not
looked at: pages, and what a library sets up.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import nnx
from benchmarks.cnn import lenet
from benchmarks.compare import THREADS, machine, set_threads
from benchmarks.layers import use
from benchmarks.memory import WAYS, in_process, rise, step_of
from benchmarks.recurrent import last_step
from benchmarks.steps import Step, pair
from nnx import nn, optim
from nnx.bench.timing import Guard, interleaved, percentile

PLACE = Path(__file__).parent.parent / "docs" / "scaling"
CLIFF = 1.5
LEAST = 1e6  # bytes: less memory is not looked at
SCALES = {"microseconds": 1e6, "kilobytes": 1e-3}

Pair = tuple[Step, Callable[[], Step]]
Figures = dict[str, list[float]]  # for each way, of each size


@dataclass(frozen=True)
class Sweep:
    """A training step of growing size: `build(size)` gives nnx's, and what builds PyTorch's."""

    title: str
    over: str  # what grows
    unit: str  # what the figures are divided by
    sizes: tuple[int, ...]
    build: Callable[[int], Pair]
    units: Callable[[int], float]  # how many units a step of that size has


def doubled(first: int, last: int) -> tuple[int, ...]:
    """Sizes that double, and the last."""
    sizes = [first]
    while 2 * sizes[-1] <= last:
        sizes.append(2 * sizes[-1])
    return (*sizes, last) if sizes[-1] < last else tuple(sizes)


def squared(first: int, last: int) -> tuple[int, ...]:
    """Even sizes whose squares about double."""
    sizes, steps = [first], 0
    while sizes[-1] < last:
        steps += 1
        sizes.append(2 * round(first * 2 ** (steps / 2) / 2))
    return tuple(sizes)


def dense(batch: int) -> Pair:
    return _trained(partial(_stack, 784, 512), (batch, 784))


def wide(width: int) -> Pair:
    return _trained(partial(_stack, width, width), (64, width))


def _stack(inputs: int, width: int, framework: Any) -> Any:
    n = framework
    return n.Sequential(n.Linear(inputs, width), n.ReLU(), n.Linear(width, 10))


def convolutional(batch: int) -> Pair:
    return _trained(lambda framework: lenet(framework, norm=True), (batch, 1, 28, 28))


def images(side: int) -> Pair:
    return _trained(_two_convolutions, (4, 3, side, side))


def _two_convolutions(framework: Any) -> Any:
    n = framework
    return n.Sequential(
        n.Conv2d(3, 16, 3, padding=1), n.BatchNorm2d(16), n.ReLU(), n.MaxPool2d(2),
        n.Conv2d(16, 32, 3, padding=1), n.BatchNorm2d(32), n.ReLU(), n.MaxPool2d(2),
        n.AdaptiveAvgPool2d(1), n.Flatten(), n.Linear(32, 10),
    )  # fmt: skip


def sequences(kind: str, steps: int) -> Pair:
    return _trained(
        lambda framework: last_step(framework, kind, 16, 64, 10, layers=1), (8, steps, 16)
    )


def _trained(make: Callable[[Any], Any], shape: tuple[int, ...]) -> Pair:
    """A network's training step on examples of ten classes, SGD."""
    nnx.random.manual_seed(0)
    rng = np.random.default_rng(0)
    return pair(
        make(nn),
        nn.CrossEntropyLoss(),
        partial(optim.SGD, lr=0.01),
        lambda torch: (
            make(torch.nn),
            torch.nn.CrossEntropyLoss(),
            partial(torch.optim.SGD, lr=0.01),
        ),
        rng.standard_normal(shape, dtype=np.float32),
        rng.integers(0, 10, shape[0]),
    )


SWEEPS = {
    "dense": Sweep("784-512-10", "batch", "example", doubled(1, 4096), dense, float),
    "lenet": Sweep(
        "LeNet with batch norm", "batch", "example", doubled(1, 4096), convolutional, float
    ),
    "images": Sweep(
        "two convolutions, batch 4",
        "the image's side",
        "pixel",
        squared(8, 512),
        images,
        lambda side: 4.0 * side * side,
    ),
    "lstm": Sweep(
        "an LSTM of 64, batch 8",
        "steps",
        "step",
        doubled(1, 10_000),
        partial(sequences, "LSTM"),
        float,
    ),
    "gru": Sweep(
        "a GRU of 64, batch 8",
        "steps",
        "step",
        doubled(1, 10_000),
        partial(sequences, "GRU"),
        float,
    ),
    "width": Sweep(
        "two dense layers, batch 64",
        "width",
        "weight",
        squared(8, 4096),
        wide,
        lambda width: float(width * width),
    ),
}


# ---- time ----


def times(sweep: Sweep, sizes: tuple[int, ...], args: argparse.Namespace, guard: Guard) -> Figures:
    """Seconds of a step, at each size."""
    clock = time.process_time if args.processor else time.perf_counter
    units = [sweep.units(size) for size in sizes]
    found: Figures = {}

    def measure(at: int) -> None:
        steps = dict(_three(sweep, sizes[at]))
        timed = interleaved(steps, args.rounds, args.seconds, guard=guard, clock=clock)
        for who, each in timed.items():
            row = found.setdefault(who, [math.inf] * len(sizes))
            row[at] = min(row[at], percentile(each, 0.1))

    for at in range(len(sizes)):
        measure(at)
    for at in range(1, len(sizes)):  # what was disturbed looks like a cliff: once more
        if cliffs(sizes[at - 1 : at + 1], _part(found, at), units[at - 1 : at + 1]):
            measure(at)
    use(None)
    return found


def _part(figures: Figures, at: int) -> Figures:
    return {who: y[at - 1 : at + 1] for who, y in figures.items()}


def _three(sweep: Sweep, size: int) -> Iterator[tuple[str, Step]]:
    """The same step in each way; with numba where it is installed."""
    from nnx.backends import jit_enabled
    from nnx.backends.jit import JitBackend
    from nnx.backends.numpy import NumpyBackend

    def on(backend: Any) -> Step:
        use(backend)
        ours, _ = sweep.build(size)

        def step() -> Any:
            use(backend)
            return ours()

        return step

    yield "NumPy", on(NumpyBackend())
    if jit_enabled():
        yield "numba", on(JitBackend())
    _, build_theirs = sweep.build(size)
    yield "PyTorch", build_theirs()


# ---- memory ----


def memory(name: str, sizes: tuple[int, ...]) -> Figures:
    """Bytes at a step's peak above network and batch, at each size, each way in a process."""
    arguments = "--sizes", *sizes, "--inside"
    return {
        who: in_process("benchmarks.scaling", name, *arguments, who, jit=who == "numba")
        for who in WAYS
    }


def peaks(sweep: Sweep, who: str, sizes: list[int]) -> list[float]:
    """In this process: what each size's steps take beyond network and batch, at their peak."""
    found = []
    for size in sizes:
        step_of(partial(sweep.build, size), who == "PyTorch")()  # the library sets itself up
        step = step_of(partial(sweep.build, size), who == "PyTorch")
        found.append(rise(step, 2))
        del step
    return found


# ---- what is found ----


def cliffs(sizes: tuple[int, ...], figures: Figures, units: list[float]) -> list[str]:
    """Where a unit costs over CLIFF times what it cost at the size before; and PyTorch's there."""
    each = {who: [f / u for f, u in zip(figures[who], units, strict=True)] for who in figures}
    found = []
    for at, (a, b) in enumerate(pairwise(sizes)):
        rises = {who: y[at + 1] / y[at] if y[at] else float("nan") for who, y in each.items()}
        theirs = f" (PyTorch {rises['PyTorch']:.2f})" if "PyTorch" in rises else ""
        found += [
            f"{who}, {a} to {b}: {rise:.2f}{theirs}"
            for who, rise in rises.items()
            if who != "PyTorch" and rise > CLIFF
        ]
    return found


def draw(name: str, sizes: tuple[int, ...], costs: dict[str, Figures], note: str) -> None:
    """The picture of a sweep: a panel for each cost."""
    from nnx.plots import lines

    sweep = SWEEPS[name]
    units = np.array([sweep.units(size) for size in sizes])
    PLACE.mkdir(exist_ok=True)
    lines(
        {
            f"{cost} for each {sweep.unit}": {
                who: (np.array(sizes), np.array(y) * SCALES[cost] / units)
                for who, y in figures.items()
            }
            for cost, figures in costs.items()
        },
        PLACE / f"{name}.svg",
        f"{sweep.title}{note and f' ({note})'}",
        sweep.over,
        xlog=True,
        ylog=True,
        marks="o",
        share=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "sweeps", nargs="*", help=f"of {', '.join(SWEEPS)}; all where none is named"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.05, help="counted time of a turn")
    parser.add_argument("--patience", type=int, default=20, help="turns of a sweep made again")
    parser.add_argument("--processor", action="store_true", help="one thread, processor time")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, without the largest sizes"
    )
    parser.add_argument("--only", choices=["time", "memory"], help="one of the two; no picture")
    parser.add_argument("--note", default="", help="said in the pictures' titles")
    parser.add_argument("--sizes", type=int, nargs="+", help="these alone; no picture")
    parser.add_argument("--inside", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    set_threads(1 if args.processor else THREADS)
    if args.inside:
        print(json.dumps(peaks(SWEEPS[args.sweeps[0]], args.inside, args.sizes)))
        return
    if args.quick:
        args.rounds = 3
    print(f"# {machine()}")
    guard = Guard(0 if args.processor else args.patience)
    for name in args.sweeps or SWEEPS:
        sweep = SWEEPS[name]
        sizes = tuple(args.sizes or sweep.sizes[: -2 if args.quick else None])
        units = [sweep.units(size) for size in sizes]
        costs = {}
        if args.only != "memory":
            costs["microseconds"] = times(sweep, sizes, args, guard)
        if args.only != "time" and sys.platform == "linux":
            costs["kilobytes"] = memory(name, sizes)
        table(sweep, sizes, costs)
        for cost, figures in costs.items():
            floor = LEAST if cost == "kilobytes" else 0
            floored = {who: [max(f, floor) for f in y] for who, y in figures.items()}
            for line in cliffs(sizes, floored, units):
                print(f"cliff in {cost}, {name}: {line}", flush=True)
        if not args.sizes and not args.only:
            draw(name, sizes, costs, args.note)
    if not args.processor and args.only != "memory":
        print(f"# {guard}")


def table(sweep: Sweep, sizes: tuple[int, ...], costs: dict[str, Figures]) -> None:
    """Print whole steps: milliseconds, and megabytes."""
    named = {"microseconds": ("ms", 1e3), "kilobytes": ("MB", 1e-6)}
    columns = {
        f"{who} {named[cost][0]}": [f * named[cost][1] for f in y]
        for cost, figures in costs.items()
        for who, y in figures.items()
    }
    print(f"\n{sweep.title}\n\n| {sweep.over} | {' | '.join(columns)} |")
    print("| --- |" + " --- |" * len(columns))
    for at, size in enumerate(sizes):
        print(f"| {size} | {' | '.join(f'{column[at]:.4g}' for column in columns.values())} |")
    print(flush=True)


if __name__ == "__main__":
    main()

"""One table: nnx's kernels and steps, their floor, and PyTorch beside them in the same run.

    NNX_BACKEND=cupy python -m benchmarks.gpu_table                 # on a GPU: what is recorded
    python -m benchmarks.gpu_table --size small LSTM Adam           # on a CPU, some rows

First every row is held to PyTorch's numbers; then it is timed.  On a GPU with device events, after
a warm-up, many launches between two events, and the median of several such batches; the floor is
the fewest bytes at the bandwidth of a copy, or the operations at the speed of a large product,
whichever takes longer, both measured in the same run.  On a CPU there is no floor and no graph.

The ratios are PyTorch's time divided by nnx's: higher is better.  `nnx graph` is `nnx.capture`,
`PyTorch graph` a torch.cuda.CUDAGraph of the same step.  Both libraries compute in float32;
--tf32 lets both round the factors of products to TF32.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

Step = Callable[[], Any]
RTOL = 2e-3  # of a result's largest value; a wrong kernel is wrong by far more


# ---- clocks ----


class HostClock:
    """Seconds that a number of calls take, on a CPU."""

    def seconds(self, call: Step, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            call()
        return time.perf_counter() - start

    def wait(self) -> None:
        """Nothing runs behind the host."""


class CupyClock(HostClock):
    """The same, between two events on CuPy's current stream."""

    def __init__(self) -> None:
        import cupy

        self.events = cupy.cuda.Event(), cupy.cuda.Event()
        self.elapsed = cupy.cuda.get_elapsed_time

    def seconds(self, call: Step, count: int) -> float:
        start, stop = self.events
        start.record()
        for _ in range(count):
            call()
        stop.record()
        stop.synchronize()
        return self.elapsed(start, stop) / 1e3

    def wait(self) -> None:
        self.events[1].record()
        self.events[1].synchronize()


class TorchClock(HostClock):
    """The same, between two events on PyTorch's current stream."""

    def __init__(self, torch: Any) -> None:
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        self.synchronize = torch.cuda.synchronize

    def seconds(self, call: Step, count: int) -> float:
        start, stop = self.events
        start.record()
        for _ in range(count):
            call()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) / 1e3

    def wait(self) -> None:
        self.synchronize()


def timed(steps: list[Step], clock: HostClock, batches: int, seconds: float) -> float:
    """The median time of a step: `batches` batches, each about `seconds` long."""
    turn = 0

    def call() -> None:
        nonlocal turn
        steps[turn % len(steps)]()
        turn += 1

    for _ in range(3 * len(steps)):  # compilation, memory pools, caches
        call()
    clock.wait()
    once = max(clock.seconds(call, 2) / 2, 1e-7)
    count = max(len(steps), min(10_000, int(seconds / once)))
    return statistics.median(clock.seconds(call, count) / count for _ in range(batches))


# ---- what a device can do ----


def ceilings(
    backend: Any, clock: HostClock, batches: int, seconds: float, n: int = 8192
) -> tuple[float, float]:
    """Bytes a second of a large copy, and operations a second of a large float32 product."""
    xp = backend.xp
    size = 4 * n * n  # 1 GiB
    x, y = (xp.zeros(size, dtype=xp.float32) for _ in range(2))

    def copy() -> None:
        y[...] = x

    moved = 2 * 4 * size / timed([copy], clock, batches, seconds)
    a, b, c = (xp.ones((n, n), dtype=xp.float32) for _ in range(3))
    product = timed([lambda: xp.matmul(a, b, out=c)], clock, batches, seconds)
    return moved, 2.0 * n**3 / product


def torch_graph(torch: Any, steps: list[Step]) -> list[Step]:
    """Each step as a CUDA graph, after three calls aside, as PyTorch's documentation has it."""
    graphs = []
    for step in steps:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        graphs.append(graph.replay)
    return graphs


# ---- the same numbers? ----


def numbers(result: Any) -> list[np.ndarray]:
    """What a step returned, in host memory: of either library, or arrays in a tuple."""
    if isinstance(result, tuple | list):
        return [a for part in result for a in numbers(part)]
    if hasattr(result, "detach") and hasattr(result, "cpu"):
        return [result.detach().cpu().numpy()]
    from nnx.backends import backend_of

    array = getattr(result, "data", result) if type(result).__module__.startswith("nnx") else result
    return [np.array(backend_of(array).to_numpy(array))]


def hold(name: str, ours: Any, theirs: Any, compared: int) -> None:
    """Raise AssertionError unless the first results agree."""
    pairs = zip(numbers(ours)[:compared], numbers(theirs)[:compared], strict=True)
    for k, (a, e) in enumerate(pairs):
        worst = float(np.max(np.abs(a - e), initial=0.0))
        bound = RTOL * max(1e-6, float(np.max(np.abs(e), initial=0.0)))
        if a.shape != e.shape or not worst <= bound:
            raise AssertionError(
                f"{name}: result {k} of the two libraries differs by {worst:g} (bound {bound:g}); "
                f"shapes {a.shape} and {e.shape}"
            )


# ---- the table ----


def line(row: Any, backend: Any, torch: Any, options: argparse.Namespace, best: Any) -> list[str]:
    """The cells of a row, in milliseconds and ratios."""
    on_gpu = best is not None
    case = row.case(backend, options.size)
    first = case.ours[0]()
    device = "cuda" if on_gpu else "cpu"
    theirs = graph = captured = None
    if torch is not None:
        steps = case.theirs(torch, device, False)
        hold(row.name, first, steps[0](), case.compared)
        clock = TorchClock(torch) if on_gpu else HostClock()
        theirs = timed(steps, clock, options.batches, options.seconds)
        if on_gpu:
            graphs = torch_graph(torch, case.theirs(torch, device, True))
            graph = timed(graphs, clock, options.batches, options.seconds)
    clock = CupyClock() if on_gpu else HostClock()
    ours = timed(case.ours, clock, options.batches, options.seconds)
    if on_gpu and case.captured is not None:
        captured = timed([case.captured()], clock, options.batches, options.seconds)

    floor = max(case.moved / best[0], case.computed / best[1]) if on_gpu else None
    fastest = min(t for t in (ours, captured) if t is not None)
    return [
        row.name,
        milliseconds(ours),
        milliseconds(captured),
        milliseconds(floor),
        "" if floor is None else f"{floor / fastest:.0%}",
        milliseconds(theirs),
        "" if theirs is None else f"{theirs / ours:.2f}",
        milliseconds(graph),
        "" if graph is None else f"{graph / fastest:.2f}",
        row.goal,
    ]


# After these the process cannot use the device any more: another has to go on.
LOST = ("illegal", "misaligned", "unspecified launch failure", "device-side assert")
CONTEXT_LOST = 9

COLUMNS = (
    "case",
    "nnx ms",
    "nnx graph ms",
    "floor ms",
    "share",
    "PyTorch ms",
    "ratio",
    "PyTorch graph ms",
    "ratio to graph",
    "first goal",
)


def milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1e3:.4g}"


def head(backend: Any, torch: Any, best: Any, options: argparse.Namespace) -> str:
    """Where and with what the figures were made."""
    import nnx

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    parts = [
        f"nnx {nnx.__version__} {commit}".strip(),
        f"backend {backend.name}",
        str(date.today()),
    ]
    if best is None:
        parts.append(f"{platform.machine()}, {os.cpu_count()} cores")
    else:
        import cupy

        from nnx.backends.cupy import describe_device

        runtime = cupy.cuda.runtime
        parts += [
            describe_device(),
            f"driver for CUDA {runtime.driverGetVersion()}, CUDA {runtime.runtimeGetVersion()}",
            f"CuPy {cupy.__version__}",
            f"copy {best[0] / 1e12:.2f} TB/s, product {best[1] / 1e12:.1f} TFLOP/s",
        ]
    parts.append(f"PyTorch {torch.__version__}" if torch is not None else "no PyTorch")
    parts.append("TF32" if options.tf32 else "float32 without TF32")
    return "; ".join(parts)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rows", nargs="*", help="parts of the names of rows; all where none")
    parser.add_argument("--size", choices=["full", "small", "tiny"], help="full on a GPU")
    parser.add_argument("--batches", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a batch takes")
    parser.add_argument("--tf32", action="store_true", help="products may round to TF32")
    parser.add_argument("--no-torch", action="store_true", help="nnx alone")
    parser.add_argument(
        "--done", type=Path, help="a file of rows to leave out; every row adds itself"
    )
    options = parser.parse_args(arguments)
    if options.tf32:
        os.environ["CUPY_TF32"] = "1"  # read by CuPy at its first product

    from benchmarks.gpu_rows import ROWS
    from nnx.backends import active_backend

    backend = active_backend()
    on_gpu = backend.name.startswith("cupy")
    options.size = options.size or ("full" if on_gpu else "small")
    torch = None
    if not options.no_torch and find_spec("torch"):
        import torch as torch

        torch.backends.cuda.matmul.allow_tf32 = options.tf32
        torch.backends.cudnn.allow_tf32 = options.tf32
        if on_gpu and not torch.cuda.is_available():
            torch = None

    chosen = [
        row
        for row in ROWS.values()
        if not options.rows or any(part.lower() in row.name.lower() for part in options.rows)
    ]
    if not chosen:
        print(f"no row has {', '.join(options.rows)} in its name; there are {', '.join(ROWS)}")
        return 1
    best = None
    if on_gpu:
        n = 64 if options.size == "tiny" else 8192
        best = ceilings(backend, CupyClock(), options.batches, options.seconds, n)
    done = options.done.read_text().splitlines() if options.done and options.done.exists() else []
    if not done:
        print(head(backend, torch, best, options))
        print()
        print("| " + " | ".join(COLUMNS) + " |")
        print("| --- " * len(COLUMNS) + "|")
    failed = 0
    for row in chosen:
        if row.name in done:
            continue
        if options.done:  # before it is run: what kills the process is not met again
            with options.done.open("a") as file:
                file.write(f"{row.name}\n")
        try:
            cells = line(row, backend, torch, options, best)
        except Exception as error:  # the other rows are worth having
            failed += 1
            text = f"{type(error).__name__}: {error}"[:300].replace("\n", " ").replace("|", "/")
            cells = [row.name, f"failed: {text}"]
            if any(word in text for word in LOST):
                print("| " + " | ".join(cells) + " |", flush=True)
                return CONTEXT_LOST
        print("| " + " | ".join(cells) + " |", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""How much memory a training step takes at most: nnx beside PyTorch, each in a process of its own.

    python -m benchmarks.memory                    # the rows of `compare.py`
    python -m benchmarks.memory resnet18-32 unet --rounds 5
    python -m benchmarks.memory --more             # also the networks of `networks.py`
    python -m benchmarks.memory lenet-256 lenet-256/textbook

Two figures, over PyTorch's: the process as a whole at its peak (what the system has to find), and
how far that is above what the process had when network and batch were made but no step was taken.
Both are pages in memory, the least of several processes: what the libraries set up at their first
step is in it.  Linux, where the peak can be set back, and macOS, where it must be the first.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.compare import MISLEADING

WAYS = ("NumPy", "numba", "PyTorch")
STEPS = 4
Step = Callable[[], Any]


def step_of(build: Callable[[], tuple[Step, Callable[[], Step]]], theirs: bool) -> Step:
    """One of a row's two steps; the other is dropped, with all that it holds."""
    ours, build_theirs = build()
    return build_theirs() if theirs else ours


def rise(step: Step, steps: int = STEPS) -> float:
    """Bytes that this process has at its peak while steps are made, beyond what it has now."""
    from nnx.backends.cpu import memory

    gc.collect()
    memory.forget()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back: it would hide what steps take
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is
        before = _status("VmRSS")
    else:
        before = peak()
    for _ in range(steps):
        step()
    return peak() - before


def peak() -> float:
    """The most bytes that this process has had in memory."""
    if sys.platform == "linux":
        return _status("VmHWM")
    import resource

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _status(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith(what))


def in_process(module: str, *arguments: Any, jit: bool) -> Any:
    """What `python -m module arguments` prints as JSON.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    clean = {k: v for k, v in os.environ.items() if k not in MISLEADING}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**clean, "NNX_JIT": str(int(jit))},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def measure(name: str, who: str) -> tuple[float, float]:
    """In this process: its peak, and how far that is above network and batch."""
    from benchmarks.compare import THREADS
    from benchmarks.steps import all_rows

    row = all_rows()[name]
    if who == "PyTorch":
        import torch

        torch.set_num_threads(THREADS)
    step = step_of(row.build, who == "PyTorch")
    above = rise(step)
    return peak(), above


def main() -> None:
    from benchmarks.steps import all_rows

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="names of rows; all where none is given")
    parser.add_argument("--more", action="store_true", help="also the rows that take long")
    parser.add_argument("--rounds", type=int, default=2, help="processes; the first may compile")
    parser.add_argument("--here", choices=WAYS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.rows[0], args.here)))
        return
    rows = all_rows()
    print("| step | whole, above start, MB | NumPy / it | numba / it |")
    print("| --- | --- | --- | --- |")
    for name in args.rows or [name for name, row in rows.items() if args.more or not row.more]:
        found = {}
        for who in WAYS:
            each = [
                in_process("benchmarks.memory", name, "--here", who, jit=who == "numba")
                for _ in range(args.rounds)
            ]
            found[who] = [min(values) for values in zip(*each, strict=True)]
        theirs = found.pop("PyTorch")
        cells = [", ".join(f"{b / 1e6:.1f}" for b in theirs) + f" {rows[name].against}"]
        for one in found.values():
            cells.append(", ".join(f"{a / b:.2f}" for a, b in zip(one, theirs, strict=True)))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

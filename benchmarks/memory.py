"""How much memory a training step takes at most: nnx beside PyTorch, each in a process of its own.

    python -m benchmarks.memory                    # the textbook's network, batches of 256
    python -m benchmarks.memory --batch-size 32 --norm

Two figures: the process as a whole at its peak (what the system has to find), and how far that is
above the process when network and batch are made but no step was taken.  Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.compare import MISLEADING, THREADS

Step = Callable[[], Any]

WAYS = {
    "nnx, NumPy": ("nnx", "0"),
    "nnx, numba": ("nnx", "1"),
    "PyTorch": ("torch", "0"),
    "the textbook's style": ("textbook", "0"),
}
STEPS = 4


def peak() -> float:
    """The most this process has had in memory so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(library: str, batch: int, norm: bool) -> dict[str, float]:
    """The peak before the first step and after some, in this process."""
    step = textbook(batch) if library == "textbook" else build(library, batch, norm)
    before = peak()
    for _ in range(STEPS):
        step()
    return {"before": before, "peak": peak()}


def textbook(batch: int) -> Step:
    from benchmarks.textbook import textbook_step

    return textbook_step(batch)[0]


def build(library: str, batch: int, norm: bool) -> Step:
    """A training step of nnx or of PyTorch."""
    import numpy as np

    from benchmarks.cnn import lenet
    from benchmarks.steps import TrainingStep

    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, 1, 28, 28)).astype("float32")
    y = rng.integers(0, 10, batch)
    arguments: tuple[Any, ...]
    if library == "nnx":
        import nnx
        from nnx import nn, optim

        arguments = nn, optim, nnx.tensor(x), nnx.tensor(y)
    else:
        import torch

        torch.set_num_threads(THREADS)
        arguments = torch.nn, torch.optim, torch.tensor(x), torch.tensor(y)
    nn, optim, x, y = arguments
    model = lenet(nn, norm)
    return TrainingStep(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()), x, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--norm", action="store_true", help="with batch norm")
    parser.add_argument("--here", choices=["nnx", "torch", "textbook"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.here, args.batch_size, args.norm)))
        return
    clean = {k: v for k, v in os.environ.items() if k not in MISLEADING}
    found = {}
    for name, (library, jit) in WAYS.items():
        if library == "textbook" and args.norm:
            continue
        command = [sys.executable, "-m", "benchmarks.memory", "--here", library]
        command += ["--batch-size", str(args.batch_size), *(["--norm"] if args.norm else [])]
        for _ in range(2):  # the first may compile
            done = subprocess.run(
                command, env={**clean, "NNX_JIT": jit}, check=True, capture_output=True, text=True
            )
        found[name] = json.loads(done.stdout)
    theirs = found["PyTorch"]
    print("| | process at its peak, MB | / PyTorch | above the start, MB | / PyTorch |")
    print("| --- | --- | --- | --- | --- |")
    for name, one in found.items():
        rise, other = one["peak"] - one["before"], theirs["peak"] - theirs["before"]
        print(
            f"| {name} | {one['peak']:.0f} | {one['peak'] / theirs['peak']:.2f} "
            f"| {rise:.0f} | {rise / other:.2f} |"
        )


if __name__ == "__main__":
    main()

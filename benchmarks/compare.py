"""nnx beside PyTorch: whole training steps, interleaved in one process, as ratios.

    python -m benchmarks.compare                   # all rows, without and with numba
    python -m benchmarks.compare mlp-sgd small --jit 0 --rounds 30
    python -m benchmarks.compare small --no-peers  # beside PyTorch's eager mode alone
    python -m benchmarks.compare --more            # also the networks of `networks.py`
    python -m benchmarks.compare unet --processor  # one thread each, on a busy machine

Both libraries get two threads, and take turns: a pause, steps that are not counted, then some
that are, and again.  A ratio is nnx's time divided by PyTorch's, so lower is better; absolute
times on a shared machine mean little.  Turns in one process do not disturb each other, thanks to
the pause: each library alone in a process takes what it takes here.  Other work on the machine
does: a step whose threads wait for each other takes several times as long when one of them has
lost its core.  Such turns are noticed and made again, as often as `--patience` says; the last line
tells how many remained.  Where it is not "0 of", measure again when it is quiet.

With `--processor` both have one thread, and the clock is the time that the process computes: what
another program takes is not in it, but for what it takes from caches.

`torch.compile` compiles the network, JAX the whole step (`peers.py`); a word says why there is no
figure.  `/ fastest` is nnx's time over that of the quickest of PyTorch and these two: the one to
beat.  JAX shares out its threads itself: as many as the machine has cores.

The floor is what the row's matrix products take alone (`floors.py`), and `/ floor` nnx's time over
that.  Variables such as OPENBLAS_CORETYPE, which can halve the speed of NumPy's matrix product, are
taken out of the environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from typing import Any

THREADS = 2
MISLEADING = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def compare(args: argparse.Namespace) -> None:
    """Time the rows in this process and print a line for each."""
    from benchmarks.steps import all_rows
    from nnx.backends import jit_enabled

    set_threads(1 if args.processor else THREADS)
    rows = all_rows()
    kind = "jit" if jit_enabled() else "numpy"
    print(f"# {machine()}; nnx with {'numba' if kind == 'jit' else 'NumPy alone'}")
    more = " torch.compile | JAX jit | / fastest |" if args.peers else ""
    print(f"| step | nnx ms | other ms | ratio p10 | ratio median | goal | / floor |{more}")
    print("| --- | --- | --- | --- | --- | --- | --- |" + (" --- |" * 3 if args.peers else ""))
    turns = disturbed = 0
    for name in args.rows or [name for name, row in rows.items() if args.more or not row.more]:
        line, guard = measured(name, rows[name], kind, args)
        print(line, flush=True)
        turns, disturbed = turns + guard.turns, disturbed + guard.disturbed
    print(f"# {disturbed} of {turns} turns disturbed by other work")


def measured(name: str, row: Any, kind: str, args: argparse.Namespace) -> tuple[str, Any]:
    """A row's line of the table, and who watched its turns.

    Raises:
        AssertionError: the two do not compute the same.
    """
    from benchmarks.floors import floor
    from benchmarks.peers import peers
    from benchmarks.steps import TrainingStep
    from nnx.bench.timing import Guard, interleaved, percentile

    ours, build_theirs = row.build()
    theirs = build_theirs()
    steps = {"nnx": ours, row.against: theirs}
    a, b = (float(step().item()) for step in steps.values())
    if row.same and abs(a - b) > 1e-3 * max(1.0, abs(b)):
        raise AssertionError(f"{name}: the two do not compute the same: first losses {a}, {b}")
    if isinstance(ours, TrainingStep):
        steps["floor"] = floor(ours.model, ours.x)
    others = peers(ours, build_theirs()) if args.peers else {}
    steps.update({who: step for who, step in others.items() if not isinstance(step, str)})

    guard = Guard(0 if args.processor else args.patience)
    clock = time.process_time if args.processor else time.perf_counter
    times = interleaved(steps, args.rounds, args.seconds, least=3, guard=guard, clock=clock)
    low = {who: percentile(t, 0.1) for who, t in times.items()}
    middle = {who: percentile(t, 0.5) for who, t in times.items()}

    def ratio(times: dict[str, float], who: str) -> str:
        return f"{times['nnx'] / times[who]:.2f}" if who in times else str(others.get(who, ""))

    fastest = min(low[who] for who in (row.against, *others) if who in low)

    cells = [
        name,
        f"{low['nnx'] * 1e3:.3f}",
        f"{low[row.against] * 1e3:.3f} {row.against}",
        ratio(low, row.against),
        ratio(middle, row.against),
        str(row.goals.get(kind, "")),
        ratio(low, "floor"),
        *[ratio(low, who) for who in others],
        *([f"{low['nnx'] / fastest:.2f}"] if args.peers else []),
    ]
    return f"| {' | '.join(cells)} |", guard


def set_threads(count: int) -> None:
    """So many threads for PyTorch, for BLAS and for our kernels."""
    import torch
    from threadpoolctl import threadpool_limits

    from nnx.backends import jit_enabled

    torch.set_num_threads(count)
    threadpool_limits(count, user_api="blas")
    if jit_enabled():
        from nnx.backends.jit.codegen.threads import set_thread_count

        set_thread_count(count)


def machine() -> str:
    """The processor, the libraries' versions, and how many threads each has."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    import nnx
    from nnx.reproduce.runner import processor

    pools = ", ".join(
        f"{p['internal_api']} {p.get('architecture', '')} {p['num_threads']}"
        for p in threadpool_info()
    )
    return (
        f"{processor()}; nnx {nnx.__version__}, PyTorch {torch.__version__}, "
        f"NumPy {np.__version__}; threads: {pools}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="names of rows; all where none is given")
    parser.add_argument("--jit", choices=["0", "1", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="counted time of a turn")
    parser.add_argument("--patience", type=int, default=30, help="turns of a row made again")
    parser.add_argument(
        "--peers",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also torch.compile and JAX's jit, where they are installed",
    )
    parser.add_argument("--more", action="store_true", help="also the rows that take long")
    parser.add_argument("--processor", action="store_true", help="one thread, processor time")
    parser.add_argument("--here", action="store_true", help="in this process, as NNX_JIT says")
    args = parser.parse_args()
    if args.here:
        compare(args)
        return
    for jit in ["0", "1"] if args.jit == "both" else [args.jit]:
        clean = {k: v for k, v in os.environ.items() if k not in MISLEADING}
        command = [sys.executable, "-m", "benchmarks.compare", *sys.argv[1:], "--here"]
        subprocess.run(command, env={**clean, "NNX_JIT": jit}, check=True)


if __name__ == "__main__":
    main()

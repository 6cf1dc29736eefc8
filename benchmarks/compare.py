"""nnx beside PyTorch: whole training steps, interleaved in one process, as ratios.

    python -m benchmarks.compare                   # all rows, without and with numba
    python -m benchmarks.compare mlp-sgd small --jit 0 --rounds 30

Both libraries get two threads, and take turns: a pause, steps that are not counted, then some
that are, and again.  A ratio is nnx's time divided by PyTorch's, so lower is better; absolute
times on a shared machine mean little.  Turns in one process do not disturb each other, thanks to
the pause: each library alone in a process takes what it takes here.  Other work on the machine
does: a step whose threads wait for each other takes several times as long when one of them has
lost its core.  Where p10 and median differ much, that is why: measure again when it is quiet.
Variables such as OPENBLAS_CORETYPE, which can halve the speed of NumPy's matrix product, are taken
out of the environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

THREADS = 2
MISLEADING = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def compare(names: list[str], rounds: int, seconds: float) -> None:
    """Time the rows in this process and print a line for each."""
    import torch
    from threadpoolctl import threadpool_info

    import nnx
    from benchmarks.steps import all_rows
    from nnx.backends import jit_enabled
    from nnx.bench.timing import interleaved, percentile

    rows = all_rows()

    torch.set_num_threads(THREADS)
    pools = ", ".join(
        f"{p['internal_api']} {p.get('architecture', '')} {p['num_threads']}"
        for p in threadpool_info()
    )
    kind = "jit" if jit_enabled() else "numpy"
    print(f"# nnx {nnx.__version__} ({kind}), PyTorch {torch.__version__}; threads: {pools}")
    print("| step | nnx ms | other ms | ratio p10 | ratio median | goal |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names or list(rows):
        row = rows[name]
        ours, theirs = row.build()
        steps = {"nnx": ours, row.against: theirs()}
        first = {who: float(step().item()) for who, step in steps.items()}
        a, b = first.values()
        if row.same and abs(a - b) > 1e-3 * max(1.0, abs(b)):
            raise AssertionError(f"{name}: the two do not compute the same: first losses {first}")
        times = interleaved(steps, rounds, seconds, least=3)
        low = {who: percentile(t, 0.1) for who, t in times.items()}
        mid = {who: percentile(t, 0.5) for who, t in times.items()}
        goal = row.goals.get(kind)
        print(
            f"| {name} | {low['nnx'] * 1e3:.3f} | {low[row.against] * 1e3:.3f} {row.against} "
            f"| {low['nnx'] / low[row.against]:.2f} | {mid['nnx'] / mid[row.against]:.2f} "
            f"| {'' if goal is None else goal} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help="names of rows; all where none is given")
    parser.add_argument("--jit", choices=["0", "1", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.05, help="counted time of a turn")
    parser.add_argument("--here", action="store_true", help="in this process, as NNX_JIT says")
    args = parser.parse_args()
    if args.here:
        compare(args.rows, args.rounds, args.seconds)
        return
    for jit in ["0", "1"] if args.jit == "both" else [args.jit]:
        clean = {k: v for k, v in os.environ.items() if k not in MISLEADING}
        command = [sys.executable, "-m", "benchmarks.compare", *args.rows, "--here"]
        command += ["--rounds", str(args.rounds), "--seconds", str(args.seconds)]
        subprocess.run(command, env={**clean, "NNX_JIT": jit}, check=True)


if __name__ == "__main__":
    main()

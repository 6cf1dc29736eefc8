"""nnx beside PyTorch: whole training steps, interleaved in one process, as ratios.

    python -m benchmarks.compare                   # all rows, without and with numba
    python -m benchmarks.compare mlp-sgd small --jit 0 --rounds 30

Both libraries get two threads, and take turns: a pause, steps that are not counted, then some
that are, and again.  A ratio is nnx's time divided by PyTorch's, so lower is better; absolute
times on a shared machine mean little.  Variables such as OPENBLAS_CORETYPE, which can halve the
speed of NumPy's matrix product, are taken out of the environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

THREADS = 2
MISLEADING = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def measure(steps: dict, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Times of each step, taken in turns; per turn about `seconds` of counted steps."""
    counts = {}
    for name, step in steps.items():
        for _ in range(3):  # caches, compilation
            step()
        start = time.perf_counter()
        step()
        counts[name] = max(3, int(seconds / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            time.sleep(0.02)  # the other library's threads stop spinning
            for _ in range(max(2, counts[name] // 5)):
                step()
            for _ in range(counts[name]):
                start = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - start)
    return times


def percentile(values: list[float], q: float) -> float:
    return sorted(values)[int(q * (len(values) - 1))]


def compare(names: list[str], rounds: int, seconds: float) -> None:
    """Time the rows in this process and print a line for each."""
    import torch
    from threadpoolctl import threadpool_info

    import nnx
    from benchmarks.steps import all_rows
    from nnx.backends import jit_enabled

    rows = all_rows()

    torch.set_num_threads(THREADS)
    pools = ", ".join(
        f"{p['internal_api']} {p.get('architecture', '')} {p['num_threads']}"
        for p in threadpool_info()
    )
    kind = "jit" if jit_enabled() else "numpy"
    print(f"# nnx {nnx.__version__} ({kind}), PyTorch {torch.__version__}; threads: {pools}")
    print("| step | nnx ms | PyTorch ms | ratio p10 | ratio median | goal |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in names or list(rows):
        row = rows[name]
        ours, theirs = row.build()
        steps = {"nnx": ours, "torch": theirs()}
        first = {who: float(step().item()) for who, step in steps.items()}
        if row.same and abs(first["nnx"] - first["torch"]) > 1e-3 * max(1.0, abs(first["torch"])):
            raise AssertionError(f"{name}: the two do not compute the same: first losses {first}")
        times = measure(steps, rounds, seconds)
        low = {who: percentile(t, 0.1) for who, t in times.items()}
        mid = {who: percentile(t, 0.5) for who, t in times.items()}
        goal = row.goals.get(kind)
        print(
            f"| {name} | {low['nnx'] * 1e3:.3f} | {low['torch'] * 1e3:.3f} "
            f"| {low['nnx'] / low['torch']:.2f} | {mid['nnx'] / mid['torch']:.2f} "
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

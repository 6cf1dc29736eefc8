"""What `docs/parallel.md` says in figures: failures, simulated scaling, overlap, and speed.

python benchmarks/parallel.py failures --trials 20     # of each kind; needs Open MPI
python benchmarks/parallel.py scaling
python benchmarks/parallel.py hidden
python benchmarks/parallel.py speed                    # needs Open MPI and two processors
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import nnx
from nnx import parallel
from nnx.parallel import DataParallel, Link, LocalWorld, buckets
from nnx.recipes import find

SUPPORT = Path(__file__).parent.parent / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

ETHERNET = Link(latency=20e-6, bandwidth=1.25e9)  # 10 Gbit/s


def start(n, script, *arguments, **environment):
    return subprocess.Popen(
        ["mpiexec", "--oversubscribe", "-n", str(n), sys.executable, script, *map(str, arguments)],
        env={
            **os.environ,
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "PYTHONPATH": os.pathsep.join([str(SUPPORT.parent.parent), str(SUPPORT)]),
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# ---- failures ----


def failures(trials):
    """A rank fails at a random step; how long until all have ended, and is the hash the same after
    a restart on another number of ranks?"""
    from parallel_job import train

    rng = np.random.default_rng(0)
    os.environ["NNX_JIT"] = "0"
    with tempfile.TemporaryDirectory() as folder:
        expected = train(folder=f"{folder}/whole")
        for how in ("kill", "raise", "sleep"):
            seconds, same = [], 0
            for k in range(trials):
                n = int(rng.integers(2, 5))
                rank, step = int(rng.integers(0, n)), int(rng.integers(1, 12))
                run = f"{folder}/{how}-{k}"
                job = start(n, SUPPORT / "parallel_job.py", how, rank, step, run, NNX_JIT="0")
                for line in job.stdout:
                    if line.startswith("failing"):
                        break
                began = time.monotonic()
                _, told = job.communicate(timeout=120)
                seconds.append(time.monotonic() - began)
                assert job.returncode != 0
                assert f"rank {rank}" in told, told
                other = int(rng.choice([m for m in (1, 2, 3, 4, 8) if m != n]))
                again = LocalWorld(other).run(train, folder=run)
                same += set(again) == {expected}
            within = sum(s < 10 for s in seconds)
            print(
                f"{how:6} ended within 10 s: {within}/{trials}, slowest {max(seconds):.1f} s, "
                f"median {statistics.median(seconds):.1f} s; same hash after the restart: "
                f"{same}/{trials}",
                flush=True,
            )


# ---- scaling, by the ranks' own clocks ----


def scaling():
    """The tree's exchange beside t = 2 log2 n latency + 2 (n-1)/n bytes / bandwidth."""
    print("ranks      bytes   model ms   simulated ms   model / simulated")
    for n in (8, 64, 512):
        for length in (1 << 12, 1 << 18):
            world = LocalWorld(n, ETHERNET, timeout=600)

            def work(n=n, length=length):
                parallel.world().tree_sum(n, [np.ones(length, np.float32)])

            world.run(work)
            steps, size = n.bit_length() - 1, 4 * length
            model = 2 * steps * ETHERNET.latency + 2 * (n - 1) / n * size / ETHERNET.bandwidth
            took = max(world.seconds)
            print(
                f"{n:5} {size:10} {1e3 * model:10.3f} {1e3 * took:14.3f} {model / took:15.3f}",
                flush=True,
            )


# ---- how much of the exchange the backward hides ----


def networks():
    cnn, lstm = find("mnist-cnn"), find("csi300-lstm")
    rng = np.random.default_rng(0)
    images = rng.random((256, 1, 28, 28)).astype("f4"), rng.integers(0, 10, 256)
    days = rng.standard_normal((32, 64, 3)).astype("f4"), rng.standard_normal((32, 20)).astype("f4")
    yield "LeNet, 256 images a rank", cnn, images
    yield "LeNet, 32 images a rank", cnn, tuple(a[:32] for a in images)
    yield "LSTM, 32 series a rank", lstm, days


def hidden(ranks=8):
    """When each bucket is complete, measured; when it is exchanged, by the link's model."""
    steps = ranks.bit_length() - 1

    def cost(size):
        return 2 * steps * ETHERNET.latency + 2 * (ranks - 1) / ranks * size / ETHERNET.bandwidth

    print(f"{ranks} ranks, 10 Gbit/s: backward ms, exchange ms, of which hidden")
    for name, recipe, arrays in networks():
        o = recipe.make_options()
        model = DataParallel(recipe.model(o), parts=1)
        loss, batch = recipe.loss(o), tuple(nnx.tensor(a) for a in arrays)
        ready, began = [], [0.0]
        finish = buckets.Gradients._finish

        def noted(self, k, finish=finish, ready=ready):
            ready.append((time.perf_counter(), self.buckets[k].nbytes))
            finish(self, k)

        def compute(b, loss=loss, model=model, began=began):
            y = model(b[0])
            value = loss(y, b[1])
            began[0] = time.perf_counter()
            return value, y, b[1]

        buckets.Gradients._finish = noted
        shares = []
        try:
            for _ in range(12):
                ready.clear()
                model.backward(compute, batch)
                end = max(t for t, _ in ready)  # the backward's
                clock = total = 0.0
                for t, size in ready:
                    clock = max(clock, t) + cost(size)
                    total += cost(size)
                shares.append((1 - (clock - end) / total, end - began[0], total))
        finally:
            buckets.Gradients._finish = finish
        share, backward, total = sorted(shares[2:])[len(shares[2:]) // 2]
        print(f"{name:26} {1e3 * backward:8.1f} {1e3 * total:8.2f} {share:8.0%}", flush=True)


# ---- two ranks on two processors ----

STEP = """
import sys, time
import numpy as np, nnx
from nnx import nn, optim, parallel
from nnx.recipes import find
parts, steps = int(sys.argv[1]), int(sys.argv[2])
recipe = find("mnist-cnn")
o = recipe.make_options()
nnx.manual_seed(0)
model = recipe.model(o)
ranks = parallel.world()
rng = np.random.default_rng(0)
x, t = rng.random((256, 1, 28, 28)).astype("f4"), rng.integers(0, 10, 256)
batch = (nnx.tensor(x), nnx.tensor(t))
if parts:
    model = parallel.DataParallel(model, ranks, parts)
opt, loss = optim.Adam(model.parameters()), nn.CrossEntropyLoss()
times = []
for k in range(steps + 5):
    start = time.perf_counter()
    if parts:
        model.backward(lambda b: (loss(model(b[0]), b[1]), None, None), batch)
    else:
        opt.zero_grad()
        loss(model(batch[0]), batch[1]).backward()
    opt.step()
    times.append(time.perf_counter() - start)
if ranks.rank == 0:
    print("step", sorted(times[5:])[len(times[5:]) // 2])
"""


def speed(rounds=5, steps=30):
    """LeNet, batch 256: one process of two threads, and two ranks of one, by turns."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "step.py"
        script.write_text(STEP)
        found = {}
        for _ in range(rounds):
            for name, n, parts, threads in (
                ("one process, two threads", 1, 0, 2),
                ("two ranks, 2 parts", 2, 2, 1),
                ("two ranks, 8 parts", 2, 8, 1),
            ):
                environment = {"NNX_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
                environment["OPENBLAS_NUM_THREADS"] = str(threads)
                if n == 1:
                    job = subprocess.Popen(
                        [sys.executable, script, str(parts), str(steps)],
                        env={**os.environ, **environment, "PYTHONPATH": str(SUPPORT.parent.parent)},
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                else:
                    job = start(n, script, parts, steps, **environment)
                out, _ = job.communicate(timeout=600)
                found.setdefault(name, []).append(float(out.split()[-1]))
        first = next(iter(found.values()))
        for name, times in found.items():
            ratio = statistics.median(a / b for a, b in zip(first, times, strict=True))
            print(f"{name:26} {1e3 * statistics.median(times):8.1f} ms a step, speed {ratio:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["failures", "scaling", "hidden", "speed"])
    parser.add_argument("--trials", type=int, default=20)
    given = parser.parse_args()
    if given.what == "failures":
        failures(given.trials)
    else:
        {"scaling": scaling, "hidden": hidden, "speed": speed}[given.what]()

"""What the tests start on several ranks: a short training, and ranks that fail on demand.

mpiexec -n 3 python parallel_job.py [HOW RANK STEP]
"""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
from parallel_helpers import digest

import nnx
from nnx import nn, optim, parallel
from nnx.data import DataLoader
from nnx.train import Callback, Checkpoint, Trainer


class Fail(Callback):
    """Does something bad on one rank after a step."""

    def __init__(self, how, rank, step):
        self.how, self.step = how, step
        self.mine = parallel.world().rank == rank

    def on_step_end(self, trainer):
        if not self.mine or trainer.step != self.step:
            return
        print("failing", flush=True)
        if self.how == "raise":
            raise ValueError("told to fail")
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.how == "leave":
            sys.exit(0)
        while self.how in ("sleep", "loop"):
            time.sleep(1000 if self.how == "sleep" else 0)


at = []  # the trainer, which a layer must not hold


class Poison(nn.Module):
    """Makes NaN in one step of one rank."""

    how = rank = None

    def forward(self, x):
        if self.how == "nan" and parallel.world().rank == self.rank and at[0].step == 4:
            print("failing", flush=True)
            return x * float("nan")
        return x


def train(how=None, rank=-1, step=-1, folder=None, epochs=4):
    nnx.manual_seed(3)
    poison = Poison()
    model = nn.Sequential(
        nn.Linear(5, 8), nn.SyncBatchNorm(8), poison, nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3)
    )
    model = parallel.DataParallel(model, parts=8, bucket_bytes=100)
    poison.how, poison.rank = how, rank
    callbacks = [Fail(how, rank, step)] if how else []
    if folder:
        callbacks.append(Checkpoint(folder, every_steps=2))
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        optim.Adam(model.parameters(), lr=0.01),
        metrics=["accuracy"],
        callbacks=callbacks,
        progress=False,
    )
    at[:] = [trainer]
    if folder and (callbacks[-1].path).exists():
        trainer.load(callbacks[-1].path)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((45, 5)).astype(np.float32), rng.integers(0, 3, 45)
    loader = DataLoader(data, batch_size=16, shuffle=True, seed=1)
    trainer.fit(loader, data, epochs=epochs - trainer.epoch)
    return digest(trainer.state_dict() | {"callbacks": 0}, model.state_dict())


if __name__ == "__main__":
    if sys.argv[1:] == ["all"]:
        parallel.world()
        raise ValueError("all of us")
    how, rank, step = sys.argv[1:4] if len(sys.argv) > 3 else (None, -1, -1)
    folder = sys.argv[4] if len(sys.argv) > 4 else None
    said = train(how, int(rank), int(step), folder)
    print(f"hash {said}\n", end="", flush=True)

"""A small task that learns something, with everything that a checkpoint must remember."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.data import DataLoader
from nnx.train import Trainer

N, D, C = 50, 6, 3  # 50 examples in batches of 8: the last one is smaller


class Task:
    """Three clouds of points; `new()` makes all of it afresh from one seed."""

    def __init__(self, on=None):
        self.on = on
        rng = np.random.default_rng(3)
        self.labels = rng.integers(0, C, N)
        centres = 2 * rng.standard_normal((C, D))
        self.x = (centres[self.labels] + rng.standard_normal((N, D))).astype(np.float32)

    def arrays(self):
        if self.on is None:
            return self.x, self.labels
        return self.on.asarray(self.x), self.on.asarray(self.labels)

    def model(self, seed=7):
        nnx.manual_seed(seed)
        return nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, C))

    def loader(self, **options):
        return DataLoader(self.arrays(), batch_size=8, **{"shuffle": True, **options})

    def trainer(self, callbacks=(), seed=7, optimizer=None, **options):
        """A trainer and a loader, all from one seed."""
        model = self.model(seed)
        make = optimizer or (lambda p: optim.Adam(p, lr=0.01))
        options = {"metrics": ["accuracy"], "progress": False, **options}
        trainer = Trainer(
            model, nn.CrossEntropyLoss(), make(model.parameters()), callbacks=callbacks, **options
        )
        return trainer, self.loader()


@pytest.fixture
def task():
    return Task()


@pytest.fixture
def task_on(backend):
    return Task(backend)

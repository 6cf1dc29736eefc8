"""Training runs on the CUDA kernels and on the NumPy backend, step beside step from one seed.

On a GPU 100 steps; under the harness fewer, for it runs a thousand times slower.  That is enough
to see a wrong gradient, a wrong state or a wrong draw, and a device adds only its rounding.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import nnx
from nnx import datasets, nn, optim
from nnx.backends import override
from nnx.backends.numpy import NumpyBackend

STEPS = {"check": 1, "fast": 15, "gpu": 100}
BATCH = 16

# Loss curves: absolute.  Parameters: relative to the largest of their array.  Under the harness 100
# steps differed by 1e-6 and 2e-15; on a GPU products are added up in yet another order, and a
# ReLU or a maximum that is nearly a tie may fall the other way.
LOSS_BOUND = {
    "float32": {"check": 1e-5, "fast": 1e-5, "gpu": 1e-3},
    "float64": {"check": 1e-13, "fast": 1e-13, "gpu": 1e-9},
}
PARAMETER_BOUND = {
    "float32": {"check": 1e-5, "fast": 1e-5, "gpu": 5e-3},
    "float64": {"check": 1e-13, "fast": 1e-13, "gpu": 1e-8},
}


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 1, 8, 8) in 0..1, and their classes."""
    train, _ = datasets.load_digits()
    return train.images.reshape(-1, 1, 8, 8) / 16.0, train.labels.astype(np.int64)


class LastOutput(nn.Module):
    """A recurrent layer, and a dense one on what it says at the last time step."""

    def __init__(self, first, scan, features, outputs, dtype):
        self.first, self.scan = first, scan
        self.dense = nn.Linear(features, outputs, dtype=dtype)

    def forward(self, x):
        x = x if self.first is None else self.first(x)
        return self.dense(nnx.ops.dropout(self.scan(x)[0][-1], 0.2))


class Dense(nn.Module):
    def __init__(self, dtype):
        self.hidden = nn.Linear(64, 32, dtype=dtype)
        self.out = nn.Linear(32, 10, dtype=dtype)

    def forward(self, x):
        return self.out(nnx.ops.relu(self.hidden(flat(x))))


class Convolutional(nn.Module):
    def __init__(self, dtype):
        # No bias before batch norm: its gradient is 0 but for rounding, which Adam scales up.
        self.first = nn.Conv2d(1, 4, 3, padding=1, bias=False, dtype=dtype)
        self.norm = nn.BatchNorm2d(4, dtype=dtype)
        self.second = nn.Conv2d(4, 8, 3, padding=1, dtype=dtype)
        self.pool = nn.MaxPool2d(2)
        self.out = nn.Linear(32, 10, dtype=dtype)

    def forward(self, x):
        x = self.pool(nnx.ops.relu(self.norm(self.first(x))))
        x = self.pool(nnx.ops.relu(self.second(x)))
        return self.out(flat(x))


def flat(x):
    return nnx.ops.reshape(x, (x.shape[0], -1))


def images(rng, real):
    x, y = digits()
    chosen = rng.integers(0, len(x), BATCH)
    return x[chosen].astype(real), y[chosen]


def curve(rng, real):
    """Twelve points of a noisy wave, and the next one."""
    t = rng.uniform(0, 6, BATCH) + np.arange(13)[:, None] * 0.3
    wave = np.sin(t) + 0.05 * rng.standard_normal(t.shape)
    return wave[:12, :, None].astype(real), wave[12, :, None].astype(real)


def sentences(rng, real):
    """Ten words each, and whether more of them are of the second half of the vocabulary."""
    words = rng.integers(0, 20, (10, BATCH))
    return words, ((words >= 10).mean(axis=0) > 0.5).astype(np.int64)


# name -> model, optimizer, loss, batches
RUNS = {
    "MLP": (Dense, lambda p: optim.SGD(p, lr=0.1, momentum=0.9), nnx.ops.cross_entropy, images),
    "CNN": (Convolutional, lambda p: optim.Adam(p, lr=0.01), nnx.ops.cross_entropy, images),
    "LSTM": (
        lambda d: LastOutput(None, nn.LSTM(1, 10, num_layers=2, dtype=d), 10, 1, d),
        lambda p: optim.Adagrad(p, lr=0.05),
        nnx.ops.mse_loss,
        curve,
    ),
    "BiGRU": (
        lambda d: LastOutput(
            nn.Embedding(20, 6, dtype=d), nn.GRU(6, 5, bidirectional=True, dtype=d), 10, 2, d
        ),
        lambda p: optim.Adam(p, lr=0.02),
        nnx.ops.cross_entropy,
        sentences,
    ),
}


def train(name, real, steps, backend):
    """The loss of every step, and the parameters at the end."""
    make, optimizer_of, loss_of, batches = RUNS[name]
    nnx.manual_seed(0)
    rng = np.random.default_rng(0)
    model = make(real)
    optimizer = optimizer_of(model.parameters())
    losses = []
    for _ in range(steps):
        x, target = (nnx.Tensor(backend.from_numpy(a)) for a in batches(rng, real))
        loss = loss_of(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.data)
    to_numpy = backend.to_numpy
    return (
        np.array([float(to_numpy(loss)) for loss in losses]),
        [np.array(to_numpy(p.data)) for p in model.parameters()],
    )


@pytest.mark.parametrize("name", RUNS)
def test_training_run(cuda, real, name):
    steps = STEPS[cuda.kind]
    with override(np.ndarray, NumpyBackend()) as numpy_backend:
        losses, parameters = train(name, real, steps, numpy_backend)
    with cuda.active():
        actual_losses, actual = train(name, real, steps, cuda.backend)
        again_losses, again = train(name, real, steps, cuda.backend)

    np.testing.assert_allclose(actual_losses, losses, rtol=0, atol=LOSS_BOUND[real][cuda.kind])
    for a, e in zip(actual, parameters, strict=True):
        assert a.dtype == e.dtype == np.dtype(real)
        atol = PARAMETER_BOUND[real][cuda.kind] * np.abs(e).max()
        np.testing.assert_allclose(a, e, rtol=0, atol=atol)
    assert actual_losses.tobytes() == again_losses.tobytes(), "the same seed, another result"
    assert all(a.tobytes() == b.tobytes() for a, b in zip(actual, again, strict=True))
    if steps == STEPS["gpu"]:
        assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5]), "the run learns nothing"

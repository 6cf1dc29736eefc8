"""Whole models on the CUDA kernels: forward, backward and two steps, against the portable code."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.backends import kernels, override, use_backend


class Convolutional(nn.Module):
    """Convolutions (strided, padded, in groups), batch norm, both poolings, dense layers."""

    def __init__(self):
        super().__init__()
        # No bias before batch norm: its gradient is exactly 0, and Adam would scale up what
        # rounding leaves of it.
        self.first = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.largest = nn.MaxPool2d(2)
        self.second = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
        self.mean = nn.AvgPool2d(2)
        self.dense = nn.Linear(6, 3)

    def forward(self, x):
        x = self.largest(nnx.ops.relu(self.norm(self.first(x))))
        x = self.mean(nnx.ops.relu(self.second(x)))
        return self.dense(nnx.ops.reshape(x, (x.shape[0], -1)))

    @staticmethod
    def batch(rng):
        return rng.standard_normal((5, 2, 8, 8)).astype("float32")


class Recurrent(nn.Module):
    """An embedding, a recurrent layer of each kind in both directions, layer norm."""

    def __init__(self, kind):
        super().__init__()
        self.table = nn.Embedding(11, 4)
        self.scan = kind(4, 5, num_layers=2, bidirectional=True)
        self.norm = nn.LayerNorm(10)
        self.dense = nn.Linear(10, 3)

    def forward(self, x):
        y, _ = self.scan(self.table(x))  # (T, N, 10)
        return self.dense(self.norm(y[-1]))

    @staticmethod
    def batch(rng):
        return rng.integers(0, 11, (6, 5))


MODELS = {
    "cnn": Convolutional,
    "rnn": lambda: Recurrent(nn.RNN),
    "lstm": lambda: Recurrent(nn.LSTM),
    "gru": lambda: Recurrent(nn.GRU),
}
# What must have run on a kernel, so that a model cannot pass on portable code alone.
EXPECTED = {
    "cnn": {"im2col", "col2im", "swap_axes", "add_bias", "relu", "relu_backward", "adam"},
    "rnn": {"index_add", "adam", "softmax_cross_entropy"},
    "lstm": {"index_add", "adam", "softmax_cross_entropy"},
    "gru": {"index_add", "adam", "softmax_cross_entropy"},
}


def train(model_name: str, backend) -> list:
    """Losses, the first gradients, and the parameters after two steps."""
    nnx.manual_seed(0)
    model = MODELS[model_name]()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    rng = np.random.default_rng(0)
    x = model.batch(rng)
    targets = nnx.Tensor(backend.from_numpy(rng.integers(0, 3, 5)))
    losses, gradients = [], []
    for step in range(2):
        inputs = nnx.Tensor(backend.from_numpy(x))
        loss = nnx.ops.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.data)
        if step == 0:
            gradients = [p.grad for p in model.parameters()]
        optimizer.step()
    return [*losses, *gradients, *(p.data for p in model.parameters())]


@pytest.mark.parametrize("name", MODELS)
def test_training(cuda, name):
    with kernels("portable"), use_backend("numpy") as portable:
        expected = [np.array(a) for a in train(name, portable)]

    def on_kernels():
        with override(cuda.backend.modules.array, cuda.backend):
            return train(name, cuda.backend)

    actual = cuda.every_order(on_kernels)
    assert cuda.launched >= EXPECTED[name]
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == e.dtype
        # Two float32 steps; sums in another order.  Adam divides by the root of small gradients.
        np.testing.assert_allclose(a, e, rtol=0, atol=2e-4 * max(1, np.abs(e).max()))

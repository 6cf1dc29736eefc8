"""A user's file, as `mypy --strict` reads it: see test_typing.py."""

from __future__ import annotations

from typing import assert_type

import numpy as np

import nnx
import nnx.functional as F
from nnx import Tensor, nn, optim
from nnx.data import DataLoader
from nnx.train import Trainer

x = nnx.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
assert_type(nnx.sum(x), Tensor)
assert_type(nnx.matmul(x, x), Tensor)
assert_type(F.relu(x), Tensor)
assert_type(nnx.logaddexp(x, 0.0), Tensor)
assert_type(x + 1, Tensor)
assert_type(2 / x, Tensor)
assert_type(x @ x, Tensor)
assert_type(x[0], Tensor)
assert_type(x.sum(), Tensor)
assert_type(x.reshape((4,)), Tensor)
assert_type(x.shape, tuple[int, ...])
assert_type(nnx.zeros((2, 3)), Tensor)
assert_type(nnx.exp(x).detach(), Tensor)


class Net(nn.Module):
    def __init__(self) -> None:
        self.hidden = nn.Linear(4, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = nnx.relu(self.hidden(x))
        assert_type(h, Tensor)
        y: Tensor = self.out(h)
        return y


def train(steps: int) -> float:
    model = Net()
    loss_of = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((32, 4)).astype(np.float32)
    targets = rng.integers(0, 3, 32)
    last = 0.0
    for _ in range(steps):
        loss = loss_of(model(nnx.tensor(inputs)), nnx.tensor(targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = loss.item()
    with nnx.no_grad():
        model.eval()
    return last


def fit() -> None:
    inputs = np.zeros((8, 4), np.float32)
    targets = np.zeros(8, np.int64)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    loader = DataLoader((inputs, targets), batch_size=4, shuffle=True)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    history = trainer.fit(loader, epochs=2)
    print(history)
    nnx.manual_seed(3)

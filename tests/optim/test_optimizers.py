"""Optimizers against PyTorch's."""

import numpy as np
import pytest

import nnx
from nnx import nn, optim


@pytest.mark.parametrize("name, options", [("SGD", {"lr": 0.1}), ("Adam", {})])
def test_a_network_learns(backend, name, options):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    loss_fn = nn.CrossEntropyLoss()
    opt = getattr(optim, name)(model.parameters(), **options)
    x = backend.tensor(rng.standard_normal((16, 4)).astype("f4"))
    y = backend.tensor(rng.integers(0, 3, 16))
    losses = []
    for _ in range(20):
        opt.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(p.data.dtype == nnx.tensor(0.0).dtype for p in model.parameters())

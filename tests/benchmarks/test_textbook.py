"""The opponent in the textbook's style computes what nnx computes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import textbook
from nnx.bench import lenet as lenet_bench


def test_losses_and_gradients_are_those_of_nnx():
    theirs, parameters = textbook.textbook_step(3, lr=1e-4)
    ours, model = textbook.nnx_step(3, lr=1e-4)
    losses = []
    for k in range(4):
        losses.append((theirs().item(), ours().item()))
        if k == 0:
            expected = lenet_bench.textbook(3)
            expected.walk()
            for p, e in zip(model.parameters(), expected.gradients(), strict=True):
                np.testing.assert_allclose(p.grad, e, rtol=0, atol=1e-5 * np.abs(e).max())
    their_losses, our_losses = np.transpose(losses)
    assert their_losses[3] < 0.5 * their_losses[0]
    np.testing.assert_allclose(our_losses, their_losses, rtol=1e-3)
    for p, e in zip(model.parameters(), parameters, strict=True):
        assert e.dtype == "float32"
        moved = np.abs(e - p.detach().numpy())
        assert np.quantile(moved, 0.99) < 1e-5  # of 4e-4: Adam magnifies gradients near zero


@pytest.mark.parametrize("batch", [1, 2])
def test_all_is_float32(batch):
    net = lenet_bench.textbook(batch)
    x = net.x
    for stage in net.stages:
        x = stage.forward(x)[0]
        assert x.dtype == "float32"
    net.walk()
    assert all(g.dtype == "float32" for g in net.gradients())

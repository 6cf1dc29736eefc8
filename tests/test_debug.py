"""`nnx.debug.no_transfers` sees what reads values back."""

import numpy as np
import pytest

import nnx
from nnx import nn, ops, optim
from nnx.debug import HiddenTransfer, no_transfers


@pytest.mark.parametrize(
    "read", [float, int, bool, lambda t: t.item(), lambda t: t.numpy(), lambda t: t.tolist()]
)
def test_reading_a_tensor_is_refused_inside_and_allowed_after(backend, read):
    x = backend.tensor(np.asarray(1.0, "float32"))
    with no_transfers(backend.backend), pytest.raises(HiddenTransfer, match=r"shape \(\)"):
        read(x)
    read(x)


def test_reading_a_plain_array_is_refused_where_its_class_is_open():
    strict = pytest.importorskip("array_api_strict")
    x = strict.asarray([1.0, 2.0])
    with no_transfers("array_api_strict"), pytest.raises(HiddenTransfer, match="__bool__"):
        if strict.any(x > 0):
            pass
    assert strict.any(x > 0)


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam])
def test_a_training_step_reads_nothing(optimizer):
    pytest.importorskip("array_api_strict")
    with nnx.use_backend("array_api_strict") as home:
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        rng = np.random.default_rng(0)
        x = nnx.tensor(rng.standard_normal((4, 6)).astype("float32"))
        t = nnx.tensor(rng.integers(0, 3, 4))
        step = optimizer(model.parameters(), lr=0.1)
        before = home.to_numpy(model[0].weight.data).copy()
        with no_transfers():
            ops.cross_entropy(model(x), t).backward()
            step.step()
            step.zero_grad()
        assert not np.array_equal(home.to_numpy(model[0].weight.data), before)

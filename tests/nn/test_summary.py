"""nnx.summary: rows, counts, shapes, memory; and that it leaves the model as it was."""

import numpy as np
import pytest

import nnx
from nnx import nn


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 6 * 6, 10),
    )


def test_rows_and_counts():
    model = lenet()
    model[0].requires_grad_(False)
    result = nnx.summary(model, (2, 1, 8, 8))
    assert [(r.name, r.layer, r.output, r.parameters, r.frozen) for r in result.rows] == [
        ("0", "Conv2d", "(2, 4, 6, 6)", 40, 40),
        ("1", "BatchNorm2d", "(2, 4, 6, 6)", 8, 0),
        ("2", "ReLU", "(2, 4, 6, 6)", 0, 0),
        ("3", "Flatten", "(2, 144)", 0, 0),
        ("4", "Linear", "(2, 10)", 1450, 0),
    ]
    assert result.parameters == 1498 and result.trainable == 1458 and result.buffers == 9
    assert result.weight_bytes == 4 * (1498 + 8) + 8  # one buffer is an int64 counter
    assert result.output_bytes == 4 * (4 * 288 + 20)
    text = str(result)
    for part in ["Conv2d", "(2, 4, 6, 6)", "40 (frozen)", "1,450", "1,498, 40 of them frozen"]:
        assert part in text
    assert "memory: 6.03 kB weights, 4.69 kB outputs of this batch" in text


def test_the_model_is_left_as_it_was(backend):
    model = lenet().train()
    model[1].eval()
    before = {k: backend.to_numpy(v) for k, v in model.state_dict().items()}
    rows = nnx.summary(model, (2, 1, 8, 8)).rows
    assert len(rows) == 5
    assert [m.training for m in model.modules()] == [True, True, False, True, True, True]
    for k, v in model.state_dict().items():
        np.testing.assert_array_equal(backend.to_numpy(v), before[k])
    assert all(p.grad is None for p in model.parameters())
    calls = []
    model[4].forward = lambda x: calls.append(x) or x
    model(backend.tensor(np.zeros((2, 1, 8, 8), "f4")))
    assert len(calls) == 1 and len(rows) == 5  # no hook is left


def test_modes_come_back_after_an_error():
    model = lenet()
    with pytest.raises(ValueError):
        nnx.summary(model, (2, 3, 8, 8))
    assert model.training and not model[0]._after


def test_nested_shared_and_several_outputs():
    class Twice(nn.Module):
        def __init__(self):
            self.embed = nn.Embedding(7, 3)
            self.gru = nn.GRU(3, 5)
            self.shared = nn.Linear(5, 5)
            self.scale = nn.Parameter(np.ones(2, "f4"))

        def forward(self, x):
            y, h = self.gru(self.embed(x))
            return self.shared(self.shared(y)) * self.scale.sum(), h

    result = nnx.summary(Twice(), (4, 2), dtype="int64")
    assert [(r.name, r.output, r.parameters) for r in result.rows] == [
        ("embed", "(4, 2, 3)", 21),
        ("gru", "(4, 2, 5) (1, 2, 5)", 150),
        ("shared", "(4, 2, 5)", 30),
        ("shared", "(4, 2, 5)", 0),  # counted once
        ("", "(4, 2, 5) (1, 2, 5)", 2),  # the model's own parameter
    ]
    assert result.parameters == 203


def test_the_input_itself_or_several():
    class Sum(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Linear(2, 3), nn.Linear(4, 3)

        def forward(self, x, y):
            return self.a(x) + self.b(y)

    xs = nnx.zeros((5, 2)), nnx.zeros((5, 4))
    assert [r.output for r in nnx.summary(Sum(), xs).rows] == ["(5, 3)", "(5, 3)"]
    assert nnx.summary(nn.Linear(2, 3), xs[0]).rows[0].output == "(5, 3)"
    with pytest.raises(TypeError, match="give the input's shape, batch included"):
        nnx.summary(nn.Linear(2, 3), ("a", 2))

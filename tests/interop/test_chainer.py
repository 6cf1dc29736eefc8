"""Chainer's weights: what Chainer computed with them is what we compute.

Recorded with Chainer 7.8.1 (tests/support/chainer_models.py), which no NumPy of today runs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.interop.chainer import CannotExpress, from_arrays, load_npz, save_npz, to_arrays

RECORDED = Path(__file__).with_name("recorded-chainer.npz")


class Stepped(nn.Module):
    """A cell, step by step."""

    def __init__(self, cell):
        self.cell = cell

    def forward(self, steps):
        state, outputs = None, []
        for x in steps:
            state = self.cell(x, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return nnx.stack(outputs)


CASES = {
    "linear": lambda: nn.Linear(3, 4),
    "linear without a bias": lambda: nn.Linear(3, 4, bias=False),
    "conv": lambda: nn.Conv2d(4, 6, (3, 2), 2, 1, groups=2),
    "deconv": lambda: nn.ConvTranspose2d(4, 3, 3, 2),
    "embed": lambda: nn.Embedding(5, 3),
    "batch": lambda: nn.BatchNorm1d(3, eps=2e-5),
    "layer": lambda: nn.LayerNorm(3, eps=1e-6),
    "group": lambda: nn.GroupNorm(2, 4),
    "prelu": lambda: nn.PReLU(),
    "chain": lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Sequential(nn.Linear(4, 2))),
    "lstm": lambda: nn.LSTM(3, 4),
    "gru": lambda: nn.GRU(3, 4, reset_after=False),
    "n-step lstm": lambda: nn.LSTM(3, 4, 2),
    "n-step bilstm": lambda: nn.LSTM(3, 4, 2, bidirectional=True),
    "n-step gru": lambda: nn.GRU(3, 4, 2),
    "n-step bigru": lambda: nn.GRU(3, 4, bidirectional=True),
    "n-step tanh": lambda: nn.RNN(3, 4),
    "n-step relu": lambda: nn.RNN(3, 4, 2, nonlinearity="relu"),
}
CELLS = {"lstm": lambda: nn.LSTMCell(3, 4), "gru": lambda: nn.GRUCell(3, 4, reset_after=False)}


def recorded(name):
    kept = nnx.load(RECORDED)
    arrays = {k.removeprefix(f"{name}/"): v for k, v in kept.items() if k.startswith(f"{name}/")}
    return arrays.pop("in"), arrays.pop("out"), arrays


def same(model, x, y):
    found = model.eval()(x)
    found = found[0] if isinstance(found, tuple) else found
    np.testing.assert_allclose(found.detach().numpy(), y, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_what_chainer_computed(name):
    x, y, arrays = recorded(name)
    ours = CASES[name]()
    load_npz(RECORDED, ours, prefix=f"{name}/")
    same(ours, x, y)
    if name == "lstm":  # whose weights we write as NStepLSTM has them
        return
    again = to_arrays(ours)
    assert again.keys() == arrays.keys()
    for key, values in arrays.items():
        if not key.startswith("U") or not key.endswith("b"):  # the two biases of Chainer's gates
            assert again[key].shape == values.shape
            assert again[key].tobytes() == values.tobytes(), key


@pytest.mark.parametrize("name", CELLS)
def test_cells(name):
    x, y, arrays = recorded(name)
    cell = CELLS[name]()
    cell.load_state_dict({**cell.state_dict(), **from_arrays(arrays, cell)})
    same(Stepped(cell), x, y)
    again = to_arrays(cell)
    assert again.keys() == arrays.keys()
    assert all(again[key].tobytes() == arrays[key].tobytes() for key in arrays)


def test_files_go_over_and_come_back(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            self.encoder = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 3))
            self.rnn = nn.GRU(3, 2, 2)
            self.heads = nn.ModuleList([nn.Linear(2, 1), nn.Linear(2, 2)])

    ours, again = Net(), Net()
    path = tmp_path / "a.npz"
    save_npz(path, ours)
    with np.load(path) as archive:
        assert {"encoder/0/W", "encoder/1/b", "rnn/1/w5", "heads/1/W"} <= set(archive.files)
    load_npz(path, again)
    for key, values in ours.state_dict().items():
        assert again.state_dict()[key].tobytes() == values.tobytes()
    kept = nnx.load(path)
    renamed = {f"updater/model:main/{k.replace('rnn', 'memory')}": v for k, v in kept.items()}
    np.savez(path, **renamed)
    load_npz(path, Net(), prefix="updater/model:main/", names={"rnn": "memory"})
    with pytest.raises(CannotExpress, match=r"GRU \(rnn\): nothing is called rnn/"):
        load_npz(path, Net(), prefix="updater/model:main/")
    with pytest.raises(CannotExpress, match="no name that begins with 'model/'"):
        load_npz(path, Net(), prefix="model/")


@pytest.mark.parametrize(
    ("name", "make", "why"),
    [
        ("gru", lambda: nn.GRU(3, 4), r"GRU \(\): .*reset before .*reset_after=True"),
        ("gru", lambda: nn.GRUCell(3, 4), "reset before .*reset_after=True"),
        ("n-step gru", lambda: nn.GRU(3, 4, 2, reset_after=False), "resets after .*=False"),
        ("lstm", lambda: nn.LSTM(3, 4, 2), "one layer and one direction"),
        ("lstm", lambda: nn.LSTM(3, 5), r"LSTM \(\) has .* gives"),
        ("n-step lstm", lambda: nn.LSTM(3, 4, 3), "there is no 2/w0"),
        ("linear", lambda: nn.Linear(3, 4, bias=False), "has a bias, and this layer none"),
        ("linear without a bias", lambda: nn.Linear(3, 4), "there is no b"),
        ("linear", lambda: nn.RNNCell(3, 4), "Chainer has no link of it"),
    ],
)  # fmt: skip
def test_weights_that_mean_another_function_are_refused(name, make, why):
    layer = make()
    before = {key: np.array(a) for key, a in layer.state_dict().items()}
    with pytest.raises(CannotExpress, match=why):
        load_npz(RECORDED, layer, prefix=f"{name}/")
    assert all(np.array_equal(before[key], a) for key, a in layer.state_dict().items())


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: nn.GRUCell(3, 4), "resets before the product"),
        (lambda: nn.GRU(3, 4, 2, reset_after=False), "in one layer and direction only"),
        (lambda: nn.LSTM(3, 4, proj_size=2), "no proj_size"),
        (lambda: nn.RNNCell(3, 4), "has no link of it"),
    ],
)
def test_what_chainer_lacks_is_refused(make, why):
    with pytest.raises(CannotExpress, match=why):
        to_arrays(nn.Sequential(nn.ReLU(), make()))

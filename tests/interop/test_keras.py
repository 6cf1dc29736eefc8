"""Keras's weights: what Keras computes with them is what we compute."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest
from keras_models import CASES, RECORDED, example, output, theirs

import nnx
from nnx import nn
from nnx.interop.keras import (
    CannotExpress,
    get_weights,
    load_weights,
    save_weights,
    set_weights,
)

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
FLATTENED = {"sequence": {"3": 4}}  # it has a class of its own


def same(ours, name, y):
    x = example(name)
    np.testing.assert_allclose(ours.eval()(x).detach().numpy(), y, rtol=2e-5, atol=2e-6)


def recorded(name):
    kept = nnx.load(RECORDED)
    names = sorted(key for key in kept if key.startswith(f"{name}/") and key != f"{name}/y")
    return [kept[key] for key in names], kept[f"{name}/y"]


@pytest.mark.parametrize("name", CASES)
def test_what_keras_computed(name):
    """Recorded with Keras 3.15: tests/support/keras_models.py."""
    weights, y = recorded(name)
    ours = CASES[name][1]()
    set_weights(ours, weights, FLATTENED.get(name))
    same(ours, name, y)
    again = get_weights(ours, FLATTENED.get(name))
    for a, b in zip(weights, again, strict=True):
        if name != "image, transposed":  # depthwise, and PReLU's of each place
            assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_keras_itself(name, tmp_path):
    pytest.importorskip("keras")
    model = theirs(name)
    model.save_weights(tmp_path / "a.weights.h5")
    ours = CASES[name][1]()
    load_weights(tmp_path / "a.weights.h5", ours, FLATTENED.get(name))
    same(ours, name, output(model, example(name)))
    listed = CASES[name][1]()
    set_weights(listed, model.get_weights(), FLATTENED.get(name))
    for key, values in listed.state_dict().items():
        assert values.tobytes() == ours.state_dict()[key].tobytes()
    if name == "image, transposed":
        return
    save_weights(ours, tmp_path / "b.weights.h5", FLATTENED.get(name), nested=False)
    before = model.get_weights()
    model.set_weights([np.zeros_like(a) for a in before])
    model.load_weights(tmp_path / "b.weights.h5")
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_biases_are_added_where_keras_has_one():
    ours = nn.LSTM(2, 3)
    kernel, recurrent, bias = get_weights(ours)
    np.testing.assert_array_equal(
        bias, ours.bias_ih_l0.detach().numpy() + ours.bias_hh_l0.detach().numpy()
    )
    assert kernel.shape == (2, 12) and recurrent.shape == (3, 12)
    other = nn.LSTM(2, 3)
    set_weights(other, [kernel, recurrent, bias])
    x = np.ones((2, 1, 2), "float32")
    np.testing.assert_allclose(other(x)[0].detach().numpy(), ours(x)[0].detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize("reset_after", [True, False])
def test_a_gru_of_the_other_kind_is_refused(reset_after):
    ours = nn.Sequential(nn.GRU(2, 3, reset_after=reset_after))
    weights = get_weights(nn.GRU(2, 3, reset_after=not reset_after))
    with pytest.raises(
        CannotExpress, match=rf"GRU \(0\): Keras's GRU has reset_after={not reset_after}"
    ):
        set_weights(ours, weights)


class Own(nn.Module):
    def __init__(self):
        self.conv = nn.Conv2d(1, 2, 2)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(nnx.reshape(self.conv(x), (x.shape[0], -1)))


def test_whether_an_image_was_flattened_is_seen_or_said():
    model = Own()
    with pytest.raises(CannotExpress, match=r"Linear \(fc\): whether a flattened image goes in"):
        get_weights(model)
    said, not_said = get_weights(model, {"fc": 2}), get_weights(model, {})
    assert not np.array_equal(said[2], not_said[2])
    again = Own()
    set_weights(again, said, {"fc": 2})
    np.testing.assert_array_equal(
        again.fc.weight.detach().numpy(), model.fc.weight.detach().numpy()
    )
    with pytest.raises(CannotExpress, match="there is no Linear 'fd'"):
        get_weights(model, {"fd": 2})


def test_what_keras_has_no_weights_for_is_refused():
    for model, why in (
        (nn.Sequential(nn.LSTMCell(2, 3)), r"LSTMCell \(0\): Keras's weights of it are not known"),
        (nn.Sequential(nn.LSTM(2, 3, proj_size=2)), r"LSTM \(0\): proj_size means nothing"),
    ):
        with pytest.raises(CannotExpress, match=why):
            get_weights(model)


def test_a_list_that_does_not_fit_changes_nothing():
    ours = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    before = [np.array(a) for a in get_weights(ours)]
    for wrong, why in (
        (before[:-1], "takes arrays of shapes"),
        ([*before, before[0]], "takes 4 arrays, not 5"),
        (before[::-1], r"Linear \(0\): takes arrays of shapes"),
        ([before[0].T, *before[1:]], r"Linear \(0\): takes arrays of shapes"),
    ):
        with pytest.raises(CannotExpress, match=why):
            set_weights(ours, [2 * a for a in wrong])
    assert all(np.array_equal(a, b) for a, b in zip(before, get_weights(ours), strict=True))


# ---- files: h5py alone is needed ----


def nested():
    return nn.Sequential(
        nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 4)), nn.Linear(4, 2)
    )


def test_files_go_over_and_come_back(tmp_path):
    pytest.importorskip("h5py")
    ours, path = nested(), tmp_path / "a.weights.h5"
    save_weights(ours, path)
    again = nested()
    load_weights(path, again)
    flat = nn.Sequential(ours[0], ours[1][0], nn.ReLU(), ours[1][2], ours[2])
    for key, values in again.state_dict().items():
        assert values.tobytes() == ours.state_dict()[key].tobytes()
    save_weights(flat, path)
    other = nested()
    load_weights(path, other)
    assert np.array_equal(other[1][2].weight.detach().numpy(), ours[1][2].weight.detach().numpy())
    with pytest.raises(CannotExpress, match=r"no layer for LSTM \(\).*it holds layers/dense"):
        load_weights(path, nn.LSTM(2, 3))
    with pytest.raises(ValueError, match=r"must end in \.weights\.h5"):
        save_weights(ours, tmp_path / "a.h5")


@pytest.mark.skipif(not importlib.util.find_spec("keras"), reason="could not import 'keras'")
def test_models_in_models_and_classes_of_one_s_own(tmp_path):
    import keras

    K = keras.layers
    x = np.random.default_rng(0).standard_normal((4, 2)).astype("float32")
    inner = keras.Sequential([K.Dense(3, activation="relu"), K.Dense(4)])
    model = keras.Sequential([K.Input((2,)), K.Dense(3), inner, K.Dense(2)])
    path = tmp_path / "a.weights.h5"
    model.save_weights(path)
    ours = nn.Sequential(
        nn.Linear(2, 3),
        nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 4)),
        nn.Linear(4, 2),
    )
    load_weights(path, ours)
    y = model(x).detach().numpy()
    np.testing.assert_allclose(ours(x).detach().numpy(), y, rtol=1e-5, atol=1e-6)
    save_weights(ours, path)
    model.load_weights(path)
    np.testing.assert_allclose(model(x).detach().numpy(), y, rtol=1e-5, atol=1e-6)

    class Theirs(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = K.Dense(4), K.Dense(2)
            self.blocks = [K.Dense(4), K.Dense(4)]

        def call(self, x):
            x = self.hidden(x)
            for block in self.blocks:
                x = keras.ops.tanh(block(x))
            return self.out(x)

    class Ours(nn.Module):
        def __init__(self):
            self.hidden, self.out = nn.Linear(2, 4), nn.Linear(4, 2)
            self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])

        def forward(self, x):
            x = self.hidden(x)
            for block in self.blocks:
                x = nnx.tanh(block(x))
            return self.out(x)

    model, ours = Theirs(), Ours()
    y = model(x).detach().numpy()
    model.save_weights(path)
    load_weights(path, ours)
    np.testing.assert_allclose(ours(x).detach().numpy(), y, rtol=1e-5, atol=1e-6)


@pytest.mark.ci
def test_a_damaged_file_is_refused(tmp_path):
    pytest.importorskip("h5py")
    ours, path = nested(), tmp_path / "a.weights.h5"
    save_weights(ours, path)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    before = {key: np.array(a) for key, a in ours.state_dict().items()}
    for k in range(500):
        content = bytearray(whole)
        if k % 4:
            content[rng.integers(len(whole))] ^= 1 << rng.integers(0, 8)
        else:
            del content[(at := rng.integers(len(whole))) : at + rng.integers(1, 9)]
        path.write_bytes(content)
        try:
            load_weights(path, nested())
        except (nnx.io.CorruptFile, CannotExpress):
            refused += 1
    assert refused > 100
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(nnx.io.CorruptFile, match=r"a\.weights\.h5 is no whole"):
        load_weights(path, ours)
    assert all(np.array_equal(before[key], a) for key, a in ours.state_dict().items())


def test_links_and_promises_of_a_file_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    ours, path = nn.Sequential(nn.Linear(2, 3)), tmp_path / "a.weights.h5"
    other = tmp_path / "other.h5"
    save_weights(ours, path)
    with h5py.File(other, "w") as file:
        file["w"] = np.ones((2, 3), "float32")
    for make, why in (
        (lambda g: g.__setitem__("0", h5py.ExternalLink(str(other), "/w")), "is a link"),
        (
            lambda g: g.create_dataset("0", (2**20, 2**20), "float32", chunks=(1, 8)),
            "has shapes|of shape",
        ),
        (lambda g: g.create_dataset("0", (2, 3), "S5"), "of shape"),
        (lambda g: g.create_group("0"), "is no array of this file"),
    ):
        with h5py.File(path, "a") as file:
            group = file["layers/dense/vars"]
            del group["0"]
            make(group)
        with pytest.raises((nnx.io.CorruptFile, CannotExpress), match=why):
            load_weights(path, ours)

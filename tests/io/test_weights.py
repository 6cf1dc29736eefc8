"""Weights with what shows that they are the model's: architecture, conventions, probe."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.io import bfloat16
from nnx.io.architecture import CONVENTIONS, configuration
from nnx.io.tensors import on_host, read, write


def layers():
    """Every layer there is: tests/nn/test_doors.py lists them."""
    path = Path(__file__).parent.parent / "nn" / "test_doors.py"
    spec = importlib.util.spec_from_file_location("doors", path)
    doors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(doors)
    made = {name: make for name, (make, _) in doors.LAYERS.items() if not name.endswith("Loss")}
    return {name: make for name, make in made.items() if name != "Sequential"}


LAYERS = layers() | {
    "Identity": lambda: nn.Identity(3, of=4),
    "Linear without a bias": lambda: nn.Linear(3, 2, bias=False, dtype="float64"),
    "Conv2d, every argument": lambda: nn.Conv2d(
        4, 6, (3, 2), (2, 1), ((1, 0), (0, 1)), 2, 2, False, "reflect"
    ),
    "ConvTranspose2d, strided": lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False),
    "BatchNorm1d without anything": lambda: nn.BatchNorm1d(3, 1e-3, None, False, False),
    "LayerNorm without a bias": lambda: nn.LayerNorm((2, 3), 1e-6, True, False),
    "GRU, every argument": lambda: nn.GRU(
        3, 4, 2, False, True, 0.5, True, reset_after=False, variational=True, dtype="float64"
    ),
    "LSTM, every argument": lambda: nn.LSTM(3, 4, 2, True, True, 0.5, True, 2),
    "RNN of relu": lambda: nn.RNN(3, 4, nonlinearity="relu"),
    "GRUCell of the textbook": lambda: nn.GRUCell(3, 4, reset_after=False),
    "Embedding with padding": lambda: nn.Embedding(5, 2, padding_idx=-1),
    "MaxPool2d, every argument": lambda: nn.MaxPool2d(3, 2, 1, 1, True, True),
    "Softplus": lambda: nn.Softplus(2.0),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_is_saved_and_made_again(tmp_path, name):
    layer = LAYERS[name]()
    nnx.save(layer, tmp_path / "a")
    again = nnx.load_model(tmp_path / "a")
    assert type(again) is type(layer) and repr(again) == repr(layer)
    assert configuration(again) == configuration(layer)
    state = layer.state_dict()
    assert again.state_dict().keys() == state.keys()
    for key, values in again.state_dict().items():
        assert values.dtype == state[key].dtype and values.tobytes() == state[key].tobytes()


def network():
    nnx.manual_seed(3)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5), nn.Linear(6, 3)
    )


X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


def changed_file(path, change):
    """The file again, with its notes changed by one who makes a checksum anew."""
    tensors, metadata = read(path)
    change(tensors, metadata)
    write(path, on_host(tensors), metadata)


def test_a_saved_model_says_what_it_is(tmp_path):
    nnx.save(network(), tmp_path / "a", example=X)
    about = nnx.io.load(tmp_path / "a")[1]
    assert about.keys() == {"nnx", "architecture", "conventions", "probe"}
    assert about["nnx"] == nnx.__version__
    assert about["architecture"]["modules"]["0"]["arguments"] == {
        "in_features": 4, "out_features": 6, "bias": True, "dtype": "float32"
    }  # fmt: skip
    assert about["conventions"].keys() == {"Linear", "BatchNorm", "Dropout"}


def test_the_model_is_proven(backend, tmp_path):
    model = network()
    nnx.save(model, tmp_path / "a", example=backend.tensor(X))
    weights = nnx.load(tmp_path / "a", verify=True)
    assert weights.keys() == model.state_dict().keys()
    again = nnx.load_model(tmp_path / "a")
    assert not again.training and model.training
    y = again(backend.tensor(X))
    np.testing.assert_array_equal(
        backend.to_numpy(y), backend.to_numpy(model.eval()(backend.tensor(X)))
    )
    other = network()
    other[0].weight.data = other[0].weight.data * 0
    nnx.load(tmp_path / "a", other, verify=True)
    assert np.any(backend.to_numpy(other[0].weight.data))


def test_a_model_that_begins_with_a_layer_that_says_what_it_takes_needs_no_example(tmp_path):
    for model in (
        network(),
        nn.Sequential(nn.Sequential(nn.Embedding(3, 4)), nn.ReLU()),
        nn.GRU(3, 4, 2, bidirectional=True, reset_after=False, dtype="float64"),
    ):
        nnx.save(model, tmp_path / "a")
        nnx.load(tmp_path / "a", verify=True)
    calls = []
    hooked = network()
    hooked[0].register_forward_hook(lambda *_: calls.append(1))
    nnx.save(hooked, tmp_path / "a")
    nnx.save(nn.Sequential(nn.Conv2d(1, 2, 3)), tmp_path / "b")
    assert not calls
    for name in "ab":
        with pytest.raises(ValueError, match=r"holds no probe.*example=x"):
            nnx.load(tmp_path / name, verify=True)


def swapped(tensors, _):
    tensors["0.weight"] = tensors["0.weight"][::-1]


def forgotten(tensors, _):
    tensors["1.running_var"] = np.ones_like(tensors["1.running_var"])


def another_eps(_, metadata):
    metadata["architecture"]["modules"]["1"]["arguments"]["eps"] = 0.1


def another_activation(_, metadata):
    metadata["architecture"]["modules"]["2"]["class"] = "ReLU"


@pytest.mark.parametrize("change", [swapped, forgotten, another_eps, another_activation])
def test_what_is_not_the_saved_model_is_found(tmp_path, change):
    model = network()
    model.train()(nnx.tensor(X))  # running values of its own
    path = tmp_path / "a"
    nnx.save(model, path)
    changed_file(path, change)
    nnx.load(path)
    for read_it in (lambda: nnx.load(path, verify=True), lambda: nnx.load_model(path)):
        with pytest.raises(ValueError, match="is not the one that was saved: output 0"):
            read_it()
    nnx.load_model(path, verify=False)


def test_a_model_that_is_not_the_saved_one_stays_as_it_was(tmp_path):
    nnx.save(network(), tmp_path / "a")
    other = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)
    )
    before = {name: np.array(a) for name, a in other.state_dict().items()}
    with pytest.raises(ValueError, match="is not the one that was saved"):
        nnx.load(tmp_path / "a", other, verify=True)
    with pytest.raises(ValueError, match="does not fit this Linear"):
        nnx.load(tmp_path / "a", nn.Linear(2, 2))
    assert all(np.array_equal(other.state_dict()[name], a) for name, a in before.items())


def test_other_conventions_are_refused(tmp_path):
    nnx.save(nn.LSTM(3, 4), tmp_path / "a")
    changed_file(tmp_path / "a", lambda _, m: m["conventions"].update(LSTM="rows i, o, f, g"))
    with pytest.raises(ValueError, match=r"its numbers mean .*i, o, f, g.*i, f, g, o"):
        nnx.load(tmp_path / "a", verify=True)
    assert set(CONVENTIONS) > {"GRU", "LSTM", "BatchNorm", "Linear", "Conv"}


class Own(nn.Module):
    def __init__(self, scale=2.0):
        self.inner = nn.ModuleList([nn.Linear(4, 3), nn.Linear(3, 4)])
        self.scale = scale

    def forward(self, x, y):
        h = self.inner[0](x)
        return {"b": (h * self.scale, h.sum(axis=-1) > 0), "a": self.inner[1](h) + y}


def test_a_class_of_one_s_own_is_proven_but_never_chosen_by_a_file(tmp_path):
    nnx.save(Own(), tmp_path / "a", example=(X, X))
    about = nnx.io.load(tmp_path / "a")[1]
    assert about["architecture"]["class"].endswith("Own")
    for read_it in (lambda p: nnx.load(p, verify=True), nnx.load_model):
        with pytest.raises(ValueError, match=r"Own is no class of nnx\.nn.*give it as model="):
            read_it(tmp_path / "a")
    nnx.load(tmp_path / "a", Own(), verify=True)
    with pytest.raises(ValueError, match="output 1 for the probe's input"):
        nnx.load(tmp_path / "a", Own(scale=2.5), verify=True)


@pytest.mark.parametrize(
    "architecture",
    [
        {"class": "os.system", "arguments": {"command": "true"}},
        {"class": "init", "arguments": {}},
        {"class": "truncated", "arguments": {}},
        {"class": "Linear", "arguments": {"in_features": -1, "out_features": 2}},
        {"class": "Linear", "arguments": {"in_features": "4", "out_features": 2}},
        {"class": "Linear", "arguments": [4, 2]},
        {"class": "Linear"},
        {"class": ["Linear"]},
        {"class": "Sequential", "modules": {"forward": {"class": "ReLU", "arguments": {}}}},
        {"class": "Sequential", "modules": {"0": {"same": "1"}}},
        {"class": "ReLU", "arguments": {}, "tied": {"weight": "bias"}},
        {"class": "Linear", "arguments": {"in_features": 10**6, "out_features": 10**6}},
        {"class": "LSTM", "arguments": {"input_size": 1, "hidden_size": 1, "num_layers": 10**9}},
        {
            "class": "TransformerEncoder",
            "arguments": {
                "num_layers": 10**9,
                "encoder_layer": {
                    "module": {
                        "class": "Linear",
                        "arguments": {"in_features": 1, "out_features": 1},
                    }
                },
            },
        },
        {"class": "PositionalEncoding", "arguments": {"features": 10**6, "max_len": 10**7}},
        {"class": "LSTM", "arguments": {"input_size": 1, "hidden_size": 1, "num_layers": "9"}},
        {},
    ],
    ids=repr,
)
def test_an_architecture_that_makes_no_sense_is_refused(tmp_path, architecture):
    nnx.save(nn.Linear(4, 2), tmp_path / "odd")
    changed_file(tmp_path / "odd", lambda _, m: m.update(architecture=architecture))
    for read_it in (lambda p: nnx.load(p, verify=True), nnx.load_model):
        with pytest.raises(ValueError, match="odd: "):
            read_it(tmp_path / "odd")


def test_what_stands_in_several_places_stays_one(tmp_path):
    norm = nn.BatchNorm1d(4)
    model = nn.Sequential(nn.Linear(4, 4), norm, nn.Linear(4, 4), norm, nn.Linear(4, 4))
    model[2].weight = model[0].weight
    model.train()(nnx.tensor(X))
    nnx.save(model, tmp_path / "a")
    again = nnx.load_model(tmp_path / "a")
    assert again[1] is again[3] and again[2].weight is again[0].weight
    assert again[4].weight is not again[0].weight and list(again.state_dict()) == [
        *model.state_dict()
    ]
    assert len(list(again.parameters())) == len(list(model.parameters()))


def test_a_file_without_notes_says_so(tmp_path):
    nnx.save(network().state_dict(), tmp_path / "a")
    with pytest.raises(ValueError, match="holds no architecture"):
        nnx.load_model(tmp_path / "a")
    with pytest.raises(TypeError, match="an example belongs to a module"):
        nnx.save(network().state_dict(), tmp_path / "b", example=X)
    with pytest.raises(ValueError, match=r"does not take the example: linear: x must be"):
        nnx.save(network(), tmp_path / "b", example=X[:, :2])
    assert not (tmp_path / "b").exists()


# ---- half precision ----


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_weights_rounded_to_a_dtype(tmp_path, dtype):
    model = network()
    path = tmp_path / "a"
    nnx.save(model, path, dtype=dtype)
    weights = nnx.load(path, verify=True)
    assert weights["1.num_batches_tracked"].dtype == np.int64
    assert weights["0.weight"].dtype == ("float32" if dtype == "bfloat16" else dtype)
    largest = {"bfloat16": 2**-8, "float16": 2**-11}.get(dtype, 0)
    for name, values in model.state_dict().items():
        np.testing.assert_allclose(weights[name], values, rtol=largest, atol=1e-7 * bool(largest))
    before = path.read_bytes()
    nnx.save(nnx.load_model(path), path, dtype=dtype)  # what is rounded already is not changed
    assert path.read_bytes() == before


def test_bfloat16_rounds_as_pytorch_does():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 200_000, dtype=np.uint32)
    bits[:70_000] = (bits[:70_000] & 0xFFFF0000) | rng.choice([0, 0x7FFF, 0x8000, 0x8001], 70_000)
    x = bits.view(np.float32)
    ours = bfloat16.from_bits(bfloat16.to_bits(x))
    np.testing.assert_array_equal(ours, torch.tensor(x).bfloat16().float().numpy())


def test_bfloat16_of_float64_is_rounded_once():
    """1 + 2^-8 is halfway between two of them; a little more is not, though float32 cannot tell."""
    x = np.asarray([1 + 2**-8, 1 + 2**-8 + 2**-40, -1 - 3 * 2**-8 + 2**-40, 1e-60, 1e300, np.nan])
    rounded = bfloat16.from_bits(bfloat16.to_bits(x))
    np.testing.assert_array_equal(rounded, [1, 1 + 2**-7, -1 - 2**-7, 0, np.inf, np.nan])


def test_a_number_beyond_a_dtype_is_not_lost(tmp_path):
    for dtype, value in (("float16", 7e4), ("bfloat16", 3.4e38), ("float32", 1e39)):
        with pytest.raises(ValueError, match=f"w holds .*, beyond the largest number of {dtype}"):
            nnx.save({"w": np.asarray([1.0, value, np.inf])}, tmp_path / "a", dtype=dtype)
    nnx.save({"w": np.asarray([-np.inf, np.nan])}, tmp_path / "a", dtype="float16")
    np.testing.assert_array_equal(nnx.load(tmp_path / "a")["w"], [-np.inf, np.nan])
    with pytest.raises(ValueError, match="dtype must be one of"):
        nnx.save({"w": np.ones(1)}, tmp_path / "a", dtype="float8")


def test_arrays_in_bfloat16_are_written_as_they_are(tmp_path):
    torch = pytest.importorskip("torch")
    load_file = pytest.importorskip("safetensors.torch").load_file
    w = torch.tensor([[1.0, -2.5], [3e38, float("nan")]]).bfloat16()
    nnx.save({"w": w, "t": w.T}, tmp_path / "a")
    theirs = load_file(tmp_path / "a")
    assert theirs["w"].dtype == torch.bfloat16
    assert torch.equal(theirs["t"].view(torch.int16), w.T.contiguous().view(torch.int16))
    nnx.save({"w": w}, tmp_path / "b", dtype="float32")
    np.testing.assert_array_equal(nnx.load(tmp_path / "b")["w"], w.float().numpy())


# ---- .npz ----


def test_an_archive_of_numpy(tmp_path):
    model = network()
    path = tmp_path / "w.npz"
    nnx.save(model, path)
    with np.load(path, allow_pickle=False) as archive:
        assert archive.files == list(model.state_dict())
        theirs = {name: archive[name] for name in archive.files}
    ours = nnx.load(path)
    for name, values in model.state_dict().items():
        assert ours[name].tobytes() == theirs[name].tobytes() == values.tobytes()
        assert ours[name].dtype == values.dtype and ours[name].shape == values.shape
    network().load_state_dict(ours)
    before = path.read_bytes()
    nnx.save(model, path)
    assert path.read_bytes() == before
    np.savez_compressed(tmp_path / "packed.npz", **theirs)
    np.savez(tmp_path / "empty.npz")
    assert nnx.load(tmp_path / "packed.npz").keys() == ours.keys()
    assert nnx.load(tmp_path / "empty.npz") == {}
    with pytest.raises(ValueError, match="holds no architecture"):
        nnx.load(path, verify=True)
    for wrong in ({"example": X}, {"dtype": "bfloat16"}):
        with pytest.raises(ValueError, match=r"an \.npz file holds no"):
            nnx.save(model, path, **wrong)


def test_a_pickle_in_an_archive_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.asarray([{}], dtype=object))
    with pytest.raises(nnx.io.CorruptFile, match=r"a\.npz, w: an NPY file of object"):
        nnx.load(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"cannot be a name in an \.npz file"):
        nnx.save({"../w": np.ones(1), "/w": np.ones(1)}, tmp_path / "b.npz")


def test_a_damaged_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, w=np.arange(300.0), v=np.ones((2, 3), np.float32))
    whole, before = path.read_bytes(), nnx.load(path)
    rng = np.random.default_rng(0)
    refused = 0
    for k in range(500):
        content = bytearray(whole)
        if k % 3:
            content[rng.integers(4, len(whole))] ^= 1 << rng.integers(0, 8)
        else:
            at = rng.integers(4, len(whole))
            del content[at : at + rng.integers(1, 20)]
        path.write_bytes(content)
        try:
            found = nnx.load(path)
        except nnx.io.CorruptFile:
            refused += 1
        else:
            known = [before[name] for name in found if name in before]
            assert all(any(np.array_equal(a, b) for b in before.values()) for a in known)
    assert refused > 300


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", w=np.zeros(100_000))
    monkeypatch.setitem(vars(nnx.io.limits), "unpacked", 500_000)
    with pytest.raises(nnx.io.TooLarge, match=r"limits\.unpacked"):
        nnx.load(tmp_path / "a.npz")


@pytest.mark.parametrize("training", [True, False])
def test_layers_whose_weights_are_computed_are_saved_and_made_again(tmp_path, training):
    model = nn.Sequential(
        nn.utils.spectral_norm(nn.Conv1d(1, 3, 2, bias=False), "weight", 2, 1e-6),
        nn.Flatten(),
        nn.utils.weight_norm(nn.utils.weight_norm(nn.Linear(9, 6), dim=1), "bias", dim=None),
    ).train(training)
    before = {name: values.copy() for name, values in model.state_dict().items()}
    x = X[:, None]
    nnx.save(model, tmp_path / "a", example=x)
    again = nnx.load_model(tmp_path / "a")
    assert repr(again) == repr(model) and again.state_dict().keys() == before.keys()
    for name, values in again.state_dict().items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
        np.testing.assert_array_equal(model.state_dict()[name], before[name], err_msg=name)
    np.testing.assert_array_equal(again(x).detach().numpy(), model.eval()(x).detach().numpy())
    changed_file(tmp_path / "a", lambda _, about: about["architecture"]["modules"]["0"].update(
        computed={"weight": ["remove_parametrizations", {}]}))  # fmt: skip
    with pytest.raises(ValueError, match="nnx has no 'remove_parametrizations' by which"):
        nnx.load_model(tmp_path / "a")

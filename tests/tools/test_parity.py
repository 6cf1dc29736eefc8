"""`nnx.parity` finds the layer at fault, and only that one."""

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.backends import Backend, use_backend
from nnx.backends.numpy import NumpyBackend
from nnx.tools.parity import parity


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal((6, 5)).astype("float32"), rng.integers(0, 3, 6)


def network():
    nnx.random.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 4), nn.ReLU(), nn.Linear(4, 3))


@pytest.mark.parametrize("other", ["array_api_strict", "array_api_strict:device1"])
def test_two_good_backends_agree(batch, other):
    pytest.importorskip("array_api_strict")
    model = network()
    report = parity(model, batch, nn.CrossEntropyLoss(), backends=("numpy", other))
    assert report.ok and report.first is None, str(report)
    # Dense layers with output and three gradients; ReLUs and the loss with output and one.
    assert len(report.rows) == 3 * 4 + 2 * 2 + 2
    assert "agree in all 18 tensors" in str(report)


def test_without_a_loss_the_gradient_is_random(batch):
    report = parity(network(), batch[0], backends=("numpy", Backend(np, "portable")))
    assert report.ok and any("gradient of weight" in row.tensor for row in report.rows)


def test_two_backends_that_are_here_are_taken(batch, monkeypatch):
    import nnx.tools.parity as tool

    assert parity(network(), batch[0]).backends in (("numpy", "cupy"), ("numpy", "portable"))

    monkeypatch.setattr(tool, "unavailable", lambda name: "CuPy is not installed")
    report = parity(network(), batch, nn.CrossEntropyLoss())
    assert report.ok and report.backends == ("numpy", "portable")


def test_the_model_is_left_as_it_was(batch):
    model = network()
    before = {k: np.array(v) for k, v in model.state_dict().items()}
    parity(model, batch, nn.CrossEntropyLoss(), backends=("numpy", Backend(np, "portable")))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(p.grad is None for p in model.parameters())
    assert "forward" not in vars(model[0])


@pytest.mark.parametrize(
    "kernel, tensor",
    [("linear", "output"), ("relu_backward", "gradient of input")],
)
def test_a_corrupt_constant_is_traced_to_its_layer(batch, kernel, tensor):
    """The fault is planted in one call only: the layer that makes it must be named."""

    class Corrupt(NumpyBackend):
        calls = 0

    def corrupted(self, *args):
        result = getattr(NumpyBackend, kernel)(self, *args)
        type(self).calls += 1
        return result * np.float32(1.001) if type(self).calls == 2 else result

    setattr(Corrupt, kernel, corrupted)
    # Backward runs layer by layer as well, so the second call belongs to the second such layer.
    report = parity(network(), batch, nn.CrossEntropyLoss(), backends=(NumpyBackend(), Corrupt()))
    assert not report.ok
    assert report.first.layer == ("2" if kernel == "linear" else "3")
    assert report.first.tensor == tensor
    assert sum(not row.ok for row in report.rows) == 1
    assert f"differ first in layer '{report.first.layer}'" in str(report)


def test_dropout_draws_the_same_mask_on_both(batch):
    model = nn.Sequential(nn.Linear(5, 50), nn.Dropout(0.5), nn.Linear(50, 3))
    report = parity(model, batch, nn.CrossEntropyLoss(), ("numpy", Backend(np, "portable")))
    assert report.ok, str(report)


def test_an_unknown_backend_is_refused(batch):
    with pytest.raises(ValueError, match="no_such_library"):
        parity(network(), batch[0], backends=("numpy", "no_such_library"))
    with pytest.raises(ValueError, match="compares two backends, got 1"):
        parity(network(), batch[0], backends=("numpy",))


def test_it_runs_whatever_backend_is_active(batch):
    pytest.importorskip("array_api_strict")
    with use_backend("array_api_strict"):
        model = network()
    assert parity(model, batch[0], backends=("numpy", "array_api_strict")).ok


CANCELLING = {
    "a bias before batch norm": lambda: nn.Sequential(
        nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 3)
    ),
    "a bias before layer norm": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(144, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)
    ),
    "the mean of what has none": lambda: nn.Sequential(
        nn.BatchNorm2d(1, affine=False), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(144, 3)
    ),
    "a bias under softmax alone": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(144, 3), nn.Linear(3, 1), nn.Softmax(), nn.Linear(1, 3)
    ),
}


@pytest.mark.parametrize("name", CANCELLING)
def test_sums_that_cancel_are_held_to_their_terms(name):
    """What is left of them is rounding, in which no two backends agree."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((64, 1, 12, 12)).astype("float32"), rng.integers(0, 3, 64)
    nnx.manual_seed(0)
    model = CANCELLING[name]()
    report = parity(model, images, nn.CrossEntropyLoss(), ("numpy", Backend(np, "portable")))
    assert report.ok, str(report)


@pytest.mark.parametrize("layer, tensor", [(0, "bias"), (1, "running_mean")])
def test_a_wrong_sum_is_still_seen(layer, tensor):
    """By 0.1 percent of its terms, where they cancel."""

    class Corrupt(NumpyBackend):
        def conv2d_backward(self, gy, saved, needs):
            gx, gw, gb = super().conv2d_backward(gy, saved, needs)
            return gx, gw, gb + np.float32(1e-3) * np.abs(gy).sum(axis=(0, 2, 3))

        def batch_norm(self, *args):
            y, mean, *rest = super().batch_norm(*args)
            return y, mean + np.float32(1e-3), *rest

    rng = np.random.default_rng(0)
    images = rng.standard_normal((16, 1, 12, 12)).astype("float32"), rng.integers(0, 3, 16)
    nnx.manual_seed(0)
    model = CANCELLING["a bias before batch norm"]()
    report = parity(model, images, nn.CrossEntropyLoss(), (NumpyBackend(), Corrupt()))
    named = {(row.layer, row.tensor.rpartition(" ")[2]) for row in report.rows if not row.ok}
    assert (str(layer), tensor) in named


# ---- between the layers, in the loss ----


class Gated(nn.Module):
    """Operations, a parameter and a layer that is called twice, between layers."""

    def __init__(self):
        self.enter, self.inner = nn.Linear(5, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.scale = nn.Parameter(np.float32([1, 2, 3, 4]))

    def forward(self, x, *, gate):
        y = self.enter(x)
        y = self.inner[0](self.inner(y) * self.scale)
        return {"gated": nnx.sigmoid(y) * gate, "mean": nnx.mean(y)}


class Whole(nn.Module):
    def __init__(self):
        self.body, self.out = Gated(), nn.Linear(4, 3)

    def forward(self, x, gate):
        return self.out(nnx.relu(self.body(x, gate=gate)["gated"]))


def halves(y, labels):
    return nnx.cross_entropy(nnx.log1p(y * y), labels) / 2


PLANTED = {  # kernel or function: the layer and tensor that are to be named
    "sigmoid": ("body", "output 0"),
    "sigmoid_backward": ("body", "gradient of output of inner.0"),
    "relu": ("Whole", "input of out"),
    "tanh": ("body.inner.1", "output"),
    "softmax_cross_entropy": ("loss", "output"),
}


@pytest.mark.parametrize("kernel", [None, *PLANTED])
def test_what_is_computed_between_layers_and_in_the_loss_is_compared(batch, kernel):
    class Corrupt(NumpyBackend):
        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if name != kernel:
                return found

            def corrupted(*args, **kwargs):
                y = found(*args, **kwargs)
                if type(y) is tuple:
                    return tuple(part * np.float32(1.001) for part in y)
                return y * np.float32(1.001)

            return corrupted

    x, labels = batch
    gate = np.random.default_rng(1).random((6, 4)).astype("float32")
    nnx.manual_seed(0)
    report = parity(Whole(), (x, gate, labels), halves, (NumpyBackend(), Corrupt()))
    if kernel is None:
        compared = {(row.layer, row.tensor) for row in report.rows}
        assert report.ok and {*PLANTED.values(), ("body", "gradient of scale")} <= compared
        assert ("loss", "gradient of input 0") in compared
        assert "body.inner" not in {row.layer for row in report.rows}  # nothing of its own
    else:
        assert (report.first.layer, report.first.tensor) == PLANTED[kernel]
        assert {row.layer for row in report.rows if not row.ok} == {report.first.layer}


def test_attention_and_recurrent_layers_inside_others():
    nnx.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    x = np.random.default_rng(0).standard_normal((2, 5, 8)).astype("float32")
    for backend in (Backend(np, "portable"), NumpyBackend()):
        report = parity(model, x, backends=(NumpyBackend(), backend))
        assert report.ok, str(report)
        assert {"TransformerEncoderLayer", "self_attn", "norm2"} <= {r.layer for r in report.rows}


def test_a_model_whose_way_changes_is_refused(batch):
    class Changing(nn.Module):
        calls = 0

        def __init__(self):
            self.one, self.other = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x):
            Changing.calls += 1
            return (self.one if Changing.calls % 2 else self.other)(x)

    with pytest.raises(RuntimeError, match=r"Changing \(Changing\) called other layers"):
        parity(Changing(), batch[0], backends=("numpy", Backend(np, "portable")))

"""Histograms of what runs through a network: whose numbers they are, and what they leave behind."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, plots

pytest.importorskip("matplotlib")

X = np.random.default_rng(0).standard_normal((20, 3)).astype("float32")


def model():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def shares(axes):
    (bars,) = axes.patches
    return bars.get_data().values


def test_activations_of_every_layer():
    net = model()
    drawn = plots.activation_histograms(net, nnx.tensor(X), title="of a batch", bins=10)
    assert [axes.get_title().split("\n")[0] for axes in drawn.axes] == [
        "0  Linear",
        "1  BatchNorm1d",
        "2  ReLU",
        "3  Linear",
    ]
    net.eval()
    hidden = net[0](nnx.tensor(X)).detach().numpy().astype(float)
    count, edges = np.histogram(hidden, bins=10)
    np.testing.assert_allclose(shares(drawn.axes[0]), count / hidden.size)
    np.testing.assert_allclose(drawn.axes[0].patches[0].get_data().edges, edges)
    about = f"{hidden.mean():.2g} ± {hidden.std():.2g}"
    assert drawn.axes[0].get_title().split("\n")[1] == about
    assert "% zero" in drawn.axes[2].get_title() and "zero" not in drawn.axes[0].get_title()
    assert drawn.axes[3].get_xlabel() == "activation" and drawn.axes[0].get_ylabel() == "share"


def test_the_model_is_as_it_was():
    net, (x,) = model(), [nnx.tensor(X)]
    net(x).sum().backward()
    net[2].eval()
    before = [nnx.tensor(v).numpy().copy() for v in net.state_dict().values()]
    gradients = [p.grad for p in net.parameters()]
    plots.activation_histograms(net, x)
    assert [m.training for m in net] == [True, True, False, True]
    assert all(p.grad is g for p, g in zip(net.parameters(), gradients, strict=True))
    for old, new in zip(before, net.state_dict().values(), strict=True):
        np.testing.assert_array_equal(old, nnx.tensor(new).numpy())
    assert net(x).requires_grad
    broken = nn.Sequential(nn.Linear(3, 4), nn.Linear(3, 4))
    with pytest.raises(ValueError):
        plots.activation_histograms(broken, x)
    seen = []
    broken[0].register_forward_hook(lambda *_: seen.append(1))
    broken[0](x)
    assert seen == [1], "its own hooks are gone after an error too"
    assert len(vars(broken[0]).get("_forward_hooks", [1])) == 1


def test_recurrent_layers_shared_ones_and_broken_numbers():
    class Twice(nn.Module):
        def __init__(self):
            self.rnn, self.act = nn.LSTM(3, 4, batch_first=True), nn.ReLU()

        def forward(self, x):
            y, _ = self.rnn(x)
            return self.act(self.act(y) / 0.0)

    with np.errstate(all="ignore"):
        rnn, act = plots.activation_histograms(Twice(), nnx.tensor(X[None])).axes
    assert rnn.get_title().startswith("rnn  LSTM") and np.sum(shares(rnn)) == pytest.approx(1)
    assert act.get_title().endswith(" not finite")
    assert np.sum(shares(act)) < 1, "what is not finite is in no bar"
    chosen = plots.activation_histograms(model(), nnx.tensor(X), layers=["2", ""]).axes
    assert [axes.get_title().split("\n")[0] for axes in chosen] == ["2  ReLU", ".  Sequential"]


def test_gradients_as_backward_left_them():
    net = model()
    net[3].requires_grad_(False)
    net(nnx.tensor(X)).sum().backward()
    drawn = plots.gradient_histograms(net, bins=7)
    names = [axes.get_title().split("\n")[0] for axes in drawn.axes]
    assert names == ["0.weight", "0.bias", "1.weight", "1.bias"]
    gradient = net[0].weight.grad.astype(float)
    np.testing.assert_allclose(
        shares(drawn.axes[0]), np.histogram(gradient, bins=7)[0] / gradient.size
    )
    assert drawn.axes[0].get_xlabel() == "gradient"
    (first, _) = plots.gradient_histograms(net, layers=["1"]).axes
    assert first.get_title().startswith("1.weight")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: plots.gradient_histograms(m), "no parameter has a gradient; call backward"),
        (lambda m: plots.gradient_histograms(m, layers=["7"]), r"among .*0\.weight.*got \['7'\]"),
        (lambda m: plots.activation_histograms(m, nnx.tensor(X), layers="02"), "a list of names"),
        (lambda m: plots.activation_histograms(nn.Sequential(*[nn.ReLU()] * 1), nnx.tensor(X),
                                               layers=["1"]), "got"),
        (lambda m: plots.activation_histograms(nn.Sequential(*[nn.ReLU() for _ in range(65)]),
                                               nnx.tensor(X)), "65 histograms are too many, 64"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn(call, message):
    with pytest.raises(ValueError, match=message):
        call(model())

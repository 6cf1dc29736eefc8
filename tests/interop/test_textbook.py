"""Xu's dicts of parameters: the textbook's formulas, written out, give what our layers give."""

from __future__ import annotations

import numpy as np
import pytest

from nnx import nn
from nnx.interop.textbook import CannotExpress, get_params, set_params

RNG = np.random.default_rng(0)
D, H = 3, 4


def random(*shape):
    return RNG.standard_normal(shape) / 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rnn_step(x, state, p):
    """7.1 and 7.2."""
    h = np.tanh(x @ p["Wx"] + state[0] @ p["Wh"] + p["b"])
    return h, (h,)


def lstm_step(x, state, p):
    """8.2 to 8.7; the columns are i, f, o, g (8.6)."""
    h, c = state
    i, f, o, g = np.split(x @ p["Wx"] + h @ p["Wh"] + p["b"], 4, axis=1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, (h, c)


def gru_step(x, state, p):
    """9.2 to 9.6: reset before the product, and z is the share of the new."""
    (h,) = state
    r, z = np.split(sigmoid(x @ p["Wzx"] + h @ p["Wzh"] + p["bz"]), 2, axis=1)
    n = np.tanh(x @ p["Wax"] + (r * h) @ p["War"] + p["ba"])
    h = (1 - z) * h + z * n
    return h, (h,)


def over_time(step, x, p, states):
    outputs, state = [], (np.zeros((x.shape[1], H)),) * states
    for x_t in x:
        h, state = step(x_t, state, p)
        outputs.append(h)
    return np.stack(outputs)


def gates(width, d):
    return {"Wx": random(d, width * H), "Wh": random(H, width * H), "b": random(width * H)}


def gru_params(d):
    return {
        "Wzx": random(d, 2 * H), "Wzh": random(H, 2 * H), "bz": random(2 * H),
        "Wax": random(d, H), "War": random(H, H), "ba": random(H),
    }  # fmt: skip


KINDS = {
    "rnn": (nn.RNN, rnn_step, lambda d: gates(1, d), 1, {}),
    "lstm": (nn.LSTM, lstm_step, lambda d: gates(4, d), 2, {}),
    "gru": (nn.GRU, gru_step, gru_params, 1, {"reset_after": False}),
}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_recurrent_layers(name, bidirectional):
    kind, step, make, states, options = KINDS[name]
    x = random(5, 2, D)
    wide = H * (1 + bidirectional)
    layers = [
        tuple(make(d) for _ in range(2)) if bidirectional else {**make(d), "cache": None}
        for d in (D, wide)
    ]
    layer = kind(D, H, 2, bidirectional=bidirectional, dtype="float64", **options)
    set_params(layer, layers)
    y = x
    for p in layers:
        if bidirectional:
            backward = over_time(step, y[::-1], p[1], states)[::-1]
            y = np.concatenate([over_time(step, y, p[0], states), backward], axis=2)
        else:
            y = over_time(step, y, p, states)
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), y, rtol=1e-12, atol=1e-14)
    for given, found in zip(layers, get_params(layer), strict=True):
        pairs = zip(given, found, strict=True) if bidirectional else [(given, found)]
        for a, b in pairs:
            for key, values in b.items():
                np.testing.assert_array_equal(a[key], values)


def test_dense_and_convolution():
    dense = nn.Linear(3, 4, dtype="float64")
    p = {"W": random(3, 4), "b": random(1, 4)}
    set_params(dense, p)
    x = random(2, 3)
    np.testing.assert_allclose(dense(x).detach().numpy(), x @ p["W"] + p["b"], rtol=1e-12)
    np.testing.assert_array_equal(get_params(dense)["W"], p["W"])
    conv = nn.Conv2d(2, 3, 2, dtype="float64")
    p = {"W": random(3, 2, 2, 2), "b": random(3)}
    set_params(conv, p)
    x = random(1, 2, 3, 3)
    y = sum(np.einsum("nchw,oc->nohw", x[:, :, i : i + 2, j : j + 2], p["W"][:, :, i, j])
            for i in range(2) for j in range(2))  # fmt: skip
    y = y + p["b"][:, None, None]
    np.testing.assert_allclose(conv(x).detach().numpy(), y, rtol=1e-12)


def test_batch_norm_whose_variance_is_corrected_when_it_predicts():
    """6.7: var_accum is a mean of biased variances of m numbers each; it predicts with m/(m-1)."""
    m, eps = 8, 1e-5
    p = {"gamma": random(3), "beta": random(3), "mu_accum": random(3), "var_accum": random(3) ** 2}
    layer = nn.BatchNorm1d(3, eps=eps, dtype="float64").eval()
    set_params(layer, p, batch_size=m)
    x = random(5, 3)
    scaled = (x - p["mu_accum"]) / np.sqrt(m / (m - 1) * p["var_accum"] + eps)
    wanted = p["gamma"] * scaled + p["beta"]
    np.testing.assert_allclose(layer(x).detach().numpy(), wanted, rtol=1e-12)
    for key, values in get_params(layer, batch_size=m).items():
        np.testing.assert_allclose(values, p[key], rtol=1e-14)
    for call in (lambda: set_params(layer, p), lambda: get_params(layer, batch_size=1)):
        with pytest.raises(ValueError, match="batch_size: the textbook's variance is biased"):
            call()


@pytest.mark.parametrize(
    ("layer", "params", "why"),
    [
        (nn.GRU(D, H), gru_params(D), "resets before .*reset_after=False"),
        (nn.LSTM(D, H, 2), gates(4, D), "has 2 layers, and there are parameters of 1"),
        (nn.LSTM(D, H, bidirectional=True), gates(4, D), "has 2 directions"),
        (nn.LSTM(D, H), {"Wx": 1}, "cannot be cut into 4 gates"),
        (nn.LSTM(D, H), gates(4, D + 1), "does not fit"),
        (nn.RNN(D, H, nonlinearity="relu"), gates(1, D), "has tanh"),
        (nn.LSTM(D, H, bias=False), gates(4, D), "has a bias"),
        (nn.LayerNorm(3), {}, "keeps no parameters of it"),
        (nn.Linear(3, 4), {"W": np.ones((3, 4))}, "there is no parameter 'b'"),
    ],
)
def test_what_does_not_fit_is_refused(layer, params, why):
    before = {key: np.array(a) for key, a in layer.state_dict().items()}
    with pytest.raises(CannotExpress, match=why):
        set_params(layer, params)
    assert all(np.array_equal(before[key], a) for key, a in layer.state_dict().items())

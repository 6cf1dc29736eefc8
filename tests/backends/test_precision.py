"""How far approximations are from what they approximate, over the whole range of float32, and that
they reach the numbers at which they saturate.

In units in the last place of the exact value; where a formula takes a number from a larger one, in
those of the larger one: of x for x Φ(x) by 1 + erf, of 1 for a gate by 1 + tanh.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

TINY = float(np.finfo("float32").tiny)
erf = np.vectorize(math.erf)


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def phi(x):
    return np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2


def gate(part, cell):
    """One gate of a cell's elementwise half, which is where CUDA has its own sigmoid and tanh."""

    def run(k, x):
        xp = k.xp
        n, zero = x.shape[0], xp.zeros_like(x)[:, None]
        columns = [x[:, None] if g == part else zero for g in range(4 if cell == "lstm" else 3)]
        z = xp.concat(columns, axis=1)
        if cell == "lstm":
            return k.lstm_cell(z, xp.zeros_like(zero))[0][:, part]
        return k.gru_cell(z, xp.zeros_like(z), xp.zeros((n, 1), dtype=x.dtype, device=x.device))[0][
            :, part
        ]

    return run


def rnn(k, x):
    h = k.xp.zeros((1, x.shape[0], 1), dtype=x.dtype, device=x.device)
    w = k.xp.zeros((1, 1, 1), dtype=x.dtype, device=x.device)
    return k.rnn_sequence(x[None, :, None, None], h, w, None, "tanh")[0][0, :, 0, 0]


OF_Y, OF_X, OF_ONE = 0.0, 1.0, 2.0

# name: how it is called, the definition, and how many units of what it may be off
FUNCTIONS = {
    "tanh": (lambda k, x: k.tanh(x), np.tanh, 3, OF_Y),
    "sigmoid": (lambda k, x: k.sigmoid(x), sigmoid, 3, OF_Y),
    "softplus": (lambda k, x: k.softplus(x), lambda x: np.logaddexp(0, x), 5, OF_Y),
    "erf": (lambda k, x: k.erf(x), erf, 6, OF_Y),
    "silu": (lambda k, x: k.silu(x, True)[0], lambda x: x * sigmoid(x), 4, OF_Y),
    "elu": (
        lambda k, x: k.elu(x, 1.0, 1.0, 1.0, True)[0],
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), 5, OF_Y,
    ),
    "leaky_relu of slope 0": (
        lambda k, x: k.leaky_relu(x, 0.0, True)[0], lambda x: np.where(x > 0, x, 0 * x), 0, OF_Y,
    ),
    "gelu": (lambda k, x: k.gelu(x, "none", True)[0], lambda x: x * phi(x), 3, OF_X),
    "gelu by tanh": (
        lambda k, x: k.gelu(x, "tanh", True)[0],
        lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2, 3, OF_X,
    ),
    "an LSTM's input gate": (gate(0, "lstm"), sigmoid, 1, OF_ONE),
    "an LSTM's candidate": (gate(2, "lstm"), np.tanh, 3, OF_Y),
    "a GRU's reset gate": (gate(0, "gru"), sigmoid, 1, OF_ONE),
    "a GRU's candidate": (gate(2, "gru"), np.tanh, 3, OF_Y),
    "a simple layer's state": (rnn, np.tanh, 3, OF_Y),
}  # fmt: skip


def numbers():
    """Float32 of both signs: every exponent, and closer together where functions bend."""
    bits = np.arange(0, 0x7F800000, 130_003, dtype=np.int64).astype("uint32")
    x = np.concatenate([bits, bits + np.uint32(2**31)]).view("float32")
    return np.concatenate([x, np.linspace(-120, 20, 20_000, dtype="float32")])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors_over_the_whole_range(backend, name):
    call, definition, bound, of = FUNCTIONS[name]
    x = numbers()
    with np.errstate(all="ignore"):
        y = backend.to_numpy(call(backend.backend, backend.asarray(x))).astype("float64")
        exact = definition(x.astype("float64"))
    larger = {OF_Y: np.zeros_like(x), OF_X: np.abs(x), OF_ONE: np.ones_like(x)}[of]
    unit = np.spacing(np.maximum(larger, np.abs(exact)).astype("float32")).astype("float64")
    least = 128 * TINY  # what is smaller, or made of something smaller, may be 0
    error = np.maximum(np.abs(y - exact) - least, 0) / unit
    worst = error.argmax()
    assert error[worst] <= bound, (error[worst], x[worst], y[worst], exact[worst])


@pytest.mark.parametrize("size", [9, 9000])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_ends_are_reached(backend, name, size):
    call, definition, _, _ = FUNCTIONS[name]
    x = np.resize(np.array([-np.inf, -1e4, -110, 0, 20, 110, 1e4, np.inf, np.nan], "f4"), size)
    with np.errstate(all="ignore"):
        y = backend.to_numpy(call(backend.backend, backend.asarray(x)))
        exact = definition(x.astype("float64")).astype("float32")
    for at in range(9):
        if not (np.isnan(exact[at]) and math.isinf(x[at])):  # -∞ 0: 0 or NaN
            np.testing.assert_allclose(y[at::9], exact[at], rtol=3e-7, atol=TINY, err_msg=x[at])

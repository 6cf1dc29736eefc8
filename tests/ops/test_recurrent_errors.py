"""What the recurrent operations refuse, and how they say it."""

from __future__ import annotations

import numpy as np
import pytest
import recurrent_definition as definition

import nnx
from nnx import ops


def small(kind="gru", directions=1):
    x, weights, h0, c0 = definition.example(kind, directions)
    make = lambda a: nnx.Tensor(a.astype("float32"))  # noqa: E731
    return make(x), [tuple(make(w) for w in own) for own in weights], make(h0), make(c0)


def test_errors_name_the_rule_and_every_shape():
    x, weights, h0, c0 = small()
    with pytest.raises(ValueError, match=r"gru: x must be \(T, N, D\) with D = 3.*\(4, 3\)"):
        ops.gru(nnx.Tensor(x.data[:, :, 0]), weights)
    with pytest.raises(ValueError, match=r"D = 3.*x has shape \(4, 3, 2\).*weight_ih \(12, 3\)"):
        ops.gru(nnx.Tensor(x.data[:, :, :2]), weights)
    with pytest.raises(ValueError, match=r"h0 must be \(1, 3, 4\).*\(4, 3, 3\), h0 \(1, 2, 4\)"):
        ops.gru(x, weights, nnx.Tensor(h0.data[:, :2]))
    with pytest.raises(ValueError, match=r"at least one time step; x has shape \(0, 3, 3\)"):
        ops.gru(nnx.Tensor(x.data[:0]), weights)
    bad = [(weights[0][0], weights[0][1], nnx.Tensor(np.zeros(5, "f4")), weights[0][3])]
    with pytest.raises(ValueError, match=r"direction 0 has .*\(5,\).*bias_ih differs"):
        ops.gru(x, bad)
    with pytest.raises(ValueError, match="bias_ih and bias_hh stand together, or neither"):
        ops.gru(x, [(*weights[0][:3], None)])
    x, weights, h0, c0 = small("lstm")
    with pytest.raises(ValueError, match=r"c0 must be \(1, 3, 4\).*c0 \(1, 3, 2\)"):
        ops.lstm(x, weights, h0, nnx.Tensor(c0.data[:, :, :2]))
    with pytest.raises(ValueError, match="tanh or relu, got 'gelu'"):
        ops.rnn(x, weights, nonlinearity="gelu")
    with pytest.raises(ValueError, match=r"lstm_cell: z must be \(N, 4H\).*\(3, 8\), c \(3, 4\)"):
        ops.lstm_cell(nnx.Tensor(np.zeros((3, 8), "f4")), nnx.Tensor(np.zeros((3, 4), "f4")))


@pytest.mark.parametrize(
    "lengths, message",
    [
        ([2, 5, 1], r"between 1 and the 4 time steps of x; lengths\[1\] is 5"),
        ([2, 0, 1], r"lengths\[1\] is 0"),
        ([2, -1, 1], r"lengths\[1\] is -1"),
        ([2, 4], r"3 integers.*shape \(2,\)"),
        ([2.0, 4.0, 1.0], r"3 integers.*dtype float64"),
        ([[2, 4, 1]], r"3 integers.*shape \(1, 3\)"),
    ],
)
def test_bad_lengths(lengths, message):
    for kind in ("rnn", "lstm", "gru"):
        x, weights, _, _ = small(kind)
        with pytest.raises(ValueError, match=message):
            getattr(ops, kind)(x, weights, lengths=lengths)


@pytest.mark.parametrize("name, gates", [("rnn", 1), ("lstm", 4), ("gru", 3)])
@pytest.mark.parametrize("dtype", ["int32", "complex64"])
def test_what_is_no_floating_point_is_refused(name, gates, dtype):
    """And not computed with states that can only be 0, -1 and 1."""
    x, w = np.ones((2, 2, 3), dtype), np.ones((2 * gates, 3), dtype)
    weights = [(w, w[:, :2], w[:, 0], w[:, 0])]
    with pytest.raises(TypeError, match=f"{name}: x must be of a floating-point dtype.*{dtype}"):
        getattr(ops, name)(x, weights)


def test_cells_of_integers_are_refused():
    one = np.ones((1, 6), int)
    for name, call in {
        "lstm_cell": lambda: ops.lstm_cell(np.ones((1, 8), int), one[:, :2]),
        "gru_cell": lambda: ops.gru_cell(one, one, one[:, :2]),
    }.items():
        with pytest.raises(TypeError, match=f"{name}: . must be of a floating-point dtype"):
            call()

"""The compiled scans against their portable twins, and the tanh they are made of."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from nnx.backends.base import Backend
from nnx.backends.jit import JitBackend, thresholds
from nnx.backends.jit.codegen import threads
from nnx.backends.jit.recurrent import layer
from nnx.backends.numpy import NumpyBackend


@pytest.fixture
def always(monkeypatch):
    """Compiled scans also where NumPy would be as quick."""
    monkeypatch.setattr(thresholds, "RECURRENT", 0)
    monkeypatch.setattr(layer, "ROWS", 0)


GATES = {"rnn": 1, "relu": 1, "lstm": 4, "gru": 3, "gru-before": 3}


def call(backend, kind, x, h0, c0, weights, lengths, gy, gh, gc):
    """Forward and backward of one layer: all results in one list, and what was kept."""
    if kind == "lstm":
        y, h_n, c_n, saved = backend.lstm(x, h0, c0, weights, lengths)
        gx, *states, gw = backend.lstm_backward(gy, gh, gc, saved, True)
        outs = [y, h_n, c_n]
    elif kind in ("rnn", "relu"):
        nonlinearity = "tanh" if kind == "rnn" else "relu"
        y, h_n, saved = backend.rnn(x, h0, weights, lengths, nonlinearity)
        gx, *states, gw = backend.rnn_backward(gy, gh, saved, True)
        outs = [y, h_n]
    else:
        y, h_n, saved = backend.gru(x, h0, weights, lengths, kind == "gru")
        gx, *states, gw = backend.gru_backward(gy, gh, saved, True)
        outs = [y, h_n]
    return [*outs, gx, *states, *(g for own in gw for g in own)], saved


def example(kind, directions, lengths, steps=9, n=5, features=6, hidden=13, bias=True):
    """Sizes that leave a remainder everywhere: 13 units in registers of 8 or 16, an odd batch."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.uniform(-0.8, 0.8, shape).astype("float32")

    rows = GATES[kind] * hidden
    weights = []
    for _ in range(directions):
        own = [draw(rows, features), draw(rows, hidden), None, None]
        if bias:
            own[2:] = [draw(rows), draw(rows)]
        weights.append((*own, None) if kind == "lstm" else tuple(own))
    return (
        2 * draw(steps, n, features),
        draw(directions, n, hidden),
        draw(directions, n, hidden),
        weights,
        None if lengths is None else np.array(lengths),
        draw(steps, n, directions * hidden),
        draw(directions, n, hidden),
        draw(directions, n, hidden),
    )


def assert_close(got, expected):
    for k, (g, e) in enumerate(zip(got, expected, strict=True)):
        if e is None:
            assert g is None
            continue
        assert g.dtype == np.float32 and g.shape == e.shape, k
        np.testing.assert_allclose(g, e, atol=3e-6 * max(1, np.abs(e).max()), rtol=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, [7, 3, 1, 5, 9]])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", GATES)
def test_equals_the_portable_twin(always, kind, directions, lengths, bias):
    arrays = example(kind, directions, lengths, bias=bias)
    expected, _ = call(Backend(np, "numpy"), kind, *arrays)
    got, saved = call(JitBackend(), kind, *arrays)
    assert isinstance(saved, layer.Rows), "the compiled scan must have run"
    assert_close(got, expected)
    assert_close(call(NumpyBackend(), kind, *arrays)[0], expected)


@pytest.mark.parametrize("kind", GATES)
def test_no_initial_state_and_read_only_strided_inputs(always, kind):
    x, _, _, weights, lengths, gy, gh, gc = example(kind, 2, [9, 3, 1, 5, 9])
    arrays = (x, None, None, weights, lengths, gy, gh, gc)
    expected, _ = call(Backend(np, "numpy"), kind, *arrays)

    def awkward(a):
        if a is None:
            return None
        wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
        wide[..., ::2] = a
        wide.flags.writeable = False
        return wide[..., ::2]

    strange = [[awkward(w) for w in own] for own in weights]
    got, _ = call(
        JitBackend(),
        kind,
        *(awkward(x), None, None, strange, awkward(lengths), awkward(gy), awkward(gh), awkward(gc)),
    )
    assert_close(got, expected)


@pytest.mark.parametrize("kind", GATES)
def test_threads_do_not_change_a_bit(always, kind):
    arrays = example(kind, 2, None, steps=40, n=8, hidden=32)
    threads.set_thread_count(1)
    try:
        alone, _ = call(JitBackend(), kind, *arrays)
        threads.set_thread_count(2)
        together, _ = call(JitBackend(), kind, *arrays)
    finally:
        threads.set_thread_count(None)
    assert_close(together, alone)
    np.testing.assert_array_equal(together[0], alone[0])


def test_what_is_small_is_left_to_numpy():
    _, saved = call(JitBackend(), "gru", *example("gru", 1, None))
    assert not isinstance(saved, layer.Rows)
    _, saved = call(JitBackend(), "gru", *example("gru", 1, None, steps=40, n=8, hidden=32))
    assert isinstance(saved, layer.Rows)


@pytest.mark.parametrize(
    "kind, steps, n, hidden, compiled",
    [
        ("rnn", 40, 8, 32, True),
        ("rnn", 10, 32, 30, False),
        ("rnn", 10, 64, 128, True),
        ("lstm", 40, 1, 32, True),
        ("lstm", 1, 16, 32, False),
        ("lstm", 1, 64, 64, True),
        ("lstm", 4, 1, 256, False),
    ],
)
def test_who_computes_depends_on_the_steps(kind, steps, n, hidden, compiled):
    arrays = example(kind, 1, None, steps=steps, n=n, hidden=hidden)
    _, saved = call(JitBackend(), kind, *arrays)
    assert isinstance(saved, layer.Rows) == compiled


def test_what_does_not_suit_is_left_to_numpy(always):
    double = [
        [tuple(None if w is None else w.astype("float64") for w in own) for own in a]
        if isinstance(a, list)
        else (None if a is None else a.astype("float64"))
        for a in example("gru", 1, None)
    ]
    results, saved = call(JitBackend(), "gru", *double)
    assert not isinstance(saved, layer.Rows) and results[0].dtype == np.float64


@pytest.mark.parametrize("kind", GATES)
def test_nan_reaches_its_own_sequence_only(always, kind):
    arrays = example(kind, 1, None)
    arrays[0][3, 2, 1] = np.nan
    expected, _ = call(Backend(np, "numpy"), kind, *arrays)
    got, _ = call(JitBackend(), kind, *arrays)
    np.testing.assert_array_equal(np.isnan(got[0]), np.isnan(expected[0]))
    assert np.isnan(got[0][3:, 2]).any() and not np.isnan(got[0][:, 1]).any()


@pytest.mark.parametrize("backend", [JitBackend, NumpyBackend])
@pytest.mark.parametrize("kind", GATES)
def test_what_stands_beyond_a_sequence_s_end_does_not_matter(always, kind, backend):
    arrays = example(kind, 2, [7, 3, 1, 5, 9])
    expected, _ = call(backend(), kind, *arrays)
    for n, length in enumerate(arrays[4]):
        arrays[0][length:, n] = np.nan
    got, _ = call(backend(), kind, *arrays)
    assert_close(got, expected)


def test_a_projection_is_left_to_the_portable_kernels(always):
    x, h0, c0, weights, lengths, gy, gh, gc = example("lstm", 1, [7, 3, 1, 5, 9], hidden=16)
    narrow = np.random.default_rng(1).uniform(-0.8, 0.8, (4, 16)).astype("f4")
    weights = [(own[0], np.ascontiguousarray(own[1][:, :4]), *own[2:4], narrow) for own in weights]
    arrays = (x, h0[..., :4], c0, weights, lengths, gy[..., :4], gh[..., :4], gc)
    expected, _ = call(Backend(np, "numpy"), "lstm", *arrays)
    for backend in (JitBackend(), NumpyBackend()):
        assert_close(call(backend, "lstm", *arrays)[0], expected)


@pytest.mark.parametrize("onto", [0, 1])
@pytest.mark.parametrize("rows", [1, 7, 12, 13, 29, 37])
def test_product_of_any_number_of_rows(rows, onto):
    """Rows in pieces of unequal height, and a last panel that is narrower than the others."""
    from numba import njit

    from nnx.backends.jit.codegen.microkernel import table
    from nnx.backends.jit.recurrent import scan as scans

    rng = np.random.default_rng(0)
    inner, columns = 7, 2 * scans.WIDTH + scans.LANES
    a = rng.standard_normal((rows, inner)).astype("float32")
    factor = rng.standard_normal((inner, columns)).astype("float32")
    c = rng.standard_normal((rows + 1, columns)).astype("float32")  # one row beyond
    expected = c.copy()
    expected[:rows] = a @ factor + onto * c[:rows]
    w = scans.panels([factor])
    multiply = njit(lambda *operands: scans.product(*operands))
    multiply(
        table(4), rows, inner, columns,
        a.ctypes.data, a.strides[0], w.ctypes.data, c.ctypes.data, c.strides[0], onto,
    )  # fmt: skip
    np.testing.assert_allclose(c, expected, atol=2e-5, rtol=0)
    np.testing.assert_array_equal(c[rows], expected[rows])

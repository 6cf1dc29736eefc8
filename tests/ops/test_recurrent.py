"""RNN, LSTM and both GRUs over whole sequences, against their definitions and PyTorch."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import recurrent_definition as definition
from gradients import check_gradients

import nnx
from nnx import ops

KINDS = ["rnn", "relu", "lstm", "gru", "gru-before"]
LENGTHS = {"equal": None, "unequal": [2, 4, 1], "same": [4, 4, 4], "shorter": [3, 2, 3]}
DTYPES = {"float32": 2e-6, "float64": 1e-12}


def run(kind, x, weights, h0=None, c0=None, lengths=None):
    """The operation under test: y, h_n, c_n (None but for the LSTM)."""
    if kind == "lstm":
        return ops.lstm(x, weights, h0, c0, lengths)
    if kind in ("rnn", "relu"):
        nonlinearity = "tanh" if kind == "rnn" else "relu"
        return (*ops.rnn(x, weights, h0, lengths, nonlinearity), None)
    return (*ops.gru(x, weights, h0, lengths, reset_after=kind == "gru"), None)


def tensors(on, arrays, dtype, requires_grad=False, strided=False):
    make = on.strided if strided else on.asarray
    return [None if a is None else nnx.Tensor(make(a, dtype), requires_grad) for a in arrays]


def both(on, kind, dtype, directions, lengths=None, proj=0, strided=False):
    """The definition's results, and ours."""
    x, weights, h0, c0 = definition.example(kind, directions, proj=proj)
    expected = definition.layer(kind, x, weights, h0, c0, lengths)
    ours = [tensors(on, own, dtype, strided=strided) for own in weights]
    tx, th, tc = tensors(on, [x, h0, c0], dtype, strided=strided)
    return expected, run(kind, tx, ours, th, tc, lengths)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_definition(backend, kind, directions, lengths):
    dtype = "float64" if backend.float64 else "float32"
    expected, ours = both(backend, kind, dtype, directions, LENGTHS[lengths])
    for e, o in zip(expected, ours, strict=True):
        if o is not None:
            assert o.dtype == backend.backend.dtype(dtype)
            np.testing.assert_allclose(backend.to_numpy(o), e, atol=DTYPES[dtype], rtol=0)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_float32(backend, kind, directions):
    expected, ours = both(backend, kind, "float32", directions, LENGTHS["unequal"])
    for e, o in zip(expected, ours, strict=True):
        if o is not None:
            assert o.dtype == backend.xp.float32
            np.testing.assert_allclose(backend.to_numpy(o), e, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_strided_inputs(backend, kind):
    expected, ours = both(backend, kind, "float32", 2, strided=True)
    for e, o in zip(expected, ours, strict=True):
        if o is not None:
            np.testing.assert_allclose(backend.to_numpy(o), e, atol=2e-6, rtol=0)


@pytest.mark.parametrize("lengths", ["equal", "unequal"])
@pytest.mark.parametrize("directions", [1, 2])
def test_projection(backend, directions, lengths):
    dtype = "float64" if backend.float64 else "float32"
    expected, ours = both(backend, "lstm", dtype, directions, LENGTHS[lengths], proj=2)
    for e, o in zip(expected, ours, strict=True):
        np.testing.assert_allclose(backend.to_numpy(o), e, atol=DTYPES[dtype], rtol=0)


# ---- gradients ----


def outputs(kind, arrays, directions, size, lengths):
    """The operation as a function of a flat list: x, h0, c0, and the weights."""
    x, h0, c0, *flat = arrays
    weights = [tuple(flat[k * size : (k + 1) * size]) for k in range(directions)]
    y, h_n, c_n = run(kind, x, weights, h0, c0 if kind == "lstm" else None, lengths)
    return [y, h_n] + ([c_n] if kind == "lstm" else [])


@pytest.mark.parametrize("lengths", ["equal", "unequal"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", [*KINDS, "projected"])
def test_gradients(backend, kind, directions, lengths):
    backend.skip_without_float64()
    proj, kind = (2, "lstm") if kind == "projected" else (0, kind)
    x, weights, h0, c0 = definition.example(kind, directions, proj=proj)
    flat = [w for own in weights for w in own]
    counts = LENGTHS[lengths]

    def function(*arrays):
        if kind != "lstm":  # no c0: put the place back
            arrays = (*arrays[:2], None, *arrays[2:])
        return outputs(kind, arrays, directions, len(weights[0]), counts)

    states = [h0, c0] if kind == "lstm" else [h0]
    check_gradients(function, x, *states, *flat, wrap=backend.asarray)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_through_50_steps(backend, kind):
    backend.skip_without_float64()
    x, weights, h0, c0 = definition.example(kind, 1, steps=50, n=2, features=2, hidden=3)
    if kind == "relu":  # keep the state away from 0, where there is no derivative
        weights = [(np.abs(w_ih), 0.3 * np.abs(w_hh), b + 1, b2) for w_ih, w_hh, b, b2 in weights]
        x, h0 = np.abs(x), np.abs(h0)

    def function(*arrays):
        if kind != "lstm":
            arrays = (*arrays[:2], None, *arrays[2:])
        return outputs(kind, arrays, 1, 4, None)

    states = [h0, c0] if kind == "lstm" else [h0]
    check_gradients(function, x, *states, *weights[0], wrap=backend.asarray)


def test_only_what_is_asked_for_gets_a_gradient(backend):
    x, weights, _, _ = definition.example("gru")
    tx = backend.tensor(x, "float32")
    own = tensors(backend, weights[0], "float32")
    own[1].requires_grad_()
    y, _ = ops.gru(tx, [own])
    y.backward(backend.asarray(np.ones(y.shape, "float32")))
    assert own[1].grad is not None
    assert tx.grad is None and own[0].grad is None


def test_without_bias(backend):
    for kind in KINDS:
        x, weights, h0, c0 = definition.example(kind, 1, bias=False)
        expected = definition.layer(kind, x, weights, h0, c0)
        tx, th, tc = tensors(backend, [x, h0, c0], "float32")
        own = tensors(backend, weights[0][:2], "float32", requires_grad=True)
        ours = run(kind, tx, [(*own, None, None)], th, tc)
        np.testing.assert_allclose(backend.to_numpy(ours[0].detach()), expected[0], atol=2e-6)
        ours[0].backward(backend.asarray(np.ones(ours[0].shape, "float32")))
        assert own[0].grad is not None and own[1].grad is not None


def test_no_initial_state_means_zeros(backend):
    for kind in KINDS:
        x, weights, h0, c0 = definition.example(kind, 2)
        expected = definition.layer(kind, x, weights, 0 * h0, 0 * c0, [1, 4, 2])
        own = [tensors(backend, w, "float32") for w in weights]
        ours = run(kind, backend.tensor(x, "float32"), own, lengths=[1, 4, 2])
        for e, o in zip(expected, ours, strict=True):
            if o is not None:
                np.testing.assert_allclose(backend.to_numpy(o), e, atol=2e-6, rtol=0)


# ---- nothing leaks from the padding ----


@pytest.mark.parametrize("padding", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", [*KINDS, "projected"])
def test_padding_does_not_leak(backend, kind, directions, padding):
    """Neither into values nor into gradients, whatever stands there and is asked of it."""
    proj, kind = (2, "lstm") if kind == "projected" else (0, kind)
    x, weights, _, _ = definition.example(kind, directions, proj=proj)
    lengths = [2, 4, 1]
    beyond = np.arange(4)[:, None] >= np.asarray(lengths)
    results = []
    for fill, asked in [(0.0, 0.0), (padding, padding)]:
        filled = np.where(beyond[..., None], fill, x)
        tx = backend.tensor(filled, "float32", requires_grad=True)
        own = [tensors(backend, w, "float32", requires_grad=True) for w in weights]
        y, h_n, _ = run(kind, tx, own, lengths=lengths)
        g = np.where(beyond[..., None], asked, np.ones(y.shape))
        y.backward(backend.asarray(g.astype("float32")))
        grads = [tx.grad, *(w.grad for o in own for w in o)]
        results.append([backend.to_numpy(a) for a in [y.detach(), h_n.detach(), *grads]])
    for clean, dirty in zip(*results, strict=True):
        assert np.isfinite(dirty).all()
        np.testing.assert_array_equal(clean, dirty)
    y, gx = results[1][0], results[1][2]
    assert not y[beyond].any() and not gx[beyond].any()
    assert y[~beyond].any() and gx[~beyond].any()


def test_inputs_are_not_modified(backend):
    for kind in KINDS:
        x, weights, h0, c0 = definition.example(kind, 2)
        arrays = [x, h0, c0, *(w for own in weights for w in own)]
        ours = tensors(backend, arrays, "float32", requires_grad=True)
        before = [backend.to_numpy(t.detach()).copy() for t in ours]
        own = [tuple(ours[3 + 4 * s : 7 + 4 * s]) for s in range(2)]
        y, _, _ = run(kind, ours[0], own, ours[1], ours[2], [1, 4, 3])
        g = backend.asarray(np.ones(y.shape, "float32"))
        kept = backend.to_numpy(g).copy()
        y.backward(g, retain_graph=True)
        first = [None if t.grad is None else backend.to_numpy(t.grad) for t in ours]
        for t in ours:
            t.grad = None
        y.backward(g)  # what was kept must have survived the first walk
        for t, was, grad in zip(ours, before, first, strict=True):
            np.testing.assert_array_equal(backend.to_numpy(t.detach()), was)
            if grad is not None:
                np.testing.assert_array_equal(backend.to_numpy(t.grad), grad)
        np.testing.assert_array_equal(backend.to_numpy(g), kept)


def test_lengths_of_any_kind(backend):
    x, weights, _, _ = definition.example("gru")
    own = [tensors(backend, weights[0], "float32")]
    tx = backend.tensor(x, "float32")
    expected = backend.to_numpy(ops.gru(tx, own, lengths=[2, 4, 1])[0])
    host = np.array([2, 4, 1])
    for lengths in (
        (2, 4, 1),
        host,
        host.astype(np.int32),
        backend.asarray(host),
        nnx.Tensor(backend.asarray(host)),
    ):
        got = backend.to_numpy(ops.gru(tx, own, lengths=lengths)[0])
        np.testing.assert_array_equal(got, expected)


def test_saturated_gates_stay_finite(backend):
    """Pre-activations of ±1e4 in float32: no overflow, no NaN, in values and gradients."""
    for kind in ("rnn", "lstm", "gru", "gru-before"):
        x, weights, _, _ = definition.example(kind, 2)
        tx = backend.tensor(1e4 * x, "float32", requires_grad=True)
        own = [tensors(backend, w, "float32", requires_grad=True) for w in weights]
        y, _, _ = run(kind, tx, own)
        y.backward(backend.asarray(np.ones(y.shape, "float32")))
        for a in [y.detach().data, tx.grad, *(w.grad for o in own for w in o)]:
            assert np.isfinite(backend.to_numpy(a)).all()


# ---- one step ----


def test_cells_are_one_step_of_the_sequence(backend):
    for kind in ("lstm", "gru", "gru-before"):
        x, weights, h0, c0 = definition.example(kind, 1, steps=1)
        w_ih, w_hh, b_ih, b_hh = weights[0]
        h, c = h0[0], c0[0]
        xg = x[0] @ w_ih.T + b_ih
        two = 2 * h.shape[1]
        t = functools.partial(backend.tensor, dtype="float32")
        if kind == "lstm":
            ours = ops.lstm_cell(t(xg + h @ w_hh.T + b_hh), t(c))
        elif kind == "gru":
            ours = (ops.gru_cell(t(xg), t(h @ w_hh.T + b_hh), t(h)),)
        else:
            u = h @ w_hh[:two].T + b_hh[:two]
            rh, z = ops.gru_reset(t(xg[:, :two]), t(u), t(h))
            un = backend.to_numpy(rh) @ w_hh[two:].T + b_hh[two:]
            ours = (ops.gru_update(t(xg[:, two:]), t(un), z, t(h)),)
        expected = definition.layer(kind, x, weights, h0, c0)[1:]
        for o, e in zip(ours, expected, strict=False):
            np.testing.assert_allclose(backend.to_numpy(o), e[0], atol=2e-6, rtol=0)


def test_gradients_of_cells(backend):
    backend.skip_without_float64()
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.uniform(-1, 1, shape)  # noqa: E731
    check_gradients(ops.lstm_cell, draw(3, 8), draw(3, 2), wrap=backend.asarray)
    check_gradients(ops.gru_cell, draw(3, 6), draw(3, 6), draw(3, 2), wrap=backend.asarray)
    check_gradients(ops.gru_reset, draw(3, 4), draw(3, 4), draw(3, 2), wrap=backend.asarray)
    check_gradients(ops.gru_update, *(draw(3, 2) for _ in range(4)), wrap=backend.asarray)


# ---- PyTorch ----


@functools.cache
def torch_layer(kind, directions, lengths, proj, dtype):
    """PyTorch's y, states and gradients, with random gradients handed to all outputs."""
    torch = pytest.importorskip("torch")
    packed = torch.nn.utils.rnn
    x, weights, h0, c0 = definition.example(kind, directions, proj=proj, seed=1)
    options = {"bidirectional": directions == 2, "dtype": getattr(torch, dtype)}
    if kind in ("rnn", "relu"):
        module = torch.nn.RNN(3, 4, nonlinearity="tanh" if kind == "rnn" else kind, **options)
    elif kind == "lstm":
        module = torch.nn.LSTM(3, 4, proj_size=proj, **options)
    else:
        module = torch.nn.GRU(3, 4, **options)
    parameters = []
    for s, own in enumerate(weights):
        for name, value in zip(
            ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"), own, strict=False
        ):
            parameter = getattr(module, f"{name}_l0" + ("_reverse" if s else ""))
            parameter.data[...] = torch.tensor(value)
            parameters.append(parameter)

    def make(a):
        return torch.tensor(a, dtype=options["dtype"], requires_grad=True)

    tx, states = make(x), [make(h0)] + ([make(c0)] if kind == "lstm" else [])
    inputs = tx
    if lengths is not None:
        inputs = packed.pack_padded_sequence(tx, torch.tensor(lengths), enforce_sorted=False)
    y, last = module(inputs, tuple(states) if kind == "lstm" else states[0])
    if lengths is not None:
        y, _ = packed.pad_packed_sequence(y, total_length=len(x))
    outs = [y, *(last if kind == "lstm" else [last])]
    rng = np.random.default_rng(2)
    gs = [rng.standard_normal(tuple(o.shape)) for o in outs]
    sum(
        (o * torch.tensor(g, dtype=o.dtype)).sum() for o, g in zip(outs, gs, strict=True)
    ).backward()
    return (
        [o.detach().numpy() for o in outs],
        gs,
        [a.grad.numpy() for a in [tx, *states, *parameters]],
    )


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lengths", [None, (2, 4, 1), (4, 1, 4)])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", ["rnn", "relu", "lstm", "gru", "projected"])
@pytest.mark.parametrize(
    "backend", ["numpy", "portable", pytest.param("cupy", marks=pytest.mark.gpu)], indirect=True
)
def test_equals_pytorch(backend, kind, directions, lengths, dtype):
    if dtype == "float64":
        backend.skip_without_float64()
    proj, kind = (2, "lstm") if kind == "projected" else (0, kind)
    values, gs, gradients = torch_layer(kind, directions, lengths, proj, dtype)
    x, weights, h0, c0 = definition.example(kind, directions, proj=proj, seed=1)
    states = [h0, c0] if kind == "lstm" else [h0]
    arrays = [x, *states, *(w for own in weights for w in own)]
    ours = tensors(backend, arrays, dtype, requires_grad=True)
    inputs = ours if kind == "lstm" else [*ours[:2], None, *ours[2:]]
    outs = outputs(kind, inputs, directions, len(weights[0]), lengths)
    total = None
    for out, g in zip(outs, gs, strict=True):
        part = (out * backend.tensor(g, dtype)).sum()
        total = part if total is None else total + part
    total.backward()
    tol = 1e-9 if dtype == "float64" else 1e-5
    for o, e in zip(outs, values, strict=True):
        np.testing.assert_allclose(backend.to_numpy(o.detach()), e, atol=tol, rtol=tol)
    for t, e in zip(ours, gradients, strict=True):
        assert t.grad.dtype == t.dtype
        np.testing.assert_allclose(backend.to_numpy(t.grad), e, atol=tol, rtol=tol)

"""nn.RNN, nn.LSTM, nn.GRU: PyTorch's arguments, names, layouts and results."""

from __future__ import annotations

import functools
import gc
import sys
import tracemalloc

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.backends.cpu import memory

# (class, options, shape of x, with initial state, lengths)
CASES = {
    "rnn": ("RNN", {}, (5, 3, 2), False, None),
    "rnn-relu-3-layers": ("RNN", {"nonlinearity": "relu", "num_layers": 3}, (5, 3, 2), True, None),
    "rnn-bi-lengths": ("RNN", {"num_layers": 2, "bidirectional": True}, (5, 3, 2), True, (5, 2, 3)),
    "rnn-unbatched": ("RNN", {"num_layers": 2, "bidirectional": True}, (5, 2), True, None),
    "lstm-3-layers": ("LSTM", {"num_layers": 3}, (5, 3, 2), True, None),
    "lstm-no-bias": ("LSTM", {"bias": False, "bidirectional": True}, (5, 3, 2), False, None),
    "lstm-bi-lengths": (
        "LSTM",
        {"num_layers": 2, "bidirectional": True, "batch_first": True},
        (3, 5, 2),
        True,
        (2, 5, 1),
    ),
    "lstm-projected": (
        "LSTM",
        {"num_layers": 2, "bidirectional": True, "proj_size": 3},
        (5, 3, 2),
        True,
        (1, 2, 5),
    ),
    "lstm-unbatched": ("LSTM", {"batch_first": True}, (5, 2), True, None),
    "gru-batch-first": ("GRU", {"num_layers": 2, "batch_first": True}, (3, 5, 2), False, None),
    "gru-bi": ("GRU", {"num_layers": 3, "bidirectional": True}, (5, 3, 2), True, None),
    "gru-lengths": ("GRU", {"num_layers": 2}, (5, 3, 2), True, (4, 4, 4)),
    "gru-unbatched": ("GRU", {"bidirectional": True}, (5, 2), False, None),
    "gru-one-step": ("GRU", {}, (1, 1, 2), False, None),
}


@functools.cache
def theirs(case, dtype):
    """PyTorch's weights, inputs, outputs and gradients."""
    torch = pytest.importorskip("torch")
    packed = torch.nn.utils.rnn
    kind, options, shape, with_state, lengths = CASES[case]
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(2, 4, dtype=getattr(torch, dtype), **options)
    new = functools.partial(torch.randn, dtype=getattr(torch, dtype), requires_grad=True)
    x = new(*shape)
    batch_first = options.get("batch_first", False)
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    n = () if len(shape) == 2 else (shape[0 if batch_first else 1],)
    states = []
    if with_state:
        states.append(new(rows, *n, options.get("proj_size") or 4))
        if kind == "LSTM":
            states.append(new(rows, *n, 4))
    hx = None if not states else (tuple(states) if kind == "LSTM" else states[0])
    if lengths is None:
        y, last = module(x, hx)
    else:
        inputs = packed.pack_padded_sequence(x, torch.tensor(lengths), batch_first, False)
        y, last = module(inputs, hx)
        y, _ = packed.pad_packed_sequence(y, batch_first, total_length=5)
    outs = [y, *(last if kind == "LSTM" else [last])]
    gs = [torch.randn_like(o) for o in outs]
    sum((o * g).sum() for o, g in zip(outs, gs, strict=True)).backward()
    grads = {name: p.grad.numpy() for name, p in module.named_parameters()}
    host = lambda ts: [t.detach().numpy() for t in ts]  # noqa: E731
    return (
        {name: a.numpy() for name, a in module.state_dict().items()},
        host([x, *states]),
        host(outs),
        host(gs),
        host([x.grad, *(s.grad for s in states)]),
        grads,
    )


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_equals_pytorch(backend, case, dtype):
    if dtype == "float64":
        backend.skip_without_float64()
    kind, options, _, _, lengths = CASES[case]
    weights, inputs, outs, gs, input_grads, grads = theirs(case, dtype)
    module = getattr(nn, kind)(2, 4, dtype=dtype, **options)
    assert list(module.state_dict()) == list(weights), "names and their order"
    module.load_state_dict(weights)
    x, *states = [backend.tensor(a, requires_grad=True) for a in inputs]
    hx = None if not states else (tuple(states) if kind == "LSTM" else states[0])
    y, last = module(x, hx, lengths=lengths)
    ours = [y, *(last if kind == "LSTM" else [last])]
    total = None
    for o, g in zip(ours, gs, strict=True):
        part = (o * backend.tensor(g)).sum()
        total = part if total is None else total + part
    total.backward()
    tol = 1e-9 if dtype == "float64" else 1e-5
    for o, e in zip(ours, outs, strict=True):
        assert o.dtype == backend.backend.dtype(dtype)
        np.testing.assert_allclose(backend.to_numpy(o.detach()), e, atol=tol, rtol=tol)
    for t, e in zip([x, *states], input_grads, strict=True):
        np.testing.assert_allclose(backend.to_numpy(t.grad), e, atol=tol, rtol=tol)
    for name, parameter in module.named_parameters():
        assert parameter.grad.dtype == parameter.dtype
        np.testing.assert_allclose(
            backend.to_numpy(parameter.grad), grads[name], atol=tol, rtol=tol, err_msg=name
        )


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_initial_values(kind):
    """U(-1/√H, 1/√H), biases too; reproducible from the seed."""
    nnx.random.manual_seed(3)
    module = getattr(nn, kind)(5, 16, 2, bidirectional=True)
    values = np.concatenate([a.ravel() for a in module.state_dict().values()])
    assert np.abs(values).max() <= 0.25 and np.abs(values).max() > 0.24
    assert abs(values.mean()) < 0.01 and abs(values.std() - 0.25 / np.sqrt(3)) < 0.01
    nnx.random.manual_seed(3)
    again = getattr(nn, kind)(5, 16, 2, bidirectional=True)
    for name, a in again.state_dict().items():
        np.testing.assert_array_equal(a, module.state_dict()[name])


# ---- what padding must not do ----


@pytest.mark.parametrize("reset_after", [True, False])
def test_lengths_equal_each_sequence_alone(backend, reset_after):
    """Three layers, both directions: a padded batch gives what each sequence gives by itself."""
    nnx.random.manual_seed(0)
    module = nn.GRU(2, 3, 3, bidirectional=True, batch_first=True, reset_after=reset_after)
    lengths = [4, 1, 6, 3]
    x = np.random.default_rng(0).standard_normal((4, 6, 2)).astype("float32")
    for k, length in enumerate(lengths):
        x[k, length:] = 1e6
    y, h = module(backend.tensor(x), lengths=lengths)
    for k, length in enumerate(lengths):
        alone, last = module(backend.tensor(x[k, :length]))
        got = backend.to_numpy(y)[k]
        np.testing.assert_allclose(got[:length], backend.to_numpy(alone), atol=1e-6)
        assert not got[length:].any()
        np.testing.assert_allclose(backend.to_numpy(h)[:, k], backend.to_numpy(last), atol=1e-6)


# ---- the two GRUs ----


def test_the_reset_variant_travels_with_the_weights(backend):
    """Loading one variant's weights into the other is refused; the functions differ."""
    nnx.random.manual_seed(0)
    after, before = nn.GRU(2, 4), nn.GRU(2, 4, reset_after=False)
    with pytest.raises(ValueError, match="unexpected: reset_before"):
        after.load_state_dict(before.state_dict())
    with pytest.raises(ValueError, match="missing: reset_before"):
        before.load_state_dict(after.state_dict())
    again = nn.GRU(2, 4, reset_after=False)
    again.load_state_dict(before.state_dict())
    after.load_state_dict(before.state_dict(), strict=False)
    x = backend.tensor(np.random.default_rng(0).standard_normal((5, 3, 2)).astype("float32"))
    y = {m: backend.to_numpy(m(x)[0]) for m in (before, again, after)}
    np.testing.assert_array_equal(y[before], y[again])
    assert np.abs(y[before] - y[after]).max() > 1e-2
    assert "reset_after=False" in repr(before) and "reset" not in repr(after)


# ---- dropout between layers ----


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_between_layers(backend, variational):
    """With identity-like layers of relu units the mask can be read from the output."""
    nnx.random.manual_seed(0)
    module = nn.RNN(
        1, 40, 2, nonlinearity="relu", dropout=0.25, batch_first=True, variational=variational
    )
    state = {name: np.zeros(a.shape, "float32") for name, a in module.state_dict().items()}
    state["bias_ih_l0"][:] = 1  # layer 0 puts out ones
    state["weight_ih_l1"] = np.eye(40, dtype="float32")  # layer 1 hands on what it is given
    module.load_state_dict({k: np.array(v) for k, v in state.items()})
    x = backend.tensor(np.zeros((8, 6, 1), "float32"))
    y = backend.to_numpy(module(x)[0].detach())  # (N, T, H)
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.05
    same = (y == y[:, :1]).all()
    assert same == variational
    assert not (y == y[:1]).all(), "each sequence has a mask of its own"
    nothing_dropped = backend.to_numpy(module.eval()(x)[0].detach())
    np.testing.assert_array_equal(nothing_dropped, np.ones_like(y))


def test_dropout_needs_two_layers():
    with pytest.warns(UserWarning, match="there is one layer only"):
        nn.GRU(2, 3, dropout=0.5)


# ---- truncated back-propagation ----


def test_truncated_has_the_values_of_the_whole_and_its_own_gradients(backend):
    nnx.random.manual_seed(0)
    module = nn.LSTM(2, 3, 2)
    host = np.random.default_rng(0).standard_normal((7, 2, 2)).astype("float32")
    x = backend.tensor(host, requires_grad=True)
    whole, _ = module(x)
    pieces = []
    for y, _ in nn.truncated(module, x, 3):
        pieces.append(backend.to_numpy(y.detach()))
        y.sum().backward()
        got = {n: backend.to_numpy(p.grad) for n, p in module.named_parameters()}
    assert [len(p) for p in pieces] == [3, 3, 1]
    np.testing.assert_allclose(np.concatenate(pieces), backend.to_numpy(whole.detach()), atol=1e-6)

    # The same by hand: constants as states at the cuts.
    module.zero_grad()
    state = None
    for piece in (slice(0, 3), slice(3, 6), slice(6, 7)):
        y, (h, c) = module(backend.tensor(host[piece]), state)
        y.sum().backward()
        state = (
            backend.tensor(backend.to_numpy(h.detach())),
            backend.tensor(backend.to_numpy(c.detach())),
        )
    for name, p in module.named_parameters():
        np.testing.assert_allclose(got[name], backend.to_numpy(p.grad), atol=1e-5)
    module.zero_grad()
    module(backend.tensor(host))[0].sum().backward()
    full = backend.to_numpy(module.weight_hh_l0.grad)
    assert np.abs(full - got["weight_hh_l0"]).max() > 1e-3, "the cut must change the gradient"


def test_truncated_batch_first_and_unbatched(backend):
    module = nn.GRU(2, 3, batch_first=True)
    host = np.random.default_rng(0).standard_normal((2, 5, 2)).astype("float32")
    for x in (host, host[0]):
        t = backend.tensor(x)
        got = [backend.to_numpy(y.detach()) for y, _ in nn.truncated(module, t, 2)]
        whole = backend.to_numpy(module(t)[0].detach())
        np.testing.assert_allclose(np.concatenate(got, axis=x.ndim - 2), whole, atol=1e-6)
    with pytest.raises(ValueError, match="steps must be positive, got 0"):
        next(nn.truncated(module, t, 0))


# ---- memory ----


def peak_of_forward(kind, steps, hidden=64, n=8):
    """Bytes a forward pass on the tape holds, beyond its input and output."""
    module = getattr(nn, kind)(4, hidden)
    x = nnx.Tensor(np.zeros((steps, n, 4), "float32"))
    module(nnx.Tensor(np.zeros((50, n, 4), "float32")))  # compiled and warm
    gc.collect()
    memory.forget()  # what lies ready for use again would not be counted when it is used
    tracemalloc.start()
    y, _ = module(x)
    gc.collect()
    # Arrays alone: the thread that brings this process its tests allocates when it likes.
    arrays = tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)
    traces = tracemalloc.take_snapshot().filter_traces([arrays]).traces
    held = sum(trace.size for trace in traces) - memory.idle_bytes()
    tracemalloc.stop()
    del y
    return held / (4 * n * hidden)  # in arrays of (N, H) float32


@pytest.mark.parametrize("kind, arrays", [("RNN", 1), ("LSTM", 7), ("GRU", 5)])
@pytest.mark.parametrize("backend", ["numpy", "jit"], indirect=True)
def test_memory_grows_linearly_by_a_stated_number_of_arrays(backend, kind, arrays):
    """What the tape holds per time step: gates, cells and states, as `nnx.ops` states."""
    short, long = peak_of_forward(kind, 50), peak_of_forward(kind, 150)
    per_step = (long - short) / 100
    assert arrays - 1.1 <= per_step <= arrays + 0.3


def test_memory_does_not_grow_over_training_steps():
    nnx.random.manual_seed(0)
    module = nn.LSTM(2, 8, 2)
    optimizer = nnx.optim.SGD(module.parameters(), lr=0.01)
    x = nnx.Tensor(np.ones((4, 3, 2), "float32"))

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            y, _ = module(x, lengths=[4, 2, 3])
            (y * y).sum().backward()
            optimizer.step()

    train(20)
    gc.collect()
    before = sys.getallocatedblocks()  # an array that is kept is a block that is kept
    train(1000)
    gc.collect()
    assert sys.getallocatedblocks() - before < 100


# ---- errors ----


def zeros(*shape, dtype="float32"):
    return nnx.Tensor(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    "x, hx, lengths, message",
    [
        (zeros(3), None, None, r"GRU: x must be \(T, N, D\), or \(T, D\).*shape \(3,\)"),
        (zeros(2, 2, 2, 2), None, None, r"x has shape \(2, 2, 2, 2\)"),
        (zeros(4, 2, 5), None, None, r"D = input_size = 3; x has shape \(4, 2, 5\)"),
        (zeros(0, 2, 3), None, None, r"at least one time step; x has shape \(0, 2, 3\)"),
        (zeros(4, 2, 3), zeros(1, 2, 6), None, r"h_0 must be \(2, 2, 6\).*h_0 has.*\(1, 2, 6\)"),
        (zeros(4, 2, 3), zeros(2, 2, 5), None, r"x of shape \(4, 2, 3\).*\(2, 2, 5\)"),
        (zeros(4, 3), zeros(2, 1, 6), None, r"h_0 must be \(2, 6\)"),
        (zeros(4, 2, 3), None, [5, 1], r"between 1 and the 4 time steps.*lengths\[0\] is 5"),
        (zeros(4, 2, 3), None, [0, 1], r"lengths\[0\] is 0; lengths \[0, 1\]"),
        (zeros(4, 2, 3), None, [1, 1, 1], r"2 integers.*shape \(3,\)"),
        (zeros(4, 3), None, [4], r"lengths belong to a batch.*\(4, 3\)"),
    ],
)
def test_bad_input(x, hx, lengths, message):
    with pytest.raises(ValueError, match=message):
        nn.GRU(3, 6, 2)(x, hx, lengths=lengths)


def test_bad_input_to_the_lstm_and_in_dtype():
    lstm = nn.LSTM(3, 6, batch_first=True, proj_size=2)
    x = zeros(2, 4, 3)
    with pytest.raises(ValueError, match=r"h_0 must be \(1, 2, 2\).*\(1, 2, 6\)"):
        lstm(x, (zeros(1, 2, 6), zeros(1, 2, 6)))
    with pytest.raises(ValueError, match=r"c_0 must be \(1, 2, 6\).*\(1, 2, 2\)"):
        lstm(x, (zeros(1, 2, 2), zeros(1, 2, 2)))
    with pytest.raises(ValueError, match=r"the pair \(h_0, c_0\)"):
        lstm(x, zeros(1, 2, 2))
    with pytest.raises(TypeError, match="x is float64, weight_ih_l0 float32"):
        lstm(zeros(2, 4, 3, dtype="float64"))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_layers": 0}, "num_layers must be positive; got 3, 6 and 0"),
        ({"dropout": 1.5}, "dropout must be between 0 and 1, got 1.5"),
        ({"proj_size": 6}, "proj_size must be from 0 to hidden_size - 1; got 6 and 6"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        nn.LSTM(3, 6, **options)
    with pytest.raises(ValueError, match="tanh or relu, got 'selu'"):
        nn.RNN(3, 6, nonlinearity="selu")


def test_repr_names_what_is_not_default():
    module = nn.LSTM(3, 6, 2, bias=False, batch_first=True, dropout=0.5, bidirectional=True)
    assert repr(module) == (
        "LSTM(3, 6, num_layers=2, bias=False, batch_first=True, dropout=0.5, bidirectional=True)"
    )

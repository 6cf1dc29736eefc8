"""`nnx.capture` on a recorder that replays in Python.

What it shows: that n calls are n steps, whatever the step does to its state, and that what a
replay would get wrong is refused.  What it cannot: that a CUDA graph does what this recorder does.
"""

from __future__ import annotations

import numpy as np
import pytest
from cuda_cpu.available import skip_or_fail
from recorder import Recorder

import nnx
from nnx import nn, optim
from nnx.backends import Backend, active_backend, override, unavailable, use_backend
from nnx.backends.numpy import NumpyBackend
from nnx.train.capture import CaptureError, capture


@pytest.fixture(params=["portable", "in place"])
def recorder(request):
    """The active backend records; its kernels make new arrays, or write in place."""
    made = Recorder()
    kind = Backend if request.param == "portable" else NumpyBackend

    class Recording(kind):
        def recorder(self):
            return made

    backend = Recording(np, "numpy") if kind is Backend else Recording()
    with override(np.ndarray, backend):
        yield made


class Small(nn.Module):
    """Batch norm, whose running statistics are state, between two dense layers."""

    def __init__(self):
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(nnx.ops.relu(self.norm(self.first(x))))


def batches(n):
    rng = np.random.default_rng(0)
    new = active_backend().from_numpy
    for _ in range(n):
        yield (
            nnx.Tensor(new(rng.standard_normal((5, 3)).astype("float32"))),
            nnx.Tensor(new(rng.integers(0, 2, 5))),
        )


def forward_and_backward(model):
    def step(x, y):
        output = model(x)
        loss = nnx.ops.cross_entropy(output, y)
        loss.backward()
        return loss, output

    return step


def state(model, *results):
    buffers = [a for _, a in model.named_buffers()]
    everything = [*results, *(p.data for p in model.parameters()), *buffers]
    return [np.array(active_backend().to_numpy(a)) for a in everything]


def run(optimizer_of, captured, inside, recorder, steps=7, change_rate=False):
    """Losses, outputs, and the model's state after some steps."""
    nnx.manual_seed(0)
    model = Small()
    optimizer = optimizer_of(model.parameters())
    plain = forward_and_backward(model)

    def both(x, y):
        results = plain(x, y)
        optimizer.step()
        return results

    step = both if inside else plain
    if inside:
        optimizer.count_on_device()
    if captured:
        step = capture(step, model, *([optimizer] if inside else []))
    recorder.owners = model, optimizer
    results = []
    for k, (x, y) in enumerate(batches(steps)):
        if change_rate and k == 5:
            optimizer.param_groups[0]["lr"] = 0.01
        if not captured:
            optimizer.zero_grad()
        loss, output = step(x, y)
        results += [loss.data, output.data]
        if not inside:
            optimizer.step()
    return state(model, *results)


RUNS = {
    "Adam after the step": (lambda p: optim.Adam(p, lr=0.05), False),
    "SGD after the step": (lambda p: optim.SGD(p, lr=0.1), False),
    "SGD inside": (lambda p: optim.SGD(p, lr=0.1), True),
    "Adam inside": (lambda p: optim.Adam(p, lr=0.05), True),
    "AdamW inside": (lambda p: optim.AdamW(p, lr=0.05, amsgrad=True), True),
    "momentum inside": (lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01), True),
}


@pytest.mark.parametrize("name", RUNS)
def test_calls_are_steps(recorder, name):
    """Warm-up, record and replays together give what as many plain steps give, to the last bit."""
    optimizer_of, inside = RUNS[name]
    expected = run(optimizer_of, False, inside, recorder)
    actual = run(optimizer_of, True, inside, recorder)
    assert (recorder.aside_entered, recorder.recorded, recorder.played) == (2, 1, 5)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


@pytest.mark.gpu
@pytest.mark.parametrize("name", RUNS)
def test_calls_are_steps_on_a_device(name):
    """Within rounding: the captured products may be added up in another order than CuPy's."""
    skip_or_fail(unavailable("cupy"), "NNX_REQUIRE_GPU")
    optimizer_of, inside = RUNS[name]
    with use_backend("cupy"):
        expected = run(optimizer_of, False, inside, Recorder())
        actual = run(optimizer_of, True, inside, Recorder())
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-4 * max(1.0, np.abs(e).max()))


@pytest.mark.parametrize("name", RUNS)
def test_calls_are_steps_on_cupys_arrays(on_cupy, name):
    """`CupyRecorder` itself: CuPy's streams, hooks and cuBLAS's arguments, a replayed list."""
    optimizer_of, inside = RUNS[name]
    expected = run(optimizer_of, False, inside, Recorder(), change_rate=True)
    actual = run(optimizer_of, True, inside, Recorder(), change_rate=True)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-5 * max(1.0, np.abs(e).max()))


def sequence(kind, hidden, both):
    layer = getattr(nn, kind)(3, hidden, bidirectional=both)
    return layer, lambda x: layer(x)[0], (7, 4, 3)


def activated(function):
    layer = nn.Linear(3, 4)
    return layer, lambda x: function(layer(x)), (5, 3)


def joined():
    cell = nn.LSTMCell(3, 5)

    def steps(x):
        state, found = None, []
        for x_t in nnx.ops.unstack(x):
            state = cell(x_t, state)
            found.append(state[0])
        return nnx.ops.concat([nnx.ops.stack(found), nnx.ops.stack(found)], axis=-1)

    return cell, steps, (12, 4, 3)


def layers(*them):
    model = nn.Sequential(*them)
    return model, model, (6, 2, 8, 8)


CAPTURABLE = {
    "convolution and batch norm": lambda: layers(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)
    ),
    "groups, average pool": lambda: layers(nn.Conv2d(2, 4, 3, groups=2), nn.AvgPool2d(2)),
    **{
        f"{kind} of {hidden}{', both ways' if both else ''}": (
            lambda kind=kind, hidden=hidden, both=both: sequence(kind, hidden, both)
        )
        for kind in ("RNN", "LSTM", "GRU")
        for hidden, both in ((8, False), (8, True), (130, True))
    },
    **{
        name: (lambda function=function: activated(function))
        for name, function in {
            "GELU": nnx.ops.gelu,
            "Hardtanh": nnx.ops.hardtanh,
            "ReLU6": nnx.ops.relu6,
            "L1": lambda y: nnx.ops.l1_loss(y, y * 2),
            "Huber": lambda y: nnx.ops.huber_loss(y, y * 2),
            "SmoothL1": lambda y: nnx.ops.smooth_l1_loss(y, y * 2),
            "BCE": lambda y: nnx.ops.binary_cross_entropy(nnx.ops.sigmoid(y), y * 0 + 0.5),
            "the norm of all": lambda y: nnx.ops.norm(y, 3),
            "an operator": lambda y: y @ nnx.ops.matrix_transpose(y),
        }.items()
    },
    "stacks of 12": joined,
}


@pytest.mark.parametrize("name", CAPTURABLE)
def test_what_can_be_captured(on_cupy, name):
    nnx.manual_seed(0)
    model, function, shape = CAPTURABLE[name]()
    rng = np.random.default_rng(1)
    given = [on_cupy.tensor(rng.standard_normal(shape).astype("float32")) for _ in range(4)]

    def step(x):
        loss = nnx.ops.sum(nnx.ops.square(function(x)))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        return loss

    replayed = capture(step, model, warmup=1)
    for x in given:
        for p in model.parameters():
            p.grad = None
        results = [
            [on_cupy.to_numpy(step(x)), *(on_cupy.to_numpy(p.grad) for p in model.parameters())]
        ]
        loss = replayed(x)
        results.append(
            [on_cupy.to_numpy(loss), *(on_cupy.to_numpy(p.grad) for p in model.parameters())]
        )
        for a, e in zip(*results, strict=True):
            np.testing.assert_allclose(a, e, rtol=1e-4, atol=1e-5)
    assert replayed.recorded


class Reads(nn.Module):
    """A layer that looks at a value, in one pass or the other."""

    def __init__(self, backward):
        self.scale = nn.Parameter(active_backend().xp.ones(3))
        self.backward = backward

    def forward(self, x):
        return Look(self.backward)(x * self.scale)


class Look(nnx.autograd.Unary):
    def __init__(self, backward):
        self.at = "backward" if backward else "forward"

    def forward(self, x):
        return x * (float(x[0, 0]) if self.at == "forward" else 2.0)

    def backward(self, g):
        return g * (float(g[0, 0]) if self.at == "backward" else 2.0)


@pytest.mark.parametrize("backward", [False, True])
def test_the_layer_that_cannot_be_captured_is_named(on_cupy, backward):
    model = nn.Sequential({"body": nn.Sequential(nn.Linear(3, 3), Reads(backward))})
    x = on_cupy.tensor(np.ones((2, 3), "float32"))

    def step(x):
        loss = nnx.ops.sum(model(x))
        loss.backward()
        return loss

    replayed = capture(step, model, warmup=1)
    replayed(x)
    where = "in the backward pass of Look" if backward else r"in layer 'body\.1' \(Reads\)"
    with pytest.raises(CaptureError, match=where):
        replayed(x)
    model(x)  # and the model goes on as it was


def test_a_new_learning_rate_records_anew(recorder):
    optimizer_of, inside = RUNS["momentum inside"]
    expected = run(optimizer_of, False, inside, recorder, change_rate=True)
    actual = run(optimizer_of, True, inside, recorder, change_rate=True)
    assert recorder.recorded == 2
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, e)


def made(recorder, step_of=forward_and_backward, *more):
    """A captured step, its model, and how often it was warmed up: once."""
    nnx.manual_seed(0)
    model = Small()
    step = capture(step_of(model), model, *more, warmup=1)
    (x, y), *_ = batches(1)
    step(x, y)
    recorder.owners = (model,)
    return step, model, x, y


def test_results_outlive_the_next_call(recorder):
    step, _, x, y = made(recorder)
    first, _ = step(x, y)
    before = float(first.data)
    step(nnx.Tensor(x.data * 2), y)
    assert float(first.data) == before
    assert first.creator is None and not first.requires_grad


def test_gradients_are_there_after_zero_grad(recorder):
    step, model, x, y = made(recorder)
    step(x, y)
    expected = [p.grad.copy() for p in model.parameters()]
    for _ in range(2):
        for p in model.parameters():
            p.grad = None
        step(x, y)
        for p, g in zip(model.parameters(), expected, strict=True):
            np.testing.assert_array_equal(p.grad, g)


def test_inputs_are_copied(recorder):
    """The caller may change its array afterwards; and plain arrays are inputs too."""
    step, model, x, y = made(recorder)
    step(x.data, y.data)
    expected = [p.grad.copy() for p in model.parameters()]
    kept = x.data.copy()
    x.data[...] = 7
    step(kept, y)
    for p, g in zip(model.parameters(), expected, strict=True):
        np.testing.assert_array_equal(p.grad, g)


def test_other_shapes_and_dtypes_are_refused(recorder):
    step, _, x, y = made(recorder)
    step(x, y)
    assert step.recorded and step.fits(x, y)
    smaller = nnx.Tensor(x.data[:3]), nnx.Tensor(y.data[:3])
    assert not step.fits(*smaller)
    with pytest.raises(ValueError, match=r"\(\(5, 3\), 'float32'\).*got.*\(\(3, 3\).*drop_last"):
        step(*smaller)
    with pytest.raises(ValueError, match="float64"):
        step(nnx.Tensor(x.data.astype("float64")), y)


def reading(model):
    def step(x, y):
        loss, _ = forward_and_backward(model)(x, y)
        return loss if loss.item() > 0 else None

    return step


def dropping(model):
    def step(x, y):
        loss = nnx.ops.cross_entropy(nnx.ops.dropout(model(x), 0.5), y)
        loss.backward()
        return loss

    return step


def sending(model):
    def step(x, y):
        weights = active_backend().from_numpy(np.ones(2, "float32"))
        loss = nnx.ops.cross_entropy(model(x) * nnx.Tensor(weights), y)
        loss.backward()
        return loss

    return step


def with_a_stranger(model):
    other = nn.BatchNorm1d(2)

    def step(x, y):
        loss = nnx.ops.cross_entropy(other(model(x)), y)
        loss.backward()
        return loss

    return step


def broken(model):
    calls = []

    def step(x, y):
        calls.append(nnx.ops.dropout(x, 0.5))
        if len(calls) > 1:
            raise FloatingPointError("no such luck")
        return forward_and_backward(model)(x, y)

    return step


@pytest.mark.parametrize(
    "step_of,message",
    [
        (reading, r"reads values.*Tensor\.item"),
        (dropping, "draws random numbers"),
        (sending, r"sends an array of shape \(2,\) from host memory"),
        (with_a_stranger, "uses a BatchNorm1d that capture"),
        (broken, "cannot be recorded: no such luck"),
    ],
)
def test_what_cannot_be_replayed_is_refused(recorder, step_of, message):
    step, model, x, y = made(recorder, step_of)
    draws = nnx.random.default_generator().state()
    before = state(model)
    with pytest.raises(CaptureError, match=message):
        step(x, y)
    assert not step.recorded
    # Nothing has happened: the state is as it was, and the step runs as it is.
    assert nnx.random.default_generator().state() == draws
    for a, e in zip(state(model), before, strict=True):
        np.testing.assert_array_equal(a, e)
    forward_and_backward(model)(x, y)


def test_an_optimizer_that_counts_on_the_host_is_refused_inside(recorder):
    nnx.manual_seed(0)
    model = Small()
    optimizer = optim.NAdam(model.parameters())

    def step(x, y):
        forward_and_backward(model)(x, y)
        optimizer.step()

    taken = capture(step, model, optimizer, warmup=1)
    (x, y), *_ = batches(1)
    taken(x, y)
    recorder.owners = (model,)
    with pytest.raises(CaptureError, match=r"NAdam counts its steps.*optimizer\.step\(\) after"):
        taken(x, y)
    assert {s["step"] for s in optimizer.state.values()} == {1}

    unknown = capture(step, model, warmup=1)
    unknown(x, y)
    with pytest.raises(CaptureError, match="uses a NAdam that capture"):
        unknown(x, y)


def test_a_loss_without_state_may_be_anybodys(recorder):
    step, _, x, y = made(
        recorder, lambda model: lambda x, y: nn.CrossEntropyLoss()(model(x), y).backward()
    )
    assert step(x, y) is None and step.recorded


def test_no_device_that_records():
    model = Small()
    with (
        override(np.ndarray, NumpyBackend()),
        pytest.raises(CaptureError, match=r"on numpy: .*cupy"),
    ):
        capture(lambda: None, model)


def test_arguments_are_checked(recorder):
    with pytest.raises(ValueError, match="warmup must be at least 1, got 0"):
        capture(lambda: None, Small(), warmup=0)
    with pytest.raises(ValueError, match="name the modules and optimizers"):
        capture(lambda: None)
    assert nnx.capture is capture

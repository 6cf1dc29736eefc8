"""Loss scaling: PyTorch's rules, and what a device is not asked."""

from __future__ import annotations

import cupy_on_cpu
import numpy as np
import pytest

import nnx
from nnx import amp, nn, optim

START = np.array([[1.0, -2.0], [0.5, 3.0]], "float32")
OVERFLOWS = [True, False, False, False, True, True, False, False, False, True, False, False]


def run(scaler, optimizer, w, square, factors, backend=None):
    """Steps on the loss factor * sum of w²."""
    scales = []
    for factor in factors:
        loss = square(w) * factor
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scales.append(scaler.get_scale())
    return scales


@pytest.mark.parametrize("name, options", [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2}),
    ("Adam", {"lr": 0.1}),
    ("AdamW", {"lr": 0.1, "amsgrad": True}),
    ("RMSprop", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1}),
])  # fmt: skip
def test_scales_and_steps_are_pytorchs(backend, name, options):
    torch = pytest.importorskip("torch")
    rules = {"init_scale": 2.0**10, "growth_factor": 4.0, "backoff_factor": 0.25}
    factors = [float("inf") if overflow else 1.0 for overflow in OVERFLOWS]
    w = nn.Parameter(backend.asarray(START.copy()))
    ours = amp.GradScaler(**rules, growth_interval=2)
    with np.errstate(all="ignore"):
        scales = run(
            ours, getattr(optim, name)([w], **options), w, lambda w: (w * w).sum(), factors
        )
    t = torch.nn.Parameter(torch.tensor(START))
    theirs = torch.amp.GradScaler("cpu", **rules, growth_interval=2)
    optimizer = getattr(torch.optim, name)([t], **options)
    assert scales == run(theirs, optimizer, t, lambda t: (t * t).sum(), factors)
    assert ours.state_dict() == theirs.state_dict()
    np.testing.assert_allclose(backend.to_numpy(w.data), t.detach().numpy(), rtol=2e-6)


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), optim.Adam])
def test_a_device_is_never_waited_for(on_cupy, make):
    """An overflow leaves parameters, state and count as they were, and nobody looks at it."""
    w, v = (nn.Parameter(on_cupy.asarray(START.copy())) for _ in range(2))
    optimizer, scaler = make([w, v]), amp.GradScaler(growth_interval=2)
    for k, overflow in enumerate(OVERFLOWS):
        before = [on_cupy.to_numpy(a).copy() for a in (w.data, v.data)]
        scaler.seed((w * w).sum())
        with cupy_on_cpu.counting() as asked, np.errstate(all="ignore"):
            loss = (w * w).sum() * (float("inf") if overflow else 1.0)
            if k % 3:
                loss = loss + (v * v * v).sum()  # v has no gradient in every third step
            loss.backward(scaler.seed(loss))
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        assert not asked.waits, str(asked)
        moved = [
            (on_cupy.to_numpy(a) != b).any() for a, b in zip((w.data, v.data), before, strict=True)
        ]
        assert moved == [not overflow, not overflow and bool(k % 3)]
    if "step" in optimizer.state[w]:
        made = [k for k, overflow in enumerate(OVERFLOWS) if not overflow]
        assert int(optimizer.state[w]["step"]) == len(made)
        assert int(optimizer.state[v]["step"]) == len([k for k in made if k % 3])


def test_a_device_counts_as_the_host_does(on_cupy):
    """Adam's state with the count on the device: the same steps, and it is saved as a number is."""
    found = []
    for on_device in (False, True):
        w = nn.Parameter(on_cupy.asarray(START.copy()))
        optimizer = optim.Adam([w], lr=0.1)
        if on_device:
            optimizer.count_on_device()
        for k in range(4):
            if k == 2:  # as from a checkpoint
                again = optim.Adam([w], lr=0.1)
                again.load_state_dict(optimizer.state_dict())
                if on_device:
                    again.count_on_device()
                optimizer = again
            (w * w).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        found.append(on_cupy.to_numpy(w.data))
        assert int(optimizer.state[w]["step"]) == 4
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_unscaled_gradients_can_be_clipped():
    w = nn.Parameter(nnx.tensor(START))
    scaler, optimizer = amp.GradScaler(8.0), optim.SGD([w], lr=1.0)
    scaler.scale((w * w).sum()).backward()
    scaler.unscale_(optimizer)
    np.testing.assert_array_equal(w.grad, 2 * START)
    nn.utils.clip_grad_value_([w], 0.5)
    scaler.step(optimizer)
    np.testing.assert_array_equal(w.data, START - np.clip(2 * START, -0.5, 0.5))
    with pytest.raises(RuntimeError, match="unscaled already"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already called"):
        scaler.step(optimizer)
    scaler.update()
    with pytest.raises(RuntimeError, match=r"call step\(optimizer\) first"):
        scaler.update()


def test_of_two_optimizers_each_leaves_out_its_own_step_and_the_scale_falls_once():
    a, b = (nn.Parameter(nnx.tensor(START)) for _ in range(2))
    scaler = amp.GradScaler(16.0)
    first, second = optim.SGD([a], lr=1.0), optim.SGD([b], lr=1.0)
    with np.errstate(all="ignore"):
        scaler.scale((a * float("inf")).sum()).backward()
    scaler.scale(b.sum()).backward()
    for optimizer in (first, second):
        scaler.step(optimizer)
    scaler.update()
    assert a.tolist() == START.tolist() and b.tolist() == (START - 1).tolist()
    assert scaler.get_scale() == 8.0


def test_disabled_it_is_not_there():
    w = nn.Parameter(nnx.tensor(START))
    scaler, optimizer = amp.GradScaler(enabled=False), optim.SGD([w], lr=0.5)
    loss = (w * w).sum()
    assert scaler.scale(loss) is loss and scaler.get_scale() == 1.0 and scaler.state_dict() == {}
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.tolist() == (0 * START).tolist() and not scaler.is_enabled()


def test_a_state_goes_on_also_pytorchs():
    scaler = amp.GradScaler()
    scaler.load_state_dict(
        {
            "scale": 32.0,
            "growth_factor": 2.0,
            "backoff_factor": 0.5,
            "growth_interval": 2,
            "_growth_tracker": 1,
        }
    )
    w = nn.Parameter(nnx.tensor(START))
    scaler.scale(w.sum()).backward()
    scaler.step(optim.SGD([w], lr=0.0))
    scaler.update()
    assert scaler.get_scale() == 64.0
    scaler.update(5.0)
    assert scaler.get_scale() == 5.0


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"scale": 1.0},
        {
            "scale": -1.0,
            "growth_factor": 2.0,
            "backoff_factor": 0.5,
            "growth_interval": 2,
            "_growth_tracker": 0,
        },
    ],
)
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises(ValueError, match="GradScaler"):
        amp.GradScaler().load_state_dict(state)


@pytest.mark.parametrize(
    "options",
    [
        {"init_scale": 0.0},
        {"init_scale": float("inf")},
        {"growth_factor": 1.0},
        {"backoff_factor": 1.0},
        {"growth_interval": 0},
    ],
)
def test_factors_that_make_no_sense_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"GradScaler: {name} must be"):
        amp.GradScaler(**options)


def test_what_is_in_16_bits_cannot_be_scaled():
    w = nn.Parameter(nnx.tensor(START.astype("float16")))
    scaler = amp.GradScaler()
    with pytest.raises(TypeError, match="the loss must be in float32, not float16"):
        scaler.scale(w.sum())
    w.sum().backward()
    with pytest.raises(ValueError, match="a gradient is in float16"):
        scaler.unscale_(optim.SGD([w], lr=0.1))

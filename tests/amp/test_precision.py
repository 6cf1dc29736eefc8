"""Training in 16 bits: as good as in float32, resumed exactly, and not waited for."""

from __future__ import annotations

import cupy_on_cpu
import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.data import DataLoader
from nnx.datasets import load_digits
from nnx.train import Trainer


def trainer(precision, model=None, **options):
    nnx.manual_seed(0)
    model = model or nn.Sequential(
        *[
            nn.Unflatten(1, (1, 8)),
            nn.Conv2d(1, 16, 3),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Flatten(),
        ],
        *[nn.Linear(576, 32), nn.GELU(), nn.Linear(32, 10)],
    )
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    options = {"metrics": ["accuracy"], "progress": False, "precision": precision, **options}
    return Trainer(model, nn.CrossEntropyLoss(), optimizer, **options)


def digits():
    train, test = load_digits()
    return (train.scaled(), train.labels), (test.scaled(), test.labels)


@pytest.mark.ci
def test_digits_are_learnt_as_well_as_in_float32():
    train, test = digits()
    accuracy = {}
    for precision in ("float32", "float16", "bfloat16"):
        t = trainer(precision)
        t.fit(DataLoader(train, batch_size=64, shuffle=True, seed=0), epochs=4)
        accuracy[precision] = t.evaluate(test)["accuracy"]
        assert str(t.predict(test[0][:5]).dtype) == (
            "float16" if precision == "float16" else "float32"
        )
        assert {str(p.dtype) for p in t.model.parameters()} == {"float32"}
    assert accuracy["float32"] > 0.9
    assert min(accuracy.values()) >= accuracy["float32"] - 0.005, accuracy


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_and_half_is_the_whole(tmp_path, precision):
    """The scale and its count are part of a checkpoint: it falls, and grows, in both halves."""
    train, _ = digits()
    train = tuple(a[:96] for a in train)

    def run(begin, epochs):
        t = trainer(precision)
        if t.precision.scaler is not None:
            scaler = nnx.amp.GradScaler(2.0**30, growth_interval=3)  # far too much at first
            t.precision.scaler = scaler
        if begin is not None:
            t.load(begin)
        t.fit(DataLoader(train, batch_size=8, shuffle=True, seed=1), epochs=epochs)
        return t

    whole, first = run(None, 4), run(None, 2)
    first.save(tmp_path / "half")
    second = run(tmp_path / "half", 2)
    assert second.precision.state_dict() == whole.precision.state_dict()
    assert first.precision.state_dict() != whole.precision.state_dict() or precision == "bfloat16"
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    with pytest.raises(ValueError, match=r"precision .*float16, this one has float32"):
        trainer("float32").load(tmp_path / "half")


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_step_on_a_device_waits_for_nothing(on_cupy, precision):
    """Ten steps or twenty: the waits are those of an epoch's end, and of the first step."""
    asked_of = []
    for steps in (10, 20):
        x = on_cupy.asarray(
            np.random.default_rng(0).standard_normal((4 * steps, 8, 8)).astype("f4")
        )
        y = on_cupy.asarray(np.arange(4 * steps) % 10)
        model = nn.Sequential(
            *[nn.Unflatten(1, (1, 8)), nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU()],
            *[nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 10)],
        )
        t = trainer(precision, model)
        with cupy_on_cpu.counting() as asked:
            t.fit(DataLoader((x, y), batch_size=4), epochs=1)
        asked_of.append(asked.waits.total())
    assert asked_of[0] == asked_of[1] <= 20


def test_gradients_are_clipped_unscaled():
    from nnx.train import ClipGradNorm

    seen = []

    class Look(ClipGradNorm):
        def on_gradients(self, trainer):
            seen.append(max(float(np.abs(p.grad).max()) for p in trainer.model.parameters()))
            super().on_gradients(trainer)

    train, _ = digits()
    t = trainer("float16", callbacks=[Look(max_norm=1.0)])
    t.fit(DataLoader(tuple(a[:64] for a in train), batch_size=32), epochs=1)
    assert 1e-4 < max(seen) < 100


def test_parts_of_a_batch_are_scaled_alike():
    train, _ = digits()
    found = []
    for accumulate in (1, 4):
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        t = trainer("float16", model, accumulate=accumulate)
        t.fit(DataLoader(tuple(a[:64] for a in train), batch_size=32), epochs=1)
        found.append(model[1].weight.data)
    np.testing.assert_allclose(*found, atol=1e-4)


def test_what_cannot_be_scaled_is_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="LBFGS"):
        Trainer(model, nn.MSELoss(), optim.LBFGS(model.parameters()), precision="float16")
    with pytest.raises(ValueError, match="precision must be one of"):
        Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=1.0), precision="half")

"""The learning-rate finder: what it finds, and that nothing is left of it."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.data import DataLoader
from nnx.train import ClipGradNorm, find_lr


def made(optimizer=optim.SGD, callbacks=()):
    nnx.manual_seed(4)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3),
                          nn.Linear(8, 1))  # fmt: skip
    options = {"max_iter": 3} if optimizer is optim.LBFGS else {}
    optimizer = optimizer(model.parameters(), lr=0.01, **options)
    return nnx.Trainer(
        model, nn.MSELoss(), optimizer, metrics=["mse"], callbacks=callbacks, progress=False
    )


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 6)).astype(np.float32)
    return x, (x @ rng.normal(size=(6, 1))).astype(np.float32)


def bits(trainer):
    model, state = trainer.model.state_dict(), trainer.optimizer.state_dict()
    arrays = [a for kept in state["state"].values() for a in kept.values()]
    arrays = [
        np.asarray(a).tobytes() for a in (*model.values(), *arrays) if not isinstance(a, list)
    ]
    return arrays, state["param_groups"], nnx.random.default_generator().state(), trainer.step


@pytest.mark.parametrize("optimizer", [optim.SGD, optim.Adam, optim.LBFGS])
def test_everything_is_as_before(optimizer):
    """The run that follows is the one that would have been, in every bit."""
    x, y = data()
    runs = []
    for look in (False, True):
        trainer = made(optimizer)
        loader = DataLoader((x, y), batch_size=16, shuffle=True, seed=2)
        trainer.fit(loader, epochs=1)
        if look:
            grads = [p.grad.copy() for p in trainer.model.parameters()]
            before = bits(trainer)
            curve = find_lr(trainer, loader, steps=30)
            assert len(curve.rates) > 1
            assert bits(trainer) == before
            for p, grad in zip(trainer.model.parameters(), grads, strict=True):
                np.testing.assert_array_equal(p.grad, grad)
            assert trainer.model.training and len(trainer.metrics) == 1
        trainer.fit(loader, epochs=2)
        runs.append((*bits(trainer), trainer.history["loss"], trainer.history["mse"]))
    assert runs[0] == runs[1]


def test_the_rate_is_one_that_trains():
    """For a quadratic the loss diverges beyond 2 / λ, λ the Hessian's largest eigenvalue."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(64, 5)) * [1, 1, 2, 1, 1]
    y = x @ rng.normal(size=(5, 1))
    nnx.manual_seed(1)
    model = nn.Linear(5, 1, bias=False, dtype="float64")
    trainer = nnx.Trainer(
        model, nn.MSELoss(), optim.SGD(model.parameters(), lr=1.0), progress=False
    )
    curve = find_lr(trainer, (x, y), start=1e-5, stop=100.0, steps=120, batch_size=64)
    limit = 2 / np.linalg.eigvalsh(2 * x.T @ x / len(x)).max()
    assert curve.suggestion is not None and 0.01 * limit < curve.suggestion < limit
    assert curve.rates[-1] < 30 * limit  # it stopped where it diverged
    np.testing.assert_allclose(curve.rates[:2], [1e-5, 1e-5 * 1e7 ** (1 / 119)])


def test_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    curve = find_lr(made(callbacks=[ClipGradNorm(1.0)]), data(), steps=20)
    drawn = curve.plot(tmp_path / "a.png", "rates")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    (axes,) = drawn.axes
    assert drawn.get_suptitle() == "rates" and axes.get_xlabel() == "learning rate"
    raw, smooth = axes.get_lines()[:2]
    assert list(raw.get_data()[1]) == curve.losses and list(smooth.get_data()[0]) == curve.rates
    assert axes.get_xscale() == "log"
    assert curve.plot(ax=axes) is drawn


def test_what_makes_no_sense_is_refused():
    trainer = made()
    for options in ({"start": 1.0, "stop": 0.1}, {"start": 0.0}, {"steps": 1}, {"diverged": 1.0}):
        with pytest.raises(ValueError, match="it must be that 0 < start < stop, steps >= 2"):
            find_lr(trainer, data(), **options)
    with pytest.raises(ValueError, match="which can be walked once"):
        find_lr(trainer, iter([data()]))
    with pytest.raises(ValueError, match="the loss of the first step is not finite"):
        x, y = data()
        find_lr(trainer, (x * np.nan, y))
    assert all(np.isfinite(p.data).all() for p in trainer.model.parameters())

"""Penalties: their gradient and value, beside the loss, on weights alone or on what is named."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.train import Penalty, Trainer


def data(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((32, 5)).astype("f4")
    return x, (x @ rng.standard_normal((5, 2)).astype("f4"))


def trained(penalty=None, groups=None, epochs=3, **options):
    nnx.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.BatchNorm1d(4), nn.Linear(4, 2))
    opt = optim.SGD(groups(model) if groups else model.parameters(), lr=0.1)
    trainer = Trainer(model, nn.MSELoss(), opt, penalty=penalty, progress=False, **options)
    trainer.fit([data()], epochs=epochs)
    return model, trainer


def test_l2_is_weight_decay_of_the_weights():
    def groups(model):
        weights = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim == 1]
        return [{"params": weights, "weight_decay": 0.03}, {"params": others}]

    one, _ = trained(Penalty(l2=0.03))
    two, _ = trained(groups=groups)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-6, atol=1e-7)


def test_the_step_is_the_gradient_of_the_sum():
    """Against the tape, with the penalty written into the loss; the biases are not in it."""
    nnx.manual_seed(0)
    layer = nn.Linear(5, 2)
    for p in layer.parameters():
        p.data = p.data.astype(np.float64)
    x, y = (nnx.Tensor(a.astype(np.float64)) for a in data())
    loss = nn.MSELoss()(layer(x), y)
    w = layer.weight
    (loss + 0.2 * nnx.functional.abs(w).sum() + 0.15 * (w * w).sum()).backward()
    expected = [p.grad for p in layer.parameters()]
    for p in layer.parameters():
        p.grad = None
    nn.MSELoss()(layer(x), y).backward()
    penalty = Penalty(l1=0.2, l2=0.3)
    penalty.add_gradients(layer)
    for p, g in zip(layer.parameters(), expected, strict=True):
        np.testing.assert_allclose(p.grad, g, rtol=1e-12)
    value = 0.2 * np.abs(w.data).sum() + 0.15 * (w.data**2).sum()
    assert penalty.value(layer) == pytest.approx(value, rel=1e-12)


def test_it_stands_beside_the_loss(capsys):
    penalty = Penalty(l1=0.01, l2=0.02)
    model, trainer = trained(penalty)
    row = trainer.history.rows[-1]
    assert list(row)[:3] == ["epoch", "loss", "penalty"]
    assert row["penalty"] == pytest.approx(penalty.value(model))
    nnx.manual_seed(0)
    again = Trainer(
        model, nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1), penalty=Penalty(l2=0.02)
    )
    again.fit([data()], epochs=1)
    assert "penalty 0." in capsys.readouterr().out
    plain = trained()[1].history.rows[-1]
    assert "penalty" not in plain


def test_chosen_parameters_and_frozen_ones():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 2))
    named = dict(model.named_parameters())
    penalty = Penalty(l1=1.0, parameters=[named["0.bias"], ("1.weight", named["1.weight"])])
    for p in model.parameters():
        p.grad = np.zeros_like(p.data)
    named["1.weight"].grad = None
    penalty.add_gradients(model)
    np.testing.assert_array_equal(named["0.bias"].grad, np.sign(named["0.bias"].data))
    assert named["1.weight"].grad is None and not named["0.weight"].grad.any()


def test_it_is_clipped_with_the_rest_and_keeps_float32():
    clip = nnx.train.ClipGradNorm(1e-3)
    nnx.manual_seed(3)
    model = nn.Linear(5, 2)
    before = [p.data.copy() for p in model.parameters()]
    opt = optim.SGD(model.parameters(), lr=1.0)
    Trainer(
        model, nn.MSELoss(), opt, penalty=Penalty(l2=100.0), callbacks=[clip], progress=False
    ).fit([data()], epochs=1)
    moved = [p.data - b for p, b in zip(model.parameters(), before, strict=True)]
    assert np.sqrt(sum((m**2).sum() for m in moved)) < 1.01e-3
    assert {p.data.dtype for p in model.parameters()} == {np.dtype("float32")}


def test_errors():
    with pytest.raises(ValueError, match="at least 0; l1 -1, l2 0"):
        Penalty(l1=-1)
    with pytest.raises(ValueError, match="there are no parameters to penalise"):
        Penalty(l1=1, parameters=[])
    model = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="no parameter of two axes or more"):
        Trainer(model, nn.MSELoss(), optim.SGD(model.parameters()), penalty=Penalty(l2=1))


@pytest.mark.parametrize(
    "loss, labels, squash",
    [
        (nn.BCEWithLogitsLoss(), (0.0, 1.0), False),
        (nn.SoftMarginLoss(), (-1.0, 1.0), False),
        (nn.HingeLoss(), (-1.0, 1.0), False),
        (nn.BCELoss(), (0.0, 1.0), True),
    ],
)
def test_accuracy_of_two_classes_by_name(loss, labels, squash):
    """The metric "accuracy" counts what suits the loss."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3)).astype("f4")
    side = x[:, :1] + 0.5 * x[:, 1:2] > 0
    y = np.where(side, labels[1], labels[0]).astype("f4")
    nnx.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 1), *([nn.Sigmoid()] if squash else []))
    trainer = Trainer(
        model,
        loss,
        optim.Adam(model.parameters(), lr=0.05),
        metrics=["accuracy"],
        progress=False,
    )
    trainer.fit([(x, y)], epochs=200)
    assert trainer.evaluate([(x, y)])["accuracy"] > 0.95

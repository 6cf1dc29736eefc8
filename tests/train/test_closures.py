"""Optimizers that compute the loss again within a step, trained by the Trainer."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.train import Penalty


def problem():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 4))
    return x, x @ rng.normal(size=(4, 2)) + 0.1 * rng.normal(size=(40, 2))


def made(**options):
    nnx.manual_seed(1)
    layers = nn.Linear(4, 6, dtype="float64"), nn.Tanh(), nn.Linear(6, 2, dtype="float64")
    dropout = [nn.Dropout(0.2)] if options.pop("dropout", False) else []
    model = nn.Sequential(*layers[:2], *dropout, layers[2])
    optimizer = optim.LBFGS(model.parameters(), max_iter=8, line_search_fn="strong_wolfe")
    return nnx.Trainer(model, nn.MSELoss(), optimizer, progress=False, **options)


@pytest.mark.parametrize("penalty", [None, 0.1])
def test_lbfgs_is_given_the_closure(penalty):
    """The same numbers as the loop written out, the penalty part of what is minimised."""
    x, y = problem()
    ours = made(penalty=None if penalty is None else Penalty(l2=penalty))
    ours.fit((x, y), epochs=3, batch_size=40)
    theirs = made()
    model, optimizer = theirs.model, theirs.optimizer
    losses = []
    for _ in range(3):

        def closure():
            optimizer.zero_grad()
            loss = nn.MSELoss()(model(nnx.tensor(x)), y)
            losses.append(loss.item())
            if penalty is not None:
                weights = [p for p in model.parameters() if p.ndim > 1]
                loss = loss + penalty / 2 * sum((p * p).sum() for p in weights)
            loss.backward()
            return loss

        first = len(losses)
        optimizer.step(closure)
        losses[first:] = losses[first : first + 1]
    np.testing.assert_allclose(ours.history["loss"], losses, rtol=1e-8)
    assert losses[-1] < losses[0] / 3
    for a, b in zip(ours.model.parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6, atol=1e-9)


def test_dropout_is_the_same_within_a_step_and_another_in_the_next():
    """Or the line search would compare two functions."""
    x, y = problem()
    trainer = made(dropout=True)
    masks = []
    draw = trainer.model[2].forward

    def forward(x):
        out = draw(x)
        masks.append((out.detach().numpy() == 0).tobytes())
        return out

    trainer.model[2].forward = forward
    trainer.fit((x, y), epochs=2, batch_size=40)
    assert len(masks) > 4 and len(set(masks)) == 2


def test_what_does_not_go_is_refused_when_the_trainer_is_made():
    model = nn.Linear(2, 1)
    with pytest.raises(ValueError, match="LBFGS computes the loss again and again within a step"):
        nnx.Trainer(nnx.parallel.DataParallel(model), nn.MSELoss(), optim.LBFGS(model.parameters()))

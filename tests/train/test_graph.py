"""`Trainer(graph=True)`, on a recorder that replays in Python."""

from __future__ import annotations

import numpy as np
import pytest
from recorder import Recorder

import nnx
from nnx import nn, optim
from nnx.backends import Backend, override
from nnx.data import DataLoader
from nnx.train import Trainer
from nnx.train.capture import CaptureError

N = 50  # examples in batches of 8: the last one is smaller


@pytest.fixture
def recorder():
    made = Recorder()

    class Recording(Backend):
        def recorder(self):
            return made

    with override(np.ndarray, Recording(np, "numpy")):
        yield made


def fit(recorder, graph, loss=None):
    nnx.manual_seed(7)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((N, 6)).astype("float32")
    y = rng.integers(0, 3, N)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    recorder.owners = (model,)
    trainer = Trainer(
        model,
        loss or nn.CrossEntropyLoss(),
        optimizer,
        metrics=["accuracy"],
        progress=False,
        graph=graph,
    )
    trainer.fit(DataLoader((x, y), batch_size=8, shuffle=True), epochs=3)
    buffers = [a for _, a in model.named_buffers()]
    rows = [{**row, "seconds": 0} for row in trainer.history.rows]
    return [trainer.history.step_losses, rows], [p.data for p in model.parameters()] + buffers


def test_a_captured_run_is_the_plain_run(recorder):
    losses, weights = fit(recorder, graph=False)
    assert recorder.recorded == 0
    captured_losses, captured_weights = fit(recorder, graph=True)
    assert (recorder.recorded, recorder.aside_entered) == (1, 2)
    assert recorder.played == 3 * 6 - 2, "all whole batches but the first two are replays"
    assert captured_losses == losses
    for a, e in zip(captured_weights, weights, strict=True):
        np.testing.assert_array_equal(a, e)


def test_a_loss_with_weights_is_part_of_the_step(recorder):
    weighted = nn.CrossEntropyLoss(weight=nnx.tensor([1.0, 2.0, 0.5]))
    losses, _ = fit(recorder, graph=False, loss=weighted)
    captured, _ = fit(recorder, graph=True, loss=weighted)
    assert captured == losses and recorder.recorded == 1


def test_several_losses_come_out_of_it_by_name(recorder):
    both = {"kind": nn.CrossEntropyLoss(), "size": lambda y, t: (y * y).mean()}
    losses, _ = fit(recorder, graph=False, loss=both)
    captured, _ = fit(recorder, graph=True, loss=both)
    assert captured == losses and recorder.recorded == 1


def test_it_is_refused_where_no_device_records():
    model = nn.Linear(2, 2)
    with pytest.raises(CaptureError, match="capture needs a CUDA device"):
        Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters()), graph=True)

"""fit, evaluate, predict: against the loop written out by hand."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.data import ArrayDataset, DataLoader
from nnx.metrics import BinaryAccuracy
from nnx.train import Callback, Trainer


def weights(model):
    return {
        n: np.array(nnx.backends.backend_of(a).to_numpy(a)) for n, a in model.state_dict().items()
    }


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].tobytes() == b[name].tobytes(), name


def test_fit_is_the_loop_by_hand(task_on):
    trainer, loader = task_on.trainer()
    history = trainer.fit(loader, epochs=2)

    model = task_on.model()
    optimizer, loss_of = optim.Adam(model.parameters(), lr=0.01), nn.CrossEntropyLoss()
    losses, rows = [], []
    loader = task_on.loader()
    for _ in range(2):
        total = right = count = 0
        for x, target in loader:
            output = model(x)
            loss = loss_of(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.item()))
            total += len(target) * losses[-1]
            answers = np.argmax(task_on.on.to_numpy(output), axis=1)
            right += int((answers == task_on.on.to_numpy(target)).sum())
            count += len(target)
        rows.append((total / count, right / count))

    assert_same(weights(trainer.model), weights(model))
    assert history.step_losses == losses
    assert history["loss"] == pytest.approx([row[0] for row in rows], rel=1e-12)
    assert history["accuracy"] == [row[1] for row in rows]
    assert history["epoch"] == [1, 2] and history["lr"] == [0.01, 0.01]
    assert (trainer.epoch, trainer.batch, trainer.step) == (2, 0, 14)


def test_a_parameter_that_was_replaced_is_told(task):
    trainer, loader = task.trainer()
    layer = next(m for m in trainer.model.modules() if isinstance(m, nn.Linear))
    layer.weight = nn.Parameter(np.array(layer.weight.data))
    with pytest.warns(UserWarning, match=r"holds 1 parameters that are not the model's.*weight of"):
        trainer.fit(loader, epochs=1)


def test_it_learns(task):
    trainer, loader = task.trainer()
    history = trainer.fit(loader, task.arrays(), epochs=30)
    assert history["val_accuracy"][-1] >= 0.9
    assert history["val_loss"][-1] < 0.3 < history["val_loss"][0]


def test_evaluate_weighs_uneven_batches(task_on):
    trainer, loader = task_on.trainer()
    trainer.fit(loader, epochs=1)
    whole = trainer.evaluate(task_on.arrays(), batch_size=50)
    parts = trainer.evaluate(task_on.arrays(), batch_size=7)
    assert parts["accuracy"] == whole["accuracy"]
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-5)
    assert list(whole) == ["loss", "accuracy"]


@pytest.mark.parametrize("kind", ["arrays", "dataset", "loader", "list of batches"])
def test_evaluate_takes_data_in_every_form(task, kind):
    trainer, _ = task.trainer()
    x, labels = task.arrays()
    data = {
        "arrays": (x, labels),
        "dataset": ArrayDataset(x, labels),
        "loader": DataLoader((x, labels), batch_size=8),
        "list of batches": [(x[:9], labels[:9]), (x[9:], labels[9:])],
    }[kind]
    values = trainer.evaluate(data)
    expected = trainer.evaluate([(x, labels)])
    assert values == pytest.approx(expected, rel=1e-6)


def test_evaluating_leaves_training_mode_and_tape_as_they_were(task):
    trainer, _ = task.trainer()
    drop = trainer.model[2]
    trainer.model.train()
    trainer.model[0].eval()  # a frozen layer stays in evaluation mode
    seen = []
    drop.register_forward_hook(lambda m, i, o: seen.append((m.training, nnx.is_grad_enabled())))
    trainer.evaluate(task.arrays())
    trainer.predict(task.x)
    assert seen == [(False, False)] * 2
    assert drop.training and not trainer.model[0].training and nnx.is_grad_enabled()
    assert all(p.grad is None for p in trainer.model.parameters())


def test_predict(task_on):
    trainer, _ = task_on.trainer()
    x, _ = task_on.arrays()
    trainer.model.eval()
    expected = task_on.on.to_numpy(trainer.model(nnx.Tensor(x)))
    for batch_size in (50, 8, 1):
        output = trainer.predict(x, batch_size)
        assert not output.requires_grad and output.shape == (50, 3)
        np.testing.assert_allclose(task_on.on.to_numpy(output), expected, rtol=1e-5, atol=1e-6)


def test_predict_moves_a_numpy_array_to_the_model(task_on):
    trainer, _ = task_on.trainer()
    output = trainer.predict(task_on.x)
    assert type(output.data) is type(task_on.arrays()[0])


def test_the_model_decides_where_batches_are_made():
    """The model was moved; nobody changed the active backend."""
    pytest.importorskip("array_api_strict")
    x, labels = np.ones((6, 4), np.float32), np.zeros(6, np.int64)
    model = nn.Sequential(nn.Linear(4, 2)).to("array_api_strict")
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), progress=False
    )
    trainer.fit(DataLoader((x, labels), batch_size=4), (x, labels), epochs=1)
    assert nnx.active_backend().name == "numpy"
    assert trainer.predict(x).data.__array_namespace__().__name__ == "array_api_strict"


def test_several_inputs_and_another_metric(task):
    class Two(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(6, 1)

        def forward(self, a, b):
            return self.layer(a - b)

    def squares(output, target):
        return ((output - target) * (output - target)).sum() / len(target)

    x = task.x
    target = (task.labels[:, None] == 1).astype(np.float32)
    model = Two()
    trainer = Trainer(
        model,
        squares,
        optim.SGD(model.parameters(), lr=0.01),
        metrics=["mse", BinaryAccuracy(0.5)],
        progress=False,
    )
    history = trainer.fit(DataLoader((x, x[::-1].copy(), target), batch_size=8), epochs=2)
    assert history["loss"] == pytest.approx(history["mse"], rel=1e-5)
    assert list(history.rows[0]) == ["epoch", "loss", "mse", "accuracy", "lr", "seconds"]
    assert trainer.predict((x, x)).shape == (50, 1)


def test_a_task_of_another_kind_overrides_compute(task):
    class Reconstruct(Trainer):
        def compute(self, batch):
            x, _ = batch
            output = self.model(x)
            return ((output - x) * (output - x)).sum() / len(x), output, x

    model = nn.Sequential(nn.Linear(6, 6))
    trainer = Reconstruct(
        model, None, optim.SGD(model.parameters(), lr=0.01), metrics=["mse"], progress=False
    )
    history = trainer.fit(task.loader(), epochs=3)
    assert history["loss"][-1] < history["loss"][0]


def test_fit_goes_on_where_it_ended(task):
    once, loader = task.trainer()
    once.fit(loader, epochs=4)
    twice, loader = task.trainer()
    twice.fit(loader, epochs=1)
    history = twice.fit(loader, epochs=3)
    assert_same(weights(once.model), weights(twice.model))
    assert history["epoch"] == [1, 2, 3, 4]


def test_validation_changes_nothing(task):
    with_, loader = task.trainer()
    with_.fit(loader, task.arrays(), epochs=2)
    without, loader = task.trainer()
    without.fit(loader, epochs=2)
    assert_same(weights(with_.model), weights(without.model))


def test_callbacks_are_heard_in_order_and_a_step_calls_no_empty_ones(task):
    heard = []

    class All(Callback):
        def on_fit_start(self, trainer):
            heard.append("start")

        def on_gradients(self, trainer):
            assert all(p.grad is not None for p in trainer.model.parameters())
            heard.append("gradients")

        def on_step_end(self, trainer):
            heard.append(f"step {trainer.step}")

        def on_epoch_end(self, trainer):
            heard.append(f"epoch {trainer.epoch}")

        def on_fit_end(self, trainer):
            heard.append("end")

    trainer, _ = task.trainer([All(), Callback()])
    trainer.fit([(task.x, task.labels)] * 2, epochs=2)
    per_epoch = lambda k: [  # noqa: E731
        "gradients",
        f"step {2 * k - 1}",
        "gradients",
        f"step {2 * k}",
        f"epoch {k}",
    ]
    assert heard == ["start", *per_epoch(1), *per_epoch(2), "end"]


def test_stop_ends_after_the_epoch(task):
    class Enough(Callback):
        def on_step_end(self, trainer):
            if trainer.step == 9:
                trainer.stop("enough")

    trainer, loader = task.trainer([Enough()])
    trainer.fit(loader, epochs=5)
    assert trainer.epoch == 2 and trainer.stopped == "enough"
    trainer.fit(loader, epochs=1)
    assert trainer.epoch == 3 and trainer.stopped is None


def test_an_exhausted_iterator_is_an_error(task):
    trainer, loader = task.trainer()
    batches = iter(loader)
    with pytest.raises(ValueError, match="fit: the training data are an iterator"):
        trainer.fit(batches, epochs=2)


def test_an_error_in_a_step_ends_the_callbacks_too(task):
    ended = []

    class Ends(Callback):
        def on_fit_end(self, trainer):
            ended.append(trainer.step)

    trainer, _ = task.trainer([Ends()])
    with pytest.raises(ValueError, match=r"linear.*: x must be"):
        trainer.fit([(task.x, task.labels), (task.x[:, :4], task.labels)])
    assert ended == [1]


def test_no_float64_and_no_wait_in_a_step(task, monkeypatch):
    """On a device nothing is read while an epoch runs."""
    trainer, _ = task.trainer()
    x, labels = nnx.tensor(task.x), nnx.tensor(task.labels)
    inside, reads = [False], []
    monkeypatch.setattr("nnx.train.nonfinite.reads_at_once", lambda array: False)
    numpy = nnx.get_backend("numpy")
    to_numpy = type(numpy).to_numpy
    monkeypatch.setattr(
        type(numpy), "to_numpy", lambda self, a: (reads.append(inside[0]), to_numpy(self, a))[1]
    )

    class Batches:
        def __iter__(self):
            inside[0] = True
            yield from [(x, labels)] * 3
            inside[0] = False

    history = trainer.fit(Batches(), epochs=1)
    assert reads and not any(reads)
    assert len(history.step_losses) == 3
    for p in trainer.model.parameters():
        assert p.data.dtype == np.float32 and p.grad.dtype == np.float32


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("parts", [2, 3, 20])
def test_accumulated_gradients_are_those_of_the_batch(task_on, parts, reduction, weighted):
    def trained(accumulate):
        nnx.manual_seed(3)
        model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
        weight = task_on.on.asarray(np.array([1.0, 2.0, 4.0], np.float32)) if weighted else None
        loss = nn.CrossEntropyLoss(weight=weight, ignore_index=2, reduction=reduction)
        trainer = Trainer(
            model,
            loss,
            optim.SGD(model.parameters(), lr=0.01),
            metrics=["accuracy"],
            progress=False,
            accumulate=accumulate,
        )
        return trainer, trainer.fit(task_on.loader(seed=1), epochs=2)

    whole, expected = trained(1)
    split, history = trained(parts)
    assert split.step == whole.step
    assert history["accuracy"] == pytest.approx(expected["accuracy"], abs=0.02)
    np.testing.assert_allclose(history.step_losses, expected.step_losses, rtol=1e-4, atol=1e-6)
    theirs = weights(whole.model)
    for name, array in weights(split.model).items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-4, atol=1e-5)
        assert array.dtype == np.float32


def test_what_cannot_be_accumulated_is_said(task):
    with pytest.raises(ValueError, match="accumulate must be at least 1, got 0"):
        task.trainer(accumulate=0)
    with pytest.raises(ValueError, match="neither a graph nor a DataParallel"):
        task.trainer(accumulate=2, graph=True)

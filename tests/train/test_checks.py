"""What is refused before an epoch's work would be lost, and what is told at the end."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, optim
from nnx.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from nnx.train import Callback, Checkpoint, EarlyStopping, Progress, Schedule, Trainer


def plateau(trainer):
    return ReduceLROnPlateau(trainer.optimizer)


@pytest.mark.parametrize("kind", [EarlyStopping, Checkpoint, Schedule])
def test_a_monitor_that_cannot_be_is_refused_at_once(task, tmp_path, kind):
    base, _ = task.trainer()
    made = {
        EarlyStopping: lambda: EarlyStopping(monitor="val_acc"),
        Checkpoint: lambda: Checkpoint(tmp_path, "val_acc"),
        Schedule: lambda: Schedule(plateau(base), monitor="val_acc"),
    }[kind]()
    with pytest.raises(ValueError, match="watches 'val_acc', but the history will have loss, acc"):
        task.trainer([made])


def test_a_plateau_watches_something_and_other_schedules_nothing(task):
    base, _ = task.trainer()
    with pytest.raises(ValueError, match=r'ReduceLROnPlateau .* needs monitor="val_loss"'):
        task.trainer([Schedule(plateau(base))])
    with pytest.raises(ValueError, match="needs monitor"):
        task.trainer([Schedule(plateau(base), per="step")])
    with pytest.raises(ValueError, match="StepLR follows the time alone"):
        task.trainer([Schedule(StepLR(base.optimizer, 2), monitor="loss")])


@pytest.mark.parametrize(
    "wrong, remedy",
    [
        (lambda optimizer: 3, "3$"),
        (lambda optimizer: EarlyStopping, r"make one: EarlyStopping\(\)"),
        (lambda optimizer: StepLR(optimizer, 2), "goes into a train.Schedule"),
        (ReduceLROnPlateau, "goes into a train.Schedule"),
    ],
)
def test_what_is_no_callback_is_refused(task, wrong, remedy):
    base, _ = task.trainer()
    with pytest.raises(TypeError, match=f"a callback must be a train.Callback, got .*{remedy}"):
        task.trainer([wrong(base.optimizer)])


def test_a_monitor_of_validation_that_there_is_none_of(task):
    trainer, loader = task.trainer([EarlyStopping(monitor="val_loss")])
    with pytest.raises(ValueError, match="watches 'val_loss', but there are no validation data"):
        trainer.fit(loader, epochs=2)
    assert trainer.step == 0
    trainer.fit(loader, task.arrays(), epochs=1)


def test_a_callback_may_add_a_column(task):
    class Adds(Callback):
        columns = ("f1",)

        def on_epoch_end(self, trainer):
            trainer.history.rows[-1]["f1"] = 0.5

    trainer, loader = task.trainer([Adds(), EarlyStopping(2, monitor="f1")])
    trainer.fit(loader, epochs=5)
    assert trainer.epoch == 3


@pytest.mark.parametrize("names", [["accuracy", "accuracy"], ["loss"], ["val_x"], ["seconds"]])
def test_two_columns_of_one_name_are_refused(task, names):
    metrics = [nnx.metrics.Accuracy() for _ in names]
    for metric, name in zip(metrics, names, strict=True):
        metric.name = name
    with pytest.raises(ValueError, match=f"a metric cannot be called {names[0]!r}"):
        task.trainer(metrics=metrics)


def test_data_that_can_be_walked_once_are_refused_for_two_epochs(task):
    once = lambda: (batch for batch in [task.arrays()])  # noqa: E731
    trainer, loader = task.trainer()
    with pytest.raises(ValueError, match=r"fit: the validation data are an iterator \(generator\)"):
        trainer.fit(loader, once(), epochs=2)
    with pytest.raises(ValueError, match="fit: the training data are an iterator"):
        trainer.fit(once(), epochs=2)
    assert trainer.step == 0
    history = trainer.fit(once(), once(), epochs=1)
    assert np.isfinite(history["val_loss"][0])


def test_validation_without_an_example_is_an_error(task):
    trainer, loader = task.trainer()
    used = iter([task.arrays()])
    assert trainer.evaluate(used)["loss"] > 0
    x, y = task.arrays()
    for empty in (used, [], [(x[:0], y[:0])]):
        with pytest.raises(ValueError, match="evaluate: the data gave no example"):
            trainer.evaluate(empty)
    with pytest.raises(ValueError, match="no examples"):
        trainer.evaluate((x[:0], y[:0]))
    for empty in ([], (x[:0], y[:0])):
        with pytest.raises(ValueError, match=r"are empty|no examples"):
            trainer.fit(loader, empty)
    assert trainer.step == 0


@pytest.mark.parametrize("device", [False, True])
def test_nan_in_the_validation_data_is_said_and_a_best_file_is_there(
    task, tmp_path, monkeypatch, device
):
    if device:
        monkeypatch.setattr("nnx.train.nonfinite.reads_at_once", lambda array: False)
    x = task.x.copy()
    x[1, 2] = np.nan
    trainer, loader = task.trainer([Checkpoint(tmp_path)])
    said = "not finite" if device else r"batch 1 is not finite: .*array 0: 1 NaN of 300 values"
    with pytest.warns(UserWarning, match=said):
        trainer.fit(loader, (x, task.labels), epochs=1)
    assert (tmp_path / "best.safetensors").exists()
    trainer.fit(loader, task.arrays(), epochs=1)  # comparable again: this one is the best
    assert nnx.io.load(tmp_path / "best.safetensors")[1]["epoch"] == 2


class Fails(Callback):
    def __init__(self, *moments):
        self.moments = moments

    def on_step_end(self, trainer):
        if "step" in self.moments:
            raise KeyError("the first error")

    def on_fit_end(self, trainer):
        if "end" in self.moments:
            raise OSError("the second error")


def test_no_error_in_cleaning_up_hides_the_first(task):
    ended = []

    class Ends(Callback):
        def on_fit_end(self, trainer):
            ended.append(trainer)

    trainer, loader = task.trainer([Ends(), Fails("step", "end"), Ends()])
    trainer.progress = Progress(live=True)
    with pytest.raises(KeyError, match="the first error") as caught:
        trainer.fit(loader)
    assert len(ended) == 2 and trainer.progress.bar is None
    assert "Fails.on_fit_end: OSError: the second error" in caught.value.__notes__[0]
    trainer, loader = task.trainer([Ends(), Fails("end")])
    trainer.progress = Progress(live=True)
    with pytest.raises(OSError, match="the second error"):
        trainer.fit(loader)
    assert len(ended) == 3 and trainer.progress.bar is None


def test_losses_that_are_no_number_and_batches_without_a_target(task):
    model = task.model()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, nn.CrossEntropyLoss(reduction="none"), sgd, progress=False)
    with pytest.raises(ValueError, match=r'loss has shape \(8,\).*reduction="mean"'):
        trainer.fit(task.loader())
    trainer, _ = task.trainer()
    with pytest.raises(ValueError, match=r"give the inputs and the targets, \(x, y\)"):
        trainer.fit(task.x)
    with pytest.raises(ValueError, match="a batch is the inputs and the target, at least two"):
        trainer.fit([(task.x,)])
    with pytest.raises(TypeError, match=r"a batch is a dict \(image, label\).*override"):
        trainer.fit([{"image": task.x, "label": task.labels}])

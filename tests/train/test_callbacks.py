"""Callbacks, the history and the progress they show."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest

from nnx import nn, optim
from nnx.train import (
    Callback,
    Checkpoint,
    CSVLog,
    EarlyStopping,
    History,
    LearningCurve,
    Schedule,
    Trainer,
)
from nnx.train.history import read_csv


class Told(Trainer):
    """A trainer whose validation loss is told in advance."""

    def evaluate(self, data, batch_size=256):
        return {"loss": data[self.epoch], "accuracy": 1 - data[self.epoch]}


def told(task, callbacks):
    model = task.model()
    return Told(
        model,
        nn.CrossEntropyLoss(),
        optim.SGD(model.parameters(), lr=0.1),
        metrics=["accuracy"],
        callbacks=callbacks,
        progress=False,
    )


# ---- early stopping ----


@pytest.mark.parametrize(
    ("losses", "options", "epochs"),
    [
        ([5, 4, 3, 3, 3, 1], {"patience": 2}, 5),  # equal is not better
        ([5, 4, 3, 4, 2, 3, 3, 3], {"patience": 3}, 8),  # the count starts again
        ([5, 4.9, 4.8, 4.7], {"patience": 2, "min_delta": 0.5}, 3),
        ([5, 4, float("nan"), float("nan"), 1], {"patience": 2}, 4),  # NaN is not better
        ([0.5, 0.4, 0.3, 0.2], {"patience": 1, "monitor": "val_accuracy"}, 4),
        ([0.2, 0.3, 0.4, 0.1], {"patience": 1, "monitor": "val_accuracy"}, 2),  # higher is better
    ],
)
def test_early_stopping(task, losses, options, epochs):
    trainer = told(task, [EarlyStopping(**options)])
    trainer.fit(task.loader(), losses + [9] * 10, epochs=len(losses))
    assert trainer.epoch == epochs
    early = epochs < len(losses) or (losses[-1] != min(losses) and "monitor" not in options)
    assert (trainer.stopped is not None) == early


def test_early_stopping_gives_the_best_weights_back(task):
    kept = []

    class Keep(Callback):
        def on_epoch_end(self, trainer):
            kept.append(np.array(trainer.model[0].weight.data))

    trainer = told(task, [Keep(), EarlyStopping(2, restore_best=True)])
    trainer.fit(task.loader(), [3, 1, 2, 2], epochs=4)
    np.testing.assert_array_equal(trainer.model[0].weight.data, kept[1])
    assert len(kept) == 4 and not np.array_equal(kept[1], kept[3])


def test_a_column_that_is_not_there_is_named(task):
    with pytest.raises(ValueError, match="EarlyStopping watches 'val_f1', but the history will h"):
        told(task, [EarlyStopping(monitor="val_f1")])


# ---- schedules ----


class Halving:
    """A scheduler: the rate is halved at each step."""

    def __init__(self, optimizer):
        self.group, self.seen = optimizer.param_groups[0], []

    def step(self, *values):
        self.seen += values
        self.group["lr"] /= 2

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


def scheduled(task, **options):
    model = task.model()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    scheduler = Halving(optimizer)
    callbacks = [Schedule(scheduler, **options)]
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, callbacks=callbacks, progress=False)
    return trainer, scheduler


def test_a_schedule_per_epoch(task):
    trainer, scheduler = scheduled(task)
    history = trainer.fit(task.loader(), epochs=3)
    assert history["lr"] == [1.0, 0.5, 0.25]  # the rate the epoch was trained with
    assert scheduler.group["lr"] == 0.125


def test_a_schedule_per_step(task):
    trainer, scheduler = scheduled(task, per="step")
    trainer.fit(task.loader(), epochs=2)
    assert scheduler.group["lr"] == 0.5**14


def test_a_schedule_that_watches_a_column(task):
    trainer, scheduler = scheduled(task, monitor="loss")
    history = trainer.fit(task.loader(), epochs=2)
    assert scheduler.seen == history["loss"]


def test_a_schedule_s_options_are_checked(task):
    with pytest.raises(ValueError, match='"epoch" or "step", got \'batch\''):
        Schedule(None, per="batch")
    with pytest.raises(ValueError, match="a value to monitor per epoch"):
        Schedule(None, per="step", monitor="val_loss")


def test_a_schedule_is_part_of_the_checkpoint(task, tmp_path):
    trainer, _ = scheduled(task, monitor="loss")
    trainer.fit(task.loader(), epochs=2)
    trainer.save(tmp_path / "a")
    again, scheduler = scheduled(task, monitor="loss")
    again.load(tmp_path / "a")
    assert scheduler.seen == trainer.history["loss"] and scheduler.group["lr"] == 0.25


def test_a_checkpoint_sees_what_the_others_changed(task, tmp_path):
    """Whatever the order they are given in."""
    trainer, scheduler = scheduled(task)
    trainer = Trainer(
        trainer.model,
        trainer.loss,
        trainer.optimizer,
        progress=False,
        callbacks=[Checkpoint(tmp_path), Schedule(scheduler)],
    )
    trainer.fit(task.loader(), epochs=1)
    trainer.optimizer.param_groups[0]["lr"] = 7.0
    trainer.load(tmp_path / "last.safetensors")
    assert trainer.optimizer.param_groups[0]["lr"] == 0.5


# ---- history ----


def test_the_history_as_csv_loses_no_digit(task, tmp_path):
    trainer, loader = task.trainer([CSVLog(tmp_path / "history.csv")])
    history = trainer.fit(loader, task.arrays(), epochs=3)
    text = (tmp_path / "history.csv").read_text()
    assert text.splitlines()[0] == "epoch,loss,accuracy,val_loss,val_accuracy,lr,seconds"
    assert read_csv(text).rows == history.rows
    assert text.splitlines()[1].startswith("1,")


def test_the_history_answers_by_column():
    history = History()
    history.rows = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_loss": 3.0}]
    assert history["loss"] == [2.0, 1.0] and history["val_loss"] == [3.0]
    with pytest.raises(KeyError, match="no 'accuracy'; it has epoch, loss, val_loss"):
        history["accuracy"]
    assert read_csv(history.csv()).rows == history.rows


# ---- pictures ----


def test_learning_curves_are_drawn(task, tmp_path):
    pytest.importorskip("matplotlib")
    from PIL import Image

    trainer, loader = task.trainer([LearningCurve(tmp_path / "curves.png", "three clouds")])
    trainer.fit(loader, task.arrays(), epochs=2)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG" and picture.width > 2 * picture.height
        colours = picture.convert("RGB").getcolors(maxcolors=1 << 20)
    assert len(colours) > 10, "an empty picture"


def test_without_matplotlib_there_is_no_picture_and_no_error(task, tmp_path, monkeypatch):
    monkeypatch.setattr("nnx.plots.available", lambda: False)
    trainer, loader = task.trainer([LearningCurve(tmp_path / "curves.png")])
    trainer.fit(loader)
    assert not (tmp_path / "curves.png").exists()


# ---- progress ----

ROW = re.compile(
    r"epoch 1/2  loss \d\.\d{4}  accuracy \d+\.\d\d%  validation \d\.\d{4} \d+\.\d\d%  "
    r"\d+\.\d s"
)


def test_a_pipe_gets_plain_lines(task, capsys):
    trainer, loader = task.trainer(progress=True)
    trainer.fit(loader, task.arrays(), epochs=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert ROW.fullmatch(lines[0]), lines[0]
    assert lines[1].startswith("epoch 2/2  loss ")


def test_the_reason_of_an_early_end_is_told(task, capsys):
    trainer, loader = task.trainer([EarlyStopping(1, monitor="lr")], progress=True)
    trainer.fit(loader, epochs=5)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "stopped after epoch 2: lr has not improved for 1 epochs"
    )


TERMINAL = """
import sys, time
sys.path[:0] = [{tests!r}]
from train.conftest import Task
from nnx.train import Callback

class Slow(Callback):
    def on_step_end(self, trainer):
        time.sleep(0.05)

task = Task()
trainer, loader = task.trainer([Slow()], progress=True)
trainer.fit(loader, task.arrays(), epochs=2)
print("test accuracy 12.34%")
"""


def test_a_terminal_gets_a_live_bar():
    pty = pytest.importorskip("pty")
    from pathlib import Path

    code = TERMINAL.format(tests=str(Path(__file__).parent.parent))
    main, side = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "30"}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=side, stderr=side, env=environment
    ) as child:
        os.close(side)
        shown = b""
        while True:
            try:
                part = os.read(main, 4096)
            except OSError:  # how Linux says that the other side is closed
                break
            if not part:
                break
            shown += part
    os.close(main)
    text = shown.decode()
    assert child.returncode == 0, text
    assert "━" in text, "no bar"
    assert re.search(r"\d/7", text), "no count of batches"
    assert re.search(r"loss \d\.\d{4}  accuracy \d+\.\d\d%", text)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")
    lines = [line for line in plain.splitlines() if line.strip()]
    assert any(ROW.fullmatch(line.strip()) for line in lines)
    assert lines[-1] == "test accuracy 12.34%"


class Shell:
    """What `get_ipython()` gives; that of a notebook has a kernel."""

    def __init__(self, kernel):
        self.kernel = kernel


@pytest.fixture
def notebook(monkeypatch):
    """Stands for IPython in a kernel: what it was asked to display, and to put in its place."""
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shown = []

    class Handle:
        def update(self, data, raw=False):
            assert raw
            shown.append(data["text/plain"])

    def first(data, raw=False, display_id=False):
        assert raw and display_id is True
        shown.append(data["text/plain"])
        return Handle()

    display.display = first
    ipython.shell, ipython.get_ipython = Shell(kernel=object()), lambda: ipython.shell
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # not installed: rich would warn
    monkeypatch.setattr("nnx.train.callbacks.progress.EVERY", 0.0)
    return ipython, shown


def test_a_notebook_gets_a_bar_of_its_own(task, notebook, capsys):
    trainer, loader = task.trainer(progress=True)
    trainer.fit(loader, epochs=2)
    _, shown = notebook
    assert shown[0] == "" == shown[-1], "nothing is left of it"
    bars = [text for text in shown if "━" in text]
    assert len(bars) == 14 and not any("\n" in text or "\x1b" in text for text in bars)
    assert re.match(r"epoch 2/2 ━+ +7/7 loss \d\.\d{4}  accuracy \d+\.\d\d% ", bars[-1]), bars[-1]
    out, err = capsys.readouterr()
    assert err == "" and len(out.splitlines()) == 2 and "━" not in out


def test_it_is_taken_away_after_an_error(task, notebook):
    class Faulty(Callback):
        def on_step_end(self, trainer):
            raise ArithmeticError

    trainer, loader = task.trainer([Faulty()], progress=True)
    with pytest.raises(ArithmeticError):
        trainer.fit(loader, epochs=2)
    assert "━" in notebook[1][-2] and notebook[1][-1] == ""


def test_a_pipe_gets_lines_alone(task, notebook, monkeypatch, capsys):
    """Also where IPython is a terminal's, and where colours are forced."""
    ipython, shown = notebook
    ipython.shell = Shell(kernel=None)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    trainer, loader = task.trainer(progress=True)
    trainer.fit(loader, epochs=2)
    out, err = capsys.readouterr()
    assert err == "" and shown == [] and len(out.splitlines()) == 2
    assert all(re.match(r"epoch [12]/2  loss \d", line) for line in out.splitlines())
    assert not set(out) & {"\x1b", "\r", "━"}

"""`Callback`: what else happens while a Trainer trains; and the callbacks there are."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backends import copy_beside
from ..io import save, write_text
from ..nn.utils import clip_grad_norm_

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Base of all callbacks: override what is to be heard of.

    `on_step_end` and `on_gradients` run at every step, so they should wait for no device.  A
    callback whose behaviour depends on the past keeps that in `state_dict`, or a resumed run would
    differ from an uninterrupted one.  Each method is given the `trainer` that calls it.

    Attributes:
        last: whether it runs after the others (a checkpoint is to see what they changed).
        columns: names of columns that it adds to the history's rows, which others may watch.
    """

    last = False
    columns: tuple[str, ...] = ()

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step of the trainer's `fit`."""

    def on_gradients(self, trainer: Trainer) -> None:
        """Between backward and the optimizer's step: a trainer's gradients may be changed here."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After each step; trainer.step has counted it."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After each epoch, when its row is in `trainer.history`."""

    def on_interrupt(self, trainer: Trainer) -> None:
        """After Ctrl-C, when the step that was running is complete; the trainer can be saved."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the trainer's last step, and also where training ended in an error."""

    def state_dict(self) -> dict[str, Any]:
        """What the future depends on: numbers, strings, arrays, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where the state was taken, by `state_dict()`."""


class Schedule(Callback):
    """Steps a learning-rate scheduler, after each epoch or after each step.

    Args:
        scheduler: one of `nnx.optim.lr_scheduler`.
        per: "epoch" or "step".
        monitor: for ReduceLROnPlateau, the column of the history it watches.

    Raises:
        ValueError: `per` is neither, or a column is watched per step.
    """

    def __init__(self, scheduler: Any, per: str = "epoch", monitor: str | None = None) -> None:
        if per not in ("epoch", "step"):
            raise ValueError(f'Schedule: per must be "epoch" or "step", got {per!r}')
        if monitor is not None and per == "step":
            raise ValueError("Schedule: the history has a value to monitor per epoch, not per step")
        self.scheduler, self.per, self.monitor = scheduler, per, monitor
        if per == "step":
            self.on_step_end = self._step  # type: ignore[method-assign]

    def _step(self, trainer: Trainer) -> None:
        self.scheduler.step()

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.monitor is not None:
            self.scheduler.step(trainer.latest(self.monitor))
        elif self.per == "epoch":
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = self.scheduler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)


class ClipGradNorm(Callback):
    """Scales the gradients of a step so that their norm, taken together, is at most `max_norm`.

    (Pascanu et al. 2013; Xu 7.18.)

    Args:
        max_norm: the largest norm.
        norm_type: which norm, as in `nn.utils.clip_grad_norm_`: 2, or math.inf for the largest |g|.
    """

    def __init__(self, max_norm: float, norm_type: float = 2.0) -> None:
        self.max_norm, self.norm_type = max_norm, norm_type

    def on_fit_start(self, trainer: Trainer) -> None:
        self.parameters = list(trainer.model.parameters())

    def on_gradients(self, trainer: Trainer) -> None:
        clip_grad_norm_(self.parameters, self.max_norm, self.norm_type)


class Monitor(Callback):
    """What EarlyStopping and Checkpoint share: watching one column of the history for its best.

    Args:
        monitor: the column; by default `val_loss` where there is validation data, else `loss`.
        min_delta: how much better a value must be to count.
    """

    def __init__(self, monitor: str | None = None, min_delta: float = 0.0) -> None:
        self.monitor, self.min_delta = monitor, min_delta
        self.best: float | None = None
        self.best_epoch = 0

    def watched(self, trainer: Trainer) -> str:
        """The column that is watched, of the trainer's history."""
        if self.monitor is not None:
            return self.monitor
        return "val_loss" if "val_loss" in trainer.history.rows[-1] else "loss"

    def improved(self, trainer: Trainer) -> bool:
        """Whether the trainer's last epoch is the best so far; NaN never is."""
        name = self.watched(trainer)
        value = trainer.latest(name)
        if math.isnan(value):
            return False
        gain = math.inf
        if self.best is not None:
            gain = value - self.best if trainer.higher_is_better(name) else self.best - value
        if gain <= self.min_delta:
            return False
        self.best, self.best_epoch = value, trainer.epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]


class EarlyStopping(Monitor):
    """Stops when the watched value has not improved for some epochs.

    Args:
        patience: the number of epochs in a row without a better value that end the training.
        monitor: the column of the history; `val_loss` by default, `loss` without validation data.
        min_delta: how much better a value must be to count.
        restore_best: whether the model gets back the weights of its best epoch at the end.

    Raises:
        ValueError: patience is below 1.
    """

    def __init__(
        self,
        patience: int = 5,
        monitor: str | None = None,
        min_delta: float = 0.0,
        restore_best: bool = False,
    ) -> None:
        super().__init__(monitor, min_delta)
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience must be at least 1, got {patience}")
        self.patience, self.restore_best = patience, restore_best
        self.waited = 0
        self.weights: dict[str, Any] | None = None

    def on_epoch_end(self, trainer: Trainer) -> None:
        if self.improved(trainer):
            self.waited = 0
            if self.restore_best:
                state = trainer.model.state_dict()
                self.weights = {name: copy_beside(a, a) for name, a in state.items()}
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop(f"{self.watched(trainer)} has not improved for {self.waited} epochs")

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.weights is not None and not trainer.interrupted:
            trainer.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "waited": self.waited, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.waited, self.weights = state["waited"], state["weights"]


class Checkpoint(Monitor):
    """Keeps two files: `last.safetensors`, to resume from, and `best.safetensors`, the weights.

    Args:
        folder: where; it is made.
        monitor: the column of the history that decides which epoch is the best; `val_loss` by
            default, `loss` without validation data.
        every_steps: write `last` also in the middle of an epoch, every so many steps.
        config: JSON to stand in the files' headers, so that they tell what they belong to.
    """

    last = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        monitor: str | None = None,
        every_steps: int | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(monitor)
        self.folder, self.config = Path(folder), config or {}
        self.every_steps = every_steps
        if every_steps is not None:
            self.on_step_end = self._step  # type: ignore[method-assign]

    @property
    def path(self) -> Path:
        """The file to resume from."""
        return self.folder / "last.safetensors"

    @property
    def best_path(self) -> Path:
        """The weights of the best epoch."""
        return self.folder / "best.safetensors"

    def on_fit_start(self, trainer: Trainer) -> None:
        if trainer.writes:
            self.folder.mkdir(parents=True, exist_ok=True)

    def _step(self, trainer: Trainer) -> None:
        if self.every_steps and trainer.step % self.every_steps == 0:
            trainer.save(self.path, self.config)

    def on_epoch_end(self, trainer: Trainer) -> None:
        # While no epoch was comparable (NaN), the newest weights are better than none.
        if (self.improved(trainer) or self.best is None) and trainer.writes:
            header = {"config": self.config, "epoch": trainer.epoch, **trainer.history.rows[-1]}
            save(self.best_path, trainer.model.state_dict(), header)
        trainer.save(self.path, self.config)

    def on_interrupt(self, trainer: Trainer) -> None:
        trainer.save(self.path, self.config)


class CSVLog(Callback):
    """Writes the history as a CSV file after each epoch.

    Args:
        path: the file with a row per epoch.
        steps: a second one, with the loss of every step.
    """

    def __init__(
        self, path: str | os.PathLike[str], steps: str | os.PathLike[str] | None = None
    ) -> None:
        self.path, self.steps = Path(path), None if steps is None else Path(steps)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if trainer.writes:
            # The whole file: it is small, never half, and right also after a resume.
            write_text(self.path, trainer.history.csv())
            if self.steps is not None:
                write_text(self.steps, trainer.history.steps_csv())


class LearningCurve(Callback):
    """Draws the history when training ends, where matplotlib is installed (extra `plot`).

    Args:
        path: the picture's file; its ending says of which kind (.png, .svg, .pdf).
        title: what stands above it.
    """

    def __init__(self, path: str | os.PathLike[str], title: str = "") -> None:
        self.path, self.title = Path(path), title

    def on_fit_end(self, trainer: Trainer) -> None:
        from ..plots import available, learning_curves

        if trainer.writes and available() and len(trainer.history):
            learning_curves(trainer.history.rows, self.path, self.title)

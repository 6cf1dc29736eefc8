"""Callbacks that watch the history for its best epoch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Self

from ...backends import copy_beside
from ...names import refuse_theirs
from .base import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer


# What others' callbacks take -> what is done here.
THEIRS = {
    "mode": "a metric's higher_is_better says it, and a loss is to be small",
    "restore_best_weights": "restore_best=",
    "start_from_epoch": "patience=",
    "verbose": "trainer.stopped says why it stopped",
}


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

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        refuse_theirs(cls, EarlyStopping, kwargs, THEIRS)
        return super().__new__(cls)

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

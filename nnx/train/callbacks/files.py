"""Callbacks that write files: checkpoints, tables, pictures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...io import save, write_text
from .base import Callback
from .monitor import Monitor

if TYPE_CHECKING:
    from ..trainer import Trainer


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
        from ...plots import available, learning_curves

        if trainer.writes and available() and len(trainer.history):
            learning_curves(trainer.history.rows, self.path, self.title)

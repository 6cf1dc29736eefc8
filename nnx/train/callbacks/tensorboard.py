"""`TensorBoard`: the history as TensorBoard shows it, written by its own writers."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer


def _tensorboardx(folder: str) -> Any:
    from tensorboardX import SummaryWriter

    # Or a run that is resumed within a second would write over the file of the one before.
    return SummaryWriter(folder, filename_suffix=f".{time.time_ns():x}")


def _tensorboard(folder: str) -> Any:
    from tensorboard.summary import Writer

    return Writer(folder)


_WRITERS = {"tensorboardX": _tensorboardx, "tensorboard": _tensorboard}  # which is there first


class TensorBoard(Callback):
    """Writes the history as event files, which `tensorboard --logdir FOLDER` shows while it grows.

    After each epoch: every column of its row, `loss/training`, `loss/validation` and so on, by the
    number of the epoch; and the loss of each step, `loss/steps`, by the number of the step.  A run
    that is resumed goes on in a further file of the folder.

    Needs tensorboardX, which only writes (`pip install tensorboardX`), or tensorboard itself.

    Args:
        folder: where; it is made when the first epoch is complete.

    Raises:
        RuntimeError: neither is installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.package = next((name for name in _WRITERS if find_spec(name) is not None), None)
        if self.package is None:
            raise RuntimeError(
                "TensorBoard: its files are written by the package tensorboardX, or tensorboard, "
                "and neither is installed: pip install tensorboardX"
            )
        self.steps = 0  # whose losses were written before
        self.writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        self.steps = len(trainer.history.step_losses)

    def on_epoch_end(self, trainer: Trainer) -> None:
        if not trainer.writes:
            return
        if self.writer is None:
            assert self.package is not None
            self.writer = _WRITERS[self.package](str(self.folder))
        row, history = trainer.history.rows[-1], trainer.history
        for name, value in row.items():
            bare = name.removeprefix("val_")
            if name.startswith("val_"):
                name = f"{bare}/validation"
            elif name in ("loss", *trainer.running_terms) or f"val_{name}" in row:
                name = f"{name}/training"
            if bare != "epoch":
                self.writer.add_scalar(name, value, trainer.epoch)
        for step, loss in enumerate(history.step_losses[self.steps :], self.steps + 1):
            self.writer.add_scalar("loss/steps", loss, step)
        self.steps = len(history.step_losses)
        self.writer.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file, for another process."""
        return {**vars(self), "writer": None}

"""Progress: a live bar in a terminal and in a notebook, plain lines in a pipe."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ...backends.compiles import by_others, listening
from ...io import printable
from ...parallel import launched
from .bars import Notebook, Terminal, in_notebook
from .base import Callback

if TYPE_CHECKING:
    from ..trainer import Trainer

EVERY = 0.1  # seconds between two pictures of the bar: to show a number is to wait for the device


class Progress(Callback):
    """Prints a line per epoch, with a live bar below it where someone is watching.

    Args:
        live: whether there is a bar; by default where standard output is a terminal, and in the
            kernel of a notebook.
    """

    def __init__(self, live: bool | None = None) -> None:
        self.live = live
        self.bar: Terminal | None = None
        self.due = 0.0
        self.compiled = 0
        self.listening = ExitStack()

    def on_fit_start(self, trainer: Trainer) -> None:
        self.compiled = 0
        self.listening.enter_context(listening(self.compiling))
        # A starter of several processes gives each of them a terminal that nobody watches; a
        # program may have no standard streams at all.
        notebook = in_notebook()
        terminal = sys.stdout is not None and sys.stdout.isatty()
        watched = (notebook or terminal) and not launched()
        if watched if self.live is None else self.live:
            self.bar = (Notebook if notebook else Terminal)(trainer.batches)

    def compiling(self, name: str) -> None:
        """Say why the first steps take long: the kernel `name` is compiled, once for this
        processor.
        """
        self.compiled += 1
        helped, total = by_others()
        if self.compiled == 1:
            kernels = f"{total} kernels" if total > 1 else "kernels"
            self.print(f"compiling {kernels} for this processor, once: they are kept on disk")
        if self.bar is not None:
            number = self.compiled + helped
            among = f"{number} of {max(number, total)}" if total else f"{number}"
            self.bar.update(description=f"compiling {among}: {name}")

    def on_step_end(self, trainer: Trainer) -> None:
        if self.bar is None or time.perf_counter() < self.due:
            return
        running = (trainer.running_loss, *trainer.running_terms.values(), *trainer.metrics)
        values = {metric.name: metric.compute() for metric in running}
        self.bar.update(
            description=_epoch(trainer, trainer.epoch + 1),
            completed=trainer.batch,
            total=trainer.batches,
            shown=_values(trainer, values),
        )
        self.due = time.perf_counter() + EVERY

    def on_epoch_end(self, trainer: Trainer) -> None:
        row = trainer.history.rows[-1]
        names = ["loss", *trainer.running_terms, *(metric.name for metric in trainer.metrics)]
        if "penalty" in row:
            names.insert(1, "penalty")
        line = f"{_epoch(trainer, trainer.epoch)}  {_values(trainer, {n: row[n] for n in names})}"
        validation = [trainer.show(n, row[f"val_{n}"]) for n in names if f"val_{n}" in row]
        if validation:
            line += f"  validation {' '.join(validation)}"  # in the same order
        self.print(f"{line}  {row['seconds']:.1f} s")
        if self.bar is not None:
            self.bar.reset(trainer.batches)
            self.due = 0.0

    def on_fit_end(self, trainer: Trainer) -> None:
        self.listening.close()
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        if trainer.interrupted:
            where = (
                f"in epoch {trainer.epoch + 1}" if trainer.batch else f"after epoch {trainer.epoch}"
            )
            self.print(f"interrupted {where}, after step {trainer.step}")
        elif trainer.stopped:
            self.print(f"stopped after epoch {trainer.epoch}: {trainer.stopped}")

    def print(self, line: str) -> None:
        """Write a line above the bar, or to standard output where there is none."""
        if self.bar is None:
            print(printable(line), flush=True)
        else:
            self.bar.print(printable(line))


def _epoch(trainer: Trainer, number: int) -> str:
    width = len(str(trainer.epochs))
    return f"epoch {number:{width}}/{trainer.epochs}"


def _values(trainer: Trainer, values: dict[str, float]) -> str:
    return "  ".join(f"{name} {trainer.show(name, value)}" for name, value in values.items())

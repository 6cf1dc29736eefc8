"""How a Trainer looks in a notebook."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..nn import Module
from .callbacks import Schedule

if TYPE_CHECKING:
    from .trainer import Trainer


def html(trainer: Trainer) -> str:
    """What is trained, by what, how far it came, the best epochs, and the history."""
    from .. import notebook

    size = sum(p.size for p in trainer.model.parameters())
    rows: list[tuple[str, Any]] = [
        ("model", f"{type(trainer.model).__name__}, {size:,} parameters"),
        ("loss", named(trainer.loss)),
    ]
    if trainer.optimizer is not None:
        rates = ", ".join(f"{group['lr']:g}" for group in trainer.optimizer.param_groups)
        rows.append(("optimizer", f"{type(trainer.optimizer).__name__}, lr {rates}"))
    for callback in trainer.callbacks:
        if isinstance(callback, Schedule):
            rows.append(("schedule", f"{callback.scheduler!r}, a step per {callback.per}"))
        else:
            rows.append(("callback", type(callback).__name__))
    if trainer.penalty is not None:
        rows.append(("penalty", repr(trainer.penalty)))
    if trainer.precision.dtype != "float32":
        rows.append(("precision", trainer.precision.dtype))
    if trainer.accumulate > 1:
        rows.append(("accumulate", f"{trainer.accumulate} parts of a batch"))
    done = f"{trainer.epoch:,} of {trainer.epochs:,}" if trainer.epochs else "none"
    rows += [("epochs done", done), ("steps done", trainer.step)]
    if trainer.stopped is not None:
        rows.append(("stopped", trainer.stopped))
    if trainer.interrupted:
        rows.append(("interrupted", f"after step {trainer.step}"))
    there = trainer.history.names()
    for name in ("loss", *(metric.name for metric in trainer.metrics)):
        column = f"val_{name}" if f"val_{name}" in there else name
        if (found := best(trainer, column)) is not None:
            epoch, value = found
            rows.append((f"best {column}", f"{trainer.show(column, value)} in epoch {epoch}"))
    return notebook.pairs(rows, type(trainer).__name__) + trainer.history._repr_html_()


def best(trainer: Trainer, column: str) -> tuple[int, float] | None:
    """The first epoch with the best value of a column, and the value; None: none is finite."""
    sign = 1.0 if trainer.higher_is_better(column) else -1.0
    told = [(int(row["epoch"]), row[column]) for row in trainer.history.rows if column in row]
    finite = [(epoch, value) for epoch, value in told if math.isfinite(value)]
    return max(finite, key=lambda pair: sign * pair[1], default=None)


def named(loss: Any) -> str:
    """What a loss is called: a module as it shows itself, a function by its name."""
    return repr(loss) if isinstance(loss, Module) else getattr(loss, "__name__", repr(loss))

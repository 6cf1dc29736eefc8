"""`History`: what each epoch and each step gave."""

from __future__ import annotations

import csv
import io
import math
import os
from typing import Any

from ..io import CorruptFile
from ..io.limits import hold

Row = dict[str, float]
ASIDE = ("epoch", "lr", "seconds")  # columns that are no result
LAST, DRAWN = 20, 4  # rows and curves that a notebook shows


class History:
    """One row of numbers per epoch, and the loss of every step.

        history["val_loss"]             one value per epoch, in order
        history.rows[-1]                the last epoch: {"epoch": 3, "loss": 0.1, ...}
        history.step_losses             one value per step since the first

    A row has `epoch` (counted from 1), `loss` and the metrics over the epoch's training batches,
    the same with `val_` before them where there is validation data, `lr` and `seconds`.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.step_losses: list[float] = []

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.names():
            raise KeyError(f"the history has no {name!r}; it has {', '.join(self.names())}")
        return [row[name] for row in self.rows if name in row]

    def names(self) -> list[str]:
        """The columns, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def __repr__(self) -> str:
        return f"History({len(self)} epochs, {len(self.step_losses)} steps)"

    def _repr_html_(self) -> str:
        """The loss and up to three metrics as curves, and a row for each of the last 20 epochs."""
        from .. import notebook

        names = self.names()
        own = [n for n in names if not str(n).startswith("val_") and n not in ASIDE]
        pictures = [
            notebook.curves(
                {c: [row.get(c) for row in self.rows] for c in (n, f"val_{n}") if c in names}
            )
            for n in own
        ]
        rows = [[row.get(name, "") for name in names] for row in self.rows[-LAST:]]
        caption = f"{len(self)} epochs, {len(self.step_losses):,} steps"
        caption += f"; the last {LAST} epochs" if len(self) > LAST else ""
        drawn = [picture for picture in pictures if picture][:DRAWN]
        return f"<div>{''.join(drawn)}</div>{notebook.table(names, rows, caption)}"

    def csv(self) -> str:
        """The rows as CSV, with a header; numbers as Python writes them, so no digit is lost."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.names(), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def steps_csv(self) -> str:
        """The loss of every step as CSV, with a header."""
        lines = [f"{k},{loss!r}\n" for k, loss in enumerate(self.step_losses, 1)]
        return "step,loss\n" + "".join(lines)

    def state_dict(self) -> dict[str, Any]:
        """The rows, and the losses of all steps as an array (steps,), float64."""
        import numpy as np

        return {"rows": self.rows, "step_losses": np.asarray(self.step_losses, np.float64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where the state was taken, by `state_dict()`."""
        self.rows = [dict(row) for row in state["rows"]]
        self.step_losses = state["step_losses"].tolist()


MOST = 64  # columns of a history, of which each is drawn


def read_csv(text: str, path: str | os.PathLike[str] = "history.csv") -> History:
    """The rows of `History.csv`, as they stand in the file `path`.

    Raises:
        CorruptFile: it is no table of numbers with a column `epoch` that counts.
    """
    history = History()
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = next(lines, [])
        if len(names) > MOST or len(set(names)) != len(names) or "epoch" not in names:
            raise CorruptFile(
                f"{path}: a history has up to {MOST} columns, each once, epoch among them; this "
                f"has {len(names)}: {', '.join(names)[:200]}"
            )
        for line in lines:
            if not line:
                continue
            if len(line) != len(names):
                raise ValueError(f"it has {len(line)} columns, the first line {len(names)}")
            row = {name: float(v) for name, v in zip(names, line, strict=True) if v}
            epoch = row.get("epoch", math.nan)
            if not (1 <= epoch < 2**53 and epoch == int(epoch)):
                raise ValueError(f"an epoch is a whole number from 1 on, not {epoch:g}")
            row["epoch"] = int(epoch)
            history.rows.append(row)
            hold(path, "rows", len(history.rows) * len(names), "values")
    except CorruptFile:
        raise
    except (csv.Error, ValueError) as error:
        raise CorruptFile(f"{path}: line {lines.line_num}: {error}") from error
    return history


def read_steps(text: str, path: str | os.PathLike[str] = "steps.csv") -> list[float]:
    """The losses of `History.steps_csv`, as they stand in the file `path`.

    Raises:
        CorruptFile: it is no table of the steps 1, 2, 3, ... and their losses.
    """
    header, *lines = text.splitlines() or [""]
    if header != "step,loss":
        raise CorruptFile(f"{path}: the first line must be step,loss, not {header:.80}")
    hold(path, "rows", len(lines), "values")
    losses = []
    for k, line in enumerate(lines, 1):
        step, _, loss = line.partition(",")
        try:
            if int(step) != k:
                raise ValueError(f"it is step {k}, not {step:.20}")
            losses.append(float(loss))
        except ValueError as error:
            raise CorruptFile(f"{path}: line {k + 1}: {error}") from error
    return losses

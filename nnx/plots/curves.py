"""Learning curves."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .canvas import Sheet

Rows = Sequence[Mapping[str, float]]
MOST = 64  # panels
HUGE = 1e100  # beyond, and at infinity, an axis cannot be drawn: the line has a gap


def learning_curves(
    rows: Rows | Any,
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    *,
    axes: Any = None,
) -> Any:
    """The columns of a history over its epochs: the loss, and a panel for each metric.

    Args:
        rows: a `History`, or its rows: a column's `val_` twin is drawn beside it.
        path, title, axes: as of `compare_curves`.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: there are more than 64 columns to draw, or none; the axes are not one for each.
        TypeError: rows are none; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    return compare_curves({"": rows}, path, title, axes=axes)


def compare_curves(
    runs: Mapping[str, Rows | Any],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    *,
    axes: Any = None,
) -> Any:
    """The curves of several runs in one picture, each in its own colour.

    Args:
        runs: by name, a `History`, or its rows: a panel for each column but epoch, lr and seconds,
            in the order in which they first appear.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        axes: matplotlib's axes to draw on, one for each panel; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: there are more than 64 columns to draw, or none; the axes are not one for each.
        TypeError: what is told of a run are no rows; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    told = {str(run): _rows(run, given) for run, given in runs.items()}
    columns = [name for rows in told.values() for row in rows for name in row]
    aside = ("epoch", "lr", "seconds")
    panels = [n for n in dict.fromkeys(columns) if n not in aside and not n.startswith("val_")]
    if len(panels) > MOST:
        raise ValueError(f"{len(panels)} columns are too many to draw: {MOST} at most")
    if not panels:
        raise ValueError("compare_curves: no epoch is complete, so there is nothing to draw")
    sheet = Sheet("compare_curves", len(panels), axes, lambda a, d: (4.5 * a, 3.6 * d), 6)
    for axes, name in zip(sheet.axes, panels, strict=True):
        for k, (run, rows) in enumerate(told.items()):
            for column, style, what in (
                (name, "-", "training"),
                (f"val_{name}", "--", "validation"),
            ):
                points = [
                    (row.get("epoch", n), row[column] if abs(row[column]) < HUGE else math.nan)
                    for n, row in enumerate(rows, 1)
                    if column in row
                ]
                if points:
                    label = f"{run:.80}, {what}" if run else what
                    colour = f"C{k}" if len(told) > 1 else None
                    marker = "o" if len(points) == 1 else None
                    axes.plot(
                        *zip(*points, strict=True), style, label=label, color=colour, marker=marker
                    )
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    sheet.legend(min(max(len(told), 2), 2 * len(panels)))
    return sheet.finish(title, path, 12)


def _rows(run: str, given: Any) -> Rows:
    rows = getattr(given, "rows", given)
    if isinstance(rows, Mapping) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(
            f"compare_curves: of {run or 'the run'} a History or its rows are wanted, a mapping "
            f"for each epoch, not {type(given).__name__}"
        )
    return list(rows)

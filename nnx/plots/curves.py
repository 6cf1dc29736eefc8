"""Learning curves."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from .canvas import figure, save_figure

Rows = Sequence[Mapping[str, float]]
MOST = 64  # panels
HUGE = 1e100  # beyond, and at infinity, an axis cannot be drawn: the line has a gap


def learning_curves(rows: Rows, path: str | os.PathLike[str], title: str = "") -> None:
    """The columns of a history over its epochs: the loss, and a panel for each metric.

    Args:
        rows: the rows of a `History`: a column's `val_` twin is drawn beside it.
        path: the PNG file.
        title: above the picture.
    """
    compare_curves({"": rows}, path, title)


def compare_curves(runs: Mapping[str, Rows], path: str | os.PathLike[str], title: str = "") -> None:
    """The curves of several runs in one picture, each in its own colour.

    Args:
        runs: by name, the rows of a `History`: a panel for each column but epoch, lr and seconds.
        path: the picture; its ending says of which kind (.png, .svg, .pdf).
        title: above the picture.

    Raises:
        ValueError: there are more than 64 columns to draw.
        RuntimeError: matplotlib is not installed.
    """
    columns = [name for rows in runs.values() for row in rows for name in row]
    aside = ("epoch", "lr", "seconds")
    panels = [n for n in dict.fromkeys(columns) if n not in aside and not n.startswith("val_")]
    if len(panels) > MOST:
        raise ValueError(f"{len(panels)} columns are too many to draw: {MOST} at most")
    across = max(1, min(len(panels), 6))
    down = max(1, -(-len(panels) // across))
    drawn = figure(4.5 * across, 3.6 * down)
    grid = drawn.subplots(down, across, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes, name in zip(grid[: len(panels)], panels, strict=True):
        for k, (run, rows) in enumerate(runs.items()):
            for column, style, what in (
                (name, "-", "training"),
                (f"val_{name}", "--", "validation"),
            ):
                points = [
                    (row["epoch"], row[column] if abs(row[column]) < HUGE else math.nan)
                    for row in rows
                    if column in row
                ]
                if points:
                    label = f"{run:.80}, {what}" if run else what
                    colour = f"C{k}" if len(runs) > 1 else None
                    marker = "o" if len(points) == 1 else None
                    axes.plot(
                        *zip(*points, strict=True), style, label=label, color=colour, marker=marker
                    )
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    if drawn.axes:
        lines = {line.get_label(): line for axes in drawn.axes for line in axes.get_lines()}
        drawn.legend(
            lines.values(),
            lines.keys(),
            loc="outside lower center",
            ncols=min(max(len(runs), 2), 2 * len(panels)),
            fontsize=8,
        )
    if title:
        drawn.suptitle(title)
    save_figure(drawn, path)

"""Lines, points and histograms, in panels that share their axes' names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..typing import Array
from .canvas import COLOURS, DASHES, figure, panes, save_figure

Curve = tuple[Any, Any]  # x and y, (N,) each
MOST = 200  # points of a line: more cannot be seen, and make the file large


def lines(
    panels: Mapping[str, Mapping[str, Curve]],
    path: str | os.PathLike[str],
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    xlog: bool = False,
    ylog: bool = False,
    ylim: tuple[float, float] | None = None,
    across: int = 3,
    marks: str = "",
    share: bool = True,
) -> None:
    """Curves over x, in one panel or several.

    Args:
        panels: for each panel's title its curves, by their names: x and y, (N,) each.  A name that
            begins with "points: " is drawn as points.
        path: the PNG or SVG file.
        title: above the picture.
        xlabel, ylabel: the axes' names.
        xlog, ylog: whether an axis is logarithmic.
        ylim: the range of y; None for all of the curves.
        across: panels in a row, at most.
        marks: matplotlib's marker at each point of a line, such as "o".
        share: whether all panels have the same range of y.
    """
    drawn, grid, across = panes(
        len(panels), across, lambda a, d: (7.0, 4.2) if a == d == 1 else (3.6 * a, 2.9 * d), share
    )
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for k, (axes, (above, curves)) in enumerate(zip(grid, panels.items(), strict=False)):
        for name, (x, y) in curves.items():
            at = names.index(name)
            colour = COLOURS[at % len(COLOURS)]
            label = name.removeprefix("points: ")
            if label != name:
                axes.plot(x, y, ".", color=colour, label=label, ms=5)
                continue
            x, y = thinned(np.asarray(x, float), np.asarray(y, float))
            style = DASHES[at % len(DASHES)] if len(names) > 1 else "-"
            axes.plot(x, y, style, color=colour, label=label, marker=marks or None, ms=4, lw=1.6)
        axes.set_title(above, fontsize=9)
        for log, axis in ((xlog, axes.xaxis), (ylog, axes.yaxis)):
            if log:
                logarithmic(axes, axis)
        if xlog and marks:
            axes.set_xticks(sorted({float(v) for x, _ in curves.values() for v in x})[:10])
        if ylim is not None:
            axes.set_ylim(*ylim)
        if k >= len(panels) - across:
            axes.set_xlabel(xlabel)
        if k % across == 0:
            axes.set_ylabel(ylabel)
        axes.grid(alpha=0.3)
    if len(names) > 1:
        legend(drawn, grid[: len(panels)])
    if title:
        drawn.suptitle(title, fontsize=11)
    save_figure(drawn, path)


def scatter(
    panels: Mapping[str, Mapping[str, Array]],
    path: str | os.PathLike[str],
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    across: int = 3,
) -> None:
    """Points in the plane, by groups, in one panel or several.

    Args:
        panels: for each panel's title its groups, by their names: points (N, 2).
        path, title, xlabel, ylabel, across: as of `lines`.
    """
    drawn, grid, _ = panes(
        len(panels), across, lambda a, d: (6.0, 5.0) if a == d == 1 else (3.6 * a, 3.2 * d)
    )
    for axes, (above, groups) in zip(grid, panels.items(), strict=False):
        for k, (name, points) in enumerate(groups.items()):
            mark = "os^vD<>*"[k % 8]
            axes.scatter(
                *np.asarray(points).T,
                s=9,
                marker=mark,
                color=COLOURS[k % 8],
                label=name,
                alpha=0.7,
                rasterized=len(points) > 60,
            )
        axes.set_title(above, fontsize=9)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
    legend(drawn, grid[: len(panels)])
    if title:
        drawn.suptitle(title, fontsize=11)
    save_figure(drawn, path)


def histograms(
    panels: Mapping[str, Sequence[Array]],
    path: str | os.PathLike[str],
    title: str = "",
    xlabel: str = "",
    ylabel: str = "share",
    columns: Sequence[str] = (),
    bins: int = 30,
    span: tuple[float, float] | None = None,
) -> None:
    """Rows of histograms, a row for each name.

    Args:
        panels: for each row its name and arrays of any shape, one a column.
        path, title, xlabel, ylabel: as of `lines`.
        columns: names above the columns.
        bins: bars in each.
        span: from where to where; None for each array's own range.
    """
    across = max(len(row) for row in panels.values())
    drawn = figure(max(1.9 * across + 0.6, 5.5), max(1.5 * len(panels) + 0.8, 3.0))
    grid = drawn.subplots(len(panels), across, squeeze=False)
    for r, (name, row) in enumerate(panels.items()):
        for c, values in enumerate(row):
            axes = grid[r, c]
            values = np.asarray(values, float).ravel()
            count, edges = np.histogram(values, bins=bins, range=span)
            axes.stairs(count / max(len(values), 1), edges, fill=True, color=COLOURS[r % 8])
            axes.tick_params(labelsize=6)
            if r == 0 and columns:
                axes.set_title(columns[c], fontsize=8)
            if c == 0:
                axes.set_ylabel(f"{name}\n{ylabel}", fontsize=8)
            if r == len(panels) - 1:
                axes.set_xlabel(xlabel, fontsize=8)
    if title:
        drawn.suptitle(title, fontsize=11)
    save_figure(drawn, path)


def logarithmic(axes: Any, axis: Any) -> None:
    """Make an axis logarithmic, with numbers that need no formulas: 0.01, 1e-05.

    Args:
        axes: matplotlib's.
        axis: its `xaxis` or `yaxis`.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
    low, high = axis.get_view_interval()
    if high < 50 * low:  # else a single number would stand there, or none
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))


def legend(drawn: Any, grid: Any) -> None:
    """One legend for all panels, below them."""
    shown: dict[str, Any] = {}
    for axes in grid:
        handles, names = axes.get_legend_handles_labels()
        shown |= dict(zip(names, handles, strict=True))
    if shown:
        drawn.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=4, fontsize=8)


def thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """At most MOST points of a line, evenly chosen, the last among them."""
    if len(x) <= MOST:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, MOST).astype(int))
    return x[kept], y[kept]


def network(
    sizes: Sequence[int],
    path: str | os.PathLike[str],
    title: str = "",
    names: Sequence[Sequence[str]] = (),
) -> None:
    """A feed-forward network: a circle for each unit, a line for each weight.

    Args:
        sizes: the units of each layer, from the input on.
        path: the PNG or SVG file.
        title: above the picture.
        names: what stands in the circles, layer by layer; nothing where it is left out.
    """
    drawn = figure(1.6 * len(sizes) + 1.0, 0.62 * max(sizes) + 1.3)
    axes = drawn.subplots()
    fills = {"input": "0.4", "hidden": COLOURS[0], "output": COLOURS[1]}
    places = [[(2.0 * k, (n - 1) / 2 - i) for i in range(n)] for k, n in enumerate(sizes)]
    for left, right in pairwise(places):
        for a in left:
            for b in right:
                axes.plot(*zip(a, b, strict=True), color="0.7", lw=0.8, zorder=1)
    for k, layer in enumerate(places):
        x, y = zip(*layer, strict=True)
        kind = "input" if k == 0 else "output" if k == len(sizes) - 1 else "hidden"
        axes.scatter(x, y, s=520, color=fills[kind], edgecolor="black", zorder=2)
        for i, (at, up) in enumerate(layer):
            text = names[k][i] if k < len(names) and i < len(names[k]) else ""
            axes.text(at, up, text, ha="center", va="center", fontsize=8, color="white", zorder=3)
        axes.text(2.0 * k, -(max(sizes) + 0.4) / 2, f"{kind}\n{len(layer)}", ha="center", va="top")
    axes.set_xlim(-0.8, 2.0 * len(sizes) - 1.2)
    axes.set_ylim(-max(sizes) / 2 - 1.0, max(sizes) / 2)
    axes.set_axis_off()
    if title:
        drawn.suptitle(title, fontsize=11)
    save_figure(drawn, path)

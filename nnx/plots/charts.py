"""Lines, points and histograms, in panels that share their axes' names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..typing import Array
from .canvas import COLOURS, DASHES, Sheet, logarithmic
from .given import named, real, together

Curve = tuple[Any, Any]  # x and y, (N,) each
Drawn = Any  # a Figure of matplotlib
MOST = 200  # points of a line: more cannot be seen, and make the file large


def lines(
    panels: Mapping[str, Mapping[str, Curve]],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    xlog: bool = False,
    ylog: bool = False,
    ylim: tuple[float, float] | None = None,
    across: int = 3,
    marks: str = "",
    share: bool = True,
    *,
    axes: Any = None,
) -> Drawn:
    """Curves over x, in one panel or several.

    Args:
        panels: for each panel's title its curves, by their names: x and y, (N,) each.  A name that
            begins with "points: " is drawn as points.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        xlabel, ylabel: the axes' names.
        xlog, ylog: whether an axis is logarithmic.
        ylim: the range of y; None for all of the curves.
        across: panels in a row, at most.
        marks: matplotlib's marker at each point of a line, such as "o".
        share: whether all panels have the same range of y.
        axes: matplotlib's axes to draw on, one for each panel; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: there is nothing to draw; x and y of a curve are not (N,) each; the axes are
            not one for each panel.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    sheet = Sheet(
        "lines",
        len(panels),
        axes,
        lambda a, d: (7.0, 4.2) if a == d == 1 else (3.6 * a, 2.9 * d),
        across,
        share,
    )
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for axes, (above, curves) in zip(sheet.axes, panels.items(), strict=True):
        for name, (x, y) in curves.items():
            x, y = together("lines", "(N,)", **{f"x of {name!r}": x, f"y of {name!r}": y})
            at = names.index(name)
            colour = COLOURS[at % len(COLOURS)]
            label = name.removeprefix("points: ")
            if label != name:
                axes.plot(x, y, ".", color=colour, label=label, ms=5)
                continue
            x, y = thinned(x, y)
            style = DASHES[at % len(DASHES)] if len(names) > 1 else "-"
            axes.plot(x, y, style, color=colour, label=label, marker=marks or None, ms=4, lw=1.6)
        axes.set_title(above, fontsize=9)
        for log, axis in ((xlog, axes.xaxis), (ylog, axes.yaxis)):
            if log:
                logarithmic(axes, axis)
        if xlog and marks:
            places = sorted({float(v) for x, _ in curves.values() for v in real("lines", "x", x)})
            axes.set_xticks(places[:: -(-len(places) // 8) or 1])  # 8 at most, over the whole
        if ylim is not None:
            axes.set_ylim(*ylim)
        axes.grid(alpha=0.3)
    sheet.label(xlabel, ylabel)
    if len(names) > 1:
        sheet.legend()
    return sheet.finish(title, path)


def scatter(
    panels: Mapping[str, Mapping[str, Array]],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    across: int = 3,
    *,
    axes: Any = None,
) -> Drawn:
    """Points in the plane, by groups, in one panel or several.

    Args:
        panels: for each panel's title its groups, by their names: points (N, 2).
        path, title, xlabel, ylabel, across, axes: as of `lines`.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: there is nothing to draw; points are not (N, 2); the axes are not one for each
            panel.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    sheet = Sheet(
        "scatter",
        len(panels),
        axes,
        lambda a, d: (6.0, 5.0) if a == d == 1 else (3.6 * a, 3.2 * d),
        across,
    )
    for axes, (above, groups) in zip(sheet.axes, panels.items(), strict=True):
        for k, (name, points) in enumerate(groups.items()):
            points = real("scatter", f"points of {name!r}", points, "(N, 2)")
            mark = "os^vD<>*"[k % 8]
            axes.scatter(
                *points.T,
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
    sheet.legend()
    return sheet.finish(title, path)


def histograms(
    panels: Mapping[str, Sequence[Array]],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "share",
    columns: Sequence[str] = (),
    bins: int = 30,
    span: tuple[float, float] | None = None,
    *,
    axes: Any = None,
) -> Drawn:
    """Rows of histograms, a row for each name.

    Args:
        panels: for each row its name and arrays of any shape, one a column; as many in each row.
        path, title, xlabel, ylabel: as of `lines`.
        columns: names above the columns.
        bins: bars in each.
        span: from where to where; None for each array's own range.
        axes: matplotlib's axes to draw on, row by row, one for each array; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.  Numbers that are not finite are not drawn,
        but counted among those of which a bar is a share.

    Raises:
        ValueError: there is nothing to draw; rows or names of columns that differ in length; the
            axes are not one for each array.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    lengths = {name: len(row) for name, row in panels.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"histograms: every row must have as many arrays; they have {lengths}")
    across = max(lengths.values(), default=0)
    if columns:
        columns = named("histograms", "columns", columns, across, (len(panels), across))
    sheet = Sheet(
        "histograms",
        across * len(panels),
        axes,
        lambda a, d: (max(1.9 * a + 0.6, 5.5), max(1.5 * d + 0.8, 3.0)),
        max(across, 1),
    )
    for k, axes in enumerate(sheet.axes):
        r, c = divmod(k, across)
        name = list(panels)[r]
        bars(axes, real("histograms", name, panels[name][c]), bins, span, COLOURS[r % 8])
        axes.tick_params(labelsize=6)
        if columns and (r == 0 or not sheet.own):
            axes.set_title(columns[c], fontsize=8)
        if c == 0 or not sheet.own:
            axes.set_ylabel(f"{name}\n{ylabel}", fontsize=8)
        if r == len(panels) - 1 or not sheet.own:
            axes.set_xlabel(xlabel, fontsize=8)
    return sheet.finish(title, path)


def bars(
    axes: Any, values: Array, bins: int, span: tuple[float, float] | None, colour: str
) -> None:
    """A histogram whose bars are shares of all values; what is not finite is in none."""
    finite = values[np.isfinite(values)]
    count, edges = np.histogram(finite, bins=bins, range=span)
    axes.stairs(count / max(values.size, 1), edges, fill=True, color=colour)


def thinned(x: Array, y: Array) -> tuple[Array, Array]:
    """At most MOST points of a line, evenly chosen, the last among them."""
    if len(x) <= MOST:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, MOST).astype(int))
    return x[kept], y[kept]


def network(
    sizes: Sequence[int],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    names: Sequence[Sequence[str]] = (),
    *,
    ax: Any = None,
) -> Drawn:
    """A feed-forward network: a circle for each unit, a line for each weight.

    Args:
        sizes: the units of each layer, from the input on.
        path: the file, of the kind that its ending says; None: none is written.
        title: above the picture.
        names: what stands in the circles, layer by layer; nothing where it is left out.
        ax: matplotlib's axes to draw on; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: there is no layer, or one without a unit; several axes.
        TypeError: what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    if not len(sizes) or min(sizes) < 1:
        raise ValueError(f"network: every layer must have a unit at least; sizes are {sizes}")
    sheet = Sheet("network", 1, ax, lambda a, d: (1.6 * len(sizes) + 1.0, 0.62 * max(sizes) + 1.3))
    (axes,) = sheet.axes
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
    return sheet.finish(title, path)

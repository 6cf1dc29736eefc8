"""What lies in a plane or beside one: borders between classes, routes over hills, fitted planes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..typing import Array
from .canvas import COLOURS, DASHES, figure, panes, save_figure
from .charts import legend, thinned

FINE = 150  # squares in each direction, in which a border is looked for
COARSE = 60  # points in each direction, between which a contour line is straight
MARKS = "os^vD"
PALE = ("#CFE5F2", "#F8DCC6", "#CBEBDF", "#F3DDE9", "#FAEBC9")  # COLOURS, laid on white


def boundaries(
    panels: Mapping[str, tuple[Callable[[Array], Array], Array, Array]],
    path: str | os.PathLike[str],
    title: str = "",
    xlabel: str = "x1",
    ylabel: str = "x2",
    across: int = 3,
) -> None:
    """The regions that classifiers of points in the plane make, with the points.

    Args:
        panels: for each panel's title what says the class of points, (N, 2) -> (N,) integers from
            0; the points (N, 2); and their classes (N,), of up to five.
        path: the PNG or SVG file.
        title: above the picture.
        xlabel, ylabel: the axes' names.
        across: panels in a row, at most.
    """
    from matplotlib.colors import ListedColormap

    drawn, grid, _ = panes(
        len(panels),
        across,
        lambda a, d: (max(3.3 * a + 0.4, 5.0), max(3.1 * d + 0.6, 4.2 if a == 1 else 0.0)),
    )
    for axes, (above, (classify, points, classes)) in zip(grid, panels.items(), strict=False):
        points, classes = np.asarray(points, float), np.asarray(classes).astype(int)
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.15 * (high - low)
        low, high = low - margin, high + margin
        x, y = (np.linspace(low[k], high[k], FINE) for k in (0, 1))
        places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        said = np.asarray(classify(places)).reshape(FINE, FINE)
        axes.imshow(
            said,
            cmap=ListedColormap(PALE),
            vmin=0,
            vmax=len(PALE) - 1,
            origin="lower",
            extent=(low[0], high[0], low[1], high[1]),
            aspect="auto",
            interpolation="none",
        )
        for k in np.unique(classes):
            axes.scatter(
                *points[classes == k].T,
                s=14 if len(points) > 20 else 90,
                marker=MARKS[k],
                color=COLOURS[k],
                edgecolor="white",
                linewidth=0.3,
                label=f"class {k}",
                rasterized=len(points) > 60,
            )
        axes.set_title(above, fontsize=9)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
    legend(drawn, grid[: len(panels)])
    if title:
        drawn.suptitle(title, fontsize=11)
    save_figure(drawn, path)


def routes(
    panels: Mapping[str, Mapping[str, Array]],
    height: Callable[[Array, Array], Array],
    path: str | os.PathLike[str],
    title: str = "",
    xlabel: str = "x",
    ylabel: str = "y",
    span: tuple[float, float, float, float] | None = None,
    levels: Sequence[float] | int = 15,
    goal: tuple[float, float] | None = None,
    across: int = 2,
) -> None:
    """Paths of descent over the contour lines of what they descend.

    Args:
        panels: for each panel's title its paths by their names: (T, 2) points in order.
        height: the function, of x and y as arrays.
        path, title, xlabel, ylabel, across: as of `boundaries`.
        span: what is shown: least and largest x, least and largest y; None for all paths.
        levels: of the contour lines, or how many.
        goal: the minimum, marked by a star.
    """
    every = np.concatenate([np.asarray(p, float) for ps in panels.values() for p in ps.values()])
    if span is None:
        low, high = every.min(axis=0), every.max(axis=0)
        margin = 0.1 * (high - low) + 1e-9
        span = (low[0] - margin[0], high[0] + margin[0], low[1] - margin[1], high[1] + margin[1])
    x, y = np.linspace(span[0], span[1], COARSE), np.linspace(span[2], span[3], COARSE)
    z = height(*np.meshgrid(x, y))
    drawn, grid, _ = panes(
        len(panels), across, lambda a, d: (7.0, 4.8) if a == d == 1 else (4.2 * a, 3.2 * d + 0.5)
    )
    names = list(dict.fromkeys(name for paths in panels.values() for name in paths))
    for axes, (above, paths) in zip(grid, panels.items(), strict=False):
        axes.contour(x, y, z, levels=levels, colors="0.75", linewidths=0.7)
        for name, points in paths.items():
            at = names.index(name)
            xs, ys = thinned(*np.asarray(points, float).T)
            style = DASHES[at % len(DASHES)] if len(names) > 1 else "-"
            colour = COLOURS[at % len(COLOURS)]
            marker = "." if len(xs) <= 60 else None
            axes.plot(xs, ys, style, marker=marker, ms=3, lw=1.2, color=colour, label=name)
        if goal is not None:
            axes.plot(*goal, "*", color="black", ms=10, label="minimum")
        axes.set_xlim(span[0], span[1])
        axes.set_ylim(span[2], span[3])
        axes.set_title(above, fontsize=9)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
    legend(drawn, grid[: len(panels)])
    if title:
        drawn.suptitle(title, fontsize=11)
    save_figure(drawn, path)


def points_and_plane(
    groups: Mapping[str, Array],
    plane: Callable[[Array, Array], Array],
    path: str | os.PathLike[str],
    title: str = "",
    labels: tuple[str, str, str] = ("x1", "x2", "x3"),
    angle: tuple[float, float] = (15.0, -60.0),
) -> None:
    """Points in space and a plane among them.

    Args:
        groups: points (N, 3) by the names of their groups.
        plane: the third coordinate over the first two, of arrays.
        path, title: as of `boundaries`.
        labels: the axes' names.
        angle: from where it is seen: elevation and azimuth in degrees.
    """
    drawn = figure(6.5, 5.2)
    axes: Any = drawn.add_subplot(projection="3d")
    every = np.concatenate([np.asarray(p, float) for p in groups.values()])
    low, high = every.min(axis=0), every.max(axis=0)
    x, y = np.meshgrid(np.linspace(low[0], high[0], 8), np.linspace(low[1], high[1], 8))
    z = np.asarray(plane(x, y), float)
    margin = 0.1 * (high[2] - low[2])
    z = np.where((z >= low[2] - margin) & (z <= high[2] + margin), z, np.nan)
    axes.plot_surface(x, y, z, color="0.6", alpha=0.35, edgecolor="0.5", linewidth=0.3)
    for k, (name, points) in enumerate(groups.items()):
        axes.scatter(
            *np.asarray(points, float).T, s=18, marker=MARKS[k], color=COLOURS[k], label=name
        )
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_zlabel(labels[2])
    axes.view_init(*angle)
    axes.legend(fontsize=8, loc="upper left")
    if title:
        drawn.suptitle(title, fontsize=11)
    save_figure(drawn, path)

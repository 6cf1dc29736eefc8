"""What lies in a plane or beside one: borders between classes, routes over hills, fitted planes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..typing import Array
from .canvas import COLOURS, DASHES, Sheet
from .charts import thinned
from .given import on_host, real

FINE = 150  # squares in each direction, in which a border is looked for
COARSE = 60  # points in each direction, between which a contour line is straight
MARKS = "os^vD"
PALE = ("#CFE5F2", "#F8DCC6", "#CBEBDF", "#F3DDE9", "#FAEBC9")  # COLOURS, laid on white


def boundaries(
    panels: Mapping[str, tuple[Callable[[Array], Array], Array, Array]],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    xlabel: str = "x1",
    ylabel: str = "x2",
    across: int = 3,
    *,
    axes: Any = None,
) -> Any:
    """The regions that classifiers of points in the plane make, with the points.

    Args:
        panels: for each panel's title what says the class of points, (N, 2) -> (N,) integers from
            0; the points (N, 2); and their classes (N,), of up to five.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        xlabel, ylabel: the axes' names.
        across: panels in a row, at most.
        axes: matplotlib's axes to draw on, one for each panel; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: there is nothing to draw; points are not (N, 2) with N classes of 0 to 4; the
            classifier does not answer (N,); the axes are not one for each panel.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    sheet = Sheet(
        "boundaries",
        len(panels),
        axes,
        lambda a, d: (max(3.3 * a + 0.4, 5.0), max(3.1 * d + 0.6, 4.2 if a == 1 else 0.0)),
        across,
    )
    from matplotlib.colors import ListedColormap

    for axes, (above, (classify, points, classes)) in zip(sheet.axes, panels.items(), strict=True):
        points = real("boundaries", "points", points, "(N, 2)")
        classes = real("boundaries", "classes", classes)
        if classes.shape != points.shape[:1] or not set(classes.tolist()) <= set(range(len(MARKS))):
            raise ValueError(
                f"boundaries: each point must have one class of 0 to {len(MARKS) - 1}; points has "
                f"shape {points.shape}, classes {classes.shape} of {sorted(set(classes.flat))}"
            )
        classes = classes.astype(int)
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.15 * (high - low)
        low, high = low - margin, high + margin
        x, y = (np.linspace(low[k], high[k], FINE) for k in (0, 1))
        places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        said = on_host(classify(places))
        if said.size != len(places):
            raise ValueError(
                f"boundaries: a class must be said of each of {len(places)} points; places has "
                f"shape {places.shape}, the answer {said.shape}"
            )
        said = said.reshape(FINE, FINE)
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
    sheet.legend()
    return sheet.finish(title, path)


def routes(
    panels: Mapping[str, Mapping[str, Array]],
    height: Callable[[Array, Array], Array],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    xlabel: str = "x",
    ylabel: str = "y",
    span: tuple[float, float, float, float] | None = None,
    levels: Sequence[float] | int = 15,
    goal: tuple[float, float] | None = None,
    across: int = 2,
    *,
    axes: Any = None,
) -> Any:
    """Paths of descent over the contour lines of what they descend.

    Args:
        panels: for each panel's title its paths by their names: (T, 2) points in order.
        height: the function, of x and y as arrays.
        path, title, xlabel, ylabel, across, axes: as of `boundaries`.
        span: what is shown: least and largest x, least and largest y; None for all paths.
        levels: of the contour lines, or how many.
        goal: the minimum, marked by a star.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: there is nothing to draw; a path is not (T, 2); the axes are not one for each
            panel.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    sheet = Sheet(
        "routes",
        len(panels),
        axes,
        lambda a, d: (7.0, 4.8) if a == d == 1 else (4.2 * a, 3.2 * d + 0.5),
        across,
    )
    panels = {
        above: {name: real("routes", f"path {name!r}", p, "(T, 2)") for name, p in paths.items()}
        for above, paths in panels.items()
    }
    several = [p for paths in panels.values() for p in paths.values()]
    every = np.concatenate([*several, np.zeros((0, 2))])
    if span is None and not len(every):
        raise ValueError("routes: there are no points, and span does not say what is shown")
    if span is None:
        low, high = every.min(axis=0), every.max(axis=0)
        margin = 0.1 * (high - low) + 1e-9
        span = (low[0] - margin[0], high[0] + margin[0], low[1] - margin[1], high[1] + margin[1])
    x, y = np.linspace(span[0], span[1], COARSE), np.linspace(span[2], span[3], COARSE)
    z = height(*np.meshgrid(x, y))
    names = list(dict.fromkeys(name for paths in panels.values() for name in paths))
    for axes, (above, paths) in zip(sheet.axes, panels.items(), strict=True):
        axes.contour(x, y, z, levels=levels, colors="0.75", linewidths=0.7)
        for name, points in paths.items():
            at = names.index(name)
            xs, ys = thinned(*points.T)
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
    sheet.legend()
    return sheet.finish(title, path)


def points_and_plane(
    groups: Mapping[str, Array],
    plane: Callable[[Array, Array], Array],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    labels: tuple[str, str, str] = ("x1", "x2", "x3"),
    angle: tuple[float, float] = (15.0, -60.0),
    *,
    ax: Any = None,
) -> Any:
    """Points in space and a plane among them.

    Args:
        groups: points (N, 3) by the names of their groups.
        plane: the third coordinate over the first two, of arrays.
        path, title: as of `boundaries`.
        labels: the axes' names.
        angle: from where it is seen: elevation and azimuth in degrees.
        ax: matplotlib's axes to draw on, made with projection="3d"; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: there is no group; points are not (N, 3); several axes, or axes of a plane.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    groups = {
        name: real("points_and_plane", f"points of {name!r}", p, "(N, 3)")
        for name, p in groups.items()
    }
    if not groups:
        raise ValueError("points_and_plane: there is nothing to draw")
    sheet = Sheet("points_and_plane", 1, ax, lambda a, d: (6.5, 5.2), projection="3d")
    (axes,) = sheet.axes
    if not hasattr(axes, "plot_surface"):
        raise ValueError('points_and_plane: ax must be made with projection="3d"')
    every = np.concatenate(list(groups.values()))
    low, high = every.min(axis=0), every.max(axis=0)
    x, y = np.meshgrid(np.linspace(low[0], high[0], 8), np.linspace(low[1], high[1], 8))
    z = np.asarray(plane(x, y), float)
    margin = 0.1 * (high[2] - low[2])
    z = np.where((z >= low[2] - margin) & (z <= high[2] + margin), z, np.nan)
    axes.plot_surface(x, y, z, color="0.6", alpha=0.35, edgecolor="0.5", linewidth=0.3)
    for k, (name, points) in enumerate(groups.items()):
        marker, colour = MARKS[k % len(MARKS)], COLOURS[k % len(COLOURS)]
        axes.scatter(*points.T, s=18, marker=marker, color=colour, label=name)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_zlabel(labels[2])
    axes.view_init(*angle)
    axes.legend(fontsize=8, loc="upper left")
    return sheet.finish(title, path)

"""What a classifier takes for what, and which pictures it gets wrong."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .canvas import Sheet, figure
from .given import named, on_host, real

Array = np.ndarray
WRITTEN = 25  # classes, of which each cell's number can be read


def confusion(truth: Array, said: Array, classes: int) -> Array:
    """How often class i was taken for class j: (C, C) counts, rows the truth."""
    counts = np.bincount((truth * classes + said).astype(np.intp), minlength=classes * classes)
    return counts.reshape(classes, classes)


def confusion_matrix(
    counts: Any,
    classes: Sequence[Any] = (),
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    *,
    ax: Any = None,
) -> Any:
    """How often each class was taken for each: a row for each true class.

    Numbers that are 0 are left out, and with more than 25 classes all.  The colour shows the
    mistakes, whose scale the diagonal would hide.

    Args:
        counts: (C, C), row t, column p: how often class t was taken for class p; or shares of its
            row; or a `metrics.ConfusionMatrix`.
        classes: their C names; without them they are numbers.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        ax: matplotlib's axes to draw on; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: the counts are not (C, C), of nothing, negative or not finite; not C names;
            several axes.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    if hasattr(counts, "compute"):
        counts = counts.compute()
    whole = on_host(counts).dtype.kind in "biu"
    n = real("confusion_matrix", "counts", counts, "(C, C)")
    if n.shape[0] != n.shape[1] or not n.size:
        raise ValueError(f"confusion_matrix: counts must be (C, C); it has shape {n.shape}")
    if not (np.isfinite(n).all() and (n >= 0).all()):
        raise ValueError(
            f"confusion_matrix: counts must be finite and not negative; of shape {n.shape}, the "
            f"least is {n.min()} and the largest {n.max()}"
        )
    names = named("confusion_matrix", "classes", classes or range(len(n)), len(n), n.shape)
    side = min(max(3.4, 1.6 + 0.44 * len(n)), 12.0)
    page = Sheet("confusion_matrix", 1, ax, lambda a, d: (side, side - 0.2))
    _draw_confusion(page.axes[0], n.astype(np.int64) if whole else n, names)
    return page.finish(title, path, 12)


def errors(
    pictures: Any,
    truth: Any,
    probabilities: Any,
    classes: Sequence[str],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    most: int = 32,
    *,
    axes: Any = None,
) -> Any:
    """The confusion matrix, and the pictures that are got wrong, the surest mistakes first.

    Args:
        pictures: (N, H, W).
        truth: their classes, integers (N,) of 0 to C-1.
        probabilities: what the model says, (N, C).
        classes: their C names.
        path, title: as of `confusion_matrix`.
        most: how many wrong pictures are shown.
        axes: matplotlib's axes to draw on: one for the matrix, and `most` for pictures; None: a new
            figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: the shapes do not fit, or a class is none of 0 to C-1; the axes are not as many.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    pictures, p = (
        real("errors", "pictures", pictures),
        real("errors", "probabilities", probabilities),
    )
    truth = real("errors", "truth", truth)
    count, names = len(classes), [str(name) for name in classes]
    if not (
        pictures.ndim == 3
        and truth.shape == pictures.shape[:1]
        and p.shape == (len(pictures), count)
        and set(truth.tolist()) <= set(range(count))
    ):
        raise ValueError(
            f"errors: pictures must be (N, H, W), truth (N,) of 0 to C-1 and probabilities (N, C) "
            f"for C = {count} classes; pictures has shape {pictures.shape}, truth {truth.shape} of "
            f"{truth.min(initial=0):g} to {truth.max(initial=0):g}, probabilities {p.shape}"
        )
    truth = truth.astype(np.intp)
    said = p.argmax(axis=1)  # (N,)
    wrong = np.flatnonzero(said != truth)
    left_out = len(wrong) - most
    wrong = wrong[np.argsort(-p[wrong, said[wrong]], kind="stable")][:most]
    about = f"{len(wrong) + max(left_out, 0)} of {len(truth):,} are wrong"
    if axes is None:
        across = 8
        down = max(1, -(-len(wrong) // across))
        drawn = figure(6.0 + 0.95 * across, max(5.0, 1.25 * down + 0.6))
        left, right = drawn.subfigures(1, 2, width_ratios=(6.0, 0.95 * across))
        grid = right.subplots(down, across, squeeze=False).ravel()
        right.suptitle(about + ("" if len(wrong) else ": nothing to show"))
        matrix = left.subplots()
        page = Sheet("errors", 1 + len(grid), [matrix, *grid], lambda a, d: (0.0, 0.0))
        page.own = True
    else:
        page = Sheet("errors", 1 + most, axes, lambda a, d: (0.0, 0.0))
    matrix, *rest = page.axes
    _draw_confusion(matrix, confusion(truth, said, count), names)
    for place in rest:
        place.set_axis_off()
    for place, k in zip(rest, wrong, strict=False):
        place.imshow(pictures[k], cmap="gray")
        place.set_title(
            f"{names[truth[k]]} taken for {names[said[k]]}\n{p[k, said[k]]:.0%}", fontsize=7
        )
    return page.finish(title, path, 12)


def _draw_confusion(axes: Any, counts: Array, classes: Sequence[str]) -> None:
    """The counts as a table; the colour shows the mistakes, whose scale the diagonal would hide."""
    mistakes = counts.astype(float)
    np.fill_diagonal(mistakes, 0.0)
    most, many = mistakes.max(), len(classes) > WRITTEN
    axes.imshow(mistakes, cmap="Reds", vmin=0.0, vmax=most or 1.0)
    for i, j in zip(*np.nonzero(counts), strict=True):
        if not many:
            dark = i != j and mistakes[i, j] > 0.6 * most
            colour = "white" if dark else "black" if i != j else "gray"
            number = f"{counts[i, j]}" if counts.dtype.kind == "i" else f"{counts[i, j]:.2f}"
            axes.text(j, i, number, ha="center", va="center", color=colour, fontsize=8)
    step = -(-len(classes) // WRITTEN)
    places = range(0, len(classes), step)
    long = max(map(len, classes)) > 3
    axes.set_xticks(places, classes[::step], rotation=90 if long else 0)
    axes.set_yticks(places, classes[::step])
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")

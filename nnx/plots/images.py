"""Pictures of what a network for images has learnt, and of what it gets wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .canvas import figure, save_figure

Array = np.ndarray


def filters(weight: Array, path: str | os.PathLike[str], title: str = "") -> None:
    """The kernels of a convolution, each as a small picture.

    Blue is negative, red positive, white zero; all share one scale.

    Args:
        weight: (O, C, kh, kw); for C > 1 the kernel of the channel with the largest weights.
        path: the PNG file.
        title: above the picture.
    """
    o, c = weight.shape[:2]
    strongest = np.abs(weight).sum(axis=(2, 3)).argmax(axis=1)  # (O,)
    kernels = weight[np.arange(o), strongest] if c > 1 else weight[:, 0]  # (O, kh, kw)
    most = float(np.abs(kernels).max()) or 1.0
    columns = min(8, o)
    rows = -(-o // columns)
    drawn = figure(0.9 * columns + 1.2, 0.9 * rows + 0.6)
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    shown = None
    for axes, kernel in zip(grid, kernels, strict=False):
        shown = axes.imshow(kernel, cmap="RdBu_r", vmin=-most, vmax=most)
    for axes in grid:
        axes.set_axis_off()
    drawn.colorbar(shown, ax=list(grid), shrink=0.7, label="weight")
    if title:
        drawn.suptitle(title)
    save_figure(drawn, path)


def sheet(
    pictures: Array, names: Sequence[str], path: str | os.PathLike[str], title: str = ""
) -> None:
    """Pictures in rows of eight, each with its name above it.

    Args:
        pictures: (N, H, W); dark on white.
        names: N of them.
        path: the PNG file.
        title: above the picture.
    """
    columns = min(8, len(pictures))
    rows = -(-len(pictures) // columns)
    drawn = figure(0.9 * columns + 0.3, 1.1 * rows + 0.6)
    grid = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axes, picture, name in zip(grid, pictures, names, strict=False):
        axes.imshow(picture, cmap="gray_r")
        axes.set_title(name, fontsize=9)
    for axes in grid:
        axes.set_axis_off()
    if title:
        drawn.suptitle(title)
    save_figure(drawn, path)


def mosaic(
    rows: Mapping[str, Array],
    path: str | os.PathLike[str],
    title: str = "",
    columns: Sequence[str] = (),
    signed: bool = False,
) -> None:
    """Rows of small pictures, laid side by side as one: a small file however many there are.

    Args:
        rows: the name of each row and its pictures, (N, H, W); dark where they are large.
        path: the PNG or SVG file.
        title: above the picture.
        columns: names above the columns, N of them.
        signed: blue is negative, red positive, and each picture has a scale of its own; else the
            values are shown from 0 to 1.
    """
    strips = []
    for pictures in rows.values():
        x = np.asarray(pictures, float)  # (N, H, W)
        if signed:
            x = x / np.maximum(np.abs(x).max(axis=(1, 2), keepdims=True), 1e-30)
        x = np.round(15 * x) / 15  # fine enough to be seen, and half the size
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=0.0)
        strips.append(np.concatenate(list(x), axis=1))  # (H + 2, N (W + 2))
    count = max(len(pictures) for pictures in rows.values())
    wide = max(strip.shape[1] for strip in strips)
    whole = np.concatenate([np.pad(s, ((0, 0), (0, wide - s.shape[1]))) for s in strips])
    aspect = whole.shape[0] / whole.shape[1]
    width = min(9.0, 1.6 + 0.6 * count)
    drawn = figure(width, (width - 1.4) * aspect + (0.7 if title else 0.3))
    axes = drawn.subplots()
    if signed:
        axes.imshow(whole, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="none")
    else:
        axes.imshow(whole, cmap="gray_r", vmin=0, vmax=1, interpolation="none")
    heights = [strip.shape[0] for strip in strips]
    axes.set_yticks(np.cumsum(heights) - np.asarray(heights) / 2, list(rows), fontsize=8)
    step = wide / count
    axes.set_xticks(step * (np.arange(len(columns)) + 0.5), list(columns), fontsize=8)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    for side in axes.spines.values():
        side.set_visible(False)
    if title:
        drawn.suptitle(title, fontsize=10)
    save_figure(drawn, path)


def confusion(truth: Array, said: Array, classes: int) -> Array:
    """How often class i was taken for class j: (C, C) counts, rows the truth."""
    counts = np.bincount((truth * classes + said).astype(np.intp), minlength=classes * classes)
    return counts.reshape(classes, classes)


def errors(
    pictures: Array,
    truth: Array,
    probabilities: Array,
    classes: Sequence[str],
    path: str | os.PathLike[str],
    title: str = "",
    most: int = 32,
) -> None:
    """The confusion matrix, and the pictures that are got wrong, the surest mistakes first.

    Args:
        pictures: (N, H, W).
        truth: their classes, integers (N,).
        probabilities: what the model says, (N, C).
        classes: their names.
        path: the PNG file.
        title: above the picture.
        most: how many wrong pictures are shown.
    """
    said = probabilities.argmax(axis=1)  # (N,)
    wrong = np.flatnonzero(said != truth)
    wrong = wrong[np.argsort(-probabilities[wrong, said[wrong]], kind="stable")][:most]
    columns = 8
    rows = max(1, -(-len(wrong) // columns))
    drawn = figure(6.0 + 0.95 * columns, max(5.0, 1.25 * rows + 0.6))
    left, right = drawn.subfigures(1, 2, width_ratios=(6.0, 0.95 * columns))
    _draw_confusion(left.subplots(), confusion(truth, said, len(classes)), classes)
    grid = right.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, k in zip(grid, wrong, strict=False):
        axes.imshow(pictures[k], cmap="gray")
        axes.set_title(
            f"{classes[truth[k]]} taken for {classes[said[k]]}\n{probabilities[k, said[k]]:.0%}",
            fontsize=7,
        )
    count = int(np.sum(said != truth))
    right.suptitle(f"{count} of {len(truth):,} are wrong" + ("" if count else ": nothing to show"))
    if title:
        drawn.suptitle(title)
    save_figure(drawn, path)


def _draw_confusion(axes: Any, counts: Array, classes: Sequence[str]) -> None:
    """The counts as a table; the colour shows the mistakes, whose scale the diagonal would hide."""
    mistakes = counts.astype(float)
    np.fill_diagonal(mistakes, 0.0)
    axes.imshow(mistakes, cmap="Reds", vmax=max(1.0, mistakes.max()))
    for i in range(len(classes)):
        for j in range(len(classes)):
            if counts[i, j]:
                dark = i != j and mistakes[i, j] > 0.6 * mistakes.max()
                colour = "white" if dark else "black" if i != j else "gray"
                axes.text(j, i, counts[i, j], ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")

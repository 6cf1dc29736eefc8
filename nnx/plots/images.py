"""Pictures: the filters of a convolution, sheets and mosaics of examples."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .canvas import Sheet
from .given import named, real

Array = np.ndarray


def filters(
    weight: Any, path: str | os.PathLike[str] | None = None, title: str = "", *, ax: Any = None
) -> Any:
    """The kernels of a convolution, each as a small picture, in rows of eight.

    Blue is negative, red positive, white zero; all share one scale, which a bar beside them tells
    in a new figure (beside axes of your own: `figure.colorbar(ax.images[0], ax=ax)`).  Grey is
    what lies between them, and numbers that are not finite.

    Args:
        weight: (O, C, kh, kw); for C > 1 the kernel of the channel with the largest weights.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        ax: matplotlib's axes to draw on; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: the weight is not (O, C, kh, kw), or empty; several axes.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    weight = real("filters", "weight", weight, "(O, C, kh, kw)")
    if not weight.size:
        raise ValueError(f"filters: weight has no numbers; its shape is {weight.shape}")
    weight = np.where(np.isfinite(weight), weight, np.nan)
    strongest = np.nansum(np.abs(weight), axis=(2, 3)).argmax(axis=1)  # (O,)
    kernels = weight[np.arange(len(weight)), strongest]  # (O, kh, kw)
    most = float(np.nanmax(np.abs(kernels), initial=0.0)) or 1.0
    across = min(8, len(kernels))
    down = -(-len(kernels) // across)
    sheet = Sheet("filters", 1, ax, lambda a, d: (0.9 * across + 1.2, 0.9 * down + 0.6))
    (axes,) = sheet.axes
    from matplotlib import colormaps

    colours = colormaps["RdBu_r"].with_extremes(bad="0.8")
    shown = axes.imshow(tiled(kernels, across), cmap=colours, vmin=-most, vmax=most)
    axes.set_axis_off()
    if sheet.own:
        sheet.figure.colorbar(shown, ax=axes, shrink=0.7, label="weight")
    return sheet.finish(title, path, 12)


def tiled(pictures: Array, across: int) -> Array:
    """Pictures (N, H, W) side by side as one, NaN between them and where there are none left.

    Args:
        pictures: what is laid down, row by row.
        across: how many are in a row.
    """
    n, h, w = pictures.shape
    down = -(-n // across)
    gap = max(1, max(h, w) // 8) if max(h, w) > 1 else 0
    whole = np.full((down, across, h + gap, w + gap), np.nan)
    whole.reshape(-1, h + gap, w + gap)[:n, :h, :w] = pictures
    whole = whole.swapaxes(1, 2).reshape(down * (h + gap), across * (w + gap))
    return whole[: len(whole) - gap, : whole.shape[1] - gap]


def sheet(
    pictures: Any,
    names: Sequence[str],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    *,
    axes: Any = None,
) -> Any:
    """Pictures in rows of eight, each with its name above it.

    Args:
        pictures: (N, H, W); dark on white.
        names: N of them.
        path, title: as of `filters`.
        axes: matplotlib's axes to draw on, one for each picture; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: the pictures are not (N, H, W), or there are none, or not N names; the axes
            are not one for each.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    pictures = real("sheet", "pictures", pictures, "(N, H, W)")
    names = named("sheet", "names", names, len(pictures), pictures.shape)
    page = Sheet("sheet", len(pictures), axes, lambda a, d: (0.9 * a + 0.3, 1.1 * d + 0.6), 8)
    for axes, picture, name in zip(page.axes, pictures, names, strict=True):
        axes.imshow(picture, cmap="gray_r")
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    return page.finish(title, path, 12)


def mosaic(
    rows: Mapping[str, Array],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    columns: Sequence[str] = (),
    signed: bool = False,
    *,
    ax: Any = None,
) -> Any:
    """Rows of small pictures, laid side by side as one: a small file however many there are.

    Args:
        rows: the name of each row and its pictures, (N, H, W); dark where they are large.
        path, title: as of `filters`.
        columns: names above the columns, N of them.
        signed: blue is negative, red positive, and each picture has a scale of its own; else the
            values are shown from 0 to 1.
        ax: matplotlib's axes to draw on; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: pictures that are not (N, H, W), or none; not a name for each column; several
            axes.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    strips = []
    for name, pictures in rows.items():
        x = real("mosaic", f"row {name!r}", pictures, "(N, H, W)")
        if not x.size:
            raise ValueError(f"mosaic: row {name!r} has no pictures; its shape is {x.shape}")
        if signed:
            x = x / np.maximum(np.abs(x).max(axis=(1, 2), keepdims=True), 1e-30)
        x = np.round(15 * x) / 15  # fine enough to be seen, and half the size
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=0.0)
        strips.append(np.concatenate(list(x), axis=1))  # (H + 2, N (W + 2))
    if not strips:
        raise ValueError("mosaic: there is nothing to draw")
    count = max(len(pictures) for pictures in rows.values())
    if len(columns) not in (0, count):
        raise ValueError(f"mosaic: {count} columns need as many names, {len(columns)} are given")
    wide = max(strip.shape[1] for strip in strips)
    whole = np.concatenate([np.pad(s, ((0, 0), (0, wide - s.shape[1]))) for s in strips])
    aspect = whole.shape[0] / whole.shape[1]
    width = min(9.0, 1.6 + 0.6 * count)
    height = (width - 1.4) * aspect + (0.7 if title else 0.3)
    page = Sheet("mosaic", 1, ax, lambda a, d: (width, height))
    (axes,) = page.axes
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
    return page.finish(title, path, 10)

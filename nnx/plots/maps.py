"""Where attention looks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .canvas import Sheet
from .given import named, real

WRITTEN = 60  # names along an axis that can be read


def attention(
    weights: Any,
    rows: Sequence[Any] = (),
    columns: Sequence[Any] = (),
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    names: Sequence[Any] = (),
    across: int = 4,
    *,
    axes: Any = None,
) -> Any:
    """Attention maps: a row for what looks (the query), a column for what is looked at (the key).

    The darker, the larger the weight; all maps share one scale from 0 to the largest weight, which
    a bar tells in a new figure.  Hatched is what looks nowhere: its weights are NaN.

        _, weights = attention_layer(x, x, x, average_attn_weights=False)   # (N, H, L, S)
        nnx.plots.attention(weights[0], words, words)                       # H maps

    Args:
        weights: (L, S), one map; or (H, L, S), one for each head.
        rows, columns: L and S names; without them they are numbers.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        names: of the maps; without them heads are counted.
        across: maps in a row, at most.
        axes: matplotlib's axes to draw on, one for each map; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: the weights are neither (L, S) nor (H, L, S), or there are none; names are not
            as many as what they name; the axes are not one for each map.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    w = real("attention", "weights", weights)
    if w.ndim not in (2, 3) or not w.size:
        rule = "weights must be (L, S), or (H, L, S) for H heads"
        batch = ": of a batch choose one example, weights[0]" if w.ndim == 4 else ""
        raise ValueError(f"attention: {rule}; it has shape {w.shape}{batch}")
    maps = w[None] if w.ndim == 2 else w  # (H, L, S)
    heads, long, wide = maps.shape
    above = [f"head {k}" for k in range(heads)] if w.ndim == 3 else [""]
    if names:
        above = named("attention", "names", names, heads, w.shape)
    left = named("attention", "rows", rows or range(long), long, w.shape)
    below = named("attention", "columns", columns or range(wide), wide, w.shape)
    several = heads > 1
    size = (  # inches of a map: of letters that can be read, but not beyond a page
        min(max(0.17 * wide + 1.0, 2.2), 4.0 if several else 12.0),
        min(max(0.19 * long + 0.8, 1.8), 4.0 if several else 12.0),
    )
    sheet = Sheet(
        "attention", heads, axes, lambda a, d: (size[0] * a + 0.9, size[1] * d + 0.4), across
    )
    finite = maps[np.isfinite(maps)]
    most = float(finite.max(initial=0.0)) or 1.0
    for place, values, name in zip(sheet.axes, maps, above, strict=True):
        place.patch.set(hatch="////", edgecolor="0.7", facecolor="white")
        seen = np.where(np.isfinite(values), values, np.nan)
        place.imshow(seen, cmap="Greys", vmin=0.0, vmax=most, aspect="auto" if several else "equal")
        small = 8 if max(long, wide) <= WRITTEN / (2 if several else 1) else 6
        for count, texts, put in ((wide, below, place.set_xticks), (long, left, place.set_yticks)):
            step = -(-count // (WRITTEN // (2 if several else 1)))
            put(range(0, count, step), texts[::step], fontsize=small)
        if max(map(len, below)) > 2:
            place.tick_params("x", rotation=90)
        if name:
            place.set_title(name, fontsize=9)
    sheet.label("key", "query")
    if sheet.own:
        shown = sheet.axes[0].images[0]
        sheet.figure.colorbar(shown, ax=sheet.axes, shrink=0.8, label="weight")
    return sheet.finish(title, path)

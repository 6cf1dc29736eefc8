"""Where time goes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .canvas import Sheet

Spent = Mapping[str, tuple[float, float]]  # layer -> seconds forward and backward


def layer_times(
    networks: Mapping[str, Spent],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    *,
    axes: Any = None,
) -> Any:
    """The time of each layer of a network as several libraries compute it, as bars.

    On the left the times as shares of the first library's whole time, forward and backward; on the
    right the same bars, each drawn to full width, so that the quick ones can be read as well.

    Args:
        networks: what each library spent; layers that are missing in one are computed together
            with the one before.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        axes: two of matplotlib's axes to draw on; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: nothing was spent; not two axes.
        TypeError: what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    if not networks or min(sum(map(sum, spent.values())) for spent in networks.values()) <= 0:
        raise ValueError(f"layer_times: every library must have spent some time, got {networks}")
    layers = list(dict.fromkeys(row for spent in networks.values() for row in spent))
    whole = sum(sum(pair) for pair in next(iter(networks.values())).values())
    sheet = Sheet("layer_times", 2, axes, lambda a, d: (11.0, 1.4 + 0.75 * len(networks)), 2, True)
    left, right = sheet.axes
    ticks: list[tuple[float, str]] = []
    for k, (name, spent) in enumerate(networks.items()):
        for direction, (what, hatch) in enumerate((("forward", ""), ("backward", "//"))):
            y = -k - 0.4 * direction
            ticks.append((y, f"{name}, {what}" if direction == 0 else what))
            total = sum(pair[direction] for pair in spent.values()) or 1.0
            for axes, scale in ((left, whole), (right, total)):
                start = 0.0
                for row, pair in spent.items():
                    width = 100 * pair[direction] / scale
                    label = row if axes is left and k == direction == 0 else None
                    colour = f"C{layers.index(row)}"
                    axes.barh(
                        y, width, 0.36, start, color=colour, label=label, hatch=hatch, alpha=0.85
                    )
                    start += width
    left.set_yticks(*zip(*ticks, strict=True), fontsize=8)
    first = next(iter(networks))
    left.set_xlabel(f"% of the time of {first}")
    right.set_xlabel("% of its own time, forward or backward")
    sheet.legend(len(layers))
    return sheet.finish(title, path, 12)

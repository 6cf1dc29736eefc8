"""Where time goes."""

from __future__ import annotations

import os
from collections.abc import Mapping

from .canvas import figure, save_figure

Spent = Mapping[str, tuple[float, float]]  # layer -> seconds forward and backward


def layer_times(
    networks: Mapping[str, Spent], path: str | os.PathLike[str], title: str = ""
) -> None:
    """The time of each layer of a network as several libraries compute it, as bars.

    On the left the times as shares of the first library's whole time, forward and backward; on the
    right the same bars, each drawn to full width, so that the quick ones can be read as well.

    Args:
        networks: what each library spent; layers that are missing in one are computed together
            with the one before.
        path: the PNG file.
        title: above the picture.
    """
    layers = list(dict.fromkeys(row for spent in networks.values() for row in spent))
    whole = sum(sum(pair) for pair in next(iter(networks.values())).values())
    drawn = figure(11.0, 1.4 + 0.75 * len(networks))
    left, right = drawn.subplots(1, 2, sharey=True)
    ticks: list[tuple[float, str]] = []
    for k, (name, spent) in enumerate(networks.items()):
        for direction, (what, hatch) in enumerate((("forward", ""), ("backward", "//"))):
            y = -k - 0.4 * direction
            ticks.append((y, f"{name}, {what}" if direction == 0 else what))
            total = sum(pair[direction] for pair in spent.values())
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
    drawn.legend(loc="outside lower center", ncols=len(layers), fontsize=8)
    if title:
        drawn.suptitle(title)
    save_figure(drawn, path)

"""Figures without windows, saved whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ..backends import is_installed
from ..io import printable, replacing

# Okabe and Ito's colours, which people with any kind of colour blindness can tell apart.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442"
)  # fmt: skip
DASHES = ("-", "--", "-.", ":")  # a second difference, for whoever prints in grey


def available() -> bool:
    """Whether matplotlib is installed."""
    return is_installed("matplotlib")


def figure(width: float = 7.0, height: float = 4.5) -> Any:
    """A matplotlib Figure, width by height inches, to be saved with `save_figure`.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    if not available():
        raise RuntimeError("pictures need matplotlib: pip install matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def panes(
    count: int,
    across: int,
    size: Callable[[int, int], tuple[float, float]],
    share: bool = False,
) -> tuple[Any, Any, int]:
    """An empty figure of several panels, and what is left of its last row made invisible.

    Args:
        count: the panels.
        across: how many stand in a row, at most.
        size: width and height in inches, of the numbers of panels across and down.
        share: whether all have the same range of y.

    Returns:
        The figure; its axes in one row, of which the first `count` are used; the panels in a row.
    """
    across = min(across, count)
    down = -(-count // across)
    drawn = figure(*size(across, down))
    grid = drawn.subplots(down, across, squeeze=False, sharey=share).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    return drawn, grid, across


def save_figure(drawn: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure, whole or not at all.

    All its text is shown as it is: a dollar sign begins no formula.  Characters that no font of
    this machine has are written as Python writes them.

    Args:
        drawn: a matplotlib Figure.
        path: the file; its ending says of which kind (.png, .svg, .pdf), PNG without one.

    Raises:
        ValueError: matplotlib writes no such kind.
    """
    form = Path(path).suffix[1:].lower() or "png"
    known = drawn.canvas.get_supported_filetypes()
    if form not in known:
        raise ValueError(
            f"{path}: pictures cannot be written as .{form}, but as {', '.join(sorted(known))}"
        )
    families = _families()
    for text in drawn.findobj(_is_text):
        text.set_parse_math(False)
        text.set_fontfamily(families)
        text.set_text(_drawable(text.get_text(), families))
    from matplotlib import rc_context

    # The same picture is the same file: without a date, with names that are not drawn at random.
    more = {"metadata": {"Date": None}} if form == "svg" else {}
    settings = {"svg.hashsalt": "nnx", "svg.fonttype": "none"}
    with replacing(path) as beside, rc_context(settings):
        drawn.savefig(beside, format=form, dpi=120, **more)
        if form == "svg":
            beside.write_text(_slim(beside.read_text("utf-8")), "utf-8")


def _slim(svg: str) -> str:
    """Hundredths of a pixel are fine enough; text is text, in a font of the same width."""
    svg = svg.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    return re.sub(
        r'( (?:d|x|y)=")([^"]*)', lambda m: m[1] + re.sub(r"(\.\d\d)\d+", r"\1", m[2]), svg
    )


def _is_text(artist: Any) -> bool:
    return hasattr(artist, "set_parse_math")


# Fonts with Chinese, Japanese and Korean characters, as systems have them.
_EASTERN = (
    "Noto Sans CJK SC, Noto Sans CJK JP, Noto Sans SC, Source Han Sans SC, WenQuanYi Micro Hei, "
    "WenQuanYi Zen Hei, Droid Sans Fallback, Microsoft YaHei, SimHei, PingFang SC, "
    "Hiragino Sans GB, Hiragino Sans, Heiti SC, Malgun Gothic, Arial Unicode MS"
).split(", ")


@cache
def _families() -> tuple[str, ...]:
    """matplotlib's own font, and behind it those of this machine with eastern characters."""
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return ("DejaVu Sans", *[name for name in _EASTERN if name in there])


@cache
def _characters(families: tuple[str, ...]) -> frozenset[int]:
    """What these fonts can show."""
    from matplotlib import font_manager, ft2font

    shown: set[int] = set()
    for family in families:
        shown |= ft2font.FT2Font(font_manager.findfont(family)).get_charmap().keys()
    return frozenset(shown)


def _drawable(text: str, families: tuple[str, ...]) -> str:
    """A text without what acts, and without what no font has; its own lines are kept."""
    lines = [printable(line) for line in text.split("\n")]
    if text.isascii():
        return "\n".join(lines)
    there = _characters(families)
    return "\n".join(
        "".join(c if ord(c) in there else c.encode("unicode_escape").decode() for c in line)
        for line in lines
    )

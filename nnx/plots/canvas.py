"""Figures without windows, saved whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
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
    """A matplotlib Figure, width by height inches; a notebook shows it, `save_figure` saves it.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    if not available():
        raise RuntimeError("pictures need matplotlib: pip install matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from .shown import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


class Sheet:
    """What a picture is drawn on: panels of a new figure, or axes that the caller gave.

    Args:
        plot: the function that draws, for its errors.
        count: how many panels it needs.
        given: matplotlib's axes, one or several in any arrangement; None: a new figure.
        size: width and height in inches of a new figure, of the numbers of panels across and down.
        across: how many panels stand in a row of a new figure, at most.
        share: whether all panels of a new figure have the same range of y.
        projection: matplotlib's, such as "3d", of the panels of a new figure.

    Attributes:
        figure: matplotlib's.
        axes: the panels, `count` of them.
        own: whether the figure is a new one.
        across: how many panels stand in a row; 1 of given ones, so that each has its labels.

    Raises:
        ValueError: there is nothing to draw; too few or too many axes are given.
        TypeError: what is given are no axes of matplotlib.
        RuntimeError: matplotlib is not installed.
    """

    def __init__(
        self,
        plot: str,
        count: int,
        given: Any,
        size: Callable[[int, int], tuple[float, float]],
        across: int = 1,
        share: bool = False,
        projection: str | None = None,
    ) -> None:
        if count < 1:
            raise ValueError(f"{plot}: there is nothing to draw")
        if across < 1:
            raise ValueError(f"{plot}: across must be at least 1, got {across}")
        self.own = given is None
        self.axes: list[Any]
        if given is not None:
            self.across = 1
            self.axes = _axes_of(plot, given, count)
            self.figure = self.axes[0].figure.figure  # of a part of a figure, the whole
            self._theirs = {text: text.get_text() for text in _texts(self.axes)}
            self._formats = {axis: axis.get_major_formatter() for axis in _scales(self.axes)}
            return
        self.across = min(across, count)
        down = -(-count // self.across)
        self.figure = figure(*size(self.across, down))
        grid = self.figure.subplots(
            down, self.across, squeeze=False, sharey=share, subplot_kw={"projection": projection}
        ).ravel()
        for axes in grid[count:]:
            axes.set_axis_off()
        self.axes = list(grid[:count])

    def label(self, xlabel: str, ylabel: str) -> None:
        """Name the axes: x below the lowest panel of each column, y left of the first ones."""
        for k, axes in enumerate(self.axes):
            if not self.own or k >= len(self.axes) - self.across:
                axes.set_xlabel(xlabel)
            if k % self.across == 0:
                axes.set_ylabel(ylabel)

    def legend(self, columns: int = 4) -> None:
        """One legend for all panels, below them; given axes have one each, inside."""
        if not self.own:
            for axes in self.axes:
                if axes.get_legend_handles_labels()[1]:
                    axes.legend(fontsize=8)
            return
        shown: dict[str, Any] = {}
        for axes in self.axes:
            handles, names = axes.get_legend_handles_labels()
            shown |= dict(zip(names, handles, strict=True))
        if shown:
            self.figure.legend(
                shown.values(), shown.keys(), loc="outside lower center", ncols=columns, fontsize=8
            )

    def finish(self, title: str, path: str | os.PathLike[str] | None, size: float = 11) -> Any:
        """Put the title, write the file where one is wanted, and return the figure.

        Args:
            title: above a new figure, or above several given axes; on a single one given, its own.
            path: the file, or None.
            size: of the title's letters, in points.
        """
        if title and len(self.axes) == 1 and not self.own:
            self.axes[0].set_title(title)
        elif title:
            self.figure.suptitle(title, fontsize=size)
        _as_written(self.figure.findobj(_is_text) if self.own else self._written())
        if path is not None:
            _write(self.figure, path)
        return self.figure

    def _written(self) -> list[Any]:
        """The texts that were put on given axes; others may hold formulas that are meant."""
        ticks = {axis: axis.get_ticklabels() for axis in _scales(self.axes)}
        numbers = {label for labels in ticks.values() for label in labels}
        texts = [t for t in _texts(self.axes) if self._theirs.get(t) != t.get_text()]
        named = [a for a, before in self._formats.items() if a.get_major_formatter() is not before]
        return [t for t in texts if t not in numbers] + [t for a in named for t in ticks[a]]


def _texts(several: list[Any]) -> list[Any]:
    return [text for axes in several for text in axes.findobj(_is_text)]


def _scales(several: list[Any]) -> list[Any]:
    """The axis objects of axes, two each, or three in space."""
    every = [getattr(axes, f"{k}axis", None) for axes in several for k in "xyz"]
    return [axis for axis in every if axis is not None]


def _axes_of(plot: str, given: Any, count: int) -> list[Any]:
    """The axes that were given, in a row."""
    from matplotlib.axes import Axes

    several = given.ravel().tolist() if hasattr(given, "ravel") else given
    several = [several] if isinstance(several, Axes) else several
    if not isinstance(several, list | tuple) or not all(isinstance(a, Axes) for a in several):
        raise TypeError(
            f"{plot}: what is drawn on must be axes of matplotlib, as Figure.subplots() gives, not "
            f"{type(given).__name__}"
        )
    if len(several) != count:
        raise ValueError(f"{plot}: {count} axes are needed, {len(several)} are given")
    return list(several)


def logarithmic(axes: Any, axis: Any) -> None:
    """Make an axis logarithmic, with numbers that need no formulas: 0.01, 1e-05.

    Args:
        axes: matplotlib's.
        axis: its `xaxis` or `yaxis`.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    (axes.set_xscale if axis is axes.xaxis else axes.set_yscale)("log")
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())
    low, high = axis.get_view_interval()
    if high < 50 * low:  # else a single number would stand there, or none
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))


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
    _as_written(drawn.findobj(_is_text))
    _write(drawn, path)


def _as_written(texts: Iterable[Any]) -> None:
    """Show texts as they are written, but for what no font has."""
    families = _families()
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(families)
        text.set_text(_drawable(text.get_text(), families))


def _write(drawn: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as it is, whole or not at all."""
    form = Path(path).suffix[1:].lower() or "png"
    known = drawn.canvas.get_supported_filetypes()
    if form not in known:
        raise ValueError(
            f"{path}: pictures cannot be written as .{form}, but as {', '.join(sorted(known))}"
        )
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

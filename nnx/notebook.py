"""How things look in a notebook: HTML tables, and curves as SVG.

What has `_repr_html_` is shown by Jupyter as the HTML that this method returns.  No colours and no
fonts are chosen here, so that it looks as the notebook does, dark or light.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from numbers import Integral, Real
from typing import Any

__all__ = ["curves", "ends", "matrix", "number", "pairs", "table"]

WIDTH, HEIGHT, EDGE = 300, 124, 4  # of curves, and what is left free around them
LEFT = 56  # of the numbers left of them
STROKES = ("", "6 3", "2 2", "8 3 2 3")  # curves differ by their dashes
LONGEST = 200  # characters of a cell
MOST_ROWS = 100  # of a table
POINTS = 500  # of a curve: more cannot be told apart


def table(columns: Sequence[Any], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """An HTML table; of a long one both ends.

    Args:
        columns: its header.
        rows: its cells; numbers stand to the right.
        caption: what stands above it.
    """
    rows = list(rows)
    sides = [
        "right" if any(_is_number(row[k]) for row in rows if k < len(row)) else "left"
        for k in range(max([len(columns), *map(len, rows)]))
    ]
    head = "".join(
        f'<th style="text-align:{side}">{_text(c)}</th>'
        for c, side in zip(columns, sides, strict=False)
    )
    title = f'<caption style="text-align:left">{_text(caption)}</caption>' if caption else ""
    body = "".join(
        f"<tr>{''.join(map(_cell, ['⋮'] * len(sides) if k is None else rows[k], sides))}</tr>"
        for k in ends(len(rows), MOST_ROWS)
    )
    head = f"<thead><tr>{head}</tr></thead>" if any(str(c) for c in columns) else ""
    return (
        '<div style="overflow-x:auto;max-width:100%">'
        f"<table>{title}{head}<tbody>{body}</tbody></table></div>"
    )


def pairs(rows: Iterable[tuple[str, Any]], caption: str = "") -> str:
    """A table of two columns, names and what they stand for, without a header.

    Args:
        rows: the names, and the things.
        caption: what stands above it.
    """
    return table(("", ""), [(name, number(v) if _is_number(v) else v) for name, v in rows], caption)


def _text(value: Any) -> str:
    """A text as HTML, cut where it is long."""
    text = str(value)
    return escape(text if len(text) <= LONGEST else text[: LONGEST - 1] + "…")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _cell(value: Any, side: str) -> str:
    """A cell; in a column with numbers all stand to the right."""
    text = number(value) if _is_number(value) else _text(value)
    return f'<td style="text-align:{side}">{text}</td>'


def number(value: Any) -> str:
    """A number in few characters.

    Args:
        value: whole or not, NaN and infinity too.
    """
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, Integral):
        return f"{int(value):,}"
    return f"{float(value):.4g}" if isinstance(value, Real) else f"{value}"


def ends(n: int, most: int = 10) -> list[int | None]:
    """The numbers 0 .. n-1, or of many both ends, with None for those between.

    Args:
        n: how many there are.
        most: how many are kept.
    """
    if n <= most:
        return list(range(n))
    half = most // 2
    return [*range(half), None, *range(n - half, n)]


def matrix(shape: Sequence[int], values: Sequence[Any]) -> str:
    """A vector or a matrix as a table; of a large one its corners.

    Args:
        shape: (n,) or (n, m).
        values: its numbers as (nested) lists, only those at the places that `ends` gives.
    """
    flat = len(shape) == 1
    columns = ends(shape[-1])
    rows = [0] if flat else ends(shape[0])
    left = iter([values] if flat else values)
    cells = []
    for k in rows:
        line = iter([] if k is None else next(left))
        head = "" if flat else "⋮" if k is None else k
        cells.append([head, *["…" if j is None else next(line, "⋮") for j in columns]])
    return table(["", *["…" if j is None else j for j in columns]], cells)


def curves(
    series: Mapping[Any, Sequence[Any]], along: str = "epoch", bounds: tuple[str, str] | None = None
) -> str:
    """Curves over 1, 2, 3, ... as an SVG; what is not finite is a gap.

    Args:
        series: a name -> its values; None, and what is no number, is a gap too.
        along: what is counted below it.
        bounds: what stands below the first and the last of them; None: their numbers.
    """
    told = {name: [_finite(v) for v in values] for name, values in series.items()}
    finite = [v for values in told.values() for v in values if v is not None]
    longest = max(map(len, told.values()), default=0)
    if longest < 2 or not finite:
        return ""
    low, high = min(finite), max(finite)
    size = max(abs(low), abs(high)) or 1.0  # differences stay finite
    span = (high / size - low / size) or 1.0
    first, last = bounds or ("1", f"{longest:,}")

    def place(i: int, v: float) -> str:
        x = EDGE + (WIDTH - 2 * EDGE) * i / (longest - 1)
        y = HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (v / size - low / size) / span
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<path d="M1 0V{HEIGHT - 1}H{WIDTH}" fill="none" stroke="currentColor" '
        'stroke-opacity="0.4"></path>'
    ]
    step = -(-longest // POINTS)
    for k, values in enumerate(told.values()):
        dash = STROKES[k % len(STROKES)]
        line = f'fill="none" stroke="currentColor" stroke-width="1.5" stroke-dasharray="{dash}"'
        shown = [place(i, v) if v is not None else "" for i, v in enumerate(values)]
        shown = [*shown[:-1:step], *shown[-1:]]
        for points in _runs(shown):
            points = [*points, points[0]] if len(points) == 1 else points
            parts.append(
                f'<polyline points="{" ".join(points)}" stroke-linecap="round" {line}></polyline>'
            )
    legend = " &#160; ".join(
        f'<svg width="30" height="8"><path d="M0 4H30" fill="none" stroke="currentColor" '
        f'stroke-width="1.5" stroke-dasharray="{STROKES[k % len(STROKES)]}"></path></svg> '
        f"{_text(name)}"
        for k, name in enumerate(told)
    )
    names = escape(", ".join(map(str, told)), quote=True)
    apart = "display:flex;justify-content:space-between"
    # No text in the SVG: where a notebook is not trusted it is taken out, and text would be left.
    return (
        f'<div style="display:inline-block;margin-right:1em;max-width:100%">'
        f'<div style="display:flex"><div style="width:{LEFT}px;padding-right:4px;text-align:right;'
        f'font-size:11px;line-height:1;flex-direction:column;{apart}"><div>{high:.4g}</div>'
        f"<div>{f'{low:.4g}' if high > low else ''}</div></div>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'style="flex-shrink:1;min-width:0" role="img" aria-label="{names}">{"".join(parts)}</svg>'
        f'</div><div style="margin-left:{LEFT + 4}px;max-width:{WIDTH}px;font-size:11px;{apart}">'
        f"<div>{_text(first)}</div><div>{_text(along)}</div><div>{_text(last)}</div></div>"
        f'<div style="margin-left:{LEFT + 4}px">{legend}</div></div>'
    )


def _finite(value: Any) -> float | None:
    """A number that can be drawn, or None."""
    try:
        return float(value) if math.isfinite(value) else None
    except (TypeError, ValueError, OverflowError):
        return None


def _runs(points: list[str]) -> list[list[str]]:
    """The points that follow each other without a gap."""
    found: list[list[str]] = [[]]
    for point in points:
        if point:
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]

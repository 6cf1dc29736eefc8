"""How things look in a notebook: HTML tables, and curves as SVG.

What has `_repr_html_` is shown by Jupyter as the HTML that this method returns.  No colours and no
fonts are chosen here, so that it looks as the notebook does, dark or light.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["curves", "numbers", "table"]

WIDTH, HEIGHT, EDGE = 360, 140, 8
STROKES = ("", "6 3", "2 2", "8 3 2 3")  # curves differ by their dashes


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """An HTML table.

    Args:
        columns: its header.
        rows: its cells; numbers stand to the right.
        caption: what stands above it.
    """
    head = "".join(f"<th>{escape(str(c))}</th>" for c in columns)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f'<td style="text-align:left">{escape(str(value))}</td>'
    text = f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
    return f'<td style="text-align:right">{text}</td>'


def numbers(values: Sequence[Any], most: int = 10) -> str:
    """A vector or a matrix, given as nested lists, as a table; of a long one both ends.

    Args:
        values: the rows, lists of numbers; or one list of numbers.
        most: how many rows and columns are shown.
    """
    rows = [row if isinstance(row, list) else [row] for row in values]
    if not (values and isinstance(values[0], list)):
        rows = [list(values)]
    wide = max(map(len, rows), default=0)
    columns = _ends(wide, most)
    shown = [
        ["⋮" if k is None else k]
        + ["…" if j is None else ("⋮" if k is None else rows[k][j]) for j in columns]
        for k in _ends(len(rows), most)
    ]
    return table(["", *["…" if j is None else str(j) for j in columns]], shown)


def _ends(n: int, most: int) -> list[int | None]:
    if n <= most:
        return list(range(n))
    half = most // 2
    return [*range(half), None, *range(n - half, n)]


def curves(series: Mapping[str, Sequence[float]]) -> str:
    """Curves over 1, 2, 3, ... as an SVG; what is not finite is left out.

    Args:
        series: a name -> its values.
    """
    finite = [v for values in series.values() for v in values if math.isfinite(v)]
    longest = max(map(len, series.values()), default=0)
    if longest < 2 or not finite:
        return ""
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    parts = []
    for k, (name, values) in enumerate(series.items()):
        points = " ".join(
            f"{EDGE + (WIDTH - 2 * EDGE) * i / (longest - 1):.1f},"
            f"{HEIGHT - EDGE - (HEIGHT - 2 * EDGE) * (v - low) / span:.1f}"
            for i, v in enumerate(values)
            if math.isfinite(v)
        )
        dash = STROKES[k % len(STROKES)]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="currentColor" '
            f'stroke-dasharray="{dash}"><title>{escape(name)}</title></polyline>'
        )
    names = ", ".join(
        f"{escape(name)} {'—' if not STROKES[k % len(STROKES)] else '- -'}"
        for k, name in enumerate(series)
    )
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="{names}">{"".join(parts)}'
        f"</svg><div>{names}; {low:.4g} to {high:.4g}</div>"
    )

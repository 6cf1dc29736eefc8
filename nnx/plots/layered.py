"""Where the boxes of a graph without cycles stand: in columns, with few crossings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

GAP_X, GAP_Y, MARGIN = 48.0, 18.0, 12.0
SWEEPS = 4


@dataclass(frozen=True)
class Placed:
    """A box: its upper left corner, and its size."""

    x: float
    y: float
    width: float
    height: float


def place(
    sizes: list[tuple[float, float]], edges: list[tuple[int, int]]
) -> tuple[list[Placed], list[list[Placed]], float, float]:
    """Columns from left to right, each box right of everything that leads to it (Sugiyama 1981).

    A box's column is one more than the last column of what leads to it; one that only leads
    somewhere stands just left of the first place it leads to.  Within a column the boxes are
    ordered, a few times from the left and from the right, by the mean place of their neighbours,
    which untangles most arrows.  An arrow that passes columns by is kept a lane in each, a box
    without width, so that it does not run through others.

    Args:
        sizes: width and height of each box.
        edges: pairs of numbers of boxes, from and to, without cycles.

    Returns:
        the boxes; for each edge what it passes, from its first box through its lanes to its last;
        and the width and height of the whole.
    """
    if not sizes:
        return [], [], 2 * MARGIN, 2 * MARGIN
    count = len(sizes)
    column = _columns(*_neighbours(count, edges))
    sizes, routes = list(sizes), []
    for a, b in edges:
        route = [a]
        for c in range(column[a] + 1, column[b]):
            route.append(len(sizes))
            sizes.append((0.0, 0.0))
            column.append(c)
        routes.append([*route, b])
    before, after = _neighbours(len(sizes), [pair for r in routes for pair in pairwise(r)])
    columns: list[list[int]] = [[] for _ in range(max(column) + 1)]
    for box, c in enumerate(column):
        columns[c].append(box)
    middle = [0.0] * len(sizes)
    for boxes in columns:
        _stack(boxes, sizes, middle)
    for sweep in range(SWEEPS):
        near = before if sweep % 2 == 0 else after
        for boxes in columns if sweep % 2 == 0 else columns[::-1]:
            wish = {}
            for box in boxes:
                beside = near[box] or [box]
                wish[box] = sum(middle[n] for n in beside) / len(beside)
            boxes.sort(key=wish.__getitem__)
            _stack(boxes, sizes, middle)
    placed: list[Placed] = [Placed(0, 0, 0, 0)] * len(sizes)
    x = MARGIN
    for boxes in columns:
        wide = max(sizes[box][0] for box in boxes)
        for box in boxes:
            w, h = sizes[box]
            placed[box] = Placed(x + (wide - w) / 2, middle[box] - h / 2, w, h)
        x += wide + GAP_X
    top = min(p.y for p in placed) - MARGIN
    placed = [Placed(p.x, p.y - top, p.width, p.height) for p in placed]
    passed = [[placed[box] for box in route] for route in routes]
    height = max(p.y + p.height for p in placed) + MARGIN
    return placed[:count], passed, x - GAP_X + MARGIN, height


def _neighbours(
    count: int, edges: Iterable[tuple[int, int]]
) -> tuple[list[list[int]], list[list[int]]]:
    """For each box what leads to it, and what it leads to."""
    before: list[list[int]] = [[] for _ in range(count)]
    after: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        before[b].append(a)
        after[a].append(b)
    return before, after


def _columns(before: list[list[int]], after: list[list[int]]) -> list[int]:
    """The column of each box."""
    column = [0] * len(before)
    missing = [len(set(b)) for b in before]
    ready = [k for k, m in enumerate(missing) if m == 0]
    order = []
    while ready:
        box = ready.pop()
        order.append(box)
        for target in set(after[box]):
            column[target] = max(column[target], column[box] + 1)
            missing[target] -= 1
            if missing[target] == 0:
                ready.append(target)
    for box in order:
        if not before[box] and after[box]:
            column[box] = min(column[target] for target in after[box]) - 1
    return column


def _stack(boxes: list[int], sizes: list[tuple[float, float]], middle: list[float]) -> None:
    """Give the boxes of a column, in their order, places around the height 0."""
    y = -(sum(sizes[box][1] for box in boxes) + GAP_Y * (len(boxes) - 1)) / 2
    for box in boxes:
        middle[box] = y + sizes[box][1] / 2
        y += sizes[box][1] + GAP_Y

"""Broadcasting, and its transpose."""

from __future__ import annotations

from typing import Any

Array = Any


def sum_to(xp: Any, g: Array, shape: tuple[int, ...]) -> Array:
    """The transpose of broadcasting: add up g over the axes along which `shape` was stretched.

    If y = broadcast(x), every copy of x[i] adds its own dL/dy to dL/dx[i].
    """
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    stretched = tuple(
        axis for axis in range(g.ndim) if axis < extra or shape[axis - extra] != g.shape[axis]
    )
    return xp.reshape(xp.sum(g, axis=stretched), shape)

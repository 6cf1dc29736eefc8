"""Slices, and indices counted from the end."""

from __future__ import annotations

import math
from typing import Any

Array = Any


class IndexingKernels:
    """The derivations are in `nnx.ops.indexing`.

    A key is a tuple of integers (none negative), slices and None that names every axis.
    """

    xp: Any

    def slice(self, x: Array, key: tuple[Any, ...]) -> Array:
        """x[key]."""
        return x[_standard(key, x.shape)]

    def slice_backward(self, g: Array, key: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
        """Zeros of this shape, with g at [key]."""
        out = self.xp.zeros(shape, dtype=g.dtype, device=g.device)
        places = tuple([part for part in _standard(key, shape) if part is not None])
        out[places] = self.xp.reshape(g, _lengths(places, shape))
        return out

    def wrap_indices(self, indices: Array, length: int) -> Array:
        """Indices in [-length, length), counted from the front; an IndexError for others."""
        xp = self.xp
        if math.prod(indices.shape):
            low, high = int(xp.min(indices)), int(xp.max(indices))
            if low < -length or high >= length:
                raise IndexError(
                    f"index {low if low < -length else high} is out of range for an axis of "
                    f"length {length}"
                )
            if low < 0:
                return xp.where(indices < 0, indices + length, indices)
        return indices


def _standard(key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The key with its slices' ends inside the axis: the standard leaves others open."""
    parts: list[Any] = []
    axis = 0
    for part in key:
        if isinstance(part, slice):
            length = shape[axis]
            start, stop, step = part.indices(length)
            if step < 0 and stop < 0:
                part = slice(start, None, step) if start >= 0 else slice(0, 0)
            else:
                part = slice(start, max(start, stop) if step > 0 else min(start, stop), step)
        axis += part is not None
        parts.append(part)
    return tuple(parts)


def _lengths(key: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of x[key]."""
    return tuple(
        [
            len(range(*part.indices(length)))
            for part, length in zip(key, shape, strict=True)
            if isinstance(part, slice)
        ]
    )

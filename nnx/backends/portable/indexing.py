"""Reading slices, and putting gradients back at them."""

from __future__ import annotations

from typing import Any

from ...typing import Array

Key = tuple[Any, ...]


class IndexingKernels:
    """The derivations are in `nnx.ops.array.indexing`.

    A key is a tuple of integers (none negative), slices and None that names every axis.
    """

    xp: Any

    def slice(self, x: Array, key: Key) -> Array:
        """x[key], with an axis for each slice of the key, and one of length 1 for each None."""
        forwards, flipped = _forwards(key, x.shape)
        y = x[forwards]
        return self.xp.flip(y, axis=flipped) if flipped else y

    def slice_backward(self, g: Array, key: Key, shape: tuple[int, ...]) -> Array:
        """Zeros of this shape, with g at [key]."""
        xp = self.xp
        forwards, flipped = _forwards(key, shape)
        if flipped:
            g = xp.flip(g, axis=flipped)
        places = tuple([part for part in forwards if part is not None])
        lengths = [
            len(range(*part.indices(n)))
            for part, n in zip(places, shape, strict=True)
            if isinstance(part, slice)
        ]
        out = xp.zeros(shape, dtype=g.dtype, device=g.device)
        out[places] = xp.reshape(g, tuple(lengths))
        return out


def _forwards(key: Key, shape: tuple[int, ...]) -> tuple[Key, tuple[int, ...]]:
    """The key with falling slices turned round, and the axes of the result to flip after it.

    The ends of slices come to lie inside the axis: the standard leaves others open, as it does
    (and torch refuses) negative steps.
    """
    parts: list[Any] = []
    flipped: list[int] = []
    axis = out = 0
    for part in key:
        if isinstance(part, slice):
            places = range(*part.indices(shape[axis]))
            if places.step < 0:
                flipped.append(out)
                places = places[::-1]
            inside = (places[0], places[-1] + 1, places.step) if places else (0, 0)
            part = slice(*inside)
        if part is None or isinstance(part, slice):
            out += 1
        axis += part is not None
        parts.append(part)
    return tuple(parts), tuple(flipped)

"""Torch tensors as plain arrays, through array-api-compat: portable code only."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Backend


class TorchBackend(Backend):
    """For people whose data are torch tensors; nnx's own tape records, torch's does not."""

    def from_numpy(self, x: np.ndarray) -> Array:
        return self.xp.asarray(np.array(x), device=self.device)

    def to_numpy(self, x: Array) -> np.ndarray:
        return x.detach().cpu().numpy()

    # torch refuses slices with a negative step: slice forwards, then flip.

    def slice(self, x: Array, key: tuple[Any, ...]) -> Array:
        forwards, flipped = _forwards(key, x.shape)
        y = super().slice(x, forwards)
        return self.xp.flip(y, axis=flipped) if flipped else y

    def slice_backward(self, g: Array, key: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
        forwards, flipped = _forwards(key, shape)
        return super().slice_backward(
            self.xp.flip(g, axis=flipped) if flipped else g, forwards, shape
        )


def _forwards(
    key: tuple[Any, ...], shape: tuple[int, ...]
) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """The key with falling slices reversed, and the axes of the result to flip after it."""
    parts: list[Any] = []
    flipped: list[int] = []
    axis = out = 0
    for part in key:
        if isinstance(part, slice):
            places = range(*part.indices(shape[axis]))
            if places.step < 0:
                flipped.append(out)
                places = places[::-1]
                part = slice(places.start, places.stop, places.step)
        if part is not None:
            axis += 1
        if part is None or isinstance(part, slice):
            out += 1
        parts.append(part)
    return tuple(parts), tuple(flipped)

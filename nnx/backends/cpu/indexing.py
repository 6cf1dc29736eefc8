"""Slices on NumPy, which takes any key as it is."""

from __future__ import annotations

from ...typing import Array
from ..portable.indexing import IndexingKernels, Key
from .memory import zeros


class NumpyIndexing(IndexingKernels):
    def slice(self, x: Array, key: Key) -> Array:
        return x[key]

    def slice_backward(self, g: Array, key: Key, shape: tuple[int, ...]) -> Array:
        out = zeros(shape, g.dtype)
        out[key] = g
        return out

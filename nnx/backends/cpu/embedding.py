"""Adding rows up by index on NumPy."""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..portable.embedding import EmbeddingKernels
from . import thresholds
from .memory import zeros

_AT_ONCE = 2**18  # positions, 8 bytes each, that are made at a time


class NumpyEmbedding(EmbeddingKernels):
    def index_add(self, values: Array, indices: Array, rows: int) -> Array:
        # np.add.at is quick for numbers in a vector and slow for rows, so each number of a row
        # gets its own position.  It adds in the order of the indices.
        out = zeros((rows, *values.shape[1:]), values.dtype)
        width = values[0].size if len(values) else 0
        if width == 0:
            return out
        flat, columns = out.reshape(-1), np.arange(width)
        indices = indices.astype(np.intp, copy=False)  # for the products below
        if width >= thresholds.EMBEDDING_ROW:
            again = _come_again(indices, rows)
            if 2 * len(again) <= len(indices):  # most rows get one gradient: it is written there
                out[indices[::-1]] = values[::-1]  # of several, the first is the last written
                indices, values = indices[again], values[again]
        step = max(1, _AT_ONCE // width)
        for start in range(0, len(values), step):
            some = slice(start, start + step)
            places = indices[some, None] * width + columns
            np.add.at(flat, places.reshape(-1), values[some].reshape(-1))
        return out


def _come_again(indices: Array, rows: int) -> Array:
    """The places of indices that stand further ahead too."""
    places = np.arange(len(indices))
    first = np.empty(rows, np.intp)
    first[indices[::-1]] = places[::-1]
    return np.flatnonzero(first[indices] != places)

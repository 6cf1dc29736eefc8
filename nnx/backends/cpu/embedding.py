"""Adding rows up by index on NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..portable.embedding import EmbeddingKernels

Array = Any


class NumpyEmbedding(EmbeddingKernels):
    def index_add(self, values: Array, indices: Array, rows: int) -> Array:
        # Sorted by index, equal indices are runs, and reduceat sums runs; several times faster
        # than np.add.at on rows.
        out = np.zeros((rows, *values.shape[1:]), values.dtype)
        if len(indices):
            order = np.argsort(indices, kind="stable")
            keys = indices[order]
            starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
            out[keys[starts]] = np.add.reduceat(values[order], starts, axis=0)
        return out

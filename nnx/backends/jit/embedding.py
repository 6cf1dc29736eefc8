"""Adding rows up by index, compiled by numba."""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..cpu.embedding import NumpyEmbedding
from ..cpu.memory import zeros
from . import thresholds

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class JitEmbedding(NumpyEmbedding):
    def index_add(self, values: Array, indices: Array, rows: int) -> Array:
        if values.size < thresholds.EMBEDDING or values.dtype not in _FLOATS:
            return super().index_add(values, indices, rows)
        from .loops import embedding as loops

        out = zeros((rows, *values.shape[1:]), values.dtype)
        flat = np.ascontiguousarray(values).reshape(len(values), -1)
        loops.index_add(flat, np.ascontiguousarray(indices), out.reshape(rows, -1))
        return out

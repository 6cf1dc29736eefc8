"""Adding rows up by index in CUDA (`kernels/embedding.cu`)."""

from __future__ import annotations

import math

from ...typing import Array
from ..portable.embedding import EmbeddingKernels
from .launcher import (
    LARGEST_GRID,
    STORED,
    Kernel,
    Modules,
    Plan,
    ceil_div,
    launch,
    per_element,
    register,
)

RUN_STARTS = register(
    Kernel(
        "embedding.cu",
        "run_starts",
        "keys:in:i64 starts:out:i32 m:i32 rows:i32",
        lambda rows: per_element(rows + 1),
    )
)
INDEX_ADD = register(
    Kernel(
        "embedding.cu",
        "index_add",
        "values:in order:in:i64 starts:in:i32 out:out columns:i32 rows:plan",
        lambda rows, columns: Plan((rows, ceil_div(columns, 32)), (32, 8)),
    )
)


class CudaEmbedding(EmbeddingKernels):
    modules: Modules

    def index_add(self, values: Array, indices: Array, rows: int) -> Array:
        xp = self.xp
        m, columns = indices.shape[0], math.prod(values.shape[1:])
        wide = ceil_div(columns, 32) > LARGEST_GRID[1]
        if values.dtype not in STORED or m >= 2**31 or wide:
            return super().index_add(values, indices, rows)
        order = xp.argsort(indices, stable=True)
        keys = xp.astype(xp.take(indices, order, axis=0), xp.int64, copy=False)
        starts = xp.empty((rows + 1,), dtype=xp.int32)
        launch(RUN_STARTS, self.modules, keys=keys, starts=starts, m=m, rows=rows)
        out = xp.empty((rows, *values.shape[1:]), dtype=values.dtype)
        launch(
            INDEX_ADD,
            self.modules,
            values=values,
            order=order,
            starts=starts,
            out=out,
            rows=rows,
            columns=columns,
        )
        return out

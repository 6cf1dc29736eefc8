"""Reading rows by index, and its transpose: adding rows up by index."""

from __future__ import annotations

from typing import Any

from ...typing import Array


class EmbeddingKernels:
    """The derivation is in `nnx.ops.embedding.Embedding`."""

    xp: Any

    def index_add(self, values: Array, indices: Array, rows: int) -> Array:
        """out[i] = the sum of values[k] over all k with indices[k] = i: (M, E), (M,) -> (rows, E).

        Deterministic: the order of the sum depends on the indices alone.  Sorted by index, equal
        indices stand in runs; in round r every entry adds the sum that stands 2^r places before
        it, if that belongs to its own run, so that after log2(M) rounds the last entry of a run
        holds the run's total (a segmented scan: Hillis and Steele 1986).  Row i then *reads* the
        end of its run: nothing is written through an index, which the array API does not have.
        """
        xp = self.xp
        indices = xp.astype(indices, xp.int64, copy=False)  # `rows` may be more than they can count
        m = indices.shape[0]
        shape = (rows, *values.shape[1:])
        if m == 0:
            return xp.zeros(shape, dtype=values.dtype, device=values.device)
        order = xp.argsort(indices, stable=True)
        keys = xp.take(indices, order, axis=0)
        total = xp.take(values, order, axis=0)
        width = (-1, *([1] * (values.ndim - 1)))
        step = 1
        while step < m:
            same = xp.reshape(keys[step:] == keys[:-step], width)
            carried = xp.where(same, total[:-step, ...], xp.zeros_like(total[:-step, ...]))
            total = xp.concat([total[:step, ...], total[step:, ...] + carried], axis=0)
            step *= 2
        every = xp.arange(rows, dtype=keys.dtype, device=keys.device)
        end = xp.searchsorted(keys, every, side="right")  # one past the end of each row's run
        start = xp.searchsorted(keys, every, side="left")
        last = xp.where(end > 0, end - 1, xp.zeros_like(end))
        found = xp.reshape(end > start, width)
        return xp.where(
            found,
            xp.take(total, last, axis=0),
            xp.zeros(shape, dtype=values.dtype, device=values.device),
        )

"""The compiled loop of `embedding.py`, which imports this file, and numba with it, when first used.

See `random.py` for why it stands apart.
"""

from __future__ import annotations

from ..codegen.compiling import compiled


@compiled
def index_add(values, indices, out):
    """out[indices[k]] += values[k], in the order of k."""
    for k in range(indices.size):
        row = indices[k]
        for e in range(values.shape[1]):
            out[row, e] += values[k, e]

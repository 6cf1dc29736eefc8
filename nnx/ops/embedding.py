"""Embedding: rows of a table, read by index."""

from __future__ import annotations

import math
from typing import Any

from ..backends import Array, backend_of, dtype_name
from ..tensor import Tensor
from ._function import Function
from ._operands import as_array, as_tensor


class Embedding(Function):
    """y[k] = W[i[k]]: a product with one-hot rows that is never formed.

    Backward.  With P[k, v] = [i[k] = v], y = P W, so dL/dW = P^T G: row v of the gradient is the
    sum of G[k] over all k that read row v (`index_add`).  The padding row gets 0.
    """

    def __init__(self, indices: Array, padding_idx: int | None) -> None:
        self.indices, self.padding_idx = indices, padding_idx

    def forward(self, weight: Array) -> Array:
        xp = self.backend.xp
        self.rows = weight.shape[0]
        flat = xp.reshape(self.indices, (-1,))
        return xp.reshape(xp.take(weight, flat, axis=0), (*self.indices.shape, weight.shape[1]))

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        flat = xp.reshape(self.indices, (-1,))
        rows = xp.reshape(g, (flat.shape[0], g.shape[-1]))
        gw = self.backend.index_add(rows, flat, self.rows)
        if self.padding_idx is not None:
            gw[self.padding_idx, :] = 0
        return gw


def embedding(weight: Tensor, indices: Any, padding_idx: int | None = None) -> Tensor:
    """Rows of a table: weight (V, E), integer indices (...,) from 0 to V-1 -> (..., E).

    The row `padding_idx` is read like any other but gets no gradient.

    Raises:
        TypeError: the indices are no integers.
        ValueError: weight is no matrix, or padding_idx is not a row.
        IndexError: an index is not a row (checked in host memory; on a GPU, where that would wait
            for the device, it is not).
    """
    weight = as_tensor("embedding", weight)
    ids = as_array("embedding", indices, weight)
    if weight.ndim != 2:
        raise ValueError(f"embedding: weight must be (V, E); weight has shape {weight.shape}")
    rows = weight.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise ValueError(f"embedding: padding_idx {padding_idx} is not one of the {rows} rows")
    home = backend_of(weight.data)
    if not home.is_integer(ids.dtype):
        raise TypeError(f"embedding: indices must be integers, got {dtype_name(ids.dtype)}")
    ids = home.positions(ids)
    if home.checks_values and math.prod(ids.shape):
        low, high = int(home.xp.min(ids)), int(home.xp.max(ids))
        if low < 0 or high >= rows:
            raise IndexError(
                f"embedding: indices must be from 0 to {rows - 1}; they are from {low} to {high}; "
                f"weight has shape {weight.shape}, indices {tuple(ids.shape)}"
            )
    if padding_idx is not None and padding_idx < 0:
        padding_idx += rows
    return Embedding(ids, padding_idx)(weight)

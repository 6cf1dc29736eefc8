"""Products of many rows with one small matrix, in pieces that OpenBLAS computes at once.

A BLAS first copies both factors into an order of its own, and where one of them has few columns, as
those of a convolution have, this costs as much as a third of the product.  OpenBLAS leaves it out
where a product has few multiply-adds.  GMAC/s of float32 with all rows and in pieces, one thread of
an AMD EPYC with AVX-512, (rows, K) x (K, N):

    K, N       144, 16    96, 32    288, 32    160, 64    800, 64
    together   40         39        45         48         46
    pieces     54         52        55         55         56

Such a product is made by one thread: where a BLAS has several, it gets all rows, and shares them.
"""

from __future__ import annotations

import numpy as np

from ....typing import Array
from ...blas import libraries
from ..memory import empty

MULTIPLY_ADDS = 1_000_000  # OpenBLAS copies nothing up to here
LEAST = 16  # rows of a piece
SUMMED = 192  # rows of a piece whose product is one of several that are added up


def one_thread() -> bool:
    """Whether NumPy's BLAS is OpenBLAS and computes with one thread (a microsecond)."""
    found = libraries()
    return bool(found) and all(
        [blas.internal_api == "openblas" and blas.get_num_threads() == 1 for blas in found]
    )


def rows_of(k: int, n: int) -> int:
    """How many rows of K numbers a piece has beside a matrix (K, N); 0: pieces do not pay."""
    return MULTIPLY_ADDS // max(1, k * n) // LEAST * LEAST


def product(a: Array, b: Array, out: Array) -> None:
    """out (..., M, N) = a (..., M, K) b (..., K, N), in pieces where that is quicker."""
    count = a.shape[-2]
    step = rows_of(*b.shape[-2:])
    if not 0 < step < count or not one_thread():
        np.matmul(a, b, out=out)
        return
    whole = count - count % step
    np.matmul(
        _in_pieces(a[..., :whole, :], step),
        b[..., None, :, :],
        out=_in_pieces(out[..., :whole, :], step),
    )
    if whole < count:
        np.matmul(a[..., whole:, :], b, out=out[..., whole:, :])


def transposed_product(a: Array, g: Array) -> Array:
    """aᵀ g, (G, P, M, K), (G, P, M, N) -> (G, K, N), summed over P, in pieces where that is
    quicker.

    Each piece has a product of its own, (K, N), and these are added up: so pieces are longer here.
    """
    count, k = a.shape[2:]
    step = rows_of(k, g.shape[3])
    if not SUMMED <= step < count or not one_thread():
        part = empty((*a.shape[:2], k, g.shape[3]), a.dtype)
        return np.add.reduce(np.matmul(a.swapaxes(2, 3), g, out=part), axis=1)
    whole = count - count % step
    rows, columns = _in_pieces(a[:, :, :whole], step), _in_pieces(g[:, :, :whole], step)
    part = empty((*rows.shape[:3], k, g.shape[3]), a.dtype)
    total = np.add.reduce(np.matmul(rows.swapaxes(3, 4), columns, out=part), axis=(1, 2))
    if whole < count:
        rest = np.matmul(a[:, :, whole:].swapaxes(2, 3), g[:, :, whole:])
        total += np.add.reduce(rest, axis=1)
    return total


def _in_pieces(rows: Array, step: int) -> Array:
    """(..., M, K) -> (..., pieces, step, K), a view."""
    return rows.reshape((*rows.shape[:-2], -1, step, rows.shape[-1]), copy=False)

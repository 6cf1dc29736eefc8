"""Sums and means on NumPy, past the Python in np.sum, np.mean and np.broadcast_to.

On a few numbers that takes half of the time.
"""

from __future__ import annotations

import math

import numpy as np

from ...typing import Array
from ..portable.reduce import ReduceKernels
from . import thresholds
from .memory import empty

# So many multiply-adds of two matrices, and numbers of two vectors, OpenBLAS leaves to one thread.
ONE_THREAD = 2**18
ONE_THREAD_VECTOR = 2**13

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class NumpyReduce(ReduceKernels):
    def sum_over(self, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        return np.add.reduce(x, axis=axes, keepdims=keepdims)  # type: ignore[call-overload]

    def mean_over(self, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        if x.dtype not in _FLOATS or x.size == 0:
            return super().mean_over(x, axes, keepdims)
        total = self.sum_over(x, axes, keepdims)
        if total.ndim == 0:
            return total / x.dtype.type(x.size // total.size)
        return np.divide(total, np.asarray(x.size // total.size, x.dtype), out=total)

    def stretch(self, g: Array, shape: tuple[int, ...]) -> Array:
        if math.prod(shape) > thresholds.STRETCH:
            return super().stretch(g, shape)
        out = empty(shape, g.dtype)
        out[...] = g
        return out


# ---- sums of rows and columns, as products ----
#
# A BLAS adds rows up in half of NumPy's time or less.  But a matrix times a vector it cuts up for
# its threads, and the order of a sum then depends on how many it has; likewise a long vector times
# another.  A small matrix times a matrix of two columns is one thread's.


def pairs(factors: Array) -> Array:
    """Factors (D,) as the two columns of a matrix (D, 2): for who adds up many blocks by them."""
    pair = np.empty((len(factors), 2), factors.dtype)
    pair[...] = factors[:, None]
    return pair


def row_sums(x: Array, factors: Array) -> Array:
    """The sum of each row of x, each number times its column's factor: (M, D), (D,) -> (M,).

    The factors may be `pairs` of them, (D, 2).
    """
    if factors.ndim == 1:
        factors = pairs(factors)
    step = _rows_of_one_thread(x)
    if 2 * x.shape[1] > ONE_THREAD:
        return dots(x, np.ascontiguousarray(factors[:, 0]))
    if len(x) <= step:
        return x.dot(factors)[:, 0]
    total = np.empty((len(x), 2), x.dtype)
    for lo in range(0, len(x), step):
        np.dot(x[lo : lo + step], factors, out=total[lo : lo + step])
    return total[:, 0]


def column_sums(x: Array, factors: Array) -> Array:
    """The sum of each column of x, each number times its row's factor: (M, D), (M,) -> (D,)."""
    pair, step = pairs(factors).T, _rows_of_one_thread(x)
    total = pair[:, :step].dot(x[:step])[0]
    for lo in range(step, len(x), step):
        total += pair[:, lo : lo + step].dot(x[lo : lo + step])[0]
    return total


def _rows_of_one_thread(x: Array) -> int:
    """How many rows of x, times two columns, a BLAS leaves to one thread."""
    return max(1, ONE_THREAD // 2 // int(x.shape[1]))


def dots(a: Array, b: Array) -> Array:
    """The sums of a b along the last axis: (..., D) twice, or once (D,) -> (...)."""
    length = a.shape[-1]
    if length <= ONE_THREAD_VECTOR:
        return np.vecdot(a, b)
    whole = length // ONE_THREAD_VECTOR * ONE_THREAD_VECTOR
    pieces = np.vecdot(_in_pieces(a, whole), _in_pieces(b, whole))
    total = np.add.reduce(pieces, axis=-1)
    if whole < length:
        total += np.vecdot(a[..., whole:], b[..., whole:])
    return total


def _in_pieces(a: Array, whole: int) -> Array:
    return a[..., :whole].reshape(*a.shape[:-1], -1, ONE_THREAD_VECTOR)

"""Norms of matrices and vectors."""

from __future__ import annotations

import math

from ...tensor import Tensor
from .._broadcast import Axis
from ..array.shape import expand_dims
from ..elementwise import abs as size_of
from ..reduce import max as largest
from ..reduce import min as smallest
from ..reduce import sum as total
from ..vector_norm import norm
from .matrices import matrices
from .spectral import svdvals


def matrix_norm(x: Tensor, ord: float | str | None = "fro", keepdims: bool = False) -> Tensor:
    """The norm of each matrix of x (..., M, N): (...).

    Its gradient is that of what it is made of; at a tie it is shared evenly.

    Args:
        ord: "fro" (or None): the root of the sum of squares; "nuc": the sum of the singular values;
            2 and -2: the largest and the smallest of them; 1 and -1: the largest and the smallest
            sum of |x| down a column; inf and -inf: along a row.
        keepdims: keep the two axes, with length 1.

    Raises:
        ValueError: x has fewer than two axes, another ord, or nothing to take the largest of.
        TypeError: x is of integers.
    """
    x = matrices("matrix_norm", x)
    if ord is None or ord == "fro":
        return norm(x, 2, axis=(-2, -1), keepdims=keepdims)
    if ord == "nuc":
        y = total(svdvals(x), axis=-1)
    elif ord in (2, -2):
        y = (largest if ord == 2 else smallest)(svdvals(x), axis=(-1,))
    elif ord in (1, -1, math.inf, -math.inf):
        sums = total(size_of(x), axis=-1 if math.isinf(ord) else -2)
        y = (largest if ord > 0 else smallest)(sums, axis=(-1,))
    else:
        raise ValueError(
            f'matrix_norm: ord must be "fro", "nuc", 1, -1, 2, -2, inf or -inf, got {ord!r}; x has '
            f"shape {x.shape}"
        )
    return expand_dims(y, (-2, -1)) if keepdims else y


def vector_norm(x: Tensor, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """The norm (Σ |x|^ord)^(1/ord) along `axis`: `norm` by the standard's name.

    Args:
        x: of any shape.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.
        ord: any number; inf and -inf give the largest and the smallest |x|, 0 counts what is not 0.

    Raises:
        ValueError: x has no such axis, one is named twice, or `ord` is infinite and there is
            nothing along it.
    """
    return norm(x, ord, axis=axis, keepdims=keepdims)

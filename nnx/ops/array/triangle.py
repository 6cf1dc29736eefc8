"""Triangles of matrices, and grids of coordinates."""

from __future__ import annotations

import operator
from typing import Any

from ...backends import Array
from ...tensor import Tensor
from .._broadcast import broadcast_shape
from .._function import Unary
from .._operands import as_tensor
from .shape import broadcast_to, reshape


class Triangle(Unary):
    """y[i, j] = x[i, j] where j - i <= k (lower) or >= k (upper), and 0 elsewhere; so is dx."""

    def __init__(self, which: str, k: int) -> None:
        self.which, self.k = which, k

    def forward(self, x: Array) -> Array:
        return getattr(self.backend.xp, self.which)(x, k=self.k)

    def backward(self, g: Array) -> Array:
        return getattr(self.backend.xp, self.which)(g, k=self.k)


def tril(x: Tensor, k: int = 0) -> Tensor:
    """The lower triangle of each matrix of x (..., I, J), up to its k-th diagonal; 0 elsewhere.

    Args:
        k: 0 for the main diagonal, above it where positive, below it where negative.

    Raises:
        ValueError: x has fewer than two axes.
    """
    return _triangle("tril", x, k)


def triu(x: Tensor, k: int = 0) -> Tensor:
    """The upper triangle of each matrix of x (..., I, J), from its k-th diagonal; 0 elsewhere.

    Args:
        k: 0 for the main diagonal, above it where positive, below it where negative.

    Raises:
        ValueError: x has fewer than two axes.
    """
    return _triangle("triu", x, k)


def _triangle(name: str, x: Any, k: int) -> Tensor:
    x = as_tensor(name, x)
    if x.ndim < 2:
        raise ValueError(f"{name}: x must have two axes at least; its shape is {x.shape}")
    return Triangle(name, operator.index(k))(x)


def meshgrid(*xs: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """The coordinates of a grid: for each of the vectors `xs` a tensor over the whole grid.

    Args:
        xs: (n,) each, or numbers without an axis.
        indexing: "xy": the first axis of the results goes along the second vector, as in a picture,
            where y counts the rows; "ij": axis k along vector k.

    Returns:
        as many tensors as vectors, of shape (n0, n1, ...) for "ij", (n1, n0, ...) for "xy".

    Raises:
        ValueError: one of them has several axes, or another indexing.
    """
    vectors = [as_tensor("meshgrid", x) for x in xs]
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing must be "xy" or "ij", got {indexing!r}')
    if any(x.ndim > 1 for x in vectors):
        raise ValueError(
            f"meshgrid: vectors are wanted; shapes {', '.join(str(x.shape) for x in vectors)}"
        )
    places = list(range(len(vectors)))
    if indexing == "xy" and len(vectors) > 1:
        places[:2] = [1, 0]
    lengths = [1] * len(vectors)
    for place, x in zip(places, vectors, strict=True):
        lengths[place] = x.size
    grids = []
    for place, x in zip(places, vectors, strict=True):
        shape = [1] * len(vectors)
        shape[place] = x.size
        grids.append(broadcast_to(reshape(x, shape), lengths))
    return tuple(grids)


def broadcast_arrays(*xs: Tensor) -> tuple[Tensor, ...]:
    """The tensors `xs` repeated along axes of length 1 and new ones, so that they have one shape.

    Raises:
        ValueError: their shapes cannot be broadcast.
    """
    tensors = [as_tensor("broadcast_arrays", x) for x in xs]
    if not tensors:
        return ()
    shape = broadcast_shape("broadcast_arrays", *[x.shape for x in tensors])
    return tuple([broadcast_to(x, shape) for x in tensors])


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that tensors of these `shapes` are broadcast to, a tuple.

    Raises:
        ValueError: they cannot be: an axis has two lengths, neither of them 1.
    """
    known = [tuple([operator.index(n) for n in shape]) for shape in shapes]
    return broadcast_shape("broadcast_shapes", *known) if known else ()

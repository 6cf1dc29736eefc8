"""Products of vectors that give more than a number."""

from __future__ import annotations

from ...tensor import Tensor
from .._broadcast import broadcast_shape, one_axis
from .._operands import as_tensor
from ..arithmetic import multiply, subtract
from ..array.shape import expand_dims, roll


def outer(x1: Tensor, x2: Tensor) -> Tensor:
    """y[i, j] = x1[i] x2[j]: (M,), (N,) -> (M, N).

    Raises:
        ValueError: one of them is no vector.
    """
    x1 = as_tensor("outer", x1)
    x2 = as_tensor("outer", x2, x1)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"outer: vectors are wanted; x1 has shape {x1.shape}, x2 {x2.shape}")
    return multiply(expand_dims(x1, 1), x2)


def cross(x1: Tensor, x2: Tensor, axis: int = -1) -> Tensor:
    """The vector product of the vectors of length 3 along `axis`; the other axes are broadcast.

    y = x1 × x2, y[i] = x1[i+1] x2[i+2] - x1[i+2] x2[i+1], the places counted round.

    Args:
        x1: (..., 3, ...).
        x2: (..., 3, ...).
        axis: it counts from the end, before they broadcast.

    Raises:
        ValueError: there is no such axis, its length is not 3, or the rest cannot be broadcast.
    """
    x1 = as_tensor("cross", x1)
    x2 = as_tensor("cross", x2, x1)
    if axis >= 0 and x1.ndim != x2.ndim:
        raise ValueError(
            f"cross: axis must be negative, counted from the end, got {axis}; x1 has shape "
            f"{x1.shape}, x2 {x2.shape}"
        )
    a, b = one_axis("cross", axis, x1.shape), one_axis("cross", axis, x2.shape)
    if x1.shape[a] != 3 or x2.shape[b] != 3:
        raise ValueError(
            f"cross: the vectors must have length 3; axis {axis}, x1 has shape {x1.shape}, x2 "
            f"{x2.shape}"
        )
    broadcast_shape("cross", x1.shape, x2.shape)
    return subtract(
        multiply(roll(x1, -1, a), roll(x2, -2, b)), multiply(roll(x1, -2, a), roll(x2, -1, b))
    )

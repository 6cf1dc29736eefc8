"""How far apart vectors are, and vectors of length 1."""

from __future__ import annotations

from ...tensor import Tensor
from .._broadcast import broadcast_shape, one_axis
from .._operands import as_tensor, require_one_dtype
from ..arithmetic import divide, maximum, multiply, subtract
from ..array.autocast import in_float32
from ..array.shape import broadcast_to, expand_dims
from ..reduce import sum as total
from ..vector_norm import norm


@in_float32
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0) -> Tensor:
    """The distances of all vectors of x1 (..., P, M) from all of x2 (..., R, M): (..., P, R).

    By differences, P R M numbers at once: of points that are close together no digit is lost, as
    in |a|² + |b|² - 2ab.  The gradient where two points coincide is 0.

    Args:
        x1: the ones; stacks are broadcast.
        x2: the others.
        p: the norm's exponent, from 0 to inf, as in `norm`.

    Raises:
        ValueError: fewer than two axes, vectors of two lengths, or a negative p.
    """
    x1 = as_tensor("cdist", x1)
    x2 = as_tensor("cdist", x2, x1)
    if x1.ndim < 2 or x2.ndim < 2 or x1.shape[-1] != x2.shape[-1] or not p >= 0:
        raise ValueError(
            "cdist: x1 must be (..., P, M), x2 (..., R, M) and p at least 0; x1 has shape "
            f"{x1.shape}, x2 {x2.shape}, p {p}"
        )
    if x1.shape[-1] == 0:  # no differences: the distance is 0
        return total(subtract(expand_dims(x1, -2), expand_dims(x2, -3)), axis=-1)
    return norm(subtract(expand_dims(x1, -2), expand_dims(x2, -3)), p, axis=-1)


@in_float32
def cosine_similarity(x1: Tensor, x2: Tensor, axis: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between the vectors of x1 and x2 along `axis`, which goes:

        (x1 · x2) / (max(|x1|, eps) max(|x2|, eps)).

    Args:
        x1: of any shape with that axis; the two are broadcast.
        x2: of any shape with that axis.
        axis: along which the vectors lie, in the shape that both are broadcast to.
        eps: what takes the place of a length that is smaller.

    Raises:
        ValueError: there is no such axis, or the shapes cannot be broadcast.
    """
    x1 = as_tensor("cosine_similarity", x1)
    x2 = as_tensor("cosine_similarity", x2, x1)
    shape = broadcast_shape("cosine_similarity", x1.shape, x2.shape)
    k = one_axis("cosine_similarity", axis, shape)
    x1, x2 = broadcast_to(x1, shape), broadcast_to(x2, shape)
    # First made of length 1, so that no product overflows.
    ones = [divide(x, maximum(norm(x, 2, axis=k, keepdims=True), eps)) for x in (x1, x2)]
    return total(multiply(*ones), axis=k)


@in_float32
def normalize(x: Tensor, p: float = 2.0, axis: int = 1, eps: float = 1e-12) -> Tensor:
    """x divided by the p-norms of its vectors along `axis`: x / max(|x|_p, eps), in x's shape.

    Args:
        x: of any shape with that axis.
        p: the norm's exponent, as in `norm`.
        axis: along which the vectors lie.
        eps: what takes the place of a length that is smaller.

    Raises:
        ValueError: there is no such axis.
        TypeError: x is not of a floating-point dtype.
    """
    x = as_tensor("normalize", x)
    require_one_dtype("normalize", x=x)
    return divide(x, maximum(norm(x, p, axis=axis, keepdims=True), eps))

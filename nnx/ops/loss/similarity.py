"""Losses of two vectors or three: how alike they are to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...backends import Array
from ...tensor import Tensor
from .._broadcast import fit_broadcast
from .._function import Function
from .._operands import as_tensor
from ..arithmetic import minimum
from ..array.autocast import in_float32
from ..reduce import mean
from ..reduce import sum as sum_over
from ..select import clip
from ..vector_norm import norm
from .reduction import check_reduction, matching, require_float

EPSILON = 1e-12  # PyTorch's: what the squares' sums are held above 0 by


class CosineEmbedding(Function):
    """l = 1 - c where t = 1, max(0, c - a) where t = -1, of c = x·y / √(p q), p = x·x + ε,
    q = y·y + ε, for each row.

    From dp/dx = 2 x, dc/dx = y / √(p q) - c x / p, and dc/dy likewise; dl/dc is -1 where t = 1,
    and 1 where t = -1 and c >= a.
    """

    def __init__(self, reduction: str, margin: float) -> None:
        self.reduction, self.margin = reduction, margin

    def forward(self, x: Array, y: Array, t: Array) -> Array:
        xp = self.backend.xp
        p = xp.sum(x * x, axis=-1, keepdims=True) + EPSILON  # (N, 1)
        q = xp.sum(y * y, axis=-1, keepdims=True) + EPSILON
        root = xp.sqrt(p * q)
        c = xp.sum(x * y, axis=-1, keepdims=True) / root
        alike, apart = xp.expand_dims(t, axis=-1) == 1, xp.expand_dims(t, axis=-1) == -1
        zeros, ones = xp.zeros_like(c), xp.ones_like(c)
        over = c - self.margin
        losses = xp.where(alike, 1 - c, zeros) + xp.where(apart, xp.clip(over, 0, None), zeros)
        if True in self.needs_input_grad:
            slope = xp.where(apart & (over >= 0), ones, zeros) - xp.where(alike, ones, zeros)
            self.kept = x, y, p, q, root, c, slope
        losses = losses[..., 0]
        self.scale = 1.0
        if self.reduction == "none":
            return losses
        n = math.prod(losses.shape)
        self.scale = 1.0 if self.reduction == "sum" else 1 / n if n else math.nan
        return xp.sum(losses) * self.scale

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        x, y, p, q, root, c, slope = self.kept
        if self.reduction == "none":
            g = self.backend.xp.expand_dims(g, axis=-1)
        s = slope * (g * self.scale)
        for_x, for_y, _ = self.needs_input_grad
        gx = s * (y / root - x * (c / p)) if for_x else None
        gy = s * (x / root - y * (c / q)) if for_y else None
        return gx, gy, None

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return fit_broadcast(self.backend.xp, gradient, shape, dtype)


@in_float32
def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cos(x1, x2) of vectors that are alike (t = 1), else (t = -1) max(0, cos - margin).

    Args:
        input1, input2: the vectors x1 and x2, (N, D), or (D,) for one pair; floating-point.
        target: t (N,), or (); what is neither 1 nor -1 counts for nothing.
        margin: from -1 to 1: how alike others may be.
        reduction: "mean", "sum" (one number each) or "none" (the target's shape).

    Raises:
        ValueError: shapes that do not fit, or an unknown reduction.
        TypeError: input1 is not of a floating-point dtype.
    """
    name = "cosine_embedding_loss"
    check_reduction(name, reduction)
    input1, input2 = matching(name, input1, input2)
    target = as_tensor(name, target, input1)
    if input1.ndim not in (1, 2) or target.shape != input1.shape[:-1]:
        raise ValueError(
            f"{name}: the inputs must be (N, D) and the target (N,), or (D,) and (); inputs "
            f"{input1.shape}, target {target.shape}"
        )
    return CosineEmbedding(reduction, margin)(input1, input2, target.detach())


@in_float32
def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False
) -> Tensor:
    """(sum_k |x1[k] - x2[k] + eps|^p)^(1/p) along the last axis, which goes.

    Args:
        x1, x2: (..., D), floating-point; the other axes broadcast.
        p: which norm.
        eps: added to each difference, so that the norm of none has a gradient.
        keepdims: the last axis stays, of length 1.

    Raises:
        ValueError: shapes that cannot be broadcast.
        TypeError: x1 is not of a floating-point dtype.
    """
    x1 = as_tensor("pairwise_distance", x1)
    x2 = as_tensor("pairwise_distance", x2, x1)
    require_float("pairwise_distance", x1)
    return norm(x1 - x2 + eps, p, axis=-1, keepdims=keepdims)


@in_float32
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(a, p) - d(a, n) + margin): an anchor is to lie nearer to what is like it than to
    what is not, by the margin (Balntas et al. 2016).

    Args:
        anchor, positive, negative: a, p and n, (N, D) or (D,), floating-point.
        margin: positive.
        p, eps: of the distance d, `pairwise_distance`.
        swap: d(p, n) in place of d(a, n) where it is smaller.
        reduction: "mean", "sum" (one number each) or "none": (N,), or ().

    Raises:
        ValueError: shapes that differ, margin not positive, or an unknown reduction.
        TypeError: the anchor is not of a floating-point dtype.
    """

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return pairwise_distance(a, b, p, eps)

    return _triplet(
        "triplet_margin_loss", anchor, positive, negative, distance, margin, swap, reduction
    )


@in_float32
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own.

    Args:
        anchor, positive, negative: of one shape, whatever the distance takes.
        distance_function: of two tensors; None: `pairwise_distance`.
        margin: positive.
        swap: the distance of positive and negative in place of that of anchor and negative, where
            it is smaller.
        reduction: "mean", "sum" (one number each) or "none": the shape of the distances.

    Raises:
        ValueError: shapes that differ, margin not positive, or an unknown reduction.
        TypeError: the anchor is not of a floating-point dtype.
    """
    name = "triplet_margin_with_distance_loss"
    distance = distance_function or pairwise_distance
    return _triplet(name, anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(
    name: str,
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    check_reduction(name, reduction)
    if not margin > 0:
        raise ValueError(f"{name}: margin must be positive, got {margin}")
    anchor, positive = matching(name, anchor, positive)
    anchor, negative = matching(name, anchor, negative)
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    losses = clip(near - far + margin, min=0.0)
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum_over(losses)

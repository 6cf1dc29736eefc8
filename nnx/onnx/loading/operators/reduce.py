"""Reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .... import ops
from ....tensor import Tensor
from ..node import Node, ints, is_float, operator, xp_of


def _axes(node: Node, x: Tensor, axes: Tensor | None) -> tuple[int, ...] | None:
    """The axes to go over: all where none are named, unless that is to mean none at all."""
    named = node.get("axes") if axes is None else ints(axes)
    if not named:
        return () if node.get("noop_with_empty_axes", 0) else None
    return tuple([k % x.ndim for k in named])


def reduction(*names: str) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """An operator from a function of x, axes and keepdims.  The result has x's dtype."""

    def put(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def compute(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
            over = _axes(node, x, axes)
            y = function(x, axis=over, keepdims=bool(node.get("keepdims", 1)))
            return ops.astype(y, x.dtype)

        operator(*names, static=(1,))(compute)
        return function

    return put


@reduction("ReduceSum")
def reduce_sum(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return ops.sum(x, axis=axis, keepdims=keepdims)


@reduction("ReduceMean")
def reduce_mean(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    x = x if is_float(x) else ops.astype(x, "float64")
    return ops.mean(x, axis=axis, keepdims=keepdims)


@reduction("ReduceProd")
def reduce_prod(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return ops.prod(x, axis=axis, keepdims=keepdims)


@reduction("ReduceMax")
def reduce_max(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return _extreme(x, axis, keepdims, ops.max, -math.inf)


@reduction("ReduceMin")
def reduce_min(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return _extreme(x, axis, keepdims, ops.min, math.inf)


def _extreme(
    x: Tensor, axis: Any, keepdims: bool, function: Callable[..., Tensor], empty: float
) -> Tensor:
    """Of nothing it is infinite, or the integer that is farthest away."""
    xp = xp_of(x)
    if str(x.dtype).endswith("bool"):
        return _extreme(ops.astype(x, "uint8"), axis, keepdims, function, empty) > 0
    if x.size:
        return function(x, axis=axis, keepdims=keepdims)
    if not is_float(x):
        info = xp.iinfo(x.dtype)
        empty = info.min if empty < 0 else info.max
    shape = ops.sum(x, axis=axis, keepdims=keepdims).shape
    return Tensor(xp.full(shape, empty, dtype=x.dtype, device=x.device))


@reduction("ReduceL1")
def reduce_l1(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return ops.sum(ops.abs(x), axis=axis, keepdims=keepdims)


@reduction("ReduceL2")
def reduce_l2(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    x = x if is_float(x) else ops.astype(x, "float64")
    return ops.norm(x, axis=axis, keepdims=keepdims)


@reduction("ReduceSumSquare")
def reduce_sum_square(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    return ops.sum(x * x, axis=axis, keepdims=keepdims)


@reduction("ReduceLogSum")
def reduce_log_sum(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    x = x if is_float(x) else ops.astype(x, "float64")
    return ops.log(ops.sum(x, axis=axis, keepdims=keepdims))


@reduction("ReduceLogSumExp")
def reduce_log_sum_exp(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    x = x if is_float(x) else ops.astype(x, "float64")
    if axis == ():
        return x
    return ops.logsumexp(x, axis=axis, keepdims=keepdims)


@operator("ArgMax")
def arg_max(node: Node, x: Tensor) -> Tensor:
    return _position(node, x, ops.argmax)


@operator("ArgMin")
def arg_min(node: Node, x: Tensor) -> Tensor:
    return _position(node, x, ops.argmin)


def _position(node: Node, x: Tensor, function: Callable[..., Tensor]) -> Tensor:
    axis, keepdims = node.get("axis", 0) % x.ndim, bool(node.get("keepdims", 1))
    if node.get("select_last_index", 0):
        found = function(ops.flip(x, axis=axis), axis=axis, keepdims=keepdims)
        return Tensor(x.shape[axis] - 1 - found.data)
    return function(x, axis=axis, keepdims=keepdims)

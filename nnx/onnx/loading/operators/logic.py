"""Questions about values, and choices by them."""

from __future__ import annotations

import operator as py
from collections.abc import Callable
from typing import Any

from .... import ops
from ....tensor import Tensor
from ..node import Node, operator, xp_of
from .arithmetic import numpy_dtype

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "And": py.and_,
    "BitwiseAnd": py.and_,
    "BitwiseOr": py.or_,
    "BitwiseXor": py.xor,
    "Equal": py.eq,
    "Greater": py.gt,
    "GreaterOrEqual": py.ge,
    "Less": py.lt,
    "LessOrEqual": py.le,
    "Or": py.or_,
    "Xor": py.xor,
}


def _of_two(function: Callable[[Any, Any], Any]) -> Callable[[Node, Tensor, Tensor], Tensor]:
    return lambda node, a, b: Tensor(xp_of(a).asarray(function(a.data, b.data)))


for _op, _function in COMPARISONS.items():
    operator(_op)(_of_two(_function))


@operator("Not", "BitwiseNot")
def invert(node: Node, x: Tensor) -> Tensor:
    return Tensor(xp_of(x).asarray(~x.data))


@operator("IsNaN")
def is_nan(node: Node, x: Tensor) -> Tensor:
    return ops.isnan(x)


@operator("IsInf")
def is_inf(node: Node, x: Tensor) -> Tensor:
    infinite = ops.isinf(x)
    if not node.get("detect_positive", 1):
        infinite = ops.logical_and(infinite, x < 0)
    if not node.get("detect_negative", 1):
        infinite = ops.logical_and(infinite, x > 0)
    return infinite


@operator("Where")
def where(node: Node, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return ops.where(condition, a, b)


@operator("Identity")
def identity(node: Node, x: Tensor) -> Tensor:
    return x


@operator("Cast")
def cast(node: Node, x: Tensor) -> Tensor:
    return ops.astype(x, numpy_dtype(node, node.get("to")))


@operator("CastLike")
def cast_like(node: Node, x: Tensor, like: Tensor) -> Tensor:
    return ops.astype(x, like.dtype)


@operator("Dropout", static=(1, 2))
def dropout(
    node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> Any:
    """x itself: a file is loaded to be evaluated."""
    if training is not None and bool(training) and (ratio is None or float(ratio) > 0):
        raise node.refuse("it drops at random, in training mode")
    if not node.wants(1):
        return x
    return x, Tensor(xp_of(x).ones(x.shape, dtype=xp_of(x).bool, device=x.device))

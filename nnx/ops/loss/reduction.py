"""What losses share: agreeing shapes, and one number from many."""

from __future__ import annotations

import math
from typing import Any

from ...backends import Array, backend_of, reconciled
from ...tensor import Tensor
from .._broadcast import broadcast_shape, fit_broadcast
from .._function import Function
from .._operands import as_array, as_tensor
from ..array.cast import astype

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(name: str, reduction: str, allowed: tuple[str, ...] = REDUCTIONS) -> None:
    """Raise unless `reduction` is one that the loss knows."""
    if reduction not in allowed:
        raise ValueError(f"{name}: reduction must be one of {', '.join(allowed)}, not {reduction}")


def matching(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Input and target as tensors, the target in the input's dtype; it is never broadcast.

    Raises:
        TypeError: the input is not of a floating-point dtype.
        ValueError: the shapes differ.
    """
    input = as_tensor(name, input)
    require_float(name, input)
    target = as_tensor(name, target, input)
    home, other = backend_of(input.data), backend_of(target.data)
    if home is not other:
        input, target = reconciled(home, other, (input, target))
    if target.data.shape != input.data.shape:
        raise ValueError(
            f"{name}: input and target must have the same shape; input {input.shape}, "
            f"target {target.shape}"
        )
    same = target.data.dtype == input.data.dtype
    return input, target if same else astype(target, input.dtype)


def require_float(name: str, input: Tensor) -> None:
    """Raise unless the input is of a floating-point dtype."""
    if not backend_of(input.data).is_float(input.data.dtype):
        raise TypeError(f"{name}: the input must be floating-point, not {input.dtype}")


def constant(name: str, what: str, x: Any, input: Tensor) -> Array | None:
    """A weight as an array in the input's dtype; it broadcasts to the input's shape.

    Raises:
        ValueError: it does not.
    """
    if x is None:
        return None
    array, home = as_array(name, x, input), backend_of(input.data)
    shapes = input.shape, tuple(array.shape)
    if broadcast_shape(f"{name}: {what}", *shapes) != input.shape:
        raise ValueError(
            f"{name}: {what} of shape {shapes[1]} does not broadcast to the input's {shapes[0]}"
        )
    return array if array.dtype == input.data.dtype else home.xp.astype(array, input.data.dtype)


def share_times(xp: Any, share: Array, log: Array) -> Array:
    """share * log, and 0 where the share is 0, though the logarithm may be infinite: 0 log 0 = 0.

    The rule of information theory: share log share goes to 0 with the share, and what has no share
    in a sum adds nothing to it.
    """
    return share * xp.where(share == 0, xp.zeros_like(log), log)


class ElementwiseLoss(Function):
    """A loss l(x, t) of each number and its target, weighted and reduced.

        none   y = w l(x, t)
        sum    y = sum of w l(x, t)
        mean   y = sum of w l(x, t) / n, n the number of elements, whatever the weights

    so dx = g c w dl/dx, with c = 1/n for the mean and 1 else; and likewise for t.  A subclass
    gives `values`, which computes l and keeps what `slope_x` and `slope_t` will need.
    """

    def __init__(self, reduction: str, weight: Array | None = None) -> None:
        self.reduction, self.weight = reduction, weight

    def values(self, x: Array, t: Array) -> Array:
        raise NotImplementedError

    def slope_x(self) -> Array:
        raise NotImplementedError

    def slope_t(self) -> Array:
        raise NotImplementedError

    def forward(self, x: Array, t: Array) -> Array:
        self.scale = 1.0
        losses = self.values(x, t)
        if self.weight is not None:
            losses = losses * self.weight
        if self.reduction == "none":
            return losses
        total = self.backend.xp.sum(losses)
        if self.reduction == "sum":
            return total
        n = self.terms(x)
        self.scale = 1.0 / n if n else math.nan
        return total * self.scale

    def terms(self, x: Array) -> int:
        """What the mean divides by."""
        return math.prod(x.shape)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        if self.scale != 1.0:
            g = g * self.scale
        if self.weight is not None:
            g = g * self.weight
        for_x, for_t = self.needs_input_grad
        return g * self.slope_x() if for_x else None, g * self.slope_t() if for_t else None

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return fit_broadcast(self.backend.xp, gradient, shape, dtype)

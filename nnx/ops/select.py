"""Choosing between values: where, clip."""

from __future__ import annotations

from typing import Any

from ..autograd import Node
from ..backends import Array, backend_of, reconciled
from ..tensor import Tensor
from ._broadcast import Broadcasting, broadcast_shape, fit_broadcast, plain_number
from ._function import Function
from ._operands import as_tensor
from .array.cast import astype


class Where(Broadcasting):
    """y = a where the condition holds, else b: each gets g where it was chosen, 0 elsewhere."""

    def __init__(self, condition: Array) -> None:
        self.condition = condition

    def forward(self, a: Array, b: Array) -> Array:
        return self.backend.xp.where(self.condition, a, b)

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        zeros = xp.zeros_like(g)
        for_a, for_b = self.needs_input_grad
        return (
            xp.where(self.condition, g, zeros) if for_a else None,
            xp.where(self.condition, zeros, g) if for_b else None,
        )

    def explain(self, a: Any, b: Any) -> None:
        shapes = [tuple(x.shape) for x in (self.condition, a, b) if hasattr(x, "shape")]
        broadcast_shape("where", *shapes)


class Clip(Function):
    """y = min(max(x, low), high):  x gets g where low <= x <= high, low where x is below it, high
    where the result is high.
    """

    def forward(self, x: Array, low: Any, high: Any) -> Array:
        xp = self.backend.xp
        low, high = self._like(x, low), self._like(x, high)
        y = x if low is None else xp.maximum(x, low)
        if high is not None:
            y = xp.minimum(y, high)
        if True in self.needs_input_grad:
            self.x, self.low, self.high = x, low, high
        return y

    def _like(self, x: Array, bound: Any) -> Any:
        """A bound in x's dtype; of integers, one that it cannot hold as the nearest that it can."""
        xp = self.backend.xp
        if bound is None or (self.backend.is_float(x.dtype) and not hasattr(bound, "dtype")):
            return bound
        if self.backend.is_integer(x.dtype):
            range_ = xp.iinfo(x.dtype)
            if not hasattr(bound, "dtype"):
                return min(max(bound, range_.min), range_.max)
            if self.backend.is_integer(bound.dtype) and bound.dtype != x.dtype:
                own = xp.iinfo(bound.dtype)
                lowest = max(range_.min, own.min)
                bound = xp.clip(bound, lowest, min(range_.max, own.max))
        return xp.astype(bound, x.dtype, copy=False)

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        xp, x, low, high = self.backend.xp, self.x, self.low, self.high
        above = x >= low if low is not None else x == x
        below = x <= high if high is not None else x == x
        zeros = xp.zeros_like(g)
        for_x, for_low, for_high = self.needs_input_grad
        gx = xp.where(above & below, g, zeros) if for_x else None
        gl = gh = None
        if for_low:
            wins = x < low if high is None else (x < low) & (low < high)
            gl = xp.where(wins, g, zeros)
        if for_high:
            wins = x > high if low is None else (x > high) | (low > high)
            gh = xp.where(wins, g, zeros)
        return gx, gl, gh

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return fit_broadcast(self.backend.xp, gradient, shape, dtype)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """a where the condition (booleans) holds, b elsewhere; all broadcast, a or b may be a number.

    Both a and b are computed in full: an infinite gradient on the side that was not chosen is
    multiplied by 0 further back, which makes NaN; clip or replace such values before.

    Raises:
        TypeError: the condition is not of dtype bool, or a or b neither tensor nor number.
    """
    beside = next((x for x in (a, b) if isinstance(x, Node)), None)
    where = as_tensor("where", condition, beside)
    a, b = (x if _is_number(x) else as_tensor("where", x, where) for x in (a, b))
    condition = where.data
    if _is_number(a) and _is_number(b):
        a = Tensor(_as_float(condition, a))
    home = backend_of(condition)
    for x in (a, b):
        if isinstance(x, Node) and backend_of(x.data) is not home:
            where, a, b = reconciled(home, backend_of(x.data), (where, a, b))
            condition = where.data
            home = backend_of(condition)
    if condition.dtype != home.xp.bool:
        raise TypeError(f"where: the condition must be of dtype bool, not {condition.dtype}")
    return Where(condition)(a, b)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float)


def _as_float(condition: Array, x: Any) -> Array:
    """A number as float32 (an integer as int64) beside a condition."""
    xp = backend_of(condition).xp
    dtype = xp.float32 if isinstance(x, float) else xp.int64
    return xp.asarray(x, dtype=dtype, device=condition.device)


def clip(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x held between `min` and `max` (numbers or tensors; None: no bound), elementwise.

    The gradient passes where min <= x <= max, the bounds included.  The result has x's dtype
    whatever the bounds' is; only integers between bounds that are floats become floats, the
    bounds' or float32 beside a number, as in arithmetic.

    Raises:
        ValueError: the shapes cannot be broadcast.
    """
    x = as_tensor("clip", x)
    if min is None and max is None:
        return x
    low, high = (
        b if b is None or _is_number(b) else as_tensor("clip", b, x)
        for b in (plain_number(min), plain_number(max))
    )
    bounds = [b for b in (low, high) if isinstance(b, Node)]
    if bounds:
        broadcast_shape("clip", x.shape, *[tuple(b.data.shape) for b in bounds])
    home = backend_of(x.data)
    if not home.is_float(x.dtype):
        floats = [b.data.dtype for b in bounds if home.is_float(b.data.dtype)]
        if floats or isinstance(low, float) or isinstance(high, float):
            x = astype(x, floats[0] if floats else "float32")
    return Clip()(x, low, high)

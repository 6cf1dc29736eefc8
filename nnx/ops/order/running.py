"""Running sums, products and log-sums along an axis, and differences, which undo sums."""

from __future__ import annotations

import math
import operator
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._broadcast import one_axis
from .._function import Unary
from .._operands import as_tensor
from ..arithmetic import subtract
from ..array.autocast import in_float32
from ..array.cast import astype
from ..array.indexing import getitem
from ..array.join import concat
from ..compare import not_equal


class Cumulative(Unary):
    """y[k] made of x[0] to x[k] along one axis; with `include_initial`, before them what is made of
    nothing."""

    initial = 0.0

    def __init__(self, axis: int, include_initial: bool = False) -> None:
        self.axis, self.include_initial = axis, include_initial

    def begun(self, y: Array) -> Array:
        """y, behind what is made of nothing where that is wanted."""
        if not self.include_initial:
            return y
        xp, shape = self.backend.xp, list(y.shape)
        shape[self.axis] = 1
        first = xp.full(tuple(shape), self.initial, dtype=y.dtype, device=y.device)
        return xp.concat([first, y], axis=self.axis)

    def own(self, g: Array) -> Array:
        """The gradients of y[0], y[1], ...: without that of what is made of nothing."""
        return g[self.part(slice(1, None))] if self.include_initial else g

    def part(self, places: slice) -> Any:
        """The key that takes some places of the axis and all of the others."""
        return (*[slice(None)] * self.axis, places, ...)

    def sum_from_here(self, g: Array) -> Array:
        """g[k] + g[k+1] + ... + g[n-1]."""
        xp, axis = self.backend.xp, self.axis
        return xp.flip(xp.cumulative_sum(xp.flip(g, axis=axis), axis=axis), axis=axis)


class CumulativeSum(Cumulative):
    """y[k] = x[0] + ... + x[k]:  x[k] is in y[k], y[k+1], ..., so dx[k] = g[k] + ... + g[n-1]."""

    def forward(self, x: Array) -> Array:
        return self.begun(self.backend.xp.cumulative_sum(x, axis=self.axis))

    def backward(self, g: Array) -> Array:
        return self.sum_from_here(self.own(g))


class CumulativeProduct(Cumulative):
    """y[k] = x[0] x[1] ... x[k].

    x[i] is a factor of y[k] for k >= i, and the others make y[k] / x[i], so where nothing is 0

        dx[i] = (Σ_{k >= i} g[k] y[k]) / x[i].

    Let z be the place of the first 0.  Before it that stays true: y[k] = 0 for k >= z, as it should
    be.  Behind it every product has the factor x[z] = 0 besides, so dx[i] = 0.  At z itself the
    others make y'[k], the running product with x[z] left out (which is 0 again from a second zero
    on), so dx[z] = Σ_{k >= z} g[k] y'[k].
    """

    initial = 1.0

    def forward(self, x: Array) -> Array:
        y = self.backend.xp.cumulative_prod(x, axis=self.axis)
        if self.needs_input_grad[0]:
            self.x, self.y = x, y
        return self.begun(y)

    def backward(self, g: Array) -> Array:
        xp, axis, x = self.backend.xp, self.axis, self.x
        g = self.own(g)
        zero = x == 0
        zeros = xp.cumulative_sum(xp.astype(zero, xp.int32), axis=axis)
        first = zero & (zeros == 1)
        without = xp.cumulative_prod(xp.where(first, xp.ones_like(x), x), axis=axis)
        before = self.sum_from_here(g * self.y) / xp.where(zero, xp.ones_like(x), x)
        at_it = self.sum_from_here(g * without)
        behind = xp.where(first, at_it, xp.zeros_like(x))
        return xp.where(zeros == 0, before, behind)


class LogCumSumExp(Cumulative):
    """y[k] = log(e^x[0] + ... + e^x[k]).

    Forward.  In round r each place joins, by log(e^a + e^b), what stands 2^r before it, so that
    after log2(n) rounds it holds the sum of all before it (Hillis and Steele 1986); no e^x is ever
    formed, and nothing overflows.

    Backward.  dy[k]/dx[i] = e^(x[i] - y[k]) for k >= i, so dx[i] = e^x[i] Σ_{k >= i} g[k] e^-y[k],
    where both factors may overflow.  The sum is once more a running log-sum-exp, from behind, of
    log|g[k]| - y[k]; of the positive g and of the negative ones apart.
    """

    floats_only = True
    name = "logcumsumexp"

    def forward(self, x: Array) -> Array:
        y = self.running(x)
        if self.needs_input_grad[0]:
            self.x, self.y = x, y
        return y

    def running(self, x: Array) -> Array:
        xp, n, step = self.backend.xp, x.shape[self.axis], 1
        while step < n:
            early = x[self.part(slice(0, step))]
            joined = self.joined(x[self.part(slice(step, n))], x[self.part(slice(0, n - step))])
            x = xp.concat([early, joined], axis=self.axis)
            step *= 2
        return x

    def joined(self, a: Array, b: Array) -> Array:
        """log(e^a + e^b); xp.logaddexp where both are infinite would warn."""
        xp = self.backend.xp
        high = xp.maximum(a, b)
        finite = xp.isfinite(high)
        zeros = xp.zeros_like(high)
        gap = xp.where(finite, xp.minimum(a, b), zeros) - xp.where(finite, high, zeros)
        return xp.where(finite, high + xp.log1p(xp.exp(gap)), high)

    def backward(self, g: Array) -> Array:
        xp, axis = self.backend.xp, self.axis
        low, zeros = xp.full_like(g, -math.inf), xp.zeros_like(g)
        there = self.y > -math.inf  # nothing passes where all before are -inf
        y, dx = xp.where(there, self.y, zeros), zeros
        for sign in (1, -1):
            mine = there & (g * sign > 0)
            logs = xp.where(mine, xp.log(xp.where(mine, xp.abs(g), xp.ones_like(g))) - y, low)
            total = xp.flip(self.running(xp.flip(logs, axis=axis)), axis=axis)
            some = total > -math.inf
            dx = dx + sign * xp.exp(xp.where(some, total, low) + xp.where(some, self.x, zeros))
        return dx


def _one_axis(name: str, x: Tensor, axis: int | None) -> int:
    """The axis to run along, which may be left out where there is but one.

    Raises:
        ValueError: there is no such axis, or it is left out of several.
    """
    if axis is None:
        if x.ndim != 1:
            raise ValueError(f"{name}: axis must be given for shape {x.shape}")
        return 0
    return one_axis(name, axis, x.shape)


@in_float32
def cumulative_sum(
    x: Tensor, axis: int | None = None, include_initial: bool = False, dtype: Any = None
) -> Tensor:
    """Running sums of x along `axis`, in x's shape; `include_initial` puts a 0 before them.

    Args:
        x: of any shape.
        axis: may be left out where x has one axis.
        include_initial: whether the axis becomes longer by one, and begins with 0.
        dtype: to compute in, by name or any library's; None: x's own.

    Raises:
        ValueError: x has no such axis, or `axis` is left out, and x has not exactly one.
    """
    x = as_tensor("cumulative_sum", x)
    k = _one_axis("cumulative_sum", x, axis)
    return CumulativeSum(k, include_initial)(x if dtype is None else astype(x, dtype))


@in_float32
def cumulative_prod(
    x: Tensor, axis: int | None = None, include_initial: bool = False, dtype: Any = None
) -> Tensor:
    """Running products of x along `axis`, in x's shape; gradients are right at zeros too.

    Args:
        x: of any shape.
        axis: may be left out where x has one axis.
        include_initial: whether the axis becomes longer by one, and begins with 1.
        dtype: to compute in, by name or any library's; None: x's own.

    Raises:
        ValueError: x has no such axis, or `axis` is left out, and x has not exactly one.
    """
    x = as_tensor("cumulative_prod", x)
    k = _one_axis("cumulative_prod", x, axis)
    return CumulativeProduct(k, include_initial)(x if dtype is None else astype(x, dtype))


@in_float32
def logcumsumexp(x: Tensor, axis: int | None = None) -> Tensor:
    """log of the running sums of exp(x) along `axis`, in x's shape, without overflow.

    Args:
        x: of a floating-point dtype.
        axis: may be left out where x has one axis.

    Raises:
        ValueError: x has no such axis, or `axis` is left out, and x has not exactly one.
    """
    x = as_tensor("logcumsumexp", x)
    return LogCumSumExp(_one_axis("logcumsumexp", x, axis))(x)


def diff(
    x: Tensor,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Each number minus the one before it along `axis`, which becomes shorter by `n`.

    Args:
        x: of any shape.
        axis: along which.
        n: how many times this is done; of booleans, whether they differ.
        prepend: what stands before x along the axis, of x's shape but for that axis.
        append: what stands behind it.

    Raises:
        ValueError: x has no such axis, n is negative, or shapes do not fit.
    """
    x = as_tensor("diff", x)
    k = one_axis("diff", axis, x.shape)
    if operator.index(n) < 0:
        raise ValueError(f"diff: n must not be negative, got {n}; shape {x.shape}")
    if n == 0:
        return x
    around = [None if part is None else as_tensor("diff", part, x) for part in (prepend, append)]
    parts = [part for part in (around[0], x, around[1]) if part is not None]
    if len(parts) > 1:
        x = concat(parts, axis=k)
    less = not_equal if x.dtype == backend_of(x.data).xp.bool else subtract
    front = (slice(None),) * k
    for _ in range(n):
        x = less(getitem(x, (*front, slice(1, None))), getitem(x, (*front, slice(None, -1))))
    return x

"""Sums, means, extremes: one number from many.

In every backward g has the output's shape; `self.full(g)` puts the reduced axes back with length
1, so that g broadcasts against x.
"""

from __future__ import annotations

import math
from typing import Any

from ..backends import Array
from ..tensor import Tensor
from ._broadcast import Axis, axes_of
from ._function import Unary
from .array.autocast import in_float32, in_float32_inside
from .array.cast import astype


class Reduction(Unary):
    """What reductions share: the axes they go over, and the way back to x's shape."""

    def __init__(self, axis: Axis = None, keepdims: bool = False) -> None:
        self.axis = axis
        self.keepdims = keepdims

    def over(self, x: Array) -> tuple[int, ...]:
        """Note x's shape; the reduced axes counted from the front."""
        self.shape = x.shape
        if self.axis is None:
            self.axes = tuple(range(x.ndim))
        else:
            self.axes = axes_of(type(self).__name__.lower(), self.axis, x.shape)
        return self.axes

    def count(self) -> int:
        """How many numbers each output is made of."""
        return math.prod([self.shape[k] for k in self.axes])

    def full(self, g: Array) -> Array:
        """g with every reduced axis, of length 1."""
        if self.keepdims or not self.shape:
            return g
        axes = self.axes
        return self.backend.xp.reshape(
            g, tuple([1 if k in axes else n for k, n in enumerate(self.shape)])
        )

    def stretch(self, g: Array) -> Array:
        """g repeated along the reduced axes."""
        return self.backend.stretch(self.full(g), self.shape)


class Sum(Reduction):
    """y = sum of x:  every x[i] gets g."""

    def forward(self, x: Array) -> Array:
        xp = self.backend.xp
        if x.dtype == xp.bool:
            x = xp.astype(x, xp.int64)
        return self.backend.sum_over(x, self.over(x), self.keepdims)

    def backward(self, g: Array) -> Array:
        return self.stretch(g)


class Mean(Reduction):
    """y = (sum of x) / n:  every x[i] gets g / n."""

    floats_only = True

    def forward(self, x: Array) -> Array:
        return self.backend.mean_over(x, self.over(x), self.keepdims)

    def backward(self, g: Array) -> Array:
        return self.stretch(g / self.count())


class Var(Reduction):
    """y = sum (x - m)² / (n - c), with m the mean and c the correction.

    dx = 2 g (x - m) / (n - c): what x does to m drops out, since sum (x - m) = 0.
    """

    floats_only = True

    def __init__(self, axis: Axis, correction: float, keepdims: bool) -> None:
        super().__init__(axis, keepdims)
        self.correction = correction

    def forward(self, x: Array) -> Array:
        return self.variance(x)

    def variance(self, x: Array) -> Array:
        xp, axes = self.backend.xp, self.over(x)
        centred = x - xp.mean(x, axis=axes, keepdims=True)
        self.n = self.count() - self.correction
        if self.n <= 0:
            raise ValueError(
                f"{type(self).__name__.lower()}: needs more than correction={self.correction} "
                f"values, got {self.count()}; axis {self.axis} of shape {tuple(x.shape)}"
            )
        if self.needs_input_grad[0]:
            self.centred = centred
        over = {"axis": axes, "keepdims": self.keepdims}
        rest = xp.sum(centred, **over)  # 0, but for what the mean of large numbers has lost
        return (xp.sum(centred * centred, **over) - rest * rest / self.count()) / self.n

    def backward(self, g: Array) -> Array:
        return self.full(g * (2 / self.n)) * self.centred


class Std(Var):
    """y = √var:  dx = g (x - m) / ((n - c) y), taken as 0 where y = 0."""

    def forward(self, x: Array) -> Array:
        self.y = self.backend.xp.sqrt(self.variance(x))
        return self.y

    def backward(self, g: Array) -> Array:
        xp, y = self.backend.xp, self.y
        safe = xp.where(y == 0, xp.ones_like(y), y)
        return self.full(xp.where(y == 0, xp.zeros_like(g), g / (safe * self.n))) * self.centred


class Max(Reduction):
    """y = the largest x.

    Over one axis the gradient goes to the first of the largest, as in `torch.max(x, dim)`;
    over all axes or several it is shared evenly among them, as in `torch.amax` (and, over all,
    `torch.max`).
    """

    def forward(self, x: Array) -> Array:
        axes = self.over(x)
        if not all(x.shape[k] for k in axes):
            raise ValueError(
                f"{type(self).__name__.lower()}: there is none of no values; axis {self.axis} of "
                f"shape {tuple(x.shape)}"
            )
        y = self.extreme(x, axes)
        if self.needs_input_grad[0]:
            if isinstance(self.axis, int):
                self.where = self.position(x, axes[0])
            else:
                top = self.full(y)
                self.hits = (x == top) | (x != x)  # NaN is the largest, and unequal to itself
        return y

    def extreme(self, x: Array, axes: tuple[int, ...]) -> Array:
        return self.backend.xp.max(x, axis=axes, keepdims=self.keepdims)

    def position(self, x: Array, axis: int) -> Array:
        return self.backend.xp.argmax(x, axis=axis, keepdims=True)

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        g = self.full(g)
        if isinstance(self.axis, int):
            (axis,) = self.axes
            shape = [1] * len(self.shape)
            shape[axis] = self.shape[axis]
            every = xp.arange(self.shape[axis], dtype=self.where.dtype, device=g.device)
            hits = self.where == xp.reshape(every, tuple(shape))
            return xp.where(hits, g, xp.zeros_like(g))
        hits = xp.astype(self.hits, g.dtype)
        return hits * (g / xp.sum(hits, axis=self.axes, keepdims=True))


class Min(Max):
    """y = the smallest x; ties as in `Max`."""

    def extreme(self, x: Array, axes: tuple[int, ...]) -> Array:
        return self.backend.xp.min(x, axis=axes, keepdims=self.keepdims)

    def position(self, x: Array, axis: int) -> Array:
        return self.backend.xp.argmin(x, axis=axis, keepdims=True)


class Prod(Reduction):
    """y = product of x:  dx[i] = g times the product of the others.

    Without zeros that is g y / x[i].  With p the product of what is not zero: where one x is
    zero it alone gets g p and the others 0; where two are, all get 0.
    """

    def forward(self, x: Array) -> Array:
        axes = self.over(x)
        if self.needs_input_grad[0]:
            self.x = x
        return self.backend.xp.prod(x, axis=axes, keepdims=self.keepdims)

    def backward(self, g: Array) -> Array:
        xp, x = self.backend.xp, self.x
        zero = x == 0
        rest = xp.where(zero, xp.ones_like(x), x)
        p = self.full(g) * xp.prod(rest, axis=self.axes, keepdims=True)
        zeros = xp.sum(xp.astype(zero, xp.int64), axis=self.axes, keepdims=True)
        alone = xp.where(zero, zeros == 1, zeros == 0)
        return xp.where(alone, p / rest, xp.zeros_like(x))


class LogSumExp(Reduction):
    """y = log sum exp x = m + log sum exp(x - m), with m the largest x, so that exp stays in range.

    dx = g exp(x - m) / sum exp(x - m), the softmax; from what forward computed, since exp(x - y)
    would lose the digits that y has to spend on a large m.
    """

    floats_only = True

    def forward(self, x: Array) -> Array:
        xp, axes = self.backend.xp, self.over(x)
        largest = xp.sum if 0 in x.shape else xp.max  # of nothing: 0, which will do
        m = largest(x, axis=axes, keepdims=True)
        m = xp.where(xp.isfinite(m), m, xp.zeros_like(m))
        e = xp.exp(x - m)
        total = xp.sum(e, axis=axes, keepdims=True)
        empty = total == 0  # every x is -inf
        total = xp.where(empty, xp.ones_like(total), total)
        if self.needs_input_grad[0]:
            self.e, self.total = e, total
        y = xp.where(empty, xp.full_like(total, -math.inf), xp.log(total) + m)
        if self.keepdims:
            return y
        return xp.reshape(y, tuple([n for k, n in enumerate(x.shape) if k not in axes]))

    def backward(self, g: Array) -> Array:
        return self.e * (self.full(g) / self.total)


@in_float32
def sum(x: Tensor, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """The sum over `axis` (an axis, several, or all); booleans are counted.

    Args:
        x: of any shape.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.
        dtype: to compute in, by name or any library's; None: x's own.

    Returns:
        One number each, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, or one is named twice.
    """
    return Sum(axis, keepdims)(x if dtype is None else astype(x, dtype))


@in_float32_inside
def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The arithmetic mean over `axis` (an axis, several, or all).

    Args:
        x: of any shape.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.

    Returns:
        One number each, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, or one is named twice.
    """
    return Mean(axis, keepdims)(x)


@in_float32_inside
def var(x: Tensor, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The variance of x over `axis`: sum (x - mean)² / (n - correction).

    Args:
        x: of any shape.
        axis: the axis or axes that go; None: all of them.
        correction: 0 for the variance of these n numbers (the array API's default), 1 for the
            unbiased estimate from a sample (PyTorch's).
        keepdims: keep them, with length 1.

    Returns:
        One number each, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, one is named twice, or there are not more numbers than
            `correction`.
    """
    return Var(axis, correction, keepdims)(x)


@in_float32_inside
def std(x: Tensor, axis: Axis = None, correction: float = 0, keepdims: bool = False) -> Tensor:
    """The square root of `var`; where it is 0 the gradient is 0.

    Args:
        x: of any shape.
        axis: the axis or axes that go; None: all of them.
        correction: as `var` has it.
        keepdims: keep them, with length 1.

    Returns:
        One number each, of x's shape without `axis`.

    Raises:
        ValueError: as `var`.
    """
    return Std(axis, correction, keepdims)(x)


def max(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest value over `axis`.

    At a tie the gradient goes to the first of them for one axis, and is shared evenly among them
    for all axes or a tuple, as in PyTorch (`max(dim)`, and `max()` or `amax`).

    Args:
        x: of any shape.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.

    Returns:
        One number each, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, one is named twice, or there is nothing along it.
    """
    return Max(axis, keepdims)(x)


def min(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest value over `axis`; ties as in `max`.

    Args:
        x: of any shape.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.

    Returns:
        One number each, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, one is named twice, or there is nothing along it.
    """
    return Min(axis, keepdims)(x)


@in_float32
def prod(x: Tensor, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Tensor:
    """The product over `axis`; gradients are right where values are 0 too.

    Args:
        x: of any shape.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.
        dtype: to compute in, by name or any library's; None: x's own.

    Returns:
        One number each, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, or one is named twice.
    """
    return Prod(axis, keepdims)(x if dtype is None else astype(x, dtype))


@in_float32
def logsumexp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log of the sum of exp(x) over `axis`, without overflow.

    Args:
        x: of a floating-point dtype.
        axis: the axis or axes that go; None: all of them.
        keepdims: keep them, with length 1.

    Returns:
        One number each, of x's shape without `axis`.

    Raises:
        ValueError: x has no such axis, or one is named twice.
    """
    return LogSumExp(axis, keepdims)(x)

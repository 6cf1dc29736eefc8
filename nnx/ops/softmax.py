"""Softmax along an axis, and its logarithm."""

from __future__ import annotations

from typing import Any

from ..backends import Array
from ..tensor import Tensor
from ._broadcast import one_axis
from ._function import Unary
from ._operands import as_tensor, require_one_dtype
from .arithmetic import negative
from .array.autocast import in_float32
from .array.shape import reshape


class Softmax(Unary):
    """y[c] = e^x[c] / sum_k e^x[k], computed with x - max(x), which changes nothing but the range.

    Backward.  dy[c]/dx[j] = y[c] (δ[c,j] - y[j]), so

        dx[j] = sum_c g[c] y[c] (δ[c,j] - y[j]) = y[j] (g[j] - sum_c g[c] y[c])
    """

    floats_only = True

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        y = x if 0 in x.shape else self.backend.softmax(x, self.axis)
        if self.needs_input_grad[0]:
            self.y = y
        return y

    def backward(self, g: Array) -> Array:
        return self.backend.softmax_backward(g, self.y, self.axis)


class LogSoftmax(Unary):
    """y[c] = x[c] - log sum_k e^x[k].

    Backward.  dy[c]/dx[j] = δ[c,j] - e^y[j], so dx[j] = g[j] - e^y[j] sum_c g[c].
    """

    floats_only = True
    name = "log_softmax"

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        y = x if 0 in x.shape else self.backend.log_softmax(x, self.axis)
        if self.needs_input_grad[0]:
            self.y = y
        return y

    def backward(self, g: Array) -> Array:
        return self.backend.log_softmax_backward(g, self.y, self.axis)


@in_float32
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / sum of exp(x) along `axis`: probabilities that add up to 1 (Xu 2.2-2.3).

    A number, shape (), is as a vector of one.

    Raises:
        ValueError: x has no such axis.
    """
    return _along("softmax", Softmax, x, axis)


@in_float32
def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """log(softmax(x)) along `axis`, exact where softmax itself would round to 0.

    Raises:
        ValueError: x has no such axis.
    """
    return _along("log_softmax", LogSoftmax, x, axis)


def softmin(x: Tensor, axis: int = -1) -> Tensor:
    """softmax(-x) along `axis`: of x's shape, the largest share to the smallest number.

    Raises:
        TypeError: x is not of a floating-point dtype.
        ValueError: x has no such axis.
    """
    x = as_tensor("softmin", x)
    require_one_dtype("softmin", x=x)
    return softmax(negative(x), axis)


def _along(name: str, function: type[Softmax] | type[LogSoftmax], x: Any, axis: int) -> Tensor:
    x = as_tensor(name, x)
    if x.data.ndim:
        return function(one_axis(name, axis, x.shape))(x)
    return reshape(function(one_axis(name, axis, (1,)))(reshape(x, (1,))), ())

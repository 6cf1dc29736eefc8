"""Power-average pooling: the p-norm of each window."""

from __future__ import annotations

import math
from collections.abc import Callable

from ...backends import Array
from ...tensor import Tensor
from .._operands import as_tensor, require_one_dtype
from ..arithmetic import multiply, pow
from ..array.autocast import in_float32_inside
from ..elementwise import Pointwise
from .arguments import Size, sizes
from .pool import avg_pool1d, avg_pool2d
from .pool3d import avg_pool3d


class Root(Pointwise):
    """y = s^(1/p):  ds = g s^(1/p - 1) / p = g y^(1 - p) / p, taken as 0 where s = 0.

    With s = Σ x^p over a window the chain rule gives dx = g (x / y)^(p - 1): at s = 0, where all x
    of the window are 0, this is 0/0, and 0 is the choice of `norm` there.
    """

    from_output = True

    def __init__(self, p: float) -> None:
        self.p = p

    def compute(self, s: Array) -> Array:
        return s ** (1 / self.p)

    def backward(self, g: Array) -> Array:
        xp, y = self.backend.xp, self.y
        zero = y == 0
        slope = xp.where(zero, xp.ones_like(y), y) ** (1 - self.p) / self.p
        return xp.where(zero, xp.zeros_like(g), g * slope)


@in_float32_inside
def lp_pool1d(
    x: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(Σ x^p)^(1/p) over each window: x (N, C, L) or (C, L) -> (N, C, ol) (Gulcehre et al. 2014).

    Args:
        x: sequences; where p is no even number, of numbers that are not negative.
        norm_type: p: 1 is the sum; the larger, the nearer to the largest value.
        kernel_size: how long a window is.
        stride: from one window to the next; None: kernel_size.
        ceil_mode: let the last window run over the end; its sum then counts, as in PyTorch, as
            many times as a whole window is longer than its part inside.

    Raises:
        ValueError: norm_type is not positive and finite; a window that does not fit.
        TypeError: integers.
    """
    return _lp_pool("lp_pool1d", avg_pool1d, 1, x, norm_type, kernel_size, stride, ceil_mode)


@in_float32_inside
def lp_pool2d(
    x: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(Σ x^p)^(1/p) over each window: x (N, C, H, W) or (C, H, W) -> (N, C, oh, ow).

    Args:
        x: images; else as in `lp_pool1d`.
        norm_type: p.
        kernel_size: an integer, or (kh, kw).
        stride: from one window to the next, an integer or a pair; None: kernel_size.
        ceil_mode: let the last windows run over the edge, as in `lp_pool1d`.

    Raises:
        ValueError: norm_type is not positive and finite; a window that does not fit.
        TypeError: integers.
    """
    return _lp_pool("lp_pool2d", avg_pool2d, 2, x, norm_type, kernel_size, stride, ceil_mode)


@in_float32_inside
def lp_pool3d(
    x: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(Σ x^p)^(1/p) over each window: x (N, C, D, H, W) or (C, D, H, W) -> (N, C, od, oh, ow).

    Args:
        x: volumes; else as in `lp_pool1d`.
        norm_type: p.
        kernel_size: an integer, or (kd, kh, kw).
        stride: from one window to the next, one number or three; None: kernel_size.
        ceil_mode: let the last windows run over the end, as in `lp_pool1d`.

    Raises:
        ValueError: norm_type is not positive and finite; a window that does not fit.
        TypeError: integers.
    """
    return _lp_pool("lp_pool3d", avg_pool3d, 3, x, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    name: str,
    mean: Callable[..., Tensor],
    axes: int,
    x: Tensor,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None,
    ceil_mode: bool,
) -> Tensor:
    """The sum is the mean times the number of places: the pooling there is gives the one."""
    x = as_tensor(name, x)
    require_one_dtype(name, x=x)
    if not 0 < norm_type < math.inf:
        raise ValueError(f"{name}: norm_type must be positive and finite, got {norm_type}")
    places = math.prod(sizes(name, "kernel_size", kernel_size, axes))
    sums = multiply(mean(pow(x, norm_type), kernel_size, stride, ceil_mode=ceil_mode), places)
    return sums if norm_type == 1 else Root(norm_type)(sums)

"""Convolution, batch norm, ReLU and max-pooling as one operation, for speed."""

from __future__ import annotations

import math

from ...backends import Array
from ...tensor import Tensor
from .._function import Function
from .._operands import operands
from .arguments import PaddingLike, Size, Window, batch_of, one_of
from .conv import conv_window


class ConvBlock(Function):
    """`Conv2d`, then `BatchNorm`, `ReLU` and `MaxPool2d` where asked for, one after another.

    The formulas, and the gradients by the chain rule, are those of the four operations: the
    portable kernel calls theirs in a row.  A backend with a kernel of its own does not write down
    what lies between them.
    """

    def __init__(
        self,
        window: Window,
        groups: int,
        eps: float | None,
        relu: bool,
        pool: Window | None,
    ) -> None:
        self.window, self.groups = window, groups
        self.eps, self.relu, self.pool = eps, relu, pool

    def forward(
        self,
        x: Array,
        weight: Array,
        bias: Array | None,
        gamma: Array | None,
        beta: Array | None,
    ) -> Array:
        norm = None if self.eps is None else (gamma, beta, self.eps)
        y, self.mean, self.variance, residuals = self.backend.conv_block2d(
            x, weight, bias, self.window, self.groups, norm, self.relu, self.pool
        )
        if True in self.needs_input_grad:
            self.residuals = residuals
        return y

    def multiply_adds(self, x: Array, weight: Array, *others: Array | None) -> tuple[int, int]:
        values = x.shape[0] * math.prod(self.window.counts(x.shape[2:]))  # of one channel
        forward, backward = self.of_product(values * math.prod(weight.shape))
        norm = 0 if self.eps is None else 2 * values * weight.shape[0]
        return forward + norm, backward + (norm if True in self.needs_input_grad else 0)

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        return self.backend.conv_block2d_backward(g, self.residuals, self.needs_input_grad)


def conv_block2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: PaddingLike = 0,
    dilation: Size = 1,
    groups: int = 1,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    eps: float | None = None,
    relu: bool = False,
    pool: Window | None = None,
) -> tuple[Tensor, Array | None, Array | None]:
    """`max_pool2d(relu(batch_norm(conv2d(x, weight, bias, ...), gamma, beta, eps)), ...)`.

    `nn.Sequential` calls this where those layers stand in a row.

    Args:
        x: (N, C, H, W).
        weight, bias, stride, padding, dilation, groups: `conv2d`'s.
        gamma, beta: batch norm's, (O,).
        relu: whether negative numbers become 0.
        eps: batch norm's; None: no batch norm.
        pool: the window of the pooling, which fits at least once; None: no pooling.

    Returns:
        The result, and batch norm's mean and biased variance as arrays (None without).

    Raises:
        As `conv2d`.
        TypeError: dtypes that differ.
    """
    x, weight, bias = operands("conv2d", x, weight, bias)
    shapes = x.shape, weight.shape, None if bias is None else bias.shape
    window = conv_window("conv2d", *shapes, stride, padding, dilation, groups, 2)
    x, alone = batch_of(x, 2)
    block = ConvBlock(window, groups, eps, relu, pool)
    y = one_of(block(x, weight, bias, gamma, beta), alone)
    return y, block.mean, block.variance

"""The transpose of a convolution: what makes images larger."""

from __future__ import annotations

import math
from typing import Any

from ...backends import Array
from ...tensor import Tensor
from .._function import Function
from .._operands import operands
from ..arithmetic import add
from ..array.autocast import in_low_precision
from ..array.padding import pad
from ..array.shape import reshape
from .arguments import (
    Geometry,
    InOneDimension,
    PaddingLike,
    Pair,
    Size,
    Window,
    batch_of,
    one_of,
    padding_pairs,
    remembered,
    sizes,
)
from .conv import check_operands


class ConvTranspose2d(Function):
    """The transpose of a convolution: y[n, c, p s + i d, q s + j d] += w[o, c, i, j] x[n, o, p, q].

    With C_w the linear map x -> conv2d(x, w), this is its transpose C_w^T: forward here is what
    backward is there, col2im(W^T X), and the other way round.

    Backward.  L depends on y = C_w^T x through G = dL/dy, so for any change of x or w

        dL = <G, C_w^T x> = <C_w G, x>.

    Read as a function of x: dL/dx = C_w G, a convolution.  Read as a function of w: dL/dw is the
    weight gradient of the convolution C_w G when x is what arrives at its output.
    """

    def __init__(self, size: Pair, window: Window, groups: int) -> None:
        self.size, self.window, self.groups = size, window, groups

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        xp = self.backend.xp
        shape = (x.shape[0], weight.shape[1] * self.groups, *self.size)
        y = self.backend.conv_transpose2d(x, weight, shape, self.window, self.groups)
        if self.needs_input_grad[0] or self.needs_input_grad[1]:
            self.weight = weight
        if self.needs_input_grad[1]:
            self.x = x
        if bias is not None:
            y += xp.reshape(bias, (-1, 1, 1))  # y is ours: a kernel's results are new arrays
        return y

    def multiply_adds(self, x: Array, weight: Array, bias: Array | None = None) -> tuple[int, int]:
        return self.of_product(math.prod(x.shape) * math.prod(weight.shape[1:]))

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        gx = gw = gb = None
        if self.needs_input_grad[0] or self.needs_input_grad[1]:
            gx, residuals = self.backend.conv2d(g, self.weight, None, self.window, self.groups)
        if self.needs_input_grad[1]:
            _, gw, _ = self.backend.conv2d_backward(self.x, residuals, (False, True, False))
        if self.needs_input_grad[2]:
            gb = self.backend.xp.sum(g, axis=(0, 2, 3))
        return gx, gw, gb


class ConvTranspose1d(InOneDimension, ConvTranspose2d):
    """`ConvTranspose2d` on images of height 1."""


@in_low_precision
def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: PaddingLike = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of a convolution, for making images larger (Zeiler et al. 2010).

    x (N, C, H, W), or (C, H, W) for one image, weight (C, O/groups, kh, kw), bias (O,) or None
    -> (N, O, oh, ow), or (O, oh, ow), with
    oh = (H - 1) stride - padding + dilation (kh - 1) + output_padding + 1.

    Args:
        padding: what is cut off around the result, as in `conv2d`.
        output_padding: rows and columns added at the bottom and right: which of the sizes that
            `conv2d` with this stride turns into (H, W) the result has.  Rows that no window
            reaches, where it is larger than that, hold the bias alone.

    Raises:
        ValueError, TypeError: as `conv2d`; also an output_padding that is below neither the stride
            nor the dilation.
    """
    return _transpose(
        "conv_transpose2d",
        ConvTranspose2d,
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


@in_low_precision
def conv_transpose1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: PaddingLike = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of a convolution of sequences: x (N, C, L) or (C, L), weight (C, O/groups, k)
    -> (N, O, ol), with ol = (L - 1) stride - padding + dilation (k - 1) + output_padding + 1.

    As `conv_transpose2d`, with one axis, also in its errors.

    Args:
        x: the sequences.
        weight: for each channel of x, a filter for each output of its group.
        bias: (O,), or None.
        stride: how far apart in the result two neighbours of x put their filters.
        padding: what is cut off at both ends, as in `conv1d`.
        output_padding: how much longer the result is at its end.
        groups: the channels are split into as many parts that do not see each other.
        dilation: how far apart in the result the numbers of one filter are.

    Raises:
        ValueError: as `conv_transpose2d`.
        TypeError: as there.
    """
    return _transpose(
        "conv_transpose1d",
        ConvTranspose1d,
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        dilation,
    )


def _transpose(
    name: str,
    function: type[ConvTranspose2d],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: PaddingLike,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> Tensor:
    axes = 1 if function is ConvTranspose1d else 2
    x, weight, bias = operands(name, x, weight, bias)
    shapes = x.shape, weight.shape, None if bias is None else bias.shape
    size, window, beyond = _transposed_window(
        name, *shapes, stride, padding, output_padding, groups, dilation, axes
    )
    x, alone = batch_of(x, axes)
    transpose = function(size, window, groups)
    if not any(beyond):
        return one_of(transpose(x, weight, bias), alone)
    y = pad(transpose(x, weight, None), ((0, 0), (0, 0), *[(0, n) for n in beyond]))
    return one_of(y if bias is None else add(y, reshape(bias, (-1, *[1] * axes))), alone)


@remembered
def _transposed_window(
    name: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Size,
    padding: PaddingLike,
    output_padding: Size,
    groups: int,
    dilation: Size,
    axes: int,
) -> tuple[Any, Window, list[int]]:
    """Size (h, w) and window of the part of the result that windows reach, and the rows of zeros
    after."""
    size, geometry, beyond = transposed_geometry(
        name, x, weight, bias, stride, padding, output_padding, groups, dilation, axes
    )
    return (1, *size)[-2:], geometry.planes(), beyond


def transposed_geometry(
    name: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Size,
    padding: PaddingLike,
    output_padding: Size,
    groups: int,
    dilation: Size,
    axes: int,
) -> tuple[tuple[int, ...], Geometry, list[int]]:
    """The size of what windows reach, the window along each axis, and how much of zeros comes
    after; everything is checked, as `conv_transpose2d` says."""
    check_operands(name, x, weight, bias, groups, axes, transposed=True)
    kernel = weight[2:]
    strides = sizes(name, "stride", stride, axes)
    dilations = sizes(name, "dilation", dilation, axes)
    extra = sizes(name, "output_padding", output_padding, axes, least=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise ValueError(
            f"{name}: output_padding must be smaller than the stride or the dilation; "
            f"output_padding {extra}, stride {strides}, dilation {dilations}"
        )
    pads = padding_pairs(name, padding, kernel, strides, dilations)
    size = tuple(
        (length - 1) * s - before - after + d * (k - 1) + more + 1
        for length, s, (before, after), d, k, more in zip(
            x[-axes:], strides, pads, dilations, kernel, extra, strict=True
        )
    )
    if min(size) < 1:
        raise ValueError(
            f"{name}: the result would be {size}: padding {pads} cuts off all of it; "
            f"x has shape {x}, weight {weight}"
        )
    size, pads, beyond = _within_reach(size, strides, pads, extra)
    return size, Geometry(kernel, strides, pads, dilations), beyond


def _within_reach(
    size: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[Pair, ...],
    extra: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[Pair, ...], list[int]]:
    """Size and padding of the part of the result that windows reach, and the rows of zeros after.

    Of the output_padding, what is a stride or more first takes back what `padding` cut off at the
    end, which leaves the size as it is; what is then left over lies behind the last window.
    """
    inner, kept, beyond = [], [], []
    for length, s, (before, after), more in zip(size, strides, pads, extra, strict=True):
        over = max(0, more - (s - 1))
        taken = min(after, over)
        kept.append((before, after - taken))
        beyond.append(over - taken)
        inner.append(length - beyond[-1])
    return tuple(inner), tuple(kept), beyond

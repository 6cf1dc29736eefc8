"""Convolution, in the sense of neural networks: cross-correlation with a learnt kernel."""

from __future__ import annotations

import math

from ...backends import Array
from ...tensor import Tensor
from .._function import Function
from .._operands import operands
from ..array.autocast import in_low_precision
from ..array.padding import MODES, pad_border
from .arguments import (
    IMAGE,
    KERNEL,
    NO_PADDING,
    Geometry,
    InOneDimension,
    PaddingLike,
    Size,
    Window,
    batch_of,
    check_fit,
    one_of,
    padding_pairs,
    remembered,
    sizes,
)


class Conv2d(Function):
    """y[n, o, p, q] = b[o] + Σ_c Σ_i Σ_j w[o, c, i, j] x[n, c, p s + i d, q s + j d].

    x is the image with its padding, s the stride, d the dilation (one of each per axis).

    Forward.  For fixed (p, q) this is a dot product of two vectors of length C kh kw.  Lay every
    window of the image out as a column, X = im2col(x), so that X[(c, i, j), (p, q)] is the pixel
    under the sum; then all windows and all output channels are one matrix product,

        Y = W X + b        (O, C kh kw) x (C kh kw, oh ow) -> (O, oh ow)      for every image.

    Backward.  With G = dL/dY, (O, oh ow), this is a dense layer (Xu 4.12, 4.13):

        dL/dW = Σ_n G X^T            (O, oh ow) x (oh ow, C kh kw)            Xu 4.25, 4.26
        dL/db = Σ_n Σ_pq G           (O,)                                     Xu 4.27
        dL/dX = W^T G                (C kh kw, O) x (O, oh ow)

    im2col copies pixels, each to the columns of all windows that see it; its transpose, col2im,
    adds up what stands in those columns.  So dL/dx = col2im(W^T G).

    The textbook writes the same gradient as a full correlation with the kernel rotated by 180°
    (Xu 4.16-4.22).  The two agree: pixel (u, v) is seen by window (p, q) = (u - i d, v - j d) / s
    through weight (i, j), for each (i, j) for which that is a window.  Adding up over the columns,

        dL/dx[c, u, v] = Σ_o Σ_i Σ_j w[o, c, i, j] G[o, (u - i d)/s, (v - j d)/s]

    and for s = d = 1, with i' = kh-1-i and j' = kw-1-j, this is

        Σ_o Σ_i' Σ_j' rot180(w)[o, c, i', j'] G°[o, u + i', v + j']

    a correlation of rot180(w), input and output channels exchanged, with G° = G padded by kh-1
    and kw-1 zeros.  For s > 1, s - 1 zeros go between G's pixels first; for d > 1 between the
    kernel's.  col2im never multiplies by those zeros.

    With groups, each group of channels is a convolution of its own.
    """

    def __init__(self, window: Window, groups: int) -> None:
        self.window, self.groups = window, groups

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        y, residuals = self.backend.conv2d(x, weight, bias, self.window, self.groups)
        if True in self.needs_input_grad:
            self.residuals = residuals
        return y

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        return self.backend.conv2d_backward(g, self.residuals, self.needs_input_grad)

    def multiply_adds(self, x: Array, weight: Array, bias: Array | None = None) -> tuple[int, int]:
        windows = math.prod(self.window.counts(x.shape[2:]))
        return self.of_product(x.shape[0] * windows * math.prod(weight.shape))


class Conv1d(InOneDimension, Conv2d):
    """`Conv2d` on images of height 1: y[n, o, q] = b[o] + Σ_c Σ_j w[o, c, j] x[n, c, q s + j d]."""


@in_low_precision
def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: PaddingLike = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """Convolution of images with a kernel (LeCun et al. 1989; Xu 4.3).

    x (N, C, H, W), or (C, H, W) for one image, weight (O, C/groups, kh, kw), bias (O,) or None
    -> (N, O, oh, ow), or (O, oh, ow), with
    oh = floor((H + padding - dilation (kh - 1) - 1) / stride) + 1.  All of one dtype.

    Args:
        stride: how far the window moves: an integer, or (down, across); so is dilation.
        padding: an integer, (vertical, horizontal), ((top, bottom), (left, right)), "same" (with
            stride 1: H and W stay) or "valid" (none).
        dilation: how far apart the pixels under the window are.
        groups: channels are split into so many independent convolutions; C: depthwise.
        padding_mode: "zeros", "reflect", "replicate" or "circular".

    Raises:
        ValueError: shapes that do not fit, a window larger than the padded image, ...; the message
            names the rule and all shapes.
        TypeError: dtypes that differ.
    """
    return _convolve(
        "conv2d", Conv2d, x, weight, bias, stride, padding, dilation, groups, padding_mode
    )


@in_low_precision
def conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: PaddingLike = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """Convolution of sequences: x (N, C, L) or (C, L), weight (O, C/groups, k) -> (N, O, ol).

    As `conv2d`, with one axis, also in its errors.

    Args:
        x: the sequences.
        weight: one filter for each of O outputs.
        bias: (O,), or None.
        stride: from one window to the next.
        padding: one number, "valid", "same", or ((before, after),).
        dilation: the distance between the numbers that a filter looks at.
        groups: the channels are split into as many parts that do not see each other.
        padding_mode: what is put there: "zeros", "reflect", "replicate" or "circular".

    Raises:
        ValueError: as `conv2d`.
        TypeError: as `conv2d`.
    """
    return _convolve(
        "conv1d", Conv1d, x, weight, bias, stride, padding, dilation, groups, padding_mode
    )


def _convolve(
    name: str,
    function: type[Conv2d],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: PaddingLike,
    dilation: Size,
    groups: int,
    padding_mode: str,
) -> Tensor:
    """Check everything once, make it uniform, and convolve."""
    axes = 1 if function is Conv1d else 2
    x, weight, bias = operands(name, x, weight, bias)
    shapes = x.shape, weight.shape, None if bias is None else bias.shape
    window = conv_window(name, *shapes, stride, padding, dilation, groups, axes)
    x, alone = batch_of(x, axes)
    if padding_mode != "zeros":
        if padding_mode not in MODES:
            raise ValueError(
                f"{name}: padding_mode {padding_mode!r} is not one of zeros, {', '.join(MODES)}"
            )
        x = pad_border(x, window.padding[-axes:], padding_mode)
        window = window._replace(padding=NO_PADDING)
    return one_of(function(window, groups)(x, weight, bias), alone)


@remembered
def conv_window(
    name: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Size,
    padding: PaddingLike,
    dilation: Size,
    groups: int,
    axes: int,
) -> Window:
    """The window of a convolution of these shapes; everything checked, as `conv2d` says."""
    return conv_geometry(name, x, weight, bias, stride, padding, dilation, groups, axes).planes()


def conv_geometry(
    name: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Size,
    padding: PaddingLike,
    dilation: Size,
    groups: int,
    axes: int,
) -> Geometry:
    """The window of a convolution along each axis, everything checked."""
    check_operands(name, x, weight, bias, groups, axes, transposed=False)
    kernel = weight[2:]
    strides = sizes(name, "stride", stride, axes)
    dilations = sizes(name, "dilation", dilation, axes)
    pads = padding_pairs(name, padding, kernel, strides, dilations)
    check_fit(name, x, kernel, pads, dilations, lambda: f", weight {weight}")
    return Geometry(kernel, strides, pads, dilations)


def check_operands(
    name: str,
    xs: tuple[int, ...],
    ws: tuple[int, ...],
    bias: tuple[int, ...] | None,
    groups: int,
    axes: int,
    transposed: bool,
) -> None:
    """Ranks, channels, groups and bias; the message gives every shape."""
    rule = None
    image, kernel = IMAGE[axes], KERNEL[axes]
    if len(xs) not in (axes + 1, axes + 2):
        rule = f"x must be (N, C, {image}), or (C, {image}) for one"
    elif len(ws) != axes + 2 or min(ws[2:]) < 1:
        first = f"C, O/groups, {kernel}" if transposed else f"O, C/groups, {kernel}"
        rule = f"weight must be ({first})"
    elif groups < 1:
        rule = f"groups must be positive, got {groups}"
    else:
        channels = ws[0] if transposed else ws[1] * groups
        outputs = ws[1] * groups if transposed else ws[0]
        if xs[-axes - 1] != channels:
            per_group = "" if groups == 1 else f" ({groups} groups of {channels // groups})"
            rule = f"x has {xs[-axes - 1]} channels but weight expects {channels}{per_group}"
        elif min(channels, outputs) < 1:
            rule = "there must be at least one channel, in and out"
        elif ws[0] % groups:
            rule = f"the {ws[0]} channels of weight's first axis do not split into {groups} groups"
        elif bias is not None and bias != (outputs,):
            rule = f"bias must have shape ({outputs},), one per output channel"
    if rule is not None:
        raise ValueError(f"{name}: {rule}; x has shape {xs}, weight {ws}, bias {bias}")

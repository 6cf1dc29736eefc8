"""Convolution, in the sense of neural networks: cross-correlation with a learnt kernel."""

from __future__ import annotations

from typing import Any

from ...backends import Array
from ...tensor import Tensor
from .._function import Function
from .._operands import operands
from ..arithmetic import add
from ..array.autocast import in_low_precision
from ..array.padding import MODES, pad, pad_border
from ..array.shape import reshape
from .arguments import (
    NO_PADDING,
    InOneDimension,
    PaddingLike,
    Pair,
    Size,
    Window,
    batch_of,
    check_fit,
    in_two_dimensions,
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


class Conv1d(InOneDimension, Conv2d):
    """`Conv2d` on images of height 1: y[n, o, q] = b[o] + Σ_c Σ_j w[o, c, j] x[n, c, q s + j d]."""


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
        return y if bias is None else y + xp.reshape(bias, (-1, 1, 1))

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        gx = gw = gb = None
        if self.needs_input_grad[0] or self.needs_input_grad[1]:
            gx, residuals = self.backend.conv2d(g, self.weight, None, self.window, self.groups)
        if self.needs_input_grad[1]:
            _, gw, _ = self.backend.conv2d_backward(self.x, residuals, (False, True, False))
        if self.needs_input_grad[2]:
            gb = self.backend.xp.sum(g, axis=(0, 2, 3))
        return gx, gw, gb


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
    _check_operands(name, x, weight, bias, groups, axes, transposed=False)
    kernel = weight[2:]
    strides = sizes(name, "stride", stride, axes)
    dilations = sizes(name, "dilation", dilation, axes)
    pads = padding_pairs(name, padding, kernel, strides, dilations)
    check_fit(name, x, kernel, pads, dilations, lambda: f", weight {weight}")
    return in_two_dimensions(kernel, strides, pads, dilations)


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
    name = "conv_transpose2d"
    x, weight, bias = operands(name, x, weight, bias)
    shapes = x.shape, weight.shape, None if bias is None else bias.shape
    size, window, beyond = _transposed_window(
        name, *shapes, stride, padding, output_padding, groups, dilation
    )
    x, alone = batch_of(x, 2)
    transpose = ConvTranspose2d(size, window, groups)
    if not any(beyond):
        return one_of(transpose(x, weight, bias), alone)
    y = pad(transpose(x, weight, None), ((0, 0), (0, 0), *[(0, n) for n in beyond]))
    return one_of(y if bias is None else add(y, reshape(bias, (-1, 1, 1))), alone)


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
) -> tuple[Any, Window, list[int]]:
    """Size and window of the part of the result that windows reach, and the rows of zeros after.

    Everything is checked, as `conv_transpose2d` says.
    """
    _check_operands(name, x, weight, bias, groups, 2, transposed=True)
    kernel = weight[2:]
    strides = sizes(name, "stride", stride, 2)
    dilations = sizes(name, "dilation", dilation, 2)
    extra = sizes(name, "output_padding", output_padding, 2, least=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise ValueError(
            f"{name}: output_padding must be smaller than the stride or the dilation; "
            f"output_padding {extra}, stride {strides}, dilation {dilations}"
        )
    pads = padding_pairs(name, padding, kernel, strides, dilations)
    size = tuple(
        (length - 1) * s - before - after + d * (k - 1) + more + 1
        for length, s, (before, after), d, k, more in zip(
            x[-2:], strides, pads, dilations, kernel, extra, strict=True
        )
    )
    if min(size) < 1:
        raise ValueError(
            f"{name}: the result would be {size}: padding {pads} cuts off all of it; "
            f"x has shape {x}, weight {weight}"
        )
    size, pads, beyond = _within_reach(size, strides, pads, extra)
    return size, in_two_dimensions(kernel, strides, pads, dilations), beyond


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


def _check_operands(
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
    image, kernel = ("H, W", "kh, kw") if axes == 2 else ("L", "k")
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

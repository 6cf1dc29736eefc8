"""Convolution of volumes, and its transpose, by the convolution of images."""

from __future__ import annotations

from typing import Any

from ...backends import Array
from ...backends.portable.window import Depth
from ...tensor import Tensor
from .._function import Unary
from .._operands import operands
from ..arithmetic import add
from ..array.autocast import in_low_precision
from ..array.padding import MODES, pad, pad_border
from ..array.shape import moveaxis, reshape
from .arguments import (
    NO_PADDING,
    Geometry,
    PaddingLike,
    Pair,
    Size,
    Window,
    batch_of,
    one_of,
    remembered,
)
from .conv import Conv2d, conv_geometry
from .conv_transpose import ConvTranspose2d, transposed_geometry


def first_axis(geometry: Geometry) -> Depth:
    kernel, stride, padding, dilation = geometry
    return Depth(kernel[0], stride[0], padding[0], dilation[0])


class Slices(Unary):
    """s[(n, p), (g, i, c), :, :] = x[n, (g, c), p s + i d, :, :]: im2col along one axis alone.

    A volume's convolution is

        y[n, o, p, q, r] = b[o] + Σ_c Σ_i Σ_j Σ_k w[o, c, i, j, k] x[n, c, p s + i d, q .., r ..]

    With the pair (i, c) read as one channel, and (n, p) as one image, the sum is that of `Conv2d`
    over the channels (i, c) of the images s, group by group.  So the kernels for images compute it,
    and all that has to be made is s, x's slices kd times, and the weights in that order,
    (O, kd C/G, kh, kw).  (With the channels innermost, whole pixels are copied where they lie
    last.)

    x (N, C, D, H, W) -> (N od, C kd, H, W); slices of the padding are zeros.

    Backward.  Each slice of x gets the sum of what its copies got: the transpose, `FromSlices`.
    """

    def __init__(self, depth: Depth, groups: int) -> None:
        self.depth, self.groups = depth, groups

    def forward(self, x: Array) -> Array:
        self.shape = tuple(x.shape)
        return self.backend.volume_slices(x, self.depth, self.groups)

    def backward(self, g: Array) -> Array:
        return self.backend.volume_from_slices(g, self.shape, self.depth, self.groups)


class FromSlices(Unary):
    """The transpose of `Slices`, (N od, C kd, H, W) -> (N, C, D, H, W); its backward is `Slices`.

    The transpose of a product of two linear maps is that of their transposes in the other order:
    so this, after `ConvTranspose2d` over images with the channels (i, c), is the transpose of the
    convolution of volumes.
    """

    def __init__(self, shape: tuple[int, ...], depth: Depth, groups: int) -> None:
        self.shape, self.depth, self.groups = shape, depth, groups

    def forward(self, s: Array) -> Array:
        return self.backend.volume_from_slices(s, self.shape, self.depth, self.groups)

    def backward(self, g: Array) -> Array:
        return self.backend.volume_slices(g, self.depth, self.groups)


def _of_slices(weight: Tensor) -> Tensor:
    """(O, C/G, kd, kh, kw) -> (O, kd C/G, kh, kw)."""
    o, c, kd, kh, kw = weight.shape
    return reshape(moveaxis(weight, 2, 1), (o, kd * c, kh, kw))


@in_low_precision
def conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: PaddingLike = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    """Convolution of volumes, such as films: `conv2d` with one more axis (Ji et al. 2010).

    x (N, C, D, H, W), or (C, D, H, W) for one, weight (O, C/groups, kd, kh, kw), bias (O,) or None
    -> (N, O, od, oh, ow), or (O, od, oh, ow), each length as in `conv2d`.  All of one dtype.
    Derived in `nnx.ops.windows.conv3d.Slices`.

    Args:
        stride: how far the window moves: an integer, or one for each axis; so is dilation.
        padding: an integer, one for each axis, (before, after) for each axis, "same" (with stride
            1: the lengths stay) or "valid" (none).
        dilation: how far apart the voxels under the window are.
        groups: channels are split into so many independent convolutions.
        padding_mode: "zeros", "reflect", "replicate" or "circular".

    Raises:
        ValueError: shapes that do not fit, a window larger than the padded volume, ...; the message
            names the rule and all shapes.
        TypeError: dtypes that differ.
    """
    name = "conv3d"
    x, weight, bias = operands(name, x, weight, bias)
    shapes = x.shape, weight.shape, None if bias is None else bias.shape
    depth, window, pads = _windows(name, *shapes, stride, padding, dilation, groups)
    x, alone = batch_of(x, 3)
    if padding_mode != "zeros":
        if padding_mode not in MODES:
            raise ValueError(
                f"{name}: padding_mode {padding_mode!r} is not one of zeros, {', '.join(MODES)}"
            )
        x = pad_border(x, pads, padding_mode)
        depth, window = depth._replace(padding=(0, 0)), window._replace(padding=NO_PADDING)
    images = Slices(depth, groups)(x)
    y = Conv2d(window, groups)(images, _of_slices(weight), bias)
    y = reshape(y, (x.shape[0], depth.count(x.shape[2]), *y.shape[1:]))
    return one_of(moveaxis(y, 1, 2), alone)


@remembered
def _windows(
    name: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Size,
    padding: PaddingLike,
    dilation: Size,
    groups: int,
) -> tuple[Depth, Window, tuple[Pair, ...]]:
    """The window along the first axis and over the other two, and the padding of all three."""
    geometry = conv_geometry(name, x, weight, bias, stride, padding, dilation, groups, 3)
    return first_axis(geometry), geometry.planes(), geometry.padding


@in_low_precision
def conv_transpose3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: PaddingLike = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of a convolution of volumes: `conv_transpose2d` with one more axis.

    x (N, C, D, H, W), or (C, D, H, W) for one, weight (C, O/groups, kd, kh, kw), bias (O,) or None
    -> (N, O, od, oh, ow), with od = (D - 1) stride - padding + dilation (kd - 1) + output_padding
    + 1, and so with the others.

    Args:
        stride: how far apart in the result two neighbours of x put their kernels.
        padding: what is cut off around the result, as in `conv3d`.
        output_padding: how much longer the result is at the end of each axis.
        groups: the channels are split into as many parts that do not see each other.
        dilation: how far apart in the result the numbers of one kernel are.

    Raises:
        ValueError: as `conv_transpose2d`.
        TypeError: as there.
    """
    name = "conv_transpose3d"
    x, weight, bias = operands(name, x, weight, bias)
    shapes = x.shape, weight.shape, None if bias is None else bias.shape
    size, depth, window, beyond = _transposed_windows(
        name, *shapes, stride, padding, output_padding, groups, dilation
    )
    x, alone = batch_of(x, 3)
    n, c, windows, h, w = x.shape
    outputs = weight.shape[1] * groups
    images = reshape(moveaxis(x, 2, 1), (n * windows, c, h, w))
    slices = ConvTranspose2d(size[1:], window, groups)(images, _of_slices(weight), None)
    y = FromSlices((n, outputs, *size), depth, groups)(slices)
    if any(beyond):
        y = pad(y, ((0, 0), (0, 0), *[(0, more) for more in beyond]))
    return one_of(y if bias is None else add(y, reshape(bias, (-1, 1, 1, 1))), alone)


@remembered
def _transposed_windows(
    name: str,
    x: tuple[int, ...],
    weight: tuple[int, ...],
    bias: tuple[int, ...] | None,
    stride: Size,
    padding: PaddingLike,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> tuple[Any, Depth, Window, list[int]]:
    """The size of what windows reach, the windows, and how much of zeros comes after."""
    size, geometry, beyond = transposed_geometry(
        name, x, weight, bias, stride, padding, output_padding, groups, dilation, 3
    )
    return size, first_axis(geometry), geometry.planes(), beyond

"""Convolution of volumes, and its transpose, by the convolution of images."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...backends import Array
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


class Depth(NamedTuple):
    """What a window does along the first axis of a volume."""

    kernel: int
    stride: int = 1
    padding: Pair = (0, 0)
    dilation: int = 1

    def count(self, length: int) -> int:
        """How many windows fit into so many slices."""
        room = length + sum(self.padding) - self.dilation * (self.kernel - 1) - 1
        return room // self.stride + 1

    def seen(self, length: int) -> list[tuple[slice, slice]]:
        """For each of the kernel's places: the windows in which it falls on a slice, not on the
        padding, and those slices."""
        found = []
        for i in range(self.kernel):
            before = self.padding[0] - i * self.dilation
            first = max(0, -(-before // self.stride))
            end = max(first, min(self.count(length), (length - 1 + before) // self.stride + 1))
            start, last = first * self.stride - before, (end - 1) * self.stride - before
            slices = slice(start, last + 1, self.stride) if end > first else slice(0, 0)
            found.append((slice(first, end), slices))
        return found


def first_axis(geometry: Geometry) -> Depth:
    kernel, stride, padding, dilation = geometry
    return Depth(kernel[0], stride[0], padding[0], dilation[0])


class Slices(Unary):
    """s[(n, p), (c, i), :, :] = x[n, c, p s + i d, :, :]: im2col along the first axis alone.

    A volume's convolution is

        y[n, o, p, q, r] = b[o] + Σ_c Σ_i Σ_j Σ_k w[o, c, i, j, k] x[n, c, p s + i d, q .., r ..]

    With the pair (c, i) read as one channel, and (n, p) as one image, the sum is that of `Conv2d`
    over the channels (c, i) of the images s: the weights (O, C, kd, kh, kw), read as
    (O, C kd, kh, kw), are the same numbers in the same order.  So the kernels for images compute
    it, and all that has to be made is s, x's slices kd times.

    x (N, C, D, H, W) -> (N od, C kd, H, W); slices of the padding are zeros.

    Backward.  Each slice of x gets the sum of what its copies got: `lay_back`, the transpose.
    """

    def __init__(self, depth: Depth) -> None:
        self.depth = depth

    def forward(self, x: Array) -> Array:
        self.shape = tuple(x.shape)
        return lay_out(self.backend.xp, x, self.depth)

    def backward(self, g: Array) -> Array:
        return lay_back(self.backend.xp, g, self.shape, self.depth)


class FromSlices(Unary):
    """The transpose of `Slices`, (N od, C kd, H, W) -> (N, C, D, H, W); its backward is `Slices`.

    The transpose of a product of two linear maps is that of their transposes in the other order:
    so this, after `ConvTranspose2d` over images with the channels (c, i), is the transpose of the
    convolution of volumes.
    """

    def __init__(self, shape: tuple[int, ...], depth: Depth) -> None:
        self.shape, self.depth = shape, depth

    def forward(self, s: Array) -> Array:
        return lay_back(self.backend.xp, s, self.shape, self.depth)

    def backward(self, g: Array) -> Array:
        return lay_out(self.backend.xp, g, self.depth)


def lay_out(xp: Any, x: Array, depth: Depth) -> Array:
    """(N, C, D, H, W) -> (N od, C kd, H, W)."""
    n, c, d, h, w = x.shape
    windows = depth.count(d)
    s = xp.zeros((n, windows, c, depth.kernel, h, w), dtype=x.dtype, device=x.device)
    for i, (own, slices) in enumerate(depth.seen(d)):
        s[:, own, :, i, :, :] = xp.permute_dims(x[:, :, slices, :, :], (0, 2, 1, 3, 4))
    return xp.reshape(s, (n * windows, c * depth.kernel, h, w))


def lay_back(xp: Any, s: Array, shape: tuple[int, ...], depth: Depth) -> Array:
    """(N od, C kd, H, W) -> `shape` (N, C, D, H, W)."""
    n, c, d, h, w = shape
    s = xp.reshape(s, (n, depth.count(d), c, depth.kernel, h, w))
    x = xp.zeros(shape, dtype=s.dtype, device=s.device)
    apart = depth.dilation * (depth.kernel - 1) < depth.stride  # then no slice has two copies
    for i, (own, slices) in enumerate(depth.seen(d)):
        copies = xp.permute_dims(s[:, own, :, i, :, :], (0, 2, 1, 3, 4))
        if apart:
            x[:, :, slices, :, :] = copies
        else:
            x[:, :, slices, :, :] += copies
    return x


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
    o, c, kd, kh, kw = weight.shape
    images = Slices(depth)(x)
    y = Conv2d(window, groups)(images, reshape(weight, (o, c * kd, kh, kw)), bias)
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
    _, o, kd, kh, kw = weight.shape
    images = reshape(moveaxis(x, 2, 1), (n * windows, c, h, w))
    weight = reshape(weight, (c, o * kd, kh, kw))
    slices = ConvTranspose2d(size[1:], window, groups)(images, weight, None)
    y = FromSlices((n, o * groups, *size), depth)(slices)
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

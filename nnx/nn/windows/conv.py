"""Convolutional layers."""

from __future__ import annotations

import math
from typing import Any

from ... import ops
from ...ops.windows.arguments import PaddingLike, Size, padding_pairs, sizes
from ...tensor import Tensor
from .. import init
from ..module import Module
from ..state import Parameter, new_parameter

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What convolutional layers share: arguments, initial values, and how they are shown."""

    axes = 2
    transposed = False
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: PaddingLike = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        name = type(self).__name__
        if in_channels < 1 or out_channels < 1:
            raise ValueError(
                f"{name}: in_channels and out_channels must be positive; "
                f"got {in_channels} and {out_channels}"
            )
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: in_channels and out_channels must be multiples of groups; "
                f"in_channels {in_channels}, out_channels {out_channels}, groups {groups}"
            )
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"{name}: padding_mode {padding_mode!r} is not one of {', '.join(PADDING_MODES)}"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = sizes(name, "kernel_size", kernel_size, self.axes)
        self.stride = sizes(name, "stride", stride, self.axes)
        self.dilation = sizes(name, "dilation", dilation, self.axes)
        padding_pairs(name, padding, self.kernel_size, self.stride, self.dilation)
        self.padding = padding
        self.groups = groups
        self.padding_mode = padding_mode
        # A transposed convolution has its input channels where a convolution has its outputs.
        first, second = (
            (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        )
        self.weight = new_parameter((first, second // groups, *self.kernel_size), dtype, device)
        self.register_parameter(
            "bias", new_parameter((out_channels,), dtype, device) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values: U(-1/√fan_in, 1/√fan_in), PyTorch's default."""
        bound = 1 / math.sqrt(init.fans(self.weight)[0])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def _arguments(self) -> tuple[Any, ...]:
        """What the operation is called with, after x."""
        return (
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.padding_mode,
        )

    def extra_repr(self) -> str:
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        if self.padding not in (0, "valid"):
            parts.append(f"padding={self.padding!r}")
        if max(self.dilation) > 1:
            parts.append(f"dilation={self.dilation}")
        if self.groups > 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode!r}")
        return ", ".join(parts)


class Conv2d(_Conv):
    """Convolution of images: x (N, in_channels, H, W) -> (N, out_channels, oh, ow).

        y[n, o, p, q] = b[o] + Σ_c Σ_i Σ_j W[o, c, i, j] x[n, c, p s + i d, q s + j d]

        oh = floor((H + padding - d (kh - 1) - 1) / s) + 1

    with s the stride, d the dilation, x padded, and the padding of both sides (Xu 4.2-4.3; a
    correlation, 4.7: the kernel is not turned round).  x may be one image (C, H, W).  The gradients
    are derived in `nnx.ops.windows.conv`; arguments, names and initial values are PyTorch's.

    Args:
        in_channels: of x; each output sees in_channels/groups of them.
        out_channels: how many kernels there are.
        kernel_size: an integer, or (kh, kw).
        stride: how far the window moves: an integer, or (down, across).
        padding: how many pixels of what `padding_mode` says are put around x: an integer, a pair
            (vertical, horizontal), a pair (before, after) for each axis, "same" (with stride 1: H
            and W stay) or "valid" (none).
        dilation: how far apart the pixels under the window are, an integer or a pair.
        groups: the channels are split into as many parts that do not see each other.
        bias: False: there is no b.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight W (out_channels, in_channels/groups, kh, kw), bias b (out_channels,), both
    from U(-1/√fan_in, 1/√fan_in) with fan_in = in_channels/groups · kh · kw.

    Raises:
        ValueError: channels that are not positive or no multiples of groups, an argument that is
            none of those; when called, an x that does not fit.
        TypeError: x and the parameters are of different dtypes.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, *self._arguments())


class Conv1d(_Conv):
    """Convolution of sequences: x (N, in_channels, L) -> (N, out_channels, ol), or one without N.

        y[n, o, p] = b[o] + sum over c, i of W[o, c, i] x[n, c, p·stride + i·dilation]

    with ol = floor((L + padding - dilation (k - 1) - 1) / stride) + 1, the padding of both sides.

    Args:
        in_channels: of x; each output sees in_channels/groups of them.
        out_channels: how many kernels there are.
        kernel_size: k.
        stride: how far the window moves.
        padding: what is put before and after: a number, ((before, after),), "same" or "valid".
        dilation: how far apart the numbers under the window are.
        groups: the channels are split into as many parts that do not see each other.
        bias: False: there is no b.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight W (out_channels, in_channels/groups, k), bias b (out_channels,), from
    U(-1/√fan_in, 1/√fan_in) with fan_in = in_channels/groups · k.

    Raises:
        ValueError: as in `Conv2d`.
        TypeError: as there.
    """

    axes = 1

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv1d(x, *self._arguments())


class Conv3d(_Conv):
    """Convolution of volumes, such as films: x (N, in_channels, D, H, W) -> (N, out_channels, od,
    oh, ow), or one without N.

        y[n, o, p, q, r] = b[o] + Σ_c Σ_i Σ_j Σ_k W[o, c, i, j, k] x[n, c, p s + i d, q .., r ..]

    Each length is as in `Conv2d`; how it is computed stands in `nnx.ops.windows.conv3d`.

    Args:
        in_channels: of x; each output sees in_channels/groups of them.
        out_channels: how many kernels there are.
        kernel_size: an integer, or (kd, kh, kw).
        stride: how far the window moves: an integer, or one for each axis.
        padding: what is put around x: an integer, one for each axis, a pair (before, after) for
            each axis, "same" (with stride 1: the lengths stay) or "valid" (none).
        dilation: how far apart the voxels under the window are, an integer or one for each axis.
        groups: the channels are split into as many parts that do not see each other.
        bias: False: there is no b.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight W (out_channels, in_channels/groups, kd, kh, kw), bias b (out_channels,),
    from U(-1/√fan_in, 1/√fan_in) with fan_in = in_channels/groups · kd · kh · kw.

    Raises:
        ValueError: as in `Conv2d`.
        TypeError: as there.
    """

    axes = 3

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv3d(x, *self._arguments())

"""Transposed convolutional layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import ops
from ...ops._operands import as_tensor
from ...ops.windows.arguments import PaddingLike, Size, padding_pairs, sizes
from ...tensor import Tensor
from .conv import _Conv


class _ConvTranspose(_Conv):
    """What transposed convolutions share beside."""

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: PaddingLike = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f'{name}: padding_mode must be "zeros", not {padding_mode!r}')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            device=device,
            dtype=dtype,
        )
        self.output_padding = sizes(name, "output_padding", output_padding, self.axes, least=0)

    def _arguments(self, x: Any = None, output_size: Sequence[int] | None = None) -> Any:
        extra = self.output_padding
        if output_size is not None:
            extra = self._padding_for(x, output_size)
        return (
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )

    def _padding_for(self, x: Any, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding with which the result of x has the size that is asked for."""
        name, size = type(self).__name__, tuple(output_size)[-self.axes :]
        size = sizes(name, "output_size", size, self.axes)
        pads = padding_pairs(name, self.padding, self.kernel_size, self.stride, self.dilation)
        least = [
            (length - 1) * s - before - after + d * (k - 1) + 1
            for length, s, (before, after), d, k in zip(
                x.shape[-self.axes :],
                self.stride,
                pads,
                self.dilation,
                self.kernel_size,
                strict=True,
            )
        ]
        extra = tuple([wanted - n for wanted, n in zip(size, least, strict=True)])
        most = [max(s, d) for s, d in zip(self.stride, self.dilation, strict=True)]
        if any(not 0 <= e < m for e, m in zip(extra, most, strict=True)):
            raise ValueError(
                f"{name}: output_size must be from {tuple(least)} to "
                f"{tuple([n + m - 1 for n, m in zip(least, most, strict=True)])}, not {size}; "
                f"x has shape {tuple(x.shape)}"
            )
        return extra

    def extra_repr(self) -> str:
        extra = "" if max(self.output_padding) == 0 else f", output_padding={self.output_padding}"
        return super().extra_repr() + extra


class ConvTranspose2d(_ConvTranspose):
    """The transpose of a convolution: x (N, in_channels, H, W) -> (N, out_channels, oh, ow).

    Each number of x puts a kernel, times itself, into y; where kernels overlap they add up.  So y
    has

        oh = (H - 1) stride - padding + dilation (kh - 1) + output_padding + 1

    rows: the map is the one by which a `Conv2d` with these arguments sends gradients back (Zeiler
    et al. 2010).  x may be one image (C, H, W).  Arguments and names are PyTorch's.  Called with an
    `output_size`, (oh, ow), the layer takes the output_padding that gives it.

    Args:
        in_channels: of x.
        out_channels: of y.
        kernel_size: an integer, or (kh, kw).
        stride: how far apart in y two neighbours of x put their kernels.
        padding: what is cut off around y, in the forms of `Conv2d`.
        output_padding: rows and columns added at the bottom and right; below stride or dilation.
        groups: the channels are split into as many parts that do not see each other.
        bias: False: there is none.
        dilation: how far apart in y the numbers of one kernel are.
        padding_mode: there is "zeros" only.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight (in_channels, out_channels/groups, kh, kw), bias (out_channels,), from
    U(-1/√f, 1/√f) with f = out_channels/groups · kh · kw, as in PyTorch.

    Raises:
        ValueError: as in `Conv2d`; when called, an output_padding below neither stride nor
            dilation, or an output_size that none gives.
        TypeError: x and the parameters are of different dtypes.
    """

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        weight = self.weight  # read once: it may be computed, with a step of its own each time
        x = as_tensor(type(self).__name__, x, weight)
        return ops.conv_transpose2d(x, weight, *self._arguments(x, output_size))


class ConvTranspose1d(_ConvTranspose):
    """The transpose of a `Conv1d`: x (N, in_channels, L) -> (N, out_channels, ol).

    `ConvTranspose2d` with one axis, also in its errors and its `output_size`; x may be one sequence
    without N.

    Args:
        in_channels: of x.
        out_channels: of y.
        kernel_size: k.
        stride: how far apart in y two neighbours of x put their kernels.
        padding: what is cut off around y, in the forms of `Conv1d`.
        output_padding: how much longer y is at the end; below stride or dilation.
        groups: the channels are split into as many parts that do not see each other.
        bias: False: there is none.
        dilation: how far apart in y the numbers of one kernel are.
        padding_mode: there is "zeros" only.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight (in_channels, out_channels/groups, k), bias (out_channels,).

    Raises:
        ValueError: as in `ConvTranspose2d`.
        TypeError: as there.
    """

    axes = 1

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        weight = self.weight  # read once: it may be computed, with a step of its own each time
        x = as_tensor(type(self).__name__, x, weight)
        return ops.conv_transpose1d(x, weight, *self._arguments(x, output_size))


class ConvTranspose3d(_ConvTranspose):
    """The transpose of a `Conv3d`: x (N, in_channels, D, H, W) -> (N, out_channels, od, oh, ow).

    `ConvTranspose2d` with three axes, also in its errors and its `output_size`; x may be one volume
    without N.

    Args:
        in_channels: of x.
        out_channels: of y.
        kernel_size: an integer, or (kd, kh, kw).
        stride: how far apart in y two neighbours of x put their kernels.
        padding: what is cut off around y, in the forms of `Conv3d`.
        output_padding: how much longer y is at the end; below stride or dilation.
        groups: the channels are split into as many parts that do not see each other.
        bias: False: there is none.
        dilation: how far apart in y the numbers of one kernel are.
        padding_mode: there is "zeros" only.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters; x must have the same.

    Parameters: weight (in_channels, out_channels/groups, kd, kh, kw), bias (out_channels,).

    Raises:
        ValueError: as in `ConvTranspose2d`.
        TypeError: as there.
    """

    axes = 3

    def forward(self, x: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        weight = self.weight  # read once: it may be computed, with a step of its own each time
        x = as_tensor(type(self).__name__, x, weight)
        return ops.conv_transpose3d(x, weight, *self._arguments(x, output_size))

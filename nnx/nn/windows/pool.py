"""Pooling layers: no parameters, PyTorch's arguments, checked when the layer is called."""

from __future__ import annotations

from ... import ops
from ...ops.windows.arguments import PaddingLike, Size
from ...tensor import Tensor
from ..module import Module


class _MaxPool(Module):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: PaddingLike = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool2d(_MaxPool):
    """The largest value of each window: x (N, C, H, W) -> (N, C, oh, ow), or without N for one.

        oh = floor((H + padding - dilation (kh - 1) - 1) / stride) + 1

    with the padding of both sides (Xu section 4.2.2).  Of equal values the first takes the
    gradient; NaN wins.  Errors are those of `ops.max_pool2d`.

    Args:
        kernel_size: an integer, or (kh, kw).
        stride: from one window to the next, an integer or a pair; None: kernel_size.
        padding: as in `Conv2d`, at most half a window; what is put there is never chosen.
        dilation: how far apart the pixels of a window are, an integer or a pair.
        return_indices: also return where in its image each value stood, row W + column, int64, of
            y's shape.
        ceil_mode: the ceiling of the fraction instead of the floor: the last window may reach
            beyond the image, but starts in it.

    Raises:
        ValueError: when called, an argument makes no sense, or x does not fit.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.max_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class MaxPool1d(_MaxPool):
    """The largest value of each window: x (N, C, L) -> (N, C, ol), or (C, L) -> (C, ol).

    ol is `MaxPool2d`'s oh, with L for H; errors are those of `ops.max_pool1d`.

    Args:
        kernel_size: how long a window is.
        stride: from one window to the next; None: kernel_size, so that they lie side by side.
        padding: how much is put before and after, at most half a window; it is never chosen.
        dilation: the distance between the numbers of a window.
        return_indices: also return where each value stood in its sequence, int64, of y's shape.
        ceil_mode: let the last window run over the end.

    Raises:
        ValueError: when called, an argument makes no sense, or x does not fit.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.max_pool1d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class MaxPool3d(_MaxPool):
    """The largest value of each window: x (N, C, D, H, W) -> (N, C, od, oh, ow), or without N.

    Each length is as in `MaxPool2d`; errors are those of `ops.max_pool3d`.

    Args:
        kernel_size: an integer, or (kd, kh, kw).
        stride: from one window to the next, an integer or one for each axis; None: kernel_size.
        padding: as in `Conv3d`, at most half a window; what is put there is never chosen.
        dilation: how far apart the voxels of a window are, an integer or one for each axis.
        return_indices: also return where in its volume each value stood, (slice H + row) W +
            column, int64, of y's shape.
        ceil_mode: let the last windows run over the end.

    Raises:
        ValueError: when called, an argument makes no sense, or x does not fit.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.max_pool3d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class _AvgPool(Module):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: PaddingLike = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad = count_include_pad

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"ceil_mode={self.ceil_mode}, count_include_pad={self.count_include_pad}"
        )


class _AvgPoolByDivisor(_AvgPool):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: PaddingLike = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override


class AvgPool2d(_AvgPoolByDivisor):
    """The mean of each window: x (N, C, H, W) -> (N, C, oh, ow), or (C, H, W) -> (C, oh, ow).

    oh and ow as in `MaxPool2d`, without its dilation (Xu section 4.2.2).

    Args:
        kernel_size: an integer, or (kh, kw).
        stride: from one window to the next, an integer or a pair; None: kernel_size.
        padding: as in `Conv2d`, at most half a window.
        ceil_mode: let the last windows run over the edge.
        count_include_pad: whether a pixel of the padding counts, as zero, in the mean.
        divisor_override: divide every sum by this instead of by the number of pixels.

    Raises:
        ValueError: when called, an argument makes no sense, or x does not fit.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool3d(_AvgPoolByDivisor):
    """The mean of each window: x (N, C, D, H, W) -> (N, C, od, oh, ow), or without N.

    Each length is as in `MaxPool3d`, without its dilation.

    Args:
        kernel_size: an integer, or (kd, kh, kw).
        stride: from one window to the next, an integer or one for each axis; None: kernel_size.
        padding: as in `Conv3d`, at most half a window.
        ceil_mode: let the last windows run over the end.
        count_include_pad: whether a voxel of the padding counts, as zero, in the mean.
        divisor_override: divide every sum by this instead of by the number of voxels.

    Raises:
        ValueError: when called, an argument makes no sense, or x does not fit.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool3d(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class AvgPool1d(_AvgPool):
    """The mean of each window: x (N, C, L) -> (N, C, ol), or (C, L) -> (C, ol).

    ol as in `MaxPool1d`; errors are those of `ops.avg_pool1d`.

    Args:
        kernel_size: how long a window is.
        stride: from one window to the next; None: kernel_size, so that they lie side by side.
        padding: how much is put before and after, at most half a window.
        ceil_mode: let the last window run over the end.
        count_include_pad: whether what was put there counts, as zero, in the mean.

    Raises:
        ValueError: when called, an argument makes no sense, or x does not fit.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool1d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class _LPPool(Module):
    def __init__(
        self,
        norm_type: float,
        kernel_size: Size,
        stride: Size | None = None,
        ceil_mode: bool = False,
    ) -> None:
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The p-norm of each window, (Σ x^p)^(1/p): x (N, C, L) -> (N, C, ol), or without N.

    Where all of a window is 0, so is its gradient.

    Args:
        norm_type: p; 1 is the sum, and the larger, the nearer to the largest value.
        kernel_size: how long a window is.
        stride: from one window to the next, a number; None: kernel_size.
        ceil_mode: let the last windows run over the end, as in `ops.lp_pool1d`.

    Raises:
        ValueError: when called, norm_type is not positive and finite, or x does not fit.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.lp_pool1d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPool):
    """The p-norm of each window, (Σ x^p)^(1/p): x (N, C, H, W) -> (N, C, oh, ow), or without N.

    Where all of a window is 0, so is its gradient.

    Args:
        norm_type: p; 1 is the sum, and the larger, the nearer to the largest value.
        kernel_size: an integer, or (kh, kw).
        stride: from one window to the next, an integer or a pair; None: kernel_size.
        ceil_mode: let the last windows run over the end, as in `ops.lp_pool2d`.

    Raises:
        ValueError: when called, norm_type is not positive and finite, or x does not fit.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.lp_pool2d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(_LPPool):
    """The p-norm of each window: x (N, C, D, H, W) -> (N, C, od, oh, ow), or without N.

    y = (Σ x^p)^(1/p).

    Where all of a window is 0, so is its gradient.

    Args:
        norm_type: p; 1 is the sum, and the larger, the nearer to the largest value.
        kernel_size: an integer, or (kd, kh, kw).
        stride: from one window to the next, one number or three; None: kernel_size.
        ceil_mode: let the last windows run over the end, as in `ops.lp_pool3d`.

    Raises:
        ValueError: when called, norm_type is not positive and finite, or x does not fit.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.lp_pool3d(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

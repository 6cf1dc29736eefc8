"""Pooling layers: no parameters, PyTorch's arguments, checked when the layer is called."""

from __future__ import annotations

from .. import ops
from ..ops.windows.arguments import PaddingLike, Size
from ..tensor import Tensor
from .module import Module


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


class AvgPool2d(_AvgPool):
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


class AdaptiveAvgPool2d(Module):
    """Means of windows that cut images into `output_size`: x (N, C, H, W) -> (N, C, oh, ow).

    x may be one image (C, H, W).  Window (p, q) is rows floor(p H/oh) to ceil((p+1) H/oh), columns
    likewise.

    Args:
        output_size: oh and ow, or one number for both: 1 is global pooling.  In a pair, None keeps
            the image's own length.

    Raises:
        ValueError: when called, output_size is not positive, or x is no image, or an empty one.
        TypeError: x is of integers.
    """

    def __init__(self, output_size: Size) -> None:
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool2d(Module):
    """Largest values of the windows of `AdaptiveAvgPool2d`: x (N, C, H, W) -> (N, C, oh, ow).

    Args:
        output_size: oh and ow, or one number for both; in a pair, None keeps the image's own
            length.
        return_indices: also return where in its image each value stood, row W + column, int64, of
            y's shape.

    Raises:
        ValueError: when called, output_size is not positive, or x is no image, or an empty one.
    """

    def __init__(self, output_size: Size, return_indices: bool = False) -> None:
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.adaptive_max_pool2d(x, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"

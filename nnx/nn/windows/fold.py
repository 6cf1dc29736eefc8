"""Windows of images as columns, and columns added up to images."""

from __future__ import annotations

from ... import ops
from ...ops.windows.arguments import Size
from ...tensor import Tensor
from ..module import Module


class Unfold(Module):
    """Every window of an image as a column: x (N, C, H, W) -> (N, C kh kw, windows): im2col.

    Args:
        kernel_size: the windows, an integer or (kh, kw).
        dilation: how far apart the pixels of a window are.
        padding: how many zeros are put around the image.
        stride: from one window to the next.

    Raises:
        ValueError: when called, x is no image, or no window fits into it.
        TypeError: x is of integers.
    """

    def __init__(
        self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
    ) -> None:
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, x: Tensor) -> Tensor:
        return ops.unfold(x, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Columns added up where `Unfold` reads them: x (N, C kh kw, windows) -> (N, C, H, W).

    Args:
        output_size: (H, W), or one number for both.
        kernel_size: the windows, an integer or (kh, kw).
        dilation: how far apart the pixels of a window are.
        padding: how much around the image is left out.
        stride: from one window to the next.

    Raises:
        ValueError: when called, x has other columns than such an image has windows.
        TypeError: x is of integers.
    """

    def __init__(
        self,
        output_size: Size,
        kernel_size: Size,
        dilation: Size = 1,
        padding: Size = 0,
        stride: Size = 1,
    ) -> None:
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, x: Tensor) -> Tensor:
        return ops.fold(
            x, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )

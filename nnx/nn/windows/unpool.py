"""Layers that put back what a pooling took, where it stood."""

from __future__ import annotations

from collections.abc import Sequence

from ... import ops
from ...ops.windows.arguments import Size
from ...tensor import Tensor
from ..module import Module


class _MaxUnpool(Module):
    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """What `MaxPool1d` took, where it stood: x (N, C, ol) -> (N, C, L), zeros elsewhere.

    Called with x and the indices that `MaxPool1d(..., return_indices=True)` gave, of x's shape;
    and, where several sizes lead to x's, with the `output_size`.

    Args:
        kernel_size: that pooling's.
        stride: that pooling's; None: kernel_size.
        padding: that pooling's.

    Raises:
        ValueError: when called, shapes that do not fit, or a size that the pooling does not lead
            from.
        IndexError: an index beyond the result.
    """

    def forward(
        self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        return ops.max_unpool1d(
            x, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class MaxUnpool2d(_MaxUnpool):
    """What `MaxPool2d` took, where it stood: x (N, C, oh, ow) -> (N, C, H, W), zeros elsewhere.

    Called with x and the indices that `MaxPool2d(..., return_indices=True)` gave, of x's shape;
    and, where several sizes lead to x's, with the `output_size`.

    Args:
        kernel_size: that pooling's.
        stride: that pooling's; None: kernel_size.
        padding: that pooling's.

    Raises:
        ValueError: when called, shapes that do not fit, or a size that the pooling does not lead
            from.
        IndexError: an index beyond the result.
    """

    def forward(
        self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        return ops.max_unpool2d(
            x, indices, self.kernel_size, self.stride, self.padding, output_size
        )


class MaxUnpool3d(_MaxUnpool):
    """What `MaxPool3d` took, where it stood: x (N, C, od, oh, ow) -> (N, C, D, H, W), else zeros.

    Called with x and the indices that `MaxPool3d(..., return_indices=True)` gave, of x's shape;
    and, where several sizes lead to x's, with the `output_size`.

    Args:
        kernel_size: that pooling's.
        stride: that pooling's; None: kernel_size.
        padding: that pooling's.

    Raises:
        ValueError: when called, shapes that do not fit, or a size that the pooling does not lead
            from.
        IndexError: an index beyond the result.
    """

    def forward(
        self, x: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        return ops.max_unpool3d(
            x, indices, self.kernel_size, self.stride, self.padding, output_size
        )

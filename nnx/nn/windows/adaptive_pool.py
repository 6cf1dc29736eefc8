"""Pooling layers with as many windows as are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import ops
from ...backends import Array
from ...ops.windows.arguments import Size
from ...tensor import Tensor
from ..module import Module


class _AdaptiveAvgPool(Module):
    def __init__(self, output_size: Size) -> None:
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMaxPool(Module):
    def __init__(self, output_size: Size, return_indices: bool = False) -> None:
        self.output_size, self.return_indices = output_size, return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
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

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest values of the windows of `AdaptiveAvgPool2d`: x (N, C, H, W) -> (N, C, oh, ow).

    Args:
        output_size: oh and ow, or one number for both; in a pair, None keeps the image's own
            length.
        return_indices: also return where in its image each value stood, row W + column, int64, of
            y's shape.

    Raises:
        ValueError: when called, output_size is not positive, or x is no image, or an empty one.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.adaptive_max_pool2d(x, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means of windows that cut sequences into `output_size`: x (N, C, L) -> (N, C, ol).

    x may be one sequence without N; the windows of an axis are those of `AdaptiveAvgPool2d`.

    Args:
        output_size: ol.

    Raises:
        ValueError: when called, output_size is not positive, or x is no sequence, or an empty one.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool1d(x, self.output_size)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest values of the windows of `AdaptiveAvgPool1d`: x (N, C, L) -> (N, C, ol).

    x may be one sequence without N; the windows of an axis are those of `AdaptiveAvgPool2d`.

    Args:
        output_size: ol.
        return_indices: also return where in its sequence each value stood, its place, int64, of
            y's shape.

    Raises:
        ValueError: when called, output_size is not positive, or x is no sequence, or an empty one.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.adaptive_max_pool1d(x, self.output_size, self.return_indices)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means of windows that cut volumes into `output_size`: (N, C, D, H, W) -> (N, C, od, oh, ow).

    x may be one volume without N; the windows of an axis are those of `AdaptiveAvgPool2d`.

    Args:
        output_size: od, oh and ow, or one number for all; None among them keeps x's own length.

    Raises:
        ValueError: when called, output_size is not positive, or x is no volume, or an empty one.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.adaptive_avg_pool3d(x, self.output_size)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest values of `AdaptiveAvgPool3d`'s windows: (N, C, D, H, W) -> (N, C, od, oh, ow).

    x may be one volume without N; the windows of an axis are those of `AdaptiveAvgPool2d`.

    Args:
        output_size: od, oh and ow, or one number for all; None among them keeps x's own length.
        return_indices: also return where in its volume each value stood, (slice H + row) W +
            column, int64, of y's shape.

    Raises:
        ValueError: when called, output_size is not positive, or x is no volume, or an empty one.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.adaptive_max_pool3d(x, self.output_size, self.return_indices)


class _FractionalMaxPool(Module):
    _random_samples: Array | None

    def __init__(
        self,
        kernel_size: Size,
        output_size: Size | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Any = None,
    ) -> None:
        if (output_size is None) == (output_ratio is None):
            raise ValueError(
                f"{type(self).__name__}: either output_size or output_ratio must be given, and "
                "not both"
            )
        self.kernel_size, self.return_indices = kernel_size, return_indices
        self.output_size, self.output_ratio = output_size, output_ratio
        held = _random_samples.data if isinstance(_random_samples, Tensor) else _random_samples
        self.register_buffer("_random_samples", held)

    def _arguments(self) -> tuple[Any, ...]:
        return (
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            self._random_samples,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, output_size={self.output_size}"


class FractionalMaxPool2d(_FractionalMaxPool):
    """Largest values of windows at random places (Graham 2014): x (N, C, H, W) -> (N, C, oh, ow).

    The windows are as many as are asked for, at distances drawn anew at every call, in evaluation
    too; `ops.fractional_max_pool2d` has the formula.  x may be one image without N.

    Args:
        kernel_size: an integer, or (kh, kw).
        output_size: oh, ow, or one number for all; or
        output_ratio: what part of x's lengths they are, between 0 and 1.
        return_indices: also return where in its image each value stood, row W + column,
            int64, of y's shape.

    Raises:
        ValueError: not one of output_size and output_ratio; when called, windows that do not fit.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.fractional_max_pool2d(x, *self._arguments())


class FractionalMaxPool3d(_FractionalMaxPool):
    """`FractionalMaxPool2d` of volumes: x (N, C, D, H, W) -> (N, C, od, oh, ow).

    The windows are as many as are asked for, at distances drawn anew at every call, in evaluation
    too; `ops.fractional_max_pool3d` has the formula.  x may be one volume without N.

    Args:
        kernel_size: an integer, or (kd, kh, kw).
        output_size: od, oh, ow, or one number for all; or
        output_ratio: what part of x's lengths they are, between 0 and 1.
        return_indices: also return where in its volume each value stood, (slice H + row) W +
            column, int64, of y's shape.

    Raises:
        ValueError: not one of output_size and output_ratio; when called, windows that do not fit.
        TypeError: x is of integers.
    """

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return ops.fractional_max_pool3d(x, *self._arguments())

"""Adaptive pooling: as many windows as are asked for, of the sizes that this needs."""

from __future__ import annotations

from collections.abc import Sequence

from ...backends import Array
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_tensor, require_one_dtype
from ..array.autocast import in_float32_inside
from ..array.shape import expand_dims, moveaxis, reshape, squeeze
from .arguments import Pair, Size, batch_of, one_of, sizes
from .pool import avg_pool2d, max_pool2d, require_images
from .pool3d import volume_indices


class AdaptiveAvgPool2d(Unary):
    """The mean of each window; its gradient is shared evenly by the window's pixels.

    Window k of an axis is floor(k L / m) .. ceil((k + 1) L / m): m windows that cover it.
    """

    def __init__(self, size: Pair) -> None:
        self.size = size

    def forward(self, x: Array) -> Array:
        self.shape = tuple(x.shape)
        return self.backend.adaptive_avg_pool2d(x, self.size)

    def backward(self, g: Array) -> Array:
        return self.backend.adaptive_avg_pool2d_backward(g, self.shape)


class AdaptiveMaxPool2d(Unary):
    """The largest value of each window, with the rules of `MaxPool2d` for ties and NaN."""

    def __init__(self, size: Pair) -> None:
        self.size = size

    def forward(self, x: Array) -> Array:
        self.shape = tuple(x.shape)
        y, self.chosen = self.backend.adaptive_max_pool2d(x, self.size)
        return y

    def backward(self, g: Array) -> Array:
        return self.backend.adaptive_max_pool2d_backward(g, self.chosen, self.shape)

    def indices(self) -> Array:
        return self.chosen


@in_float32_inside
def adaptive_avg_pool2d(x: Tensor, output_size: Size) -> Tensor:
    """The means of windows that cut the image into output_size: x (N, C, H, W) -> (N, C, oh, ow).

    Window (p, q) is rows floor(p H/oh) to ceil((p+1) H/oh), columns likewise: they may overlap by
    a pixel and differ in size by one.

    Args:
        x: (N, C, H, W), or (C, H, W) for one image.
        output_size: oh and ow, or one number for both; in a pair, None keeps the image's own
            length.

    Raises:
        ValueError: x is not (N, C, H, W) or (C, H, W), or empty; output_size is not positive.
        TypeError: integers.
    """
    name = "adaptive_avg_pool2d"
    x = as_tensor(name, x)
    size = _adaptive_size(name, x, output_size, 2)
    require_one_dtype(name, x=x)
    x, alone = batch_of(x, 2)
    return one_of(_means(x, size), alone)


@in_float32_inside
def adaptive_avg_pool1d(x: Tensor, output_size: Size) -> Tensor:
    """The means of windows that cut a sequence into output_size: x (N, C, L) -> (N, C, ol).

    Args:
        x: (N, C, L), or (C, L) for one sequence.
        output_size: ol; windows are as in `adaptive_avg_pool2d`.

    Raises:
        ValueError: x is not (N, C, L) or (C, L), or empty; output_size is not positive.
        TypeError: integers.
    """
    name = "adaptive_avg_pool1d"
    x = as_tensor(name, x)
    size = _adaptive_size(name, x, output_size, 1)
    require_one_dtype(name, x=x)
    x, alone = batch_of(x, 1)
    return one_of(squeeze(_means(expand_dims(x, axis=2), (1, *size)), axis=2), alone)


@in_float32_inside
def adaptive_avg_pool3d(x: Tensor, output_size: Size) -> Tensor:
    """The means of windows that cut volumes into output_size: (N, C, D, H, W) -> (N, C, *size).

    The mean over a window is that over its slices of their means (`nnx.ops.windows.pool3d`).

    Args:
        x: (N, C, D, H, W), or (C, D, H, W) for one volume.
        output_size: three lengths, or one for all; None among them keeps the volume's own.

    Raises:
        ValueError: x is not (N, C, D, H, W) or (C, D, H, W), or empty; output_size is not positive.
        TypeError: integers.
    """
    name = "adaptive_avg_pool3d"
    x = as_tensor(name, x)
    depth, *size = _adaptive_size(name, x, output_size, 3)
    require_one_dtype(name, x=x)
    x, alone = batch_of(x, 3)
    n, c, d, h, w = x.shape
    y = reshape(_means(reshape(x, (n, c * d, h, w)), tuple(size)), (n, c, d, *size))
    y = reshape(moveaxis(y, 2, 4), (n, c * size[0] * size[1], 1, d))
    y = reshape(_means(y, (1, depth)), (n, c, *size, depth))
    return one_of(moveaxis(y, 4, 2), alone)


def adaptive_max_pool2d(
    x: Tensor, output_size: Size, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest values of the windows of `adaptive_avg_pool2d`; see there and `max_pool2d`.

    Args:
        x: (N, C, H, W), or (C, H, W) for one image.
        output_size: oh and ow, or one number for both; None keeps the image's own length.
        return_indices: also give where each value stood, row * W + column, in the
            same shape, int64.

    Returns:
        (N, C, oh, ow), or that and the indices.

    Raises:
        ValueError: x is not (N, C, H, W) or (C, H, W), or empty; output_size is not positive.
    """
    name = "adaptive_max_pool2d"
    x = as_tensor(name, x)
    size = _adaptive_size(name, x, output_size, 2)
    x, alone = batch_of(x, 2)
    y, indices = _maxima(x, size, return_indices)
    y = one_of(y, alone)
    return y if indices is None else (y, one_of(indices, alone))


def adaptive_max_pool1d(
    x: Tensor, output_size: Size, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest values of the windows of `adaptive_avg_pool1d`: x (N, C, L) -> (N, C, ol).

    Args:
        x: (N, C, L), or (C, L) for one sequence.
        output_size: ol.
        return_indices: also give where in its sequence each value stood, int64 of the same shape.

    Raises:
        ValueError: x is not (N, C, L) or (C, L), or empty; output_size is not positive.
    """
    name = "adaptive_max_pool1d"
    x = as_tensor(name, x)
    size = _adaptive_size(name, x, output_size, 1)
    x, alone = batch_of(x, 1)
    y, indices = _maxima(expand_dims(x, axis=2), (1, *size), return_indices)
    y = one_of(squeeze(y, axis=2), alone)
    return y if indices is None else (y, one_of(squeeze(indices, axis=2), alone))


def adaptive_max_pool3d(
    x: Tensor, output_size: Size, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest values of the windows of `adaptive_avg_pool3d`: (N, C, D, H, W) -> (N, C, *size).

    Args:
        x: (N, C, D, H, W), or (C, D, H, W) for one volume.
        output_size: three lengths, or one for all; None among them keeps the volume's own.
        return_indices: also give where in its volume each value stood, (slice H + row) W + column,
            int64 of the same shape.

    Raises:
        ValueError: x is not (N, C, D, H, W) or (C, D, H, W), or empty; output_size is not positive.
    """
    name = "adaptive_max_pool3d"
    x = as_tensor(name, x)
    depth, *size = _adaptive_size(name, x, output_size, 3)
    x, alone = batch_of(x, 3)
    n, c, d, h, w = x.shape
    y, within = _maxima(reshape(x, (n, c * d, h, w)), tuple(size), return_indices)
    y = reshape(moveaxis(reshape(y, (n, c, d, *size)), 2, 4), (n, c * size[0] * size[1], 1, d))
    y, slices = _maxima(y, (1, depth), return_indices)
    y = one_of(moveaxis(reshape(y, (n, c, *size, depth)), 4, 2), alone)
    if within is None or slices is None:
        return y
    slices = reshape(moveaxis(reshape(slices, (n, c, *size, depth)), 4, 2), (n, c, depth, -1))
    indices = volume_indices(slices.data, within.data, x.shape)
    return y, one_of(reshape(indices, (n, c, depth, *size)), alone)


def _means(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """(N, C, H, W) -> (N, C, *size)."""
    rows, columns = size
    if x.shape[2] % rows == 0 and x.shape[3] % columns == 0:
        return avg_pool2d(x, (x.shape[2] // rows, x.shape[3] // columns))
    return AdaptiveAvgPool2d((rows, columns))(x)


def _maxima(x: Tensor, size: tuple[int, ...], return_indices: bool) -> tuple[Tensor, Tensor | None]:
    """(N, C, H, W) -> (N, C, *size), and where each value stood, or None."""
    rows, columns = size
    if x.shape[2] % rows == 0 and x.shape[3] % columns == 0:
        kernel = (x.shape[2] // rows, x.shape[3] // columns)
        found = max_pool2d(x, kernel, return_indices=return_indices)
        return found if isinstance(found, tuple) else (found, None)
    function = AdaptiveMaxPool2d((rows, columns))
    y = function(x)
    return y, Tensor(function.indices()) if return_indices else None


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean of each channel of each image: x (N, C, H, W) -> (N, C, 1, 1) (Lin et al. 2013)."""
    return adaptive_avg_pool2d(x, 1)


def global_max_pool2d(x: Tensor) -> Tensor:
    """The largest value of each channel of each image: x (N, C, H, W) -> (N, C, 1, 1)."""
    y = adaptive_max_pool2d(x, 1)
    assert isinstance(y, Tensor)
    return y


def _adaptive_size(name: str, x: Tensor, output_size: Size, axes: int) -> tuple[int, ...]:
    require_images(name, x.shape, axes)
    given = output_size
    if isinstance(given, Sequence) and len(given) == axes:  # None: as large as the image
        given = tuple([n if m is None else m for m, n in zip(given, x.shape[-axes:], strict=True)])
    size = sizes(name, "output_size", given, axes)
    if 0 in x.shape[-axes:]:
        raise ValueError(f"{name}: the image must not be empty; x has shape {x.shape}")
    return size

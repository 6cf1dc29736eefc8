"""Adaptive pooling: as many windows as are asked for, of the sizes that this needs."""

from __future__ import annotations

from collections.abc import Sequence

from ...backends import Array
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_tensor, require_one_dtype
from ..array.autocast import in_float32_inside
from .arguments import Pair, Size, batch_of, one_of, sizes
from .pool import avg_pool2d, max_pool2d, require_images


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
    x = as_tensor("adaptive_avg_pool2d", x)
    require_one_dtype("adaptive_avg_pool2d", x=x)
    size = _adaptive_size("adaptive_avg_pool2d", x, output_size)
    x, alone = batch_of(x, 2)
    if x.shape[2] % size[0] == 0 and x.shape[3] % size[1] == 0:
        kernel = (x.shape[2] // size[0], x.shape[3] // size[1])
        return one_of(avg_pool2d(x, kernel), alone)
    return one_of(AdaptiveAvgPool2d(size)(x), alone)


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
    x = as_tensor("adaptive_max_pool2d", x)
    size = _adaptive_size("adaptive_max_pool2d", x, output_size)
    x, alone = batch_of(x, 2)
    if x.shape[2] % size[0] == 0 and x.shape[3] % size[1] == 0:
        kernel = (x.shape[2] // size[0], x.shape[3] // size[1])
        found = max_pool2d(x, kernel, return_indices=return_indices)
    else:
        function = AdaptiveMaxPool2d(size)
        y = function(x)
        found = (y, Tensor(function.indices())) if return_indices else y
    if isinstance(found, tuple):
        return one_of(found[0], alone), one_of(found[1], alone)
    return one_of(found, alone)


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean of each channel of each image: x (N, C, H, W) -> (N, C, 1, 1) (Lin et al. 2013)."""
    return adaptive_avg_pool2d(x, 1)


def global_max_pool2d(x: Tensor) -> Tensor:
    """The largest value of each channel of each image: x (N, C, H, W) -> (N, C, 1, 1)."""
    y = adaptive_max_pool2d(x, 1)
    assert isinstance(y, Tensor)
    return y


def _adaptive_size(name: str, x: Tensor, output_size: Size) -> Pair:
    require_images(name, x.shape, 2)
    given = output_size
    if isinstance(given, Sequence) and len(given) == 2:  # None: as large as the image
        given = tuple([n if m is None else m for m, n in zip(given, x.shape[-2:], strict=True)])
    rows, columns = sizes(name, "output_size", given, 2)
    if 0 in x.shape[-2:]:
        raise ValueError(f"{name}: the image must not be empty; x has shape {x.shape}")
    return rows, columns

"""Adaptive pooling: as many windows as are asked for, of the sizes that this needs."""

from __future__ import annotations

from ...autograd import Function
from ...backends import Array
from ...tensor import Tensor
from .arguments import Pair, Size, sizes
from .pool import avg_pool2d, max_pool2d, require_images


class _Adaptive(Function):
    """Window k of an axis is floor(k L / m) .. ceil((k + 1) L / m): m windows that cover it."""

    def __init__(self, size: Pair) -> None:
        self.size = size

    def cells(self, shape: tuple[int, ...]) -> list[tuple[int, int, slice, slice]]:
        """Every window: where it goes, and its rows and columns."""
        rows, columns = (
            [slice(k * length // m, -(-(k + 1) * length // m)) for k in range(m)]
            for length, m in zip(shape[2:], self.size, strict=True)
        )
        return [(p, q, r, c) for p, r in enumerate(rows) for q, c in enumerate(columns)]


class AdaptiveAvgPool2d(_Adaptive):
    """The mean of each window; its gradient is shared evenly by the window's pixels."""

    def forward(self, x: Array) -> Array:
        xp = self.backend.xp
        self.shape = tuple(x.shape)
        y = xp.empty((*x.shape[:2], *self.size), dtype=x.dtype, device=x.device)
        for p, q, rows, columns in self.cells(x.shape):
            y[:, :, p, q] = xp.mean(x[:, :, rows, columns], axis=(2, 3))
        return y

    def backward(self, g: Array) -> Array:
        gx = self.backend.xp.zeros(self.shape, dtype=g.dtype, device=g.device)
        for p, q, rows, columns in self.cells(self.shape):
            area = (rows.stop - rows.start) * (columns.stop - columns.start)
            gx[:, :, rows, columns] += g[:, :, p : p + 1, q : q + 1] / area
        return gx


class AdaptiveMaxPool2d(_Adaptive):
    """The largest value of each window, with the rules of `MaxPool2d` for ties and NaN."""

    def forward(self, x: Array) -> Array:
        xp = self.backend.xp
        self.shape = tuple(x.shape)
        y = xp.empty((*x.shape[:2], *self.size), dtype=x.dtype, device=x.device)
        self.chosen = xp.empty(y.shape, dtype=xp.int64, device=x.device)
        width = x.shape[3]
        for p, q, rows, columns in self.cells(x.shape):
            best = x[:, :, rows.start, columns.start]
            at = xp.full(best.shape, rows.start * width + columns.start, dtype=xp.int64)
            at = xp.asarray(at, device=x.device) if at.device != x.device else at
            for r in range(rows.start, rows.stop):
                for c in range(columns.start, columns.stop):
                    value = x[:, :, r, c]
                    better = (value > best) | (xp.isnan(value) & ~xp.isnan(best))
                    best = xp.where(better, value, best)
                    at = xp.where(better, xp.asarray(r * width + c, device=x.device), at)
            y[:, :, p, q] = best
            self.chosen[:, :, p, q] = at
        return y

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        gx = xp.zeros(self.shape, dtype=g.dtype, device=g.device)
        pixels = xp.reshape(
            xp.arange(self.shape[2] * self.shape[3], dtype=xp.int64, device=g.device),
            (self.shape[2], self.shape[3]),
        )
        for p, q, rows, columns in self.cells(self.shape):
            hit = self.chosen[:, :, p : p + 1, q : q + 1] == pixels[rows, columns]
            share = g[:, :, p : p + 1, q : q + 1]
            gx[:, :, rows, columns] += xp.where(hit, share, xp.zeros_like(share))
        return gx

    def indices(self) -> Array:
        return self.chosen


def adaptive_avg_pool2d(x: Tensor, output_size: Size) -> Tensor:
    """The means of windows that cut the image into output_size: (N, C, H, W) -> (N, C, oh, ow).

    Window (p, q) is rows floor(p H/oh) to ceil((p+1) H/oh), columns likewise: they may overlap by
    a pixel and differ in size by one.

    Raises:
        ValueError: x is not (N, C, H, W), or empty; output_size is not positive.
    """
    size = _adaptive_size("adaptive_avg_pool2d", x, output_size)
    if x.shape[2] % size[0] == 0 and x.shape[3] % size[1] == 0:
        kernel = (x.shape[2] // size[0], x.shape[3] // size[1])
        return avg_pool2d(x, kernel)
    return AdaptiveAvgPool2d(size)(x)


def adaptive_max_pool2d(
    x: Tensor, output_size: Size, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest values of the windows of `adaptive_avg_pool2d`; see there and `max_pool2d`."""
    size = _adaptive_size("adaptive_max_pool2d", x, output_size)
    if x.shape[2] % size[0] == 0 and x.shape[3] % size[1] == 0:
        kernel = (x.shape[2] // size[0], x.shape[3] // size[1])
        return max_pool2d(x, kernel, return_indices=return_indices)
    function = AdaptiveMaxPool2d(size)
    y = function(x)
    return (y, Tensor(function.indices())) if return_indices else y


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean of each channel of each image: (N, C, H, W) -> (N, C, 1, 1) (Lin et al. 2013)."""
    return adaptive_avg_pool2d(x, 1)


def global_max_pool2d(x: Tensor) -> Tensor:
    """The largest value of each channel of each image: (N, C, H, W) -> (N, C, 1, 1)."""
    y = adaptive_max_pool2d(x, 1)
    assert isinstance(y, Tensor)
    return y


def _adaptive_size(name: str, x: Tensor, output_size: Size) -> Pair:
    require_images(name, x, 2)
    rows, columns = sizes(name, "output_size", output_size, 2)
    if 0 in x.shape[2:]:
        raise ValueError(f"{name}: the image must not be empty; x has shape {x.shape}")
    return rows, columns

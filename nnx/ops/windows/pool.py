"""Pooling: one number for each window of an image."""

from __future__ import annotations

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_tensor, require_one_dtype
from ..array.autocast import in_float32_inside
from .arguments import (
    IMAGE,
    NO_PADDING,
    Geometry,
    InOneDimension,
    Padding,
    PaddingLike,
    Pair,
    Size,
    Window,
    batch_of,
    check_fit,
    one_of,
    padding_pairs,
    remembered,
    sizes,
)


class MaxPool2d(Unary):
    """y[n, c, p, q] = max over (i, j) of x[n, c, p s + i d, q s + j d].

    Backward.  y is the pixel at which the maximum stands, so its gradient is 1 there and 0
    elsewhere (Xu 4.3.2): the place is kept from the forward pass, one byte a window, and the
    gradient goes back to it.  A pixel that several windows chose gets the sum.

    Where values are equal the function has no derivative; the gradient goes to the first of them
    in row-major order.  ReLU's zeros make this common, so every backend must do the same.  NaN
    counts as largest, so that it is not lost.
    """

    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, x: Array) -> Array:
        y, self.argmax = self.backend.max_pool2d(x, self.window)
        self.shape = tuple(x.shape)
        return y

    def backward(self, g: Array) -> Array:
        return self.backend.max_pool2d_backward(g, self.argmax, self.shape, self.window)

    def indices(self) -> Array:
        """Where in its image each maximum stands: row W + column, int64."""
        xp, argmax = self.backend.xp, self.argmax
        (_, kw), (sh, sw), ((above, _), (before, _)), (dh, dw) = self.window
        oh, ow = argmax.shape[2:]
        place = xp.astype(argmax, xp.int64)
        rows = xp.arange(oh, dtype=xp.int64, device=argmax.device) * sh - above
        columns = xp.arange(ow, dtype=xp.int64, device=argmax.device) * sw - before
        row = xp.reshape(rows, (-1, 1)) + place // kw * dh
        return row * self.shape[3] + columns + place % kw * dw


class MaxPool1d(InOneDimension, MaxPool2d):
    """`MaxPool2d` on images of height 1."""

    def indices(self) -> Array:
        return self.backend.xp.squeeze(super().indices(), axis=-2)


class AvgPool2d(Unary):
    """y[n, c, p, q] = (1/m) Σ_ij x[n, c, p s + i, q s + j], m the number of pixels counted.

    Backward.  Each pixel of a window contributed with weight 1/m, so it gets G/m (Xu 4.3.2).
    """

    def __init__(self, window: Window, counted: Padding, divisor: int | None = None) -> None:
        self.window, self.counted = window, counted
        self.scale = None if divisor is None else window.places / divisor

    def forward(self, x: Array) -> Array:
        self.shape = tuple(x.shape)
        y = self.backend.avg_pool2d(x, self.window, self.counted)
        return y if self.scale is None else y * self.scale

    def backward(self, g: Array) -> Array:
        if self.scale is not None:
            g = g * self.scale
        return self.backend.avg_pool2d_backward(g, self.shape, self.window, self.counted)


class AvgPool1d(InOneDimension, AvgPool2d):
    """`AvgPool2d` on images of height 1."""


# ---- what people call ----


def max_pool2d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PaddingLike = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest value of each window: x (N, C, H, W) -> (N, C, oh, ow), or without N for one.

    oh = floor((H + padding - dilation (kh - 1) - 1) / stride) + 1, or the ceiling of the fraction
    with `ceil_mode`, where the last window may reach beyond the image but starts in it (Xu section
    4.2.2).

    Args:
        kernel_size: an integer, or (height, width); so are stride (default: kernel_size) and
            dilation.
        padding: as in `conv2d`, at most half the kernel; its pixels are never chosen.
        return_indices: also return where in its image each maximum stands, row W + column, int64.

    Raises:
        ValueError: the message names the rule and the shapes.
    """
    return _max_pool(
        "max_pool2d",
        MaxPool2d,
        x,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        return_indices,
    )


def max_pool1d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PaddingLike = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest value of each window: x (N, C, L) or (C, L) -> (N, C, ol); as `max_pool2d`.

    Args:
        x: (N, C, L), or (C, L) for one sequence.
        kernel_size: how long a window is.
        stride: from one window to the next; None: `kernel_size`, so that they lie side by side.
        padding: how much is put before and after, at most half a window.
        dilation: the distance between the numbers of a window.
        ceil_mode: let the last window run over the end.
        return_indices: also give where each value stood in its sequence, int64 of the same shape.

    Raises:
        ValueError: as `max_pool2d`.
    """
    return _max_pool(
        "max_pool1d",
        MaxPool1d,
        x,
        kernel_size,
        stride,
        padding,
        dilation,
        ceil_mode,
        return_indices,
    )


@in_float32_inside
def avg_pool2d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PaddingLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window: x (N, C, H, W) -> (N, C, oh, ow), or without N for one image.

    oh and ow as in `max_pool2d` (Xu section 4.2.2).

    Args:
        x: the images.
        kernel_size: the window, one number or (rows, columns).
        stride: from one window to the next; None: `kernel_size`.
        padding: as in `max_pool2d`.
        ceil_mode: let the last windows run over the edge.
        count_include_pad: whether a pixel of the padding counts (as zero) in the mean.
        divisor_override: divide every sum by this instead of by the number of pixels.

    Raises:
        ValueError: the message names the rule and the shapes.
        TypeError: integers.
    """
    return _avg_pool(
        "avg_pool2d",
        AvgPool2d,
        x,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        divisor_override,
    )


@in_float32_inside
def avg_pool1d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: PaddingLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window: x (N, C, L) or (C, L) -> (N, C, ol); as `avg_pool2d`.

    Args:
        x: (N, C, L), or (C, L) for one sequence.
        kernel_size: how long a window is.
        stride: from one window to the next; None: `kernel_size`, so that they lie side by side.
        padding: how much is put before and after, at most half a window.
        ceil_mode: let the last window run over the end.
        count_include_pad: whether what was put there counts (as zero) in the mean.

    Raises:
        ValueError: as `avg_pool2d`.
        TypeError: integers.
    """
    return _avg_pool(
        "avg_pool1d", AvgPool1d, x, kernel_size, stride, padding, ceil_mode, count_include_pad, None
    )


# ---- checks they share ----


def _max_pool(
    name: str,
    function: type[MaxPool2d],
    x: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: PaddingLike,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]:
    axes = 1 if function is MaxPool1d else 2
    x = as_tensor(name, x)
    window, _ = _pool_window(name, x.shape, axes, kernel_size, stride, padding, dilation, ceil_mode)
    pool = function(window)
    x, alone = batch_of(x, axes)
    y = one_of(pool(x), alone)
    return (y, one_of(Tensor(pool.indices()), alone)) if return_indices else y


def _avg_pool(
    name: str,
    function: type[AvgPool2d],
    x: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: PaddingLike,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    axes = 1 if function is AvgPool1d else 2
    x = as_tensor(name, x)
    if not backend_of(x.data).is_float(x.data.dtype):
        require_one_dtype(name, x=x)
    window, own = _pool_window(name, x.shape, axes, kernel_size, stride, padding, 1, ceil_mode)
    if divisor is not None and divisor == 0:
        raise ValueError(f"{name}: divisor_override must not be 0")
    if divisor is not None:
        counted = window.padding  # so that every window counts all its places
    else:
        counted = own if count_include_pad else NO_PADDING
    x, alone = batch_of(x, axes)
    return one_of(function(window, counted, divisor)(x), alone)


@remembered
def _pool_window(
    name: str,
    shape: tuple[int, ...],
    axes: int,
    kernel_size: Size,
    stride: Size | None,
    padding: PaddingLike,
    dilation: Size,
    ceil_mode: bool,
) -> tuple[Window, Padding]:
    """The window, everything checked, and the padding without what ceil_mode adds to it."""
    geometry, own = pool_geometry(
        name, shape, axes, kernel_size, stride, padding, dilation, ceil_mode
    )
    return geometry.planes(), geometry._replace(padding=own).planes().padding


def pool_geometry(
    name: str,
    shape: tuple[int, ...],
    axes: int,
    kernel_size: Size,
    stride: Size | None,
    padding: PaddingLike,
    dilation: Size,
    ceil_mode: bool,
) -> tuple[Geometry, tuple[Pair, ...]]:
    """The window of a pooling along each axis, everything checked, and the padding without what
    ceil_mode adds to it."""
    require_images(name, shape, axes)
    kernel = sizes(name, "kernel_size", kernel_size, axes)
    strides = kernel if stride is None else sizes(name, "stride", stride, axes)
    dilations = sizes(name, "dilation", dilation, axes)
    pads = padding_pairs(name, padding, kernel, strides, dilations)
    extra = []
    for length, k, s, (before, after), d in zip(
        shape[-axes:], kernel, strides, pads, dilations, strict=True
    ):
        if max(before, after) > k // 2:
            raise ValueError(
                f"{name}: padding must be at most half the kernel; padding {pads}, "
                f"kernel {kernel}, x has shape {shape}"
            )
        room = length + before + after - d * (k - 1) - 1
        windows = room // s + 1
        if ceil_mode:
            windows = -(-room // s) + 1
            if (windows - 1) * s >= length + before:
                windows -= 1
        if windows < 1:
            check_fit(name, shape, kernel, pads, dilations)
        extra.append(max(0, (windows - 1) * s - room))
        if d > 1 and (before or after or extra[-1]):
            starts = range(-before, windows * s - before, s)
            if not all(any(0 <= u + i * d < length for i in range(k)) for u in starts):
                raise ValueError(
                    f"{name}: a window would lie in the padding altogether; padding {pads}, "
                    f"kernel {kernel}, dilation {dilations}, x has shape {shape}"
                )
    wider = tuple((before, after + e) for (before, after), e in zip(pads, extra, strict=True))
    return Geometry(kernel, strides, wider, dilations), pads


def require_images(name: str, shape: tuple[int, ...], axes: int) -> None:
    image = IMAGE[axes]
    if len(shape) not in (axes + 1, axes + 2):
        raise ValueError(
            f"{name}: x must be (N, C, {image}), or (C, {image}) for one; x has shape {shape}"
        )

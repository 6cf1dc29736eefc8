"""The windows of an image laid out as columns, and columns added up to an image."""

from __future__ import annotations

from ...backends import Array
from ...tensor import Tensor
from .._function import Unary
from .._operands import as_tensor, require_one_dtype
from .arguments import (
    Geometry,
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


class Unfold(Unary):
    """y[n, (c, i, j), (p, q)] = x[n, c, p sh + i dh, q sw + j dw], of x with its padding: im2col.

    Every y is a copy of one pixel, and dx adds up what the copies of a pixel get: col2im, which is
    `Fold`'s forward.
    """

    def __init__(self, window: Window) -> None:
        self.window = window

    def forward(self, x: Array) -> Array:
        self.shape = tuple(x.shape)
        return self.backend.im2col(x, self.window)

    def backward(self, g: Array) -> Array:
        return self.backend.col2im(g, self.shape, self.window)


class Fold(Unary):
    """y[n, c, u, v] = the sum of x[n, (c, i, j), (p, q)] over all windows (p, q) and places (i, j)
    with p sh + i dh = u and q sw + j dw = v: col2im, the transpose of `Unfold`.

    As each x is added to one pixel, dx reads g there: `Unfold` of g.
    """

    def __init__(self, size: Pair, window: Window) -> None:
        self.size, self.window = size, window

    def forward(self, x: Array) -> Array:
        shape = (x.shape[0], x.shape[1] // self.window.places, *self.size)
        return self.backend.col2im(x, shape, self.window)

    def backward(self, g: Array) -> Array:
        return self.backend.im2col(g, self.window)


def unfold(
    x: Tensor,
    kernel_size: Size,
    dilation: Size = 1,
    padding: PaddingLike = 0,
    stride: Size = 1,
) -> Tensor:
    """Every window of an image as a column: x (N, C, H, W) -> (N, C kh kw, oh ow).

    x may also be one image (C, H, W), which gives (C kh kw, oh ow).  Entry (c, i, j) of a column is
    what place (i, j) of the window sees in channel c; the columns go over the image row by row.  A
    convolution is a product of its kernel with these columns (see `Conv2d`).

    Args:
        kernel_size: the window's size, an integer or (kh, kw).
        dilation: how far apart the pixels are that it sees; an integer or (down, across).
        padding: zeros around the image; as in `conv2d`.
        stride: how far the window moves; an integer or (down, across).

    Raises:
        ValueError: x is no image, an argument is none of those above, or no window fits into the
            padded image.
        TypeError: x is of integers.
    """
    x = as_tensor("unfold", x)
    require_one_dtype("unfold", x=x)
    x, alone = batch_of(x, 2)
    if x.ndim != 4:
        raise ValueError(
            f"unfold: x must be (N, C, H, W), or (C, H, W) for one image; x has shape {x.shape}"
        )
    window = _window("unfold", x.shape, kernel_size, dilation, padding, stride)
    return one_of(Unfold(window)(x), alone)


def fold(
    x: Tensor,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: PaddingLike = 0,
    stride: Size = 1,
) -> Tensor:
    """The transpose of `unfold`: columns x (N, C kh kw, oh ow) added up to images (N, C, H, W).

    Each entry goes back to the pixel that `unfold`, with the same arguments, copied it from; where
    windows overlap, their entries are summed.  So `fold(unfold(x))` is x times the number of
    windows that see each pixel.  x may also be (C kh kw, oh ow), for one image.

    Args:
        output_size: the image's size, an integer or (H, W).
        kernel_size: the window's size, an integer or (kh, kw).
        dilation: as in `unfold`.
        padding: as in `unfold`; what falls on it is dropped.
        stride: as in `unfold`.

    Raises:
        ValueError: x has not the columns that windows over such an image give, or an argument is
            none of those above.
        TypeError: x is of integers.
    """
    x = as_tensor("fold", x)
    require_one_dtype("fold", x=x)
    alone = x.ndim == 2
    if alone:
        x, _ = batch_of(x, 1)
    h, w = sizes("fold", "output_size", output_size, 2)
    window = _window("fold", (h, w), kernel_size, dilation, padding, stride)
    oh, ow = window.counts((h, w))
    if x.ndim != 3 or x.shape[1] % window.places or x.shape[2] != oh * ow:
        raise ValueError(
            f"fold: x must be (N, C kh kw, oh ow) or one of them, with {window.places} places in a "
            f"window and {oh} x {ow} windows in an image of ({h}, {w}); x has shape "
            f"{x.shape[1:] if alone else x.shape}"
        )
    return one_of(Fold((h, w), window)(x), alone)


@remembered
def _window(
    name: str,
    shape: tuple[int, ...],
    kernel_size: Size,
    dilation: Size,
    padding: PaddingLike,
    stride: Size,
) -> Window:
    kernel = sizes(name, "kernel_size", kernel_size, 2)
    spread = sizes(name, "dilation", dilation, 2)
    step = sizes(name, "stride", stride, 2)
    border = padding_pairs(name, padding, kernel, step, spread)
    check_fit(name, shape, kernel, border, spread)
    return Geometry(kernel, step, border, spread).planes()

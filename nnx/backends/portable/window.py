"""`Window`: what slides over an image, where each step of it starts, and which pixels it sees."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...typing import Array

Pair = tuple[int, int]  # down and across
Padding = tuple[Pair, Pair]  # ((top, bottom), (left, right))

NO_PADDING: Padding = ((0, 0), (0, 0))


class Window(NamedTuple):
    """The geometry of a convolution or a pooling, handed to every kernel that slides.

    Whoever makes one has checked it (`nnx.ops.windows.arguments`); kernels believe it.
    """

    kernel: Pair  # the window's size
    stride: Pair = (1, 1)  # how far it moves
    padding: Padding = NO_PADDING  # what is added around the image
    dilation: Pair = (1, 1)  # how far apart the pixels it sees are

    @property
    def places(self) -> int:
        """How many pixels a window sees."""
        return self.kernel[0] * self.kernel[1]

    @property
    def pads(self) -> bool:
        """Whether anything is added around the image."""
        return self.padding != NO_PADDING

    @property
    def extent(self) -> Pair:
        """How far a window reaches, (down, across), dilation included."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    def padded(self, size: Pair) -> Pair:
        """The size of the image with its padding."""
        (top, bottom), (left, right) = self.padding
        return top + size[0] + bottom, left + size[1] + right

    def counts(self, size: Pair) -> Pair:
        """How many windows fit down and across an image (h, w): (oh, ow).

        Less than 1 where not even one does.
        """
        (kh, kw), (sh, sw), ((top, bottom), (left, right)), (dh, dw) = self
        h, w = top + size[0] + bottom, left + size[1] + right  # `padded`
        return (h - dh * (kh - 1) - 1) // sh + 1, (w - dw * (kw - 1) - 1) // sw + 1

    def turned(self) -> Window | None:
        """The window of the convolution that carries a gradient back, with the kernel turned round:
        over the gradient, padded so that every window that a pixel lies in is there.

        None where there is a stride, or more padding than a window reaches.
        """
        (down, across), ((top, bottom), (left, right)) = self.extent, self.padding
        around = ((down - 1 - top, down - 1 - bottom), (across - 1 - left, across - 1 - right))
        if self.stride != (1, 1) or min(map(min, around)) < 0:
            return None
        return Window(self.kernel, (1, 1), around, self.dilation)

    def inside(self, size: Pair) -> tuple[slice, slice]:
        """Where the image (h, w) lies in the padded one: slices of rows and columns."""
        top, left = self.padding[0][0], self.padding[1][0]
        return slice(top, top + size[0]), slice(left, left + size[1])

    def taps(self, out: Pair) -> list[tuple[Any, ...]]:
        """For each place in the window, row by row, the index of the pixels it falls on.

        In the padded image, place (i, j) of window (y, x) is pixel (y sh + i dh, x sw + j dw): for
        all windows at once a strided slice, (..., oh, ow).  Stops are exact, since the array API
        leaves a slice beyond the end of an axis open.
        """
        (kh, kw), (sh, sw), _, (dh, dw) = self
        oh, ow = out
        rows = [slice(i * dh, i * dh + sh * (oh - 1) + 1, sh) for i in range(kh)]
        columns = [slice(j * dw, j * dw + sw * (ow - 1) + 1, sw) for j in range(kw)]
        return [(..., row, column) for row in rows for column in columns]


def pad(xp: Any, x: Array, window: Window, value: float = 0.0) -> Array:
    """A copy of x (N, C, H, W) with a border of `value`; x itself where there is no border."""
    if not window.pads:
        return x
    size = (x.shape[2], x.shape[3])
    shape = (*x.shape[:2], *window.padded(size))
    out = xp.full(shape, value, dtype=x.dtype, device=x.device)
    out[(..., *window.inside(size))] = x
    return out


def padded_zeros(xp: Any, like: Array, shape: tuple[int, ...], window: Window) -> Array:
    """Zeros for an image of this shape (N, C, H, W) with its padding, in the dtype of `like`."""
    shape = (*shape[:2], *window.padded((shape[2], shape[3])))
    return xp.zeros(shape, dtype=like.dtype, device=like.device)


class Depth(NamedTuple):
    """What a window does along the first axis of a volume."""

    kernel: int
    stride: int = 1
    padding: Pair = (0, 0)
    dilation: int = 1

    @property
    def apart(self) -> bool:
        """Whether no slice is in two windows."""
        return self.dilation * (self.kernel - 1) < self.stride

    def count(self, length: int) -> int:
        """How many windows fit into so many slices."""
        room = length + sum(self.padding) - self.dilation * (self.kernel - 1) - 1
        return room // self.stride + 1

    def seen(self, length: int) -> list[tuple[slice, slice]]:
        """For each of the kernel's places: the windows in which it falls on a slice, not on the
        padding, and those slices."""
        found = []
        for i in range(self.kernel):
            before = self.padding[0] - i * self.dilation
            first = max(0, -(-before // self.stride))
            end = max(first, min(self.count(length), (length - 1 + before) // self.stride + 1))
            start, last = first * self.stride - before, (end - 1) * self.stride - before
            slices = slice(start, last + 1, self.stride) if end > first else slice(0, 0)
            found.append((slice(first, end), slices))
        return found

"""Depthwise convolution, as many groups as channels, on NumPy: channels last, along whole rows.

Each channel has a kernel of its own, so there is no product of matrices:

    y[p, q, c] = Σ_i Σ_j w[i, j, c] x[p s + i d, q s + j d, c]        x with its padding

What is quick on NumPy is the sum of products of long runs, `np.einsum`'s inner loop, which
multiplies and adds in one pass.  With channels last and s = 1 the windows of a row of y lie side by
side for each place (i, j), so the run is the whole row, (q, c), beside the kernel repeated for
each q.

With a stride the image is first dealt out to s x s smaller ones, of the pixels at the distances
0..s-1 from a multiple of s: its *phases*.  Place i sees pixel p s + i d = (p + o) s + a with
a = i d mod s and o = (i d - a) / s: in phase a the windows move by 1, and y is the sum over phases
of convolutions without a stride, each with the places that see its phase.

The gradients are the same kind of sum.  Pixel u of phase a is seen by window u - o for each of that
phase's places:

    dL/dx[u s + a, c] = Σ_i w[i, c] G[u - o, c]            G = dL/dy, with zeros around it
    dL/dw[i, c]       = Σ_p G[p, c] x[(p + o) s + a, c]

(one axis written).  The first is a convolution of G with the kernel turned round, phase by phase.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ....typing import Array
from ...portable.residuals import Residuals
from ...portable.window import Window
from ..layout import FLOATS, channels_second, contiguous_channels_last, overlapping
from ..memory import empty, zeros
from .tiles import sum_of_rows

# Bytes of padded images that are worked on at once.  A call of einsum costs as much as some ten
# thousand numbers: the weight's gradient of 16 images of 8x8, 256 channels, took 0.48 ms in blocks
# of 4, 0.38 at once.
BLOCK_BYTES = 2**21


class Depthwise(Residuals):
    """What `forward` keeps."""

    __slots__ = ()


def is_depthwise(x: Array, weight: Array, groups: int) -> bool:
    """Whether every channel is convolved with one kernel of its own."""
    return x.dtype in FLOATS and x.size > 0 and groups == len(weight) > 1 and weight.shape[1] == 1


class Phase(NamedTuple):
    """Along one axis: the places of a window that see the pixels a, a + s, a + 2s, ..., and these.

    The pixels are numbered 0, 1, 2, ...; the padding's too.
    """

    places: range  # of the window
    offset: int  # which pixel the first place of window 0 sees
    apart: int  # how many further on the next place sees
    image: slice  # of the image's own pixels, those in this phase
    at: int  # what number the first of them has
    pixels: int  # how many they are

    @property
    def last(self) -> int:
        """The pixel that the last place of window 0 sees."""
        return self.offset + self.apart * (len(self.places) - 1)


def phases(kernel: int, stride: int, before: int, dilation: int, length: int) -> list[Phase]:
    """The phases of an axis that windows see; `before`: of the padding, what comes first."""
    found = []
    for a in range(stride):
        seen = [i for i in range(kernel) if i * dilation % stride == a]
        if not seen:
            continue
        step = seen[1] - seen[0] if len(seen) > 1 else 1
        at = max(0, -((a - before) // stride))
        image = slice(a + at * stride - before, None, stride)
        found.append(
            Phase(
                range(seen[0], seen[-1] + 1, step),
                seen[0] * dilation // stride,
                step * dilation // stride,
                image,
                at,
                len(range(length)[image]),
            )
        )
    return found


class _Images:
    """One convolution's shapes, for blocks of images (n, h, w, C), of so many bytes in all."""

    def __init__(
        self, shape: tuple[int, ...], window: Window, itemsize: int, block_bytes: int
    ) -> None:
        n, c, h, w = shape
        (kh, kw), (sh, sw), ((top, _), (left, _)), (dh, dw) = window
        self.size, self.channels, self.out = (h, w), c, window.counts((h, w))
        self.phases = [
            (down, across)
            for down in phases(kh, sh, top, dh, h)
            for across in phases(kw, sw, left, dw, w)
        ]
        padded = window.padded(self.size)
        self.block = max(1, min(n, block_bytes // (padded[0] * padded[1] * c * itemsize)))
        self.blocks = [slice(k, min(n, k + self.block)) for k in range(0, n, self.block)]

    def images(self, dtype: Any) -> list[Array]:
        """For each phase, zeros for the pixels that windows see."""
        (oh, ow), c = self.out, self.channels
        return [
            zeros((self.block, oh + down.last, ow + across.last, c), dtype)
            for down, across in self.phases
        ]

    def deal(self, images: Array, to: list[Array]) -> list[Array]:
        """Lay a block of images out into their phases; returns those, of as many images."""
        for (down, across), pixels in zip(self.phases, to, strict=True):
            own = images[:, down.image, across.image]
            room = pixels[: len(images), down.at :, across.at :]
            h, w = min(own.shape[1], room.shape[1]), min(own.shape[2], room.shape[2])
            room[:, :h, :w] = own[:, :h, :w]
        return [pixels[: len(images)] for pixels in to]

    def gradients(self, dtype: Any) -> tuple[Array, tuple[int, int]]:
        """Zeros for gradients of the result (block, rows, columns, C), with room for all windows
        that a pixel could lie in; and where in them the result's begin."""
        axes = []
        for axis in range(2):
            own = [phase[axis] for phase in self.phases]
            begin = max(max(0, phase.last - phase.at) for phase in own)
            end = max(phase.at + phase.pixels - phase.offset for phase in own)
            axes.append((begin, begin + max(end, self.out[axis])))
        (top, rows), (left, columns) = axes
        return zeros((self.block, rows, columns, self.channels), dtype), (top, left)


_layout = lru_cache(maxsize=256)(_Images)  # making one takes as long as convolving a small image


def _repeated(weight: Array, down: Phase, across: Phase, width: int, turned: bool) -> Array:
    """A phase's part of the kernel (C, 1, kh, kw), for a row of so many windows:
    (places down, places across, width C); the places in the other order where `turned`."""
    order = -1 if turned else 1
    rows, columns = (slice(p.start, p.stop, p.step) for p in (down.places, across.places))
    part = weight[:, 0, rows, columns][:, ::order, ::order].transpose(1, 2, 0)
    repeated = empty((*part.shape[:2], width, len(weight)), weight.dtype)
    repeated[...] = part[:, :, None]
    return repeated.reshape(*part.shape[:2], -1)


def _seen(images: Array, start: tuple[int, int], apart: tuple[int, int], shape: Any) -> Array:
    """The view [n, p, i, j, (q, c)] = images[n, start + p + i apart, start + q + j apart, c].

    images: contiguous.  shape: (windows down, windows across, places down, places across).
    """
    oh, ow, kh, kw = shape
    item, row, column, channel = images.strides
    return overlapping(
        images,
        (len(images), oh, kh, kw, ow * images.shape[3]),
        (item, row, row * apart[0], column * apart[1], channel),
        start[0] * row + start[1] * column,
    )


def forward(
    kernels: Any, x: Array, weight: Array, bias: Array | None, window: Window
) -> tuple[Array, Residuals]:
    """x (N, C, H, W), weight (C, 1, kh, kw), bias (C,) or None -> y (N, C, oh, ow), kept."""
    images = contiguous_channels_last(x)
    layout = _layout(x.shape, window, x.itemsize, BLOCK_BYTES)
    (oh, ow), c = layout.out, layout.channels
    y = empty((len(x), oh, ow, c), x.dtype)
    rows = y.reshape(len(x), oh, ow * c)
    scratch = layout.images(x.dtype)
    parts = [_repeated(weight, *phase, ow, False) for phase in layout.phases]
    for block in layout.blocks:
        dealt = layout.deal(images[block], scratch)
        for k, ((down, across), kernel) in enumerate(zip(layout.phases, parts, strict=True)):
            start, apart = (down.offset, across.offset), (down.apart, across.apart)
            seen = _seen(dealt[k], start, apart, (oh, ow, *kernel.shape[:2]))
            if k == 0:
                np.einsum("npijq,ijq->npq", seen, kernel, out=rows[block])
            else:
                rows[block] += np.einsum("npijq,ijq->npq", seen, kernel)
        if bias is not None:
            y[block] += bias
    return channels_second(y), Depthwise((images, weight, window))


def backward(
    kernels: Any, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
) -> tuple[Array | None, Array | None, Array | None]:
    """The gradients of x, weight and bias that are needed; None for the others."""
    images, weight, window = residuals
    n, h, w, c = images.shape
    d = contiguous_channels_last(gy)
    gx = transposed(channels_second(d), weight, (n, c, h, w), window) if needs[0] else None
    gw = _weight_gradient(images, d, weight, window) if needs[1] else None
    gb = sum_of_rows(kernels, d.reshape(-1, c)) if needs[2] else None
    return gx, gw, gb


def transposed(gy: Array, weight: Array, shape: tuple[int, ...], window: Window) -> Array:
    """The input gradient alone: gy (N, C, oh, ow) -> `shape`."""
    d = contiguous_channels_last(gy)
    layout = _layout(shape, window, d.itemsize, BLOCK_BYTES)
    n, c, h, w = shape
    whole = window.stride == (1, 1)  # then the only phase is the image, and it is written at once
    gx = empty((n, h, w, c), d.dtype) if whole else zeros((n, h, w, c), d.dtype)
    scratch, (top, left) = layout.gradients(d.dtype)
    inside = scratch[:, top : top + layout.out[0], left : left + layout.out[1]]
    turned = [
        _repeated(weight, down, across, across.pixels, True) for down, across in layout.phases
    ]
    for block in layout.blocks:
        m = block.stop - block.start
        inside[:m] = d[block]
        for (down, across), kernel in zip(layout.phases, turned, strict=True):
            if down.pixels == 0 or across.pixels == 0:
                continue
            start = top + down.at - down.last, left + across.at - across.last
            size = (down.pixels, across.pixels, *kernel.shape[:2])
            seen = _seen(scratch[:m], start, (down.apart, across.apart), size)
            out = gx[block].reshape(m, h, w * c) if whole else None
            part = np.einsum("npijq,ijq->npq", seen, kernel, out=out)
            if not whole:
                target = gx[block, down.image, across.image]
                target[...] = part.reshape(target.shape)
    return channels_second(gx)


def _weight_gradient(images: Array, d: Array, weight: Array, window: Window) -> Array:
    """(C, 1, kh, kw), from images (N, H, W, C) and d (N, oh, ow, C)."""
    n, h, w, c = images.shape
    layout = _layout((n, c, h, w), window, d.itemsize, BLOCK_BYTES)
    oh, ow = layout.out
    scratch = layout.images(d.dtype)
    rows = d.reshape(n, oh, ow * c)
    total = np.zeros((*window.kernel, ow * c), d.dtype)
    for block in layout.blocks:
        dealt = layout.deal(images[block], scratch)
        for (down, across), pixels in zip(layout.phases, dealt, strict=True):
            for k, i in enumerate(down.places):
                for m, j in enumerate(across.places):
                    start = down.offset + k * down.apart, across.offset + m * across.apart
                    seen = _seen(pixels, start, (0, 0), (oh, ow, 1, 1))[:, :, 0, 0]
                    total[i, j] += np.einsum("npq,npq->q", rows[block], seen)
    gw = np.add.reduce(total.reshape(*window.kernel, ow, c), axis=2)
    return np.ascontiguousarray(gw.transpose(2, 0, 1)).reshape(weight.shape)

"""Convolution on NumPy: channels last, a few images at a time, one matrix product a kernel row.

Copying every window (im2col) writes kh kw times the image.  Here only the windows along a *row*
are laid out, kw times the image; the kernel's rows are then `kh` products of the same array,
shifted by whole rows:

    rows[u, (n, q), (j, c)] = padded[n, u, q sw + j dw, c]
    y[p, (n, q), o]         = Σ_i rows[p sh + i dh, (n, q), :] · w[i, :, o]

Rows above and below the image are zeros: they are not laid out, and their products left out.

The blocks of images are small enough to stay in the cache, and bound the memory.  Images are
(N, H, W, C) in memory; outside they are views of shape (N, C, H, W), so that the next layer need
not copy them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ....typing import Array
from ...portable.convolution.conv import ConvKernels
from ...portable.residuals import Residuals
from ...portable.window import Depth, Pair, Window, pad
from .. import thresholds
from ..layout import (
    channels_second,
    contiguous,
    contiguous_channels_last,
    overlapping,
    pixels,
)
from ..memory import copied, empty, empty_like, zeros
from . import columns, depthwise, pieces, tiles

BLOCK_BYTES = 3 * 2**20  # scratch arrays of a block of images: about what a core's cache holds


class Lowered:
    """One convolution's shapes and scratch arrays: images to rows, rows to products and back.

    Its result is kept as y (G, P, a, b, n, Q, O/G) with window row p = P ph + a and column
    q = Q pw + b: the a x b places of a pooling window (ph, pw) lie apart, each of them as one long
    run.  Without pooling ph = pw = 1.
    """

    def __init__(
        self,
        images: tuple[int, ...],
        outputs: int,
        window: Window,
        groups: int,
        dtype: Any,
        pool: Pair = (1, 1),
    ) -> None:
        n, h, w, c = images
        kh, kw = window.kernel
        self.dtype, self.groups, self.pool, self.window = dtype, groups, pool, window
        self.channels, self.outputs = c // groups, outputs // groups
        self.size = window.counts((h, w))
        self.pooled = (self.size[0] // pool[0], self.size[1] // pool[1])
        self.covered = (self.pooled[0] * pool[0], self.pooled[1] * pool[1])  # by pooling windows
        self.inside = window.inside((h, w))
        self.padded_size = window.padded((h, w))
        self.whole = kw * self.channels < thresholds.CONV_ROW  # then all of a window is laid out
        each = self.padded_size[0] * self.padded_size[1] * c + self.covered[0] * self.covered[1] * (
            2 * outputs + c * kw * (kh if self.whole else 1)
        )
        self.block = int(max(1, min(16, n, BLOCK_BYTES // (each * np.dtype(dtype).itemsize))))
        bordered = (self.block, *self.padded_size, c)
        self.padded = zeros(bordered, dtype) if window.pads else None
        lines = kh * self.covered[0] if self.whole else h
        self._rows = empty((lines * self.block * self.covered[1] * kw * c,), dtype)

    def blocks(self, n: int) -> list[slice]:
        """Slices of range(n), each a block of images."""
        return [slice(k, min(n, k + self.block)) for k in range(0, n, self.block)]

    def result_shape(self, n: int) -> tuple[int, ...]:
        """The shape of y for n images."""
        (ph, pw), (h, w) = self.pool, self.pooled
        return (self.groups, h, ph, pw, n, w, self.outputs)

    def per_channel(self, values: Array) -> Array:
        """Values (O,) in a shape that broadcasts with y."""
        return values.reshape(self.groups, 1, 1, 1, 1, 1, self.outputs)

    def pack(self, weight: Array) -> Array:
        """(O, C/G, kh, kw) -> (products, G, row, O/G): what rows are multiplied by."""
        kh, kw = self.window.kernel
        w = weight.reshape(self.groups, self.outputs, self.channels, kh, kw)
        w = w.transpose(3, 0, 4, 2, 1)  # (kh, G, kw, C/G, O/G)
        if self.whole:
            w = w.transpose(1, 0, 2, 3, 4)[None]  # (1, G, kh, kw, C/G, O/G)
        return np.ascontiguousarray(w).reshape(w.shape[0], self.groups, -1, self.outputs)

    def unpack(self, packed: Array) -> Array:
        """The inverse of `pack`."""
        kh, kw = self.window.kernel
        w = packed.reshape(-1, self.groups, kh // len(packed), kw, self.channels, self.outputs)
        w = w.transpose(1, 5, 4, 0, 2, 3)  # (G, O/G, C/G, products, kh/products, kw)
        return w.reshape(self.groups * self.outputs, self.channels, kh, kw)

    def interior(self, n: int) -> Array:
        """Where `load` puts n images in the padded scratch array: for a caller that fills it."""
        assert self.padded is not None
        return self.padded[:n, self.inside[0], self.inside[1]]

    def load(self, images: Array | None, n: int) -> None:
        """Lay out the rows of n images (n, H, W, C); None: they are in `interior` already."""
        if self.padded is None:
            image = np.ascontiguousarray(images)
        else:
            image = self.padded[:n]
            if images is not None:
                self.interior(n)[...] = images
        g, c = self.groups, self.channels
        kernel, (sh, sw), _, (dh, dw) = self.window
        pw, w = self.pool[1], self.pooled[1]
        item, row, column, channel = image.strides
        start = 0
        shape: tuple[int, ...]
        strides: tuple[int, ...]
        if self.whole:  # (G, i, j, c, oh, b, n, Q)
            shape = (g, *kernel, c, self.covered[0], pw, n, w)
            strides = (
                c * channel, row * dh, column * dw, channel,
                row * sh, column * sw, item, column * sw * pw,
            )  # fmt: skip
        else:  # (G, line, b, n, Q, j, c)
            lines = self.inside[0]
            start = row * lines.start
            shape = (g, lines.stop - lines.start, pw, n, w, kernel[1], c)
            strides = (
                c * channel, row, column * sw, item, column * sw * pw, column * dw, channel,
            )  # fmt: skip
            if g == dw == 1:  # a window's row is one run of numbers
                shape, strides = (*shape[:-2], kernel[1] * c), (*strides[:-2], image.itemsize)
        self.rows = self._rows[: int(np.prod(shape))].reshape(shape)
        windows = overlapping(image, shape, strides, start)
        if self.whole:
            np.copyto(self.rows, windows)
        else:
            np.copyto(pixels(self.rows), pixels(windows))

    def operands(self) -> list[tuple[int, slice, Array]]:
        """The products: which of pack's, for which rows of windows, and what it multiplies,
        (G, rows, b n Q, row).  The first is for all rows, if any is."""
        if self.whole:
            k = self.window.places * self.channels
            rows = self.rows.reshape(self.groups, k, -1).swapaxes(1, 2)
            return [(0, slice(0, self.covered[0]), rows[:, None])]
        (kh, kw), (sh, _), ((top, _), _), (dh, _) = self.window
        h = self.rows.shape[1]
        laid_out = self.rows.reshape(self.groups, h, -1, kw * self.channels)
        found = []
        for i in range(kh):
            before = top - i * dh  # lines that window row 0 lacks
            first = max(0, -(-before // sh))
            end = min(self.covered[0], -(-(before + h) // sh))
            if first < end:
                line = first * sh - before
                lines = laid_out[:, line : line + sh * (end - first - 1) + 1 : sh]
                found.append((i, slice(first, end), _joined(lines) if sh == 1 else lines))
        return sorted(found, key=lambda operand: operand[1].start - operand[1].stop)

    def product(self, packed: Array, out: Array, scratch: Array) -> None:
        """out = the convolution of the loaded images; both arrays have `result_shape`.

        One product needs no scratch: then `scratch` may be `out`.
        """
        covered = self.covered[0]
        out, scratch = (a.reshape(self.groups, covered, -1, self.outputs) for a in (out, scratch))
        operands = self.operands()
        if not operands or operands[0][1] != slice(0, covered):
            out[...] = 0  # rows of windows that see nothing but padding
        for k, (i, rows, a) in enumerate(operands):
            target = (out if k == 0 else scratch)[:, rows]
            b = packed[i][:, None]
            pieces.product(a, b, _joined(target) if a.shape[1] == 1 else target)
            if k > 0:
                np.add(out[:, rows], target, out=out[:, rows])

    def add_weight_gradient(self, d: Array, total: Array) -> None:
        """total (as packed) += the gradient through d, the gradient of `product`'s result."""
        d = d.reshape(self.groups, self.covered[0], -1, self.outputs)
        for i, rows, a in self.operands():
            g = d[:, rows]
            total[i] += pieces.transposed_product(a, _joined(g) if a.shape[1] == 1 else g)

    def add_input_gradient(self, d: Array, packed: Array, n: int, out: Array) -> None:
        """out (n, *padded size, C) += what d says about the padded images: col2im, row by row."""
        (kh, kw), (sh, sw), _, (dh, dw) = self.window
        oh, ow = self.covered
        pw, w = self.pool[1], self.pooled[1]
        g = d.reshape(self.groups, oh * pw * n * w, self.outputs)
        for i in range(kh):
            weight = packed[0] if self.whole else packed[i]  # (G, row, O/G)
            if self.whole:
                length = kw * self.channels
                weight = weight[:, i * length : (i + 1) * length]
            turned = np.ascontiguousarray(weight.swapaxes(1, 2))
            cols = empty((*g.shape[:2], weight.shape[1]), d.dtype)
            pieces.product(g, turned, cols)  # (G, oh b n Q, kw C/G)
            cols = cols.reshape(self.groups, oh, pw, n, w, kw, self.channels)
            for j in range(kw):
                target = out[
                    :,
                    i * dh : i * dh + sh * (oh - 1) + 1 : sh,
                    j * dw : j * dw + sw * (ow - 1) + 1 : sw,
                ]
                target = target.reshape(n, oh, w, pw, self.groups, self.channels)
                assert np.may_share_memory(target, out)
                target += cols[..., j, :].transpose(3, 1, 4, 2, 0, 5)


def _joined(rows: Array) -> Array:
    """(G, rows, pixels, k) -> (G, 1, rows pixels, k), a view: one product instead of many."""
    g, count, pixels, k = rows.shape
    return rows.reshape((g, 1, count * pixels, k), copy=False)


def transposed(
    lowered: Lowered, weight: Array, images: tuple[int, ...]
) -> tuple[Lowered, Array] | None:
    """The convolution that computes the input gradient: with the rotated kernel, from the
    gradient of the output, padded to all windows a pixel lies in (`nnx.ops.windows.conv.Conv2d`).

    None where there is a stride, or more padding than that: then `add_input_gradient` does it.
    """
    window = lowered.window.turned()
    if window is None:
        return None
    n, _, _, c = images
    pixels = (n, *lowered.size, lowered.outputs * lowered.groups)
    back = Lowered(pixels, c, window, lowered.groups, lowered.dtype)
    assert back.size == images[1:3]
    return back, back.pack(columns.turned_kernel(weight, lowered.groups))


class NumpyConv(ConvKernels):
    def in_parts(self, run: Callable[..., None], count: int, *args: Any) -> None:
        """Run a function of (lo, hi, *args) so that all of range(count) is done; here at once, as
        the BLAS that it calls has threads of its own."""
        run(0, count, *args)

    def im2col(self, x: Array, window: Window) -> Array:
        n, c, h, w = x.shape
        oh, ow = window.counts((h, w))
        image = contiguous(pad(np, x, window))
        item, channel, row, column = image.strides
        (kh, kw), (sh, sw), _, (dh, dw) = window
        strides = (item, channel, row * dh, column * dw, row * sh, column * sw)
        windows = overlapping(image, (n, c, kh, kw, oh, ow), strides)
        cols = empty((n, c * kh * kw, oh * ow), x.dtype)
        cols.reshape(windows.shape)[...] = windows  # copied also where a window is one pixel
        return cols

    def volume_slices(self, x: Array, depth: Depth, groups: int) -> Array:
        volumes = contiguous_channels_last(x)  # (N, D, H, W, C)
        n, d, h, w, c = volumes.shape
        windows, kd = depth.count(d), depth.kernel
        seen = pixels(volumes.reshape(n, d, h * w, groups, c // groups))
        s = empty((n, windows, h * w, groups, kd, c // groups), x.dtype)
        for i, (own, slices) in enumerate(depth.seen(d)):
            part = s[..., i, :]
            part[:, : own.start] = 0
            part[:, own.stop :] = 0
            pixels(part)[:, own] = seen[:, slices]
        return channels_second(s.reshape(n * windows, h, w, c * kd))

    def volume_from_slices(
        self, s: Array, shape: tuple[int, ...], depth: Depth, groups: int
    ) -> Array:
        n, c, d, h, w = shape
        s = contiguous_channels_last(s)  # (N od, H, W, C kd)
        s = s.reshape(n, depth.count(d), h * w, groups, depth.kernel, c // groups)
        volumes = zeros((n, d, h * w, groups, c // groups), s.dtype)
        for i, (own, slices) in enumerate(depth.seen(d)):
            copies = s[:, own, ..., i, :]
            if depth.apart:
                pixels(volumes)[:, slices] = pixels(copies)
            else:
                volumes[:, slices] += copies
        return channels_second(volumes.reshape(n, d, h, w, c))

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None, window: Window, groups: int
    ) -> tuple[Array, Residuals]:
        if depthwise.is_depthwise(x, weight, groups):
            return depthwise.forward(self, x, weight, bias, window)
        if tiles.are_apart(x, window, groups):
            return tiles.forward(self, x, weight, bias, window)
        if columns.are_small(x, weight, window, groups):
            return columns.forward(self, x, weight, bias, window, groups)
        images = contiguous_channels_last(x)
        lowered = Lowered(images.shape, len(weight), window, groups, x.dtype)
        packed = lowered.pack(weight)
        n, o = len(images), len(weight)
        y = empty((n, *lowered.size, o), x.dtype)
        convolve(lowered, packed, images, y, bias)
        residuals = Residuals((images, weight, window, groups))
        return channels_second(y), residuals

    def conv2d_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if isinstance(residuals, depthwise.Depthwise):
            return depthwise.backward(self, gy, residuals, needs)
        if isinstance(residuals, tiles.Tiles):
            return tiles.backward(self, gy, residuals, needs)
        if isinstance(residuals, columns.Columns):
            return columns.backward(self, gy, residuals, needs)
        images, weight, window, groups = residuals
        d = contiguous_channels_last(gy)
        gx = gw = gb = None
        lowered = Lowered(images.shape, len(weight), window, groups, gy.dtype)
        if needs[0]:
            gx = channels_second(input_gradient(lowered, d, weight, images.shape))
        if needs[1]:
            gw = weight_gradient(lowered, d, images)
        if needs[2]:
            gb = tiles.sum_of_rows(self, d.reshape(-1, d.shape[3]))
        return gx, gw, gb

    def conv_transpose2d(
        self,
        x: Array,
        weight: Array,
        shape: tuple[int, ...],
        window: Window,
        groups: int,
    ) -> Array:
        if depthwise.is_depthwise(x, weight, groups):
            return depthwise.transposed(x, weight, shape, window)
        if tiles.are_apart(x, window, groups):
            return tiles.transposed(self, x, weight, shape, window)
        if groups > 1 and columns.are_small(x, weight, window, groups):
            return columns.transposed(self, x, weight, shape, window, groups)
        n, c, h, w = shape
        images = (n, h, w, c)
        lowered = Lowered(images, len(weight), window, groups, x.dtype)
        return channels_second(input_gradient(lowered, contiguous_channels_last(x), weight, images))


def convolve(
    lowered: Lowered, packed: Array, images: Array, y: Array, bias: Array | None = None
) -> None:
    """y (N, oh, ow, O) = the convolution of images (N, H, W, C), plus the bias."""
    if bias is not None:
        bias = lowered.per_channel(bias)
    out = empty(lowered.result_shape(lowered.block), y.dtype)
    scratch = empty_like(out) if len(packed) > 1 else out
    for block in lowered.blocks(len(images)):
        m = block.stop - block.start
        if m < lowered.block:
            out, scratch = (empty(lowered.result_shape(m), y.dtype) for _ in range(2))
        lowered.load(images[block], m)
        lowered.product(packed, out, scratch)
        if bias is not None:
            np.add(out, bias, out=out)
        # (G, oh, 1, 1, n, ow, O/G) -> (n, oh, ow, G, O/G)
        target = y[block].reshape((m, *lowered.size, lowered.groups, -1), copy=False)
        pixels(target)[...] = pixels(out[:, :, 0, 0].transpose(2, 1, 3, 0, 4))


def weight_gradient(lowered: Lowered, d: Array, images: Array) -> Array:
    """The gradient of the weight (O, C/G, kh, kw) from d (N, oh, ow, O) and images (N, H, W, C)."""
    total = np.zeros_like(
        lowered.pack(
            np.empty(
                (lowered.groups * lowered.outputs, lowered.channels, *lowered.window.kernel),
                d.dtype,
            )
        )
    )
    oh, ow = lowered.size
    for block in lowered.blocks(len(images)):
        m = block.stop - block.start
        lowered.load(images[block], m)
        part = d[block].reshape(m, oh, ow, lowered.groups, lowered.outputs)
        part = copied(part.transpose(3, 1, 0, 2, 4))  # (G, oh, n, ow, O/G)
        lowered.add_weight_gradient(part, total)
    return lowered.unpack(total)


def input_gradient(lowered: Lowered, d: Array, weight: Array, images: tuple[int, ...]) -> Array:
    """The gradient of the images (N, H, W, C) from d (N, oh, ow, O)."""
    gx = empty(images, d.dtype)
    back = transposed(lowered, weight, images)
    if back is not None:
        convolve(*back, d, gx)
        return gx
    packed = lowered.pack(weight)
    oh, ow = lowered.size
    for block in lowered.blocks(len(d)):
        m = block.stop - block.start
        padded = zeros((m, *lowered.padded_size, images[3]), d.dtype)
        part = d[block].reshape(m, oh, ow, lowered.groups, lowered.outputs)
        part = copied(part.transpose(3, 1, 0, 2, 4))  # (G, oh, n, ow, O/G)
        lowered.add_input_gradient(part, packed, m, padded)
        gx[block] = padded[:, lowered.inside[0], lowered.inside[1]]
    return gx

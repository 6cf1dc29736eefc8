"""Convolution as a matrix product: im2col, col2im, and the operations built on them."""

from __future__ import annotations

from typing import Any

from ....typing import Array
from ..residuals import Residuals
from ..window import Depth, Window, pad, padded_zeros

# im2col holds no more than this at once; larger batches are done in chunks of images.
COLUMN_BYTES = 64 * 2**20


class ConvKernels:
    """The derivations are in `nnx.ops.windows.conv`.

    Weights are (O, C/groups, kh, kw), images (N, C, H, W).
    """

    xp: Any

    def im2col(self, x: Array, window: Window) -> Array:
        """Lay out every window of an image as a column: x (N, C, H, W) -> (N, C*kh*kw, oh*ow).

        Row (c, i, j) of the result is what place (i, j) of the window sees in channel c.
        """
        n, c, h, w = x.shape
        out = window.counts((h, w))
        image = pad(self.xp, x, window)
        columns = self.xp.stack([image[tap] for tap in window.taps(out)], axis=2)
        return self.xp.reshape(columns, (n, c * window.places, out[0] * out[1]))

    def col2im(self, cols: Array, shape: tuple[int, ...], window: Window) -> Array:
        """Add every column back where `im2col`, with the same window, read it: its transpose.

        cols (N, C*kh*kw, oh*ow), shape of the image (N, C, H, W) -> (N, C, H, W)
        """
        xp = self.xp
        n, c, h, w = shape
        out = window.counts((h, w))
        cols = xp.reshape(cols, (n, c, window.places, *out))
        image = padded_zeros(xp, cols, shape, window)
        for k, tap in enumerate(window.taps(out)):
            image[tap] += cols[:, :, k, :, :]
        return image[(..., *window.inside((h, w)))]

    def volume_slices(self, x: Array, depth: Depth, groups: int) -> Array:
        """What windows along a volume's first axis see, as images (`nnx.ops.windows.conv3d`).

            s[(n, p), (g, i, c), :, :] = x[n, (g, c), p s + i d, :, :]

        Args:
            x: (N, C, D, H, W).
            depth: the windows: kernel kd, stride s, padding (of zeros) and dilation d.
            groups: the channels are split into so many, whose places are kept apart.

        Returns:
            s (N od, C kd, H, W).
        """
        xp = self.xp
        n, c, d, h, w = x.shape
        windows, kd, each = depth.count(d), depth.kernel, c // groups
        s = xp.zeros((n, windows, groups, kd, each, h, w), dtype=x.dtype, device=x.device)
        for i, (own, slices) in enumerate(depth.seen(d)):
            seen = x[:, :, slices, :, :]
            seen = xp.reshape(seen, (n, groups, each, seen.shape[2], h, w))
            s[:, own, :, i, :, :, :] = xp.permute_dims(seen, (0, 3, 1, 2, 4, 5))
        return xp.reshape(s, (n * windows, c * kd, h, w))

    def volume_from_slices(
        self, s: Array, shape: tuple[int, ...], depth: Depth, groups: int
    ) -> Array:
        """The transpose of `volume_slices`: each slice gets the sum of what its copies have.

        Args:
            s: (N od, C kd, H, W).
            shape: of the result, (N, C, D, H, W).
            depth: the windows, as in `volume_slices`.
            groups: likewise.
        """
        xp = self.xp
        n, c, d, h, w = shape
        s = xp.reshape(s, (n, depth.count(d), groups, depth.kernel, c // groups, h, w))
        x = xp.zeros(shape, dtype=s.dtype, device=s.device)
        for i, (own, slices) in enumerate(depth.seen(d)):
            copies = xp.permute_dims(s[:, own, :, i, :, :, :], (0, 2, 3, 1, 4, 5))
            copies = xp.reshape(copies, (n, c, copies.shape[3], h, w))
            if depth.apart:
                x[:, :, slices, :, :] = copies
            else:
                x[:, :, slices, :, :] += copies
        return x

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None, window: Window, groups: int
    ) -> tuple[Array, Residuals]:
        """The convolution of images.

            y[n, o, p, q] = b[o] + Σ_c Σ_i Σ_j W[o, c, i, j] x[n, c, p sh + i dh, q sw + j dw]

        Args:
            x: (N, C, H, W).
            weight: W (O, C/groups, kh, kw).
            bias: b (O,), or None.
            window: kernel, stride (sh, sw), padding and dilation (dh, dw).
            groups: the channels are split into so many; output channel o sees those of its own
                group.

        Returns:
            y (N, O, oh, ow), and what `conv2d_backward` needs.
        """
        xp = self.xp
        n, c, h, w = x.shape
        o = weight.shape[0]
        oh, ow = window.counts((h, w))
        ckk = c // groups * window.places
        rows = xp.reshape(weight, (groups, o // groups, ckk))
        parts = []
        for images in chunks(n, c * window.places * oh * ow * itemsize(xp, x)):
            cols = self.im2col(x[images, ...], window)
            cols = xp.reshape(cols, (cols.shape[0], groups, ckk, oh * ow))
            # (G, O/G, C/G kh kw) x (n, G, C/G kh kw, oh ow) -> (n, G, O/G, oh ow)
            parts.append(xp.reshape(rows @ cols, (cols.shape[0], o, oh, ow)))
        y = parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)
        if bias is not None:
            y = y + xp.reshape(bias, (-1, 1, 1))
        return y, Residuals((x, weight, window, groups))

    def conv2d_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of x, weight and bias, in their shapes, that are needed; None for the
        others.

        Args:
            gy: the gradient of y (N, O, oh, ow).
            residuals: what `conv2d` kept.
            needs: which of the three are wanted.
        """
        x, weight, window, groups = residuals
        gx = gw = gb = None
        if needs[0]:
            gx = self.conv_transpose2d(gy, weight, tuple(x.shape), window, groups)
        if needs[1]:
            gw = self._conv2d_weight_gradient(gy, *residuals)
        if needs[2]:
            gb = self.xp.sum(gy, axis=(0, 2, 3))
        return gx, gw, gb

    def _conv2d_weight_gradient(
        self, gy: Array, x: Array, weight: Array, window: Window, groups: int
    ) -> Array:
        xp = self.xp
        n, o, oh, ow = gy.shape
        _, c, kh, kw = weight.shape
        g = xp.reshape(gy, (n, groups, o // groups, oh * ow))
        total = xp.zeros((1, groups, o // groups, c * kh * kw), dtype=x.dtype, device=x.device)
        for images in chunks(n, c * groups * kh * kw * oh * ow * itemsize(xp, x)):
            cols = self.im2col(x[images, ...], window)
            cols = xp.reshape(cols, (cols.shape[0], groups, c * kh * kw, oh * ow))
            # (n, G, O/G, oh ow) x (n, G, oh ow, C/G kh kw) -> (n, G, O/G, C/G kh kw)
            parts = g[images, ...] @ xp.matrix_transpose(cols)
            total = xp.sum(xp.concat([total, parts], axis=0), axis=0, keepdims=True)
        return xp.reshape(total, weight.shape)

    def conv_transpose2d(
        self,
        x: Array,
        weight: Array,
        shape: tuple[int, ...],
        window: Window,
        groups: int,
    ) -> Array:
        """The transpose of `conv2d` as a linear map of its image, so also its input gradient.

        x (N, O, oh, ow), weight (O, C/groups, kh, kw) and the `shape` (N, C, H, W) of the image
        that `conv2d` with this window turns into the shape of x -> (N, C, H, W)
        """
        xp = self.xp
        n, o, oh, ow = x.shape
        _, c, kh, kw = weight.shape
        columns = xp.matrix_transpose(xp.reshape(weight, (groups, o // groups, c * kh * kw)))
        parts = []
        for images in chunks(n, shape[1] * kh * kw * oh * ow * itemsize(xp, x)):
            m = x[images, ...].shape[0]
            g = xp.reshape(x[images, ...], (m, groups, o // groups, oh * ow))
            # (G, C/G kh kw, O/G) x (n, G, O/G, oh ow) -> (n, G, C/G kh kw, oh ow)
            cols = xp.reshape(columns @ g, (m, shape[1] * kh * kw, oh * ow))
            part = (m, *shape[1:])
            parts.append(self.col2im(cols, part, window))
        return parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)


def itemsize(xp: Any, x: Array) -> int:
    """Bytes of one element of a floating-point array."""
    return int(xp.finfo(x.dtype).bits) // 8


def chunks(n: int, bytes_each: int) -> list[slice]:
    """Slices of 0..n such that each holds no more than `COLUMN_BYTES` (but at least one image)."""
    step = max(1, COLUMN_BYTES // max(1, bytes_each))
    return [slice(k, min(n, k + step)) for k in range(0, max(n, 1), step)]

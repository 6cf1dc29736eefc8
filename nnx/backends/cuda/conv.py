"""Convolution in CUDA: columns by kernels (`kernels/conv_im2col.cu`), products by the library; few
channels, and small ones, by a product that gathers its columns (`kernels/conv_implicit.cu`).

A chunk of images becomes columns (C kh kw, n, oh ow), so that the chunk is *one* matrix product
with the weight, however many images it has; the next chunk reuses the memory.  Chunks are small
enough that the columns stay in the second-level cache between the kernel that writes them and
the product that reads them.  Products of two matrices take a transposed operand as it is, where
CuPy copies one in a batched product.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ...typing import Array
from ..portable.convolution.conv import ConvKernels
from ..portable.residuals import Residuals
from ..portable.window import Window
from .launcher import LARGEST_GRID, STORED, Kernel, Modules, Plan, ceil_div, launch, register
from .planes import by_plane

# Columns of one chunk.  Fewer would stay in the cache of an A100 (40 MB) or H100 (50 MB), but every
# further chunk is four to six launches more, of some microseconds each: about the time in which
# 64 MiB are written and read once.  To be settled by a measurement.
CHUNK_BYTES = 64 * 2**20

# A product that gathers its columns saves writing and reading them, 8 bytes each in float32, and
# two launches; cuBLAS multiplies about twice as fast as it does.  An H100 moves 3.3e12 bytes and
# does about 5e13 additions and products a second.  For one tap and pixel the columns take 2.4e-12
# s, and the slower product 4e-14 s more for each row, of which it computes 64 at once, used or not:
# so from a quarter of them on little is done in vain, and up to 48 it gains.  Two launches are
# 6e-6 s: as long as 1.5e8 additions and products.  Arithmetic, to be settled by a measurement.
GATHERED_ROWS = range(16, 49)
GATHERED_OPERATIONS = 150_000_000
TILE = 64  # rows, and columns, of a block of that product

IMPLICIT = (
    "n:i32 groups:i32 channels:i32 h:i32 w:i32 rows:i32 out_h:i32 out_w:i32 kh:i32 kw:i32 sh:i32 "
    "sw:i32 top:i32 left:i32 dh:i32 dw:i32"
)


def tiles(n: int, groups: int, rows: int, out_h: int, out_w: int) -> Plan:
    """One block for each tile of a group's rows and all images' pixels."""
    columns = ceil_div(n * out_h * out_w, TILE)
    return Plan((columns * ceil_div(rows, TILE) * groups,), (256,))


CONV_FORWARD = register(
    Kernel("conv_implicit.cu", "conv_forward", f"x:in weight:in bias:in? y:out {IMPLICIT}", tiles)
)
CONV_DATA = register(
    Kernel("conv_implicit.cu", "conv_data", f"gy:in weight:in gx:out {IMPLICIT}", tiles)
)

GEOMETRY = (
    "image_stride:i64 row_stride:i64 planes:i32 channels:i32 h:i32 w:i32 oh:i32 ow:i32 "
    "kh:i32 kw:i32 sh:i32 sw:i32 top:i32 left:i32 dh:i32 dw:i32"
)

IM2COL = register(
    Kernel(
        "conv_im2col.cu",
        "im2col",
        f"x:in cols:out {GEOMETRY}",
        lambda planes, oh, ow: by_plane(planes, oh * ow),
    )
)
COL2IM = register(
    Kernel(
        "conv_im2col.cu",
        "col2im",
        f"cols:in x:out {GEOMETRY}",
        lambda planes, h, w: by_plane(planes, h * w),
    )
)
SWAP_AXES = register(
    Kernel(
        "conv_im2col.cu",
        "swap_axes",
        "x:in bias:in? y:out first:i32 second:i32 length:i32",
        lambda first, second, length: by_plane(first * second, length),
    )
)


class CudaConv(ConvKernels):
    xp: Any
    modules: Modules
    product: Callable[..., Array]  # of `CudaBackend`

    def im2col(self, x: Array, window: Window) -> Array:
        if x.dtype not in STORED:
            return super().im2col(x, window)
        n, c, h, w = x.shape
        oh, ow = window.counts((h, w))
        rows, windows = c * window.places, oh * ow
        cols = self.xp.empty((n, rows, windows), dtype=x.dtype)
        geometry = _geometry(x.shape, window)
        strides = {"image_stride": rows * windows, "row_stride": windows}
        launch(IM2COL, self.modules, x=x, cols=cols, **strides, **geometry)
        return cols

    def col2im(self, cols: Array, shape: tuple[int, ...], window: Window) -> Array:
        if cols.dtype not in STORED:
            return super().col2im(cols, shape, window)
        x = self.xp.empty(shape, dtype=cols.dtype)
        _, rows, windows = cols.shape
        geometry = _geometry(shape, window)
        strides = {"image_stride": rows * windows, "row_stride": windows}
        launch(COL2IM, self.modules, cols=cols, x=x, **strides, **geometry)
        return x

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None, window: Window, groups: int
    ) -> tuple[Array, Residuals]:
        if x.dtype not in STORED:
            return super().conv2d(x, weight, bias, window, groups)
        n, _, h, w = x.shape
        out = window.counts((h, w))
        y = self.xp.empty((n, weight.shape[0], *out), dtype=x.dtype)
        if _gathers(weight.shape[0] // groups, math.prod(weight.shape[1:]), n, out, groups):
            numbers = _gathering(x.shape, y.shape, window, groups)
            launch(CONV_FORWARD, self.modules, x=x, weight=weight, bias=bias, y=y, **numbers)
            return y, Residuals((x, weight, window, groups))
        for images in _chunks(x.shape, window, x.dtype.itemsize):
            cols = self._columns(x[images], window)
            product = self._times(_rows(self.xp, weight, groups), cols)  # (O, n oh ow)
            self._swap(product, y[images], bias)
        return y, Residuals((x, weight, window, groups))

    def conv2d_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        x, weight, window, groups = residuals
        if x.dtype not in STORED:
            return super().conv2d_backward(gy, residuals, needs)
        xp = self.xp
        gx = xp.empty(x.shape, dtype=x.dtype) if needs[0] else None
        gw = None
        taps = weight.shape[0] // groups * window.places
        gathers = window.stride == (1, 1) and _gathers(
            x.shape[1] // groups, taps, x.shape[0], x.shape[2:], groups
        )
        if gx is not None and gathers:
            numbers = _gathering(gy.shape, x.shape, window, groups)
            launch(CONV_DATA, self.modules, gy=gy, weight=weight, gx=gx, **numbers)
        if needs[1]:
            rows = weight.shape[0] // groups, math.prod(weight.shape[1:])
            make = xp.empty if x.shape[0] else xp.zeros
            gw = make((groups, *rows), dtype=weight.dtype)
        if needs[1] or (needs[0] and not gathers):
            for k, images in enumerate(_chunks(x.shape, window, x.dtype.itemsize)):
                g = self._channels_first(gy[images])  # (O, n oh ow)
                if needs[1]:
                    # (G, O/G, n oh ow) x (G, n oh ow, C/G kh kw), each group a product of its own
                    self._add_transposed(g, self._columns(x[images], window), gw, first=k == 0)
                if gx is not None and not gathers:
                    self._spread(g, weight, gx[images], window, groups)
        if gw is not None:
            gw = xp.reshape(gw, weight.shape)
        return gx, gw, self._sums_of_channels(gy) if needs[2] else None

    def _sums_of_channels(self, gy: Array) -> Array:
        """gy (N, O, oh, ow) -> (O,); those of float16 are made in float32."""
        xp = self.xp
        if gy.dtype.itemsize > 2:
            return xp.sum(gy, axis=(0, 2, 3))
        return xp.astype(xp.sum(gy, axis=(0, 2, 3), dtype=xp.float32), gy.dtype)

    def conv_transpose2d(
        self,
        x: Array,
        weight: Array,
        shape: tuple[int, ...],
        window: Window,
        groups: int,
    ) -> Array:
        if x.dtype not in STORED:
            return super().conv_transpose2d(x, weight, shape, window, groups)
        image = self.xp.empty(shape, dtype=x.dtype)
        for images in _chunks(shape, window, x.dtype.itemsize):
            g = self._channels_first(x[images])
            self._spread(g, weight, image[images], window, groups)
        return image

    # ---- one chunk ----

    def _columns(self, x: Array, window: Window) -> Array:
        """x (n, C, H, W) -> (C kh kw, n oh ow)."""
        n, c, h, w = x.shape
        oh, ow = window.counts((h, w))
        length = n * oh * ow
        cols = self.xp.empty((c * window.places, length), dtype=x.dtype)
        strides = {"image_stride": oh * ow, "row_stride": length}
        launch(IM2COL, self.modules, x=x, cols=cols, **strides, **_geometry(x.shape, window))
        return cols

    def _spread(self, g: Array, weight: Array, image: Array, window: Window, groups: int) -> None:
        """image (n, C, H, W) = the columns W^T g (C kh kw, n oh ow), added up."""
        rows = self.xp.matrix_transpose(_rows(self.xp, weight, groups))  # (G, C/G kh kw, O/G)
        cols = self._times(rows, g)
        n, _, h, w = image.shape
        oh, ow = window.counts((h, w))
        strides = {"image_stride": oh * ow, "row_stride": n * oh * ow}
        numbers = _geometry(image.shape, window)
        launch(COL2IM, self.modules, cols=cols, x=image, **strides, **numbers)

    def _times(self, rows: Array, x: Array) -> Array:
        """(G, A, B) x (G B, L) -> (G A, L), group by group."""
        groups, a, b = rows.shape
        if groups == 1:
            return self.product(rows[0], x)
        return self.xp.reshape(
            self.product(rows, self.xp.reshape(x, (groups, b, -1))), (groups * a, -1)
        )

    def _add_transposed(self, g: Array, x: Array, gw: Array, first: bool) -> None:
        """gw (G, A, B) = or, but for the first chunk, += (G A, L) x (G B, L)^T."""
        xp, groups = self.xp, gw.shape[0]
        if groups == 1:
            self.product(g, xp.matrix_transpose(x), out=gw[0], add=not first)
            return
        g, x = (xp.reshape(a, (groups, a.shape[0] // groups, a.shape[1])) for a in (g, x))
        self.product(g, xp.matrix_transpose(x), out=gw, add=not first)

    def _channels_first(self, gy: Array) -> Array:
        """(n, O, oh, ow) -> (O, n oh ow)."""
        n, o, oh, ow = gy.shape
        g = self.xp.empty((o, n * oh * ow), dtype=gy.dtype)
        numbers = {"first": n, "second": o, "length": oh * ow}
        launch(SWAP_AXES, self.modules, x=gy, bias=None, y=g, **numbers)
        return g

    def _swap(self, product: Array, y: Array, bias: Array | None) -> None:
        """y (n, O, oh, ow) = product (O, n oh ow) + bias (O,)."""
        n, o, oh, ow = y.shape
        numbers = {"first": o, "second": n, "length": oh * ow}
        launch(SWAP_AXES, self.modules, x=product, bias=bias, y=y, **numbers)


def _rows(xp: Any, weight: Array, groups: int) -> Array:
    """weight (O, C/G, kh, kw) -> (G, O/G, C/G kh kw)."""
    o, c, kh, kw = weight.shape
    return xp.reshape(weight, (groups, o // groups, c * kh * kw))


def _gathers(rows: int, taps: int, n: int, out: tuple[int, ...], groups: int) -> bool:
    """Whether a product of (rows, taps) for each of `groups` with the columns of n images is to
    gather them."""
    computed = TILE * ceil_div(rows, TILE) * taps * n * math.prod(out) * groups
    blocks = ceil_div(n * math.prod(out), TILE) * groups * ceil_div(rows, TILE)
    few = rows in GATHERED_ROWS or computed <= GATHERED_OPERATIONS
    return few and blocks <= LARGEST_GRID[0]


def _gathering(
    image: tuple[int, ...], made: tuple[int, ...], window: Window, groups: int
) -> dict[str, int]:
    """The numbers of a product that gathers from one image what becomes another."""
    (kh, kw), (sh, sw), ((top, _), (left, _)), (dh, dw) = window
    numbers = {"n": made[0], "groups": groups, "channels": image[1] // groups}
    numbers |= {"h": image[2], "w": image[3], "rows": made[1] // groups}
    numbers |= {"out_h": made[2], "out_w": made[3], "kh": kh, "kw": kw, "sh": sh, "sw": sw}
    return numbers | {"top": top, "left": left, "dh": dh, "dw": dw}


def _chunks(shape: tuple[int, ...], window: Window, itemsize: int) -> list[slice]:
    """Slices of the images whose columns have at most `CHUNK_BYTES` (but at least one image)."""
    n, c, h, w = shape
    oh, ow = window.counts((h, w))
    each = c * window.places * oh * ow * itemsize
    step = max(1, CHUNK_BYTES // max(1, each))
    return [slice(k, min(n, k + step)) for k in range(0, n, step)]


def _geometry(shape: tuple[int, ...], window: Window) -> dict[str, int]:
    """The numbers that both kernels take, from the image's shape (N, C, H, W)."""
    n, c, h, w = shape
    oh, ow = window.counts((h, w))
    (kh, kw), (sh, sw), ((top, _), (left, _)), (dh, dw) = window
    return {
        "planes": n * c,
        "channels": c,
        "h": h,
        "w": w,
        "oh": oh,
        "ow": ow,
        "kh": kh,
        "kw": kw,
        "sh": sh,
        "sw": sw,
        "top": top,
        "left": left,
        "dh": dh,
        "dw": dw,
    }

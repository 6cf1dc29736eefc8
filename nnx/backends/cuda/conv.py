"""im2col and col2im in CUDA (`kernels/im2col.cu`)."""

from __future__ import annotations

from typing import Any

from ..launcher import REALS, Kernel, Modules, Plan, ceil_div, launch, register
from ..portable.conv import ConvKernels
from ..portable.windows import Padding, Pair, window_counts

Array = Any

GEOMETRY = (
    "planes:i32 h:i32 w:i32 oh:i32 ow:i32 kh:i32 kw:i32 "
    "sh:i32 sw:i32 top:i32 left:i32 dh:i32 dw:i32"
)


def per_plane(planes: int, size: int) -> Plan:
    """Blocks in x count planes; in y, pieces of a plane; a block is no larger than a plane."""
    block = min(256, 32 * ceil_div(size, 32))
    return Plan((planes, min(65535, ceil_div(size, max(block, 1)))), (max(block, 32),))


IM2COL = register(
    Kernel(
        "im2col.cu",
        "im2col",
        f"x:in cols:out {GEOMETRY}",
        lambda planes, oh, ow: per_plane(planes, oh * ow),
    )
)
COL2IM = register(
    Kernel(
        "im2col.cu",
        "col2im",
        f"cols:in x:out {GEOMETRY}",
        lambda planes, h, w: per_plane(planes, h * w),
    )
)


class CudaConv(ConvKernels):
    modules: Modules

    def im2col(
        self, x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
    ) -> Array:
        if x.dtype not in REALS:
            return super().im2col(x, kernel, stride, padding, dilation)
        numbers = _geometry(x.shape, kernel, stride, padding, dilation)
        n, c = x.shape[:2]
        shape = (n, c * kernel[0] * kernel[1], numbers["oh"] * numbers["ow"])
        cols = self.xp.empty(shape, dtype=x.dtype)
        launch(IM2COL, self.modules, x=x, cols=cols, **numbers)
        return cols

    def col2im(
        self,
        cols: Array,
        shape: tuple[int, ...],
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
    ) -> Array:
        if cols.dtype not in REALS:
            return super().col2im(cols, shape, kernel, stride, padding, dilation)
        x = self.xp.empty(shape, dtype=cols.dtype)
        numbers = _geometry(shape, kernel, stride, padding, dilation)
        launch(COL2IM, self.modules, cols=cols, x=x, **numbers)
        return x


def _geometry(
    shape: tuple[int, ...], kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> dict[str, int]:
    """The numbers that both kernels take, from the image's shape (N, C, H, W)."""
    n, c, h, w = shape
    oh, ow = window_counts((h, w), kernel, stride, padding, dilation)
    return {
        "planes": n * c,
        "h": h,
        "w": w,
        "oh": oh,
        "ow": ow,
        "kh": kernel[0],
        "kw": kernel[1],
        "sh": stride[0],
        "sw": stride[1],
        "top": padding[0][0],
        "left": padding[1][0],
        "dh": dilation[0],
        "dw": dilation[1],
    }

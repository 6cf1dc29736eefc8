"""Pooling in CUDA (`kernels/pool.cu`)."""

from __future__ import annotations

from ...typing import Array
from ..portable.pool import PoolKernels
from ..portable.window import Padding, Pair, Window
from .launcher import STORED, Kernel, Modules, ceil_div, launch, register
from .planes import by_plane

SIZES = "planes:i32 h:i32 w:i32 oh:i32 ow:i32 kh:i32 kw:i32 sh:i32 sw:i32 top:i32 left:i32"
DILATION = "dh:i32 dw:i32"
COUNTED = "counted_top:i32 counted_bottom:i32 counted_left:i32 counted_right:i32"

# By the bytes of a place in the window: uint8 where there are at most 256 places, else int32.
MAX_POOL = {
    size: register(
        Kernel(
            "pool.cu",
            f"max_pool_{place}",
            f"x:in y:out place:out:{place} {SIZES} {DILATION}",
            lambda planes, oh, ow: by_plane(planes, oh * ow),
        )
    )
    for size, place in ((1, "u8"), (4, "i32"))
}
MAX_POOL_BACKWARD = {
    size: register(
        Kernel(
            "pool.cu",
            f"max_pool_backward_{place}",
            f"gy:in place:in:{place} gx:out {SIZES} {DILATION}",
            lambda planes, h, w: by_plane(planes, h * w),
        )
    )
    for size, place in ((1, "u8"), (4, "i32"))
}
MAX_POOL_BACKWARD_APART = register(
    Kernel(
        "pool.cu",
        "max_pool_backward_apart",
        "gy:in place:in:u8 gx:out planes:i32 h:i32 w:i32 oh:i32 ow:i32 kw:i32 "
        "sh:i32 sw:i32 top:i32 left:i32 cells_down:i32 cells_across:i32",
        lambda planes, cells_down, cells_across: by_plane(planes, cells_down * cells_across),
    )
)
AVG_POOL = register(
    Kernel(
        "pool.cu",
        "avg_pool",
        f"x:in y:out {SIZES} {COUNTED}",
        lambda planes, oh, ow: by_plane(planes, oh * ow),
    )
)
AVG_POOL_BACKWARD = register(
    Kernel(
        "pool.cu",
        "avg_pool_backward",
        f"gy:in gx:out {SIZES} {COUNTED}",
        lambda planes, h, w: by_plane(planes, h * w),
    )
)

WINDOWS = "planes:i32 h:i32 w:i32 oh:i32 ow:i32"
ADAPTIVE_MAX, ADAPTIVE_AVG = (
    register(
        Kernel(
            "pool_adaptive.cu",
            name,
            f"x:in y:out {more} {WINDOWS}",
            lambda planes, oh, ow: by_plane(planes, oh * ow),
        )
    )
    for name, more in (("adaptive_max_pool", "at:out:i64"), ("adaptive_avg_pool", ""))
)
ADAPTIVE_MAX_BACKWARD, ADAPTIVE_AVG_BACKWARD = (
    register(
        Kernel(
            "pool_adaptive.cu",
            f"{name}_backward",
            f"gy:in {more} gx:out {WINDOWS}",
            lambda planes, h, w: by_plane(planes, h * w),
        )
    )
    for name, more in (("adaptive_max_pool", "at:in:i64"), ("adaptive_avg_pool", ""))
)


class CudaPool(PoolKernels):
    modules: Modules

    def max_pool2d(self, x: Array, window: Window) -> tuple[Array, Array]:
        if x.dtype not in STORED:
            return super().max_pool2d(x, window)
        xp = self.xp
        out = window.counts((x.shape[2], x.shape[3]))
        y = xp.empty((*x.shape[:2], *out), dtype=x.dtype)
        place = xp.empty(y.shape, dtype=xp.uint8 if window.places <= 256 else xp.int32)
        numbers = _sizes(x.shape, out, window)
        dh, dw = window.dilation
        launch(
            MAX_POOL[place.dtype.itemsize],
            self.modules,
            x=x,
            y=y,
            place=place,
            dh=dh,
            dw=dw,
            **numbers,
        )
        return y, place

    def max_pool2d_backward(
        self, gy: Array, argmax: Array, shape: tuple[int, ...], window: Window
    ) -> Array:
        if gy.dtype not in STORED:
            return super().max_pool2d_backward(gy, argmax, shape, window)
        gx = self.xp.empty(shape, dtype=gy.dtype)
        numbers = _sizes(shape, gy.shape[2:], window)
        (kh, kw), (sh, sw), ((top, _), (left, _)), dilation = window
        apart = sh >= kh and sw >= kw and dilation == (1, 1)
        if apart and argmax.dtype.itemsize == 1:
            del numbers["kh"]
            numbers["cells_down"] = ceil_div(shape[2] + top, sh)
            numbers["cells_across"] = ceil_div(shape[3] + left, sw)
            launch(MAX_POOL_BACKWARD_APART, self.modules, gy=gy, place=argmax, gx=gx, **numbers)
            return gx
        numbers["dh"], numbers["dw"] = dilation
        backward = MAX_POOL_BACKWARD[argmax.dtype.itemsize]
        launch(backward, self.modules, gy=gy, place=argmax, gx=gx, **numbers)
        return gx

    def avg_pool2d(self, x: Array, window: Window, counted: Padding) -> Array:
        if x.dtype not in STORED:
            return super().avg_pool2d(x, window, counted)
        out = window.counts((x.shape[2], x.shape[3]))
        y = self.xp.empty((*x.shape[:2], *out), dtype=x.dtype)
        numbers = _sizes(x.shape, out, window)
        launch(AVG_POOL, self.modules, x=x, y=y, **numbers, **_counted(counted))
        return y

    def avg_pool2d_backward(
        self, gy: Array, shape: tuple[int, ...], window: Window, counted: Padding
    ) -> Array:
        if gy.dtype not in STORED:
            return super().avg_pool2d_backward(gy, shape, window, counted)
        gx = self.xp.empty(shape, dtype=gy.dtype)
        numbers = _sizes(shape, gy.shape[2:], window)
        launch(AVG_POOL_BACKWARD, self.modules, gy=gy, gx=gx, **numbers, **_counted(counted))
        return gx

    # ---- as many windows as are asked for ----

    def adaptive_max_pool2d(self, x: Array, size: Pair) -> tuple[Array, Array]:
        if not _fit(x, x.shape, size):
            return super().adaptive_max_pool2d(x, size)
        y = self.xp.empty((*x.shape[:2], *size), dtype=x.dtype)
        at = self.xp.empty(y.shape, dtype=self.xp.int64)
        launch(ADAPTIVE_MAX, self.modules, x=x, y=y, at=at, **_windows(x.shape, size))
        return y, at

    def adaptive_max_pool2d_backward(
        self, gy: Array, chosen: Array, shape: tuple[int, ...]
    ) -> Array:
        if not _fit(gy, shape, gy.shape[2:]):
            return super().adaptive_max_pool2d_backward(gy, chosen, shape)
        gx = self.xp.empty(shape, dtype=gy.dtype)
        numbers = _windows(shape, gy.shape[2:])
        launch(ADAPTIVE_MAX_BACKWARD, self.modules, gy=gy, at=chosen, gx=gx, **numbers)
        return gx

    def adaptive_avg_pool2d(self, x: Array, size: Pair) -> Array:
        if not _fit(x, x.shape, size):
            return super().adaptive_avg_pool2d(x, size)
        y = self.xp.empty((*x.shape[:2], *size), dtype=x.dtype)
        launch(ADAPTIVE_AVG, self.modules, x=x, y=y, **_windows(x.shape, size))
        return y

    def adaptive_avg_pool2d_backward(self, gy: Array, shape: tuple[int, ...]) -> Array:
        if not _fit(gy, shape, gy.shape[2:]):
            return super().adaptive_avg_pool2d_backward(gy, shape)
        gx = self.xp.empty(shape, dtype=gy.dtype)
        launch(ADAPTIVE_AVG_BACKWARD, self.modules, gy=gy, gx=gx, **_windows(shape, gy.shape[2:]))
        return gx


def _sizes(shape: tuple[int, ...], out: Pair, window: Window) -> dict[str, int]:
    n, c, h, w = shape
    (kh, kw), (sh, sw), ((top, _), (left, _)), _ = window
    return {
        "planes": n * c,
        "h": h,
        "w": w,
        "oh": out[0],
        "ow": out[1],
        "kh": kh,
        "kw": kw,
        "sh": sh,
        "sw": sw,
        "top": top,
        "left": left,
    }


def _counted(counted: Padding) -> dict[str, int]:
    (top, bottom), (left, right) = counted
    return {
        "counted_top": top,
        "counted_bottom": bottom,
        "counted_left": left,
        "counted_right": right,
    }


def _fit(x: Array, shape: tuple[int, ...], size: Pair) -> bool:
    """Whether the kernels' arithmetic of windows stays within 32 bits."""
    longest = max((m + 1) * (length + 1) for m, length in zip(size, shape[2:], strict=True))
    return x.dtype in STORED and longest < 2**31


def _windows(shape: tuple[int, ...], size: Pair) -> dict[str, int]:
    n, c, h, w = shape
    return {"planes": n * c, "h": h, "w": w, "oh": size[0], "ow": size[1]}

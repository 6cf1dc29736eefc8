"""Convolution compiled by numba: products in registers, straight from the padded image.

The loops are in `conv_loops.py`, the product in `microkernel.py`; both are imported, and numba with
them, when a convolution is first computed.  This file lays out the weights and divides the batch
among the threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ....typing import Array
from ...cpu.convolution import columns, tiles
from ...cpu.convolution.conv import NumpyConv
from ...cpu.layout import FLOATS, channels_second, contiguous_channels_last
from ...cpu.memory import empty
from ...cpu.memory import zeros as kept_zeros
from ...portable.residuals import Residuals
from ...portable.window import Window
from ..codegen import threads
from . import depthwise
from .plan import plan, with_gradients

Plan = Any  # a record of `record.FIELDS`

# Numbers in each array: the square of a product's multiply-adds is the product of three sizes, so
# these are few enough for a BLAS to use one thread (`cpu.reduce.ONE_THREAD`) without being told to,
# which takes longer than so few numbers do.
FEW = 2**12


class JitConv(NumpyConv):
    def in_parts(self, run: Callable[..., None], count: int, *args: Any) -> None:
        if count == 1 and args and all([a is None or a.size <= FEW for a in args]):
            run(0, 1, *args)
            return
        with threads.one_blas_thread():
            threads.split(run, count, *args)

    def conv2d(
        self, x: Array, weight: Array, bias: Array | None, window: Window, groups: int
    ) -> tuple[Array, Residuals]:
        if depthwise.takes(x, weight, groups):
            return depthwise.forward(x, weight, bias, window)
        small = columns.are_small(x, weight, window, groups, few=False)
        if small or not is_compiled(x, weight, window, groups):
            return super().conv2d(x, weight, bias, window, groups)
        from . import conv_loops

        images = contiguous_channels_last(x)
        p = plan(images.shape, len(weight), window, groups, x.dtype.itemsize)
        y = empty((len(images), p.oh, p.ow, len(weight)), x.dtype)
        bias = np.empty(0, x.dtype) if bias is None else np.ascontiguousarray(bias)
        operands = (flat(images), flat(pack(weight, p)), bias, flat(y), p)
        threads.split(conv_loops.forward, len(images), *operands, least=int(p.least))
        return channels_second(y), Residuals((images, weight, window, groups))

    def conv2d_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if isinstance(residuals, depthwise.Depthwise):
            return depthwise.backward(self, gy, residuals, needs)
        if type(residuals) is not Residuals:
            return super().conv2d_backward(gy, residuals, needs)
        images, weight, window, groups = residuals
        if not fills_vectors(gy, weight, groups):
            return super().conv2d_backward(gy, residuals, needs)
        d = contiguous_channels_last(gy)
        gx = gw = gb = None
        if needs[0] or needs[1]:
            gx, gw = gradients(images, d, images.shape, weight, window, groups, needs[:2])
        if needs[2]:
            gb = tiles.sum_of_rows(self, d.reshape(-1, d.shape[3]))
        return None if gx is None else channels_second(gx), gw, gb

    def conv_transpose2d(
        self,
        x: Array,
        weight: Array,
        shape: tuple[int, ...],
        window: Window,
        groups: int,
    ) -> Array:
        if depthwise.takes(x, weight, groups):
            return depthwise.transposed(x, weight, shape, window)
        if not is_compiled(x, weight, window, groups):
            return super().conv_transpose2d(x, weight, shape, window, groups)
        n, c, h, w = shape
        d = contiguous_channels_last(x)
        gx, _ = gradients(d, d, (n, h, w, c), weight, window, groups, (True, False))
        return channels_second(gx)


def gradients(
    images: Array,
    d: Array,
    shape: tuple[int, ...],
    weight: Array,
    window: Window,
    groups: int,
    needs: tuple[bool, ...],
) -> tuple[Array | None, Array | None]:
    """The gradients of images (N, H, W, C) and weight from d (N, oh, ow, O)."""
    from . import conv_loops

    needs_x, needs_w = needs
    p = plan(shape, len(weight), window, groups, d.dtype.itemsize)
    p = with_gradients(p, needs_w, needs_x)
    bounds = parts(len(d), p)
    gx = empty(shape if needs_x else (0, 0, 0, 0), d.dtype)
    totals = new_totals(p, len(bounds) - 1 if needs_w else 0, d.dtype)
    packed = pack_backward(weight, p) if needs_x else np.empty(0, d.dtype)
    totals_of_parts = totals.reshape(len(totals), -1)
    operands = (bounds, flat(images), flat(d), flat(packed), totals_of_parts, flat(gx), p)
    threads.split(conv_loops.backward, len(bounds) - 1, *operands)
    return gx if needs_x else None, unpack(totals, p) if needs_w else None


def fills_vectors(x: Array, weight: Array, groups: int) -> bool:
    """Whether the compiled loops are made for this: not for other dtypes, nor for so many groups
    that most of a vector would be empty."""
    outputs = weight.shape[0] // groups
    return x.dtype in FLOATS and x.size > 0 and (groups == 1 or outputs >= 4)


def is_compiled(x: Array, weight: Array, window: Window, groups: int) -> bool:
    """Whether the compiled loops are the quicker way too: where windows do not overlap, and in
    small groups, whose columns are few, the products are BLAS's."""
    if tiles.are_apart(x, window, groups) or (
        groups > 1 and columns.are_small(x, weight, window, groups)
    ):
        return False
    return fills_vectors(x, weight, groups)


def flat(x: Array) -> Array:
    """The numbers of a contiguous array, in one row."""
    return x.reshape(-1)


def zeros(shape: tuple[int, ...], dtype: Any) -> Array:
    """Zeros that begin with a line of the cache (see `conv_loops.scratch`)."""
    count, line = math.prod(map(int, shape)), 64 // dtype.itemsize
    room = kept_zeros((count + line,), dtype)
    skip = -(room.ctypes.data // dtype.itemsize) % line
    return room[skip : skip + count].reshape(shape)


def parts(n: int, p: Plan) -> Array:
    """Where the parts of a batch of n images begin, and the end: (parts + 1,).

    Each part adds up its own weight gradient, and the parts' sums are added in the end.  They do
    not depend on the number of threads, so that the result does not either.
    """
    count = int(p.parts)
    return np.arange(count + 1) * n // max(1, count)


def pack(weight: Array, p: Plan) -> Array:
    """(O, C/G, kh, kw) -> `weights` of `conv_loops`."""
    packed = zeros((p.g, p.nob, p.kh, p.kw, p.cg, p.ob), weight.dtype)
    w = weight.reshape(p.g, p.og, p.cg, p.kh, p.kw)
    for b in range(p.nob):
        part = w[:, b * p.ob : (b + 1) * p.ob].transpose(0, 3, 4, 2, 1)
        packed[:, b, ..., : part.shape[-1]] = part
    return packed


def pack_backward(weight: Array, p: Plan) -> Array:
    """(O, C/G, kh, kw) -> `rotated` or `scattered` of `conv_loops`."""
    w = np.zeros((p.g, p.nob * p.ob, p.ncb * p.cb, p.kh, p.kw), weight.dtype)
    w[:, : p.og, : p.cg] = weight.reshape(p.g, p.og, p.cg, p.kh, p.kw)
    if p.rotate:
        w = w[..., ::-1, ::-1]
    w = w.reshape(p.g, p.nob, p.ob, p.ncb, p.cb, p.kh, p.kw)
    order = (0, 3, 5, 1, 6, 2, 4) if p.rotate else (0, 3, 5, 6, 1, 2, 4)
    w = w.transpose(order)
    packed = zeros(w.shape, weight.dtype)
    packed[...] = w
    return packed


def new_totals(p: Plan, parts: int, dtype: Any) -> Array:
    """A sum of weight gradients for each part of the batch; with no parts, something empty."""
    return zeros((parts or 1, p.g, p.nob, p.kh, p.kw, p.cg, p.ob if parts else 0), dtype)


def unpack(totals: Array, p: Plan) -> Array:
    """The parts' sums added up, (O, C/G, kh, kw)."""
    total = totals[0] if len(totals) == 1 else np.add.reduce(totals, axis=0)
    w = total.transpose(0, 1, 5, 4, 2, 3).reshape(p.g, p.nob * p.ob, p.cg, p.kh, p.kw)
    return np.ascontiguousarray(w[:, : p.og]).reshape(p.g * p.og, p.cg, p.kh, p.kw)

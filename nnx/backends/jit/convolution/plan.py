"""The numbers that describe one convolution to the compiled loops."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ...portable.window import Pair, Window
from .. import thresholds
from .record import FIELDS, PLAN

PARTS = 16  # of a batch, at most: each has a sum of weight gradients of its own
PIXELS = 1024  # of results in a part, at least: beside them its sum costs nothing


@lru_cache(maxsize=256)
def plan(
    images: tuple[int, ...],
    outputs: int,
    window: Window,
    groups: int,
    size: int,
    pool: Pair = (1, 1),
) -> Any:
    """The plan for images (N, H, W, C) and so many output channels: a record of `FIELDS`.

    size: bytes of a number; pool: the window of the max-pooling that follows.
    """
    from ..codegen.microkernel import ROWS, VECTORS, heights, lanes, need, table
    from .products import address

    count, h, w, c = images
    (kh, kw), (sh, sw), ((top, bottom), (left, right)), (dh, dw) = window
    oh, ow = window.counts((h, w))
    cg, og, n = c // groups, outputs // groups, lanes(size)
    ob = min(VECTORS * n, rounded(og, n))
    cb = min(VECTORS * n, rounded(cg, n))
    around = (
        dh * (kh - 1) - top, dh * (kh - 1) - bottom,
        dw * (kw - 1) - left, dw * (kw - 1) - right,
    )  # fmt: skip
    rotate = sh == sw == 1 and min(around) >= 0
    if not rotate:
        around = (0, 0, 0, 0)
    least = max(1, thresholds.CONV_THREAD // max(1, oh * ow * kh * kw * cg * outputs))
    parts = max(1, min(PARTS, count // least, count * oh * ow // PIXELS))
    parts = min(count, 2 ** (parts.bit_length() - 1))  # most numbers of threads share it evenly
    side_by_side = dw == 1 and groups == 1
    runs, run = (1, kw * c) if side_by_side else (kw, cg)
    single = left + right > 0 and cg >= 2 * ROWS  # channels enough to fill tiles
    numbers = dict(
        here=0, convolve=address("convolve"), kernels=table(size), size=size, lanes=n,
        weight_gradient=0, input_by_rotation=0, input_by_scattering=0,  # `with_gradients`
        least=least, parts=parts,
        h=h, w=w, c=c, hp=top + h + bottom, wp=left + w + right, top=top, left=left,
        kh=kh, kw=kw, sh=sh, sw=sw, dh=dh, dw=dw, oh=oh, ow=ow,
        runs=runs, run=run, apart=dw * c,
        single=int(single), wruns=kw if single else runs, wrun=cg if single else run,
        g=groups, cg=cg, og=og,
        ob=ob, nob=-(-og // ob), os=(groups - 1) * og + rounded(og, n),
        cb=cb, ncb=-(-cg // cb), cs=(groups - 1) * cg + rounded(cg, n),
        hd=around[0] + oh + around[1], wd=around[2] + ow + around[3],
        down=around[0], right=around[2], rotate=int(rotate),
        ph=pool[0], pw=pool[1], qh=oh // pool[0], qw=ow // pool[1],
    )  # fmt: skip
    need(size, heights(ow), widths(og, ob, n))
    record = np.rec.array([tuple(numbers[name] for name in FIELDS)], dtype=PLAN)
    record.here[0] = record.ctypes.data
    return record[0]  # a view of the array, which it keeps alive


def with_gradients(p: Any, weight: bool, images: bool) -> Any:
    """A plan with the addresses of what computes these gradients: who only computes results need
    not compile them."""
    from ..codegen.microkernel import heights, need
    from .products import address

    rotate = bool(p.rotate)
    outputs, inputs = widths(p.og, p.ob, p.lanes), widths(p.cg, p.cb, p.lanes)
    for name, needed, extent, columns in (
        ("weight_gradient", weight, p.wrun, outputs),
        ("input_by_rotation", images and rotate, p.w, inputs),
        ("input_by_scattering", images and not rotate, p.ow, inputs),
    ):
        if needed and not p[name]:
            p[name] = address(name)
            need(int(p["size"]), heights(int(extent)), columns)
    return p


def widths(channels: int, block: int, lanes: int) -> set[int]:
    """How many vectors hold the channels of a block, and of the last one."""
    last = channels - (-(-channels // block) - 1) * block
    return {int(-(-n // lanes)) for n in (min(block, channels), last)}


def rounded(n: int, to: int) -> int:
    """The next multiple of `to`."""
    return -(-n // to) * to

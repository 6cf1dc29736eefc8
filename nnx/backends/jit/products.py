"""The four products of a convolution, over one image: result, weight gradient, input gradient.

Each is a few loops around `microkernel`'s product on arrays as they lie in memory; this file only
says where A, B and C begin and how far apart their numbers are.  Names of layouts:

    image     (hp, wp, C)                  padded, channels last
    result    (oh, ow, os)                 os >= O: room for the last, partly filled register
    panels    (G, nob, hd, wd, ob)         a gradient, cut into blocks of `ob` output channels, so
                                           that a block's pixels lie side by side; zeros around it
    weights   (G, nob, kh, kw C/G, ob)     for the result
    rotated   (G, ncb, kh, nob, kw ob, cb) for the input gradient with stride 1
    scattered (G, ncb, kh, kw, nob ob, cb) for the input gradient with a stride

All arguments are addresses, `plan` that of a record of `plan.FIELDS`; offsets below count numbers,
and `p.size` makes bytes of them.  So these functions do not know whether they multiply float32 or
float64, and are compiled once; `addresses` gives theirs to those who `call` them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
from numba import types
from numba.extending import intrinsic

from .compiling import callable_from_c, compiled
from .microkernel import ROWS, call
from .plan import PLAN

LONG = 512  # the longest k for which B's panel is not read again from the outer cache
PIXELS = 100

RECORD = numba.from_dtype(PLAN)


@intrinsic
def plan_at(typing, address):
    """The plan at an address."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(RECORD))

    return RECORD(types.int64), emit


@compiled
def vectors_of(channels, block, width, lanes):
    """How many registers hold the channels of a block."""
    return (min(width, channels - block * width) + lanes - 1) // lanes


def convolve(plan, image, weights, result, onto):
    """result = the convolution of one padded image, added to what stands there if `onto` is 1."""
    p = plan_at(plan)
    whole = p.kh * p.runs * p.run <= LONG
    pieces = (p.ow + ROWS - 1) // ROWS
    for g in range(p.g):
        for b in range(p.nob):
            v = vectors_of(p.og, b, p.ob, p.lanes)
            panel = weights + (g * p.nob + b) * p.kh * p.runs * p.run * p.ob * p.size
            x = 0
            for piece in range(pieces):
                rows = p.ow // pieces + (1 if piece < p.ow % pieces else 0)
                a = image + (g * p.cg + x * p.sw * p.c) * p.size
                c = result + (x * p.os + g * p.og + b * p.ob) * p.size
                if whole:
                    call(
                        p.kernel, rows, v,
                        a, p.sw * p.c * p.size,
                        p.dh * p.wp * p.c * p.size, p.apart * p.size, p.size,
                        panel, p.runs * p.run * p.ob * p.size, p.run * p.ob * p.size, p.ob * p.size,
                        p.kh, p.runs, p.run,
                        c, p.os * p.size, onto,
                        p.oh, p.sh * p.wp * p.c * p.size, p.ow * p.os * p.size,
                    )  # fmt: skip
                x += rows
            if whole:
                continue
            for i in range(p.kh):
                for j in range(p.runs):
                    for k in range(0, p.run, LONG):
                        here = panel + ((i * p.runs + j) * p.run + k) * p.ob * p.size
                        start = (i * p.dh * p.wp * p.c + j * p.apart + k + g * p.cg) * p.size
                        x = 0
                        for piece in range(pieces):
                            rows = p.ow // pieces + (1 if piece < p.ow % pieces else 0)
                            call(
                                p.kernel, rows, v,
                                image + start + x * p.sw * p.c * p.size,
                                p.sw * p.c * p.size, 0, 0, p.size,
                                here, 0, 0, p.ob * p.size,
                                1, 1, min(LONG, p.run - k),
                                result + (x * p.os + g * p.og + b * p.ob) * p.size,
                                p.os * p.size, 1 if i + j + k > 0 else onto,
                                p.oh, p.sh * p.wp * p.c * p.size, p.ow * p.os * p.size,
                            )  # fmt: skip
                            x += rows


def weight_gradient(plan, image, panels, total):
    """total, laid out as `weights`, += the gradient from one image; all three are addresses.

    A's rows are the numbers of a window's row, k runs over the pixels of the result.
    """
    p = plan_at(plan)
    pieces = (p.run + ROWS - 1) // ROWS
    rows, longer = p.run // pieces, p.run % pieces
    lines = max(1, PIXELS // p.ow)
    for g in range(p.g):
        for b in range(p.nob):
            v = vectors_of(p.og, b, p.ob, p.lanes)
            panel = panels + (((g * p.nob + b) * p.hd + p.down) * p.wd + p.right) * p.ob * p.size
            for i in range(p.kh):
                for j in range(p.runs):
                    row = (((g * p.nob + b) * p.kh + i) * p.runs + j) * p.run
                    for y in range(0, p.oh, lines):
                        n = min(lines, p.oh - y)
                        first = (y * p.sh + i * p.dh) * p.wp * p.c + j * p.apart + g * p.cg
                        for part in range(2):  # the pieces that are longer by one, and the others
                            count = longer if part == 0 else pieces - longer
                            height = rows + 1 if part == 0 else rows
                            skip = 0 if part == 0 else longer * (rows + 1)
                            if count > 0:
                                call(
                                    p.kernel, height, v,
                                    image + (first + skip) * p.size,
                                    p.size, p.sh * p.wp * p.c * p.size, 0, p.sw * p.c * p.size,
                                    panel + y * p.wd * p.ob * p.size,
                                    p.wd * p.ob * p.size, 0, p.ob * p.size,
                                    n, 1, p.ow,
                                    total + (row + skip) * p.ob * p.size,
                                    p.ob * p.size, 1,
                                    count, height * p.size, height * p.ob * p.size,
                                )  # fmt: skip


def input_by_rotation(plan, panels, rotated, out):
    """out (h, w, cs) = the input gradient of one image: the convolution of the panels with the
    rotated kernel.  All three are addresses."""
    p = plan_at(plan)
    # In a panel the places of a kernel's row lie side by side, unless they are dilated.
    runs = 1 if p.dw == 1 else p.kw
    run = p.kw * p.ob if p.dw == 1 else p.ob
    per_row = p.kw * p.ob * p.cb * p.size
    whole = p.kh * p.kw * p.ob <= LONG
    pieces = (p.w + ROWS - 1) // ROWS
    for g in range(p.g):
        for b in range(p.ncb):
            v = vectors_of(p.cg, b, p.cb, p.lanes)
            kernel = rotated + (g * p.ncb + b) * p.kh * p.nob * per_row
            for i in range(1 if whole else p.kh):
                for o in range(p.nob):
                    a = panels + ((g * p.nob + o) * p.hd + i * p.dh) * p.wd * p.ob * p.size
                    x = 0
                    for piece in range(pieces):
                        rows = p.w // pieces + (1 if piece < p.w % pieces else 0)
                        call(
                            p.kernel, rows, v,
                            a + x * p.ob * p.size,
                            p.ob * p.size,
                            p.dh * p.wd * p.ob * p.size, p.dw * p.ob * p.size, p.size,
                            kernel + (i * p.nob + o) * per_row,
                            p.nob * per_row, p.ob * p.cb * p.size, p.cb * p.size,
                            p.kh if whole else 1, runs, run,
                            out + (x * p.cs + g * p.cg + b * p.cb) * p.size,
                            p.cs * p.size, 0 if i + o == 0 else 1,
                            p.h, p.wd * p.ob * p.size, p.w * p.cs * p.size,
                        )  # fmt: skip
                        x += rows


def input_by_scattering(plan, panels, scattered, out):
    """out (hp, wp, cs) += the input gradient of one padded image: for each place of the kernel a
    product, added to the pixels that the place sees.  All three are addresses."""
    p = plan_at(plan)
    pieces = (p.ow + ROWS - 1) // ROWS
    for g in range(p.g):
        for b in range(p.ncb):
            v = vectors_of(p.cg, b, p.cb, p.lanes)
            for i in range(p.kh):
                for j in range(p.kw):
                    kernel = ((g * p.ncb + b) * p.kh + i) * p.kw + j
                    x = 0
                    for piece in range(pieces):
                        rows = p.ow // pieces + (1 if piece < p.ow % pieces else 0)
                        pixel = p.down * p.wd + p.right + x
                        to = i * p.dh * p.wp + j * p.dw + x * p.sw
                        call(
                            p.kernel, rows, v,
                            panels + (g * p.nob * p.hd * p.wd + pixel) * p.ob * p.size,
                            p.ob * p.size, 0, p.hd * p.wd * p.ob * p.size, p.size,
                            scattered + kernel * p.nob * p.ob * p.cb * p.size,
                            0, p.ob * p.cb * p.size, p.cb * p.size,
                            1, p.nob, p.ob,
                            out + (to * p.cs + g * p.cg + b * p.cb) * p.size,
                            p.sw * p.cs * p.size, 1,
                            p.oh, p.wd * p.ob * p.size, p.sh * p.wp * p.cs * p.size,
                        )  # fmt: skip
                        x += rows


@cache
def addresses() -> dict[str, int]:
    """Where the four functions are, compiled or loaded from disk at the first call."""
    functions = (convolve, weight_gradient, input_by_rotation, input_by_scattering)
    return {
        f.__name__: callable_from_c(f, types.void(*[types.int64] * f.__code__.co_argcount)).address
        for f in functions
    }

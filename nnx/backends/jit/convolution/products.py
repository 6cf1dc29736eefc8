"""The four products of a convolution, over one image: result, weight gradient, input gradient.

Each is a few loops around `microkernel`'s product on arrays as they lie in memory; this file only
says where A, B and C begin and how far apart their numbers are.  Names of layouts:

    image     (hp, wp, C)                  padded, channels last
    result    (oh, ow, os)                 os >= O: room for the last, partly filled vector
    panels    (G, nob, hd, wd, ob)         a gradient, cut into blocks of `ob` output channels, so
                                           that a block's pixels lie side by side; zeros around it
    weights   (G, nob, kh, kw C/G, ob)     for the result
    rotated   (G, ncb, kh, nob, kw ob, cb) for the input gradient with stride 1
    scattered (G, ncb, kh, kw, nob ob, cb) for the input gradient with a stride

All arguments are addresses, `plan` that of a `record.FIELDS`; offsets below count numbers,
and `p.size` makes bytes of them.  So these functions do not know whether they multiply float32 or
float64, and are compiled once; `address` gives theirs to those who `microkernel.call` them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from ..codegen.compiling import callable_from_c, inner
from ..codegen.microkernel import ROWS, call_tile
from .record import PLAN

LONG = 512  # the longest k for which B's panel is not read again from the outer cache
PIXELS = 100

RECORD = numba.from_dtype(PLAN)


@intrinsic
def plan_at(typing, address):
    """The plan at an address."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(RECORD))

    return RECORD(types.int64), emit


def _chosen(comparison: str) -> Any:
    """Of two integers the one that compares so: numba compiles `min` and `max` each time anew."""

    def choose(typing, a, b):
        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.select(builder.icmp_signed(comparison, *arguments), *arguments)

        return types.int64(types.int64, types.int64), emit

    return intrinsic(choose)


smaller, larger = _chosen("<"), _chosen(">")

# As it stands in a call, a number would be part of the types, and `band` be compiled for each.
NONE, ONE = np.int64(0), np.int64(1)


@inner
def vectors_of(channels, block, width, lanes):
    """How many vectors hold the channels of a block."""
    return (smaller(width, channels - block * width) + lanes - 1) // lanes


@inner
def band(y, windows, stride, dilation, kernel, before, size):
    """What the window row y sees of an image with padding above and below.

    before, size: rows of padding above the image, and rows of the image
    -> the first row of the kernel that falls on the image, how many do, and the first window row
    after y of which that is not true (at most `windows`).

    Rows that fall on padding would multiply by zero.  Where all do, the product has no terms, and
    still writes its zeros.
    """
    first, count, end = 0, 0, y
    while end < windows:
        top = before - end * stride
        low = larger(0, (top + dilation - 1) // dilation)
        high = smaller(kernel, (top + size - 1) // dilation + 1)
        if high <= low:
            low, high = 0, 0
        if end > y and (low != first or high - low != count):
            break
        first, count = low, high - low
        end += 1
    return first, count, end


@inner
def ahead(offset, stride):
    """The first window at or behind an offset: offset / stride, rounded up, not below 0."""
    return larger(0, (offset + stride - 1) // stride)


def convolve(plan, image, weights, result, onto):
    """result = the convolution of one padded image, added to what stands there if `onto` is 1."""
    p = plan_at(plan)
    pixel, line = p.sw * p.c * p.size, p.wp * p.c * p.size
    width = p.ob * p.size
    row = p.runs * p.run * width
    pieces = (p.ow + ROWS - 1) // ROWS
    y = NONE
    while y < p.oh:
        first, rows, end = band(y, p.oh, p.sh, p.dh, p.kh, p.top, p.h)
        whole = rows * p.runs * p.run <= LONG
        for g in range(p.g):
            for b in range(p.nob):
                v = vectors_of(p.og, b, p.ob, p.lanes)
                panel = weights + ((g * p.nob + b) * p.kh + first) * row
                start = image + (y * p.sh + first * p.dh) * line + g * p.cg * p.size
                to = result + (y * p.ow * p.os + g * p.og + b * p.ob) * p.size
                # One product, or one for each row of the kernel and LONG numbers of it.
                for i in range(1 if whole else rows):
                    for j in range(1 if whole else p.runs):
                        for k in range(0, 1 if whole else p.run, LONG):
                            a = start + i * p.dh * line + (j * p.apart + k) * p.size
                            x = 0
                            for piece in range(pieces):
                                height = p.ow // pieces + (1 if piece < p.ow % pieces else 0)
                                call_tile(
                                    p.kernels, height, v,
                                    a + x * pixel, pixel, p.dh * line, p.apart * p.size, p.size,
                                    panel + i * row + (j * p.run + k) * width,
                                    row, p.run * width, width,
                                    rows if whole else 1, p.runs if whole else 1,
                                    p.run if whole else smaller(LONG, p.run - k),
                                    to + x * p.os * p.size, p.os * p.size,
                                    1 if i + j + k > 0 else onto,
                                    end - y, p.sh * line, p.ow * p.os * p.size,
                                )  # fmt: skip
                                x += height
        y = end


def weight_gradient(plan, image, panels, total):
    """total, laid out as `weights`, += the gradient from one image; all three are addresses.

    A's rows are the numbers of a window's row, k runs over the pixels of the result; those whose
    window has only padding there are left out.
    """
    p = plan_at(plan)
    runs, run = p.wruns, p.wrun
    pieces = (run + ROWS - 1) // ROWS
    rows, longer = run // pieces, run % pieces
    lines = larger(1, PIXELS // p.ow)
    width = p.ob * p.size
    for g in range(p.g):
        for b in range(p.nob):
            v = vectors_of(p.og, b, p.ob, p.lanes)
            panel = panels + (((g * p.nob + b) * p.hd + p.down) * p.wd + p.right) * width
            for i in range(p.kh):
                top = p.top - i * p.dh
                bottom = smaller(p.oh, ahead(top + p.h, p.sh))
                for j in range(runs):
                    row = (((g * p.nob + b) * p.kh + i) * runs + j) * run
                    left, right = 0, p.ow
                    if p.single:
                        left = ahead(p.left - j * p.dw, p.sw)
                        right = smaller(p.ow, ahead(p.left - j * p.dw + p.w, p.sw))
                    if left >= right:
                        continue
                    for y in range(ahead(top, p.sh), bottom, lines):
                        first = (y * p.sh + i * p.dh) * p.wp * p.c + j * p.apart + g * p.cg
                        first += left * p.sw * p.c
                        for part in range(2):  # the pieces that are longer by one, and the others
                            count = longer if part == 0 else pieces - longer
                            height = rows + 1 if part == 0 else rows
                            skip = 0 if part == 0 else longer * (rows + 1)
                            if count > 0:
                                call_tile(
                                    p.kernels, height, v,
                                    image + (first + skip) * p.size,
                                    p.size, p.sh * p.wp * p.c * p.size, 0, p.sw * p.c * p.size,
                                    panel + (y * p.wd + left) * width,
                                    p.wd * width, 0, width,
                                    smaller(lines, bottom - y), 1, right - left,
                                    total + (row + skip) * width,
                                    width, 1,
                                    count, height * p.size, height * width,
                                )  # fmt: skip


def input_by_rotation(plan, panels, rotated, out):
    """out (h, w, cs) = the input gradient of one image: the convolution of the panels with the
    rotated kernel.  All three are addresses."""
    p = plan_at(plan)
    # In a panel the places of a kernel's row lie side by side, unless they are dilated.
    runs = 1 if p.dw == 1 else p.kw
    run = p.kw * p.ob if p.dw == 1 else p.ob
    pixel, line = p.ob * p.size, p.wd * p.ob * p.size
    per_row = p.kw * p.ob * p.cb * p.size
    pieces = (p.w + ROWS - 1) // ROWS
    y = NONE
    while y < p.h:
        first, rows, end = band(y, p.h, ONE, p.dh, p.kh, p.down, p.oh)
        whole = rows * p.kw * p.ob <= LONG
        for g in range(p.g):
            for b in range(p.ncb):
                v = vectors_of(p.cg, b, p.cb, p.lanes)
                kernel = rotated + ((g * p.ncb + b) * p.kh + first) * p.nob * per_row
                for i in range(1 if whole else rows):
                    for o in range(p.nob):
                        a = panels + (g * p.nob + o) * p.hd * line
                        a += (y + (first + i) * p.dh) * line
                        x = 0
                        for piece in range(pieces):
                            height = p.w // pieces + (1 if piece < p.w % pieces else 0)
                            call_tile(
                                p.kernels, height, v,
                                a + x * pixel, pixel, p.dh * line, p.dw * pixel, p.size,
                                kernel + (i * p.nob + o) * per_row,
                                p.nob * per_row, p.ob * p.cb * p.size, p.cb * p.size,
                                rows if whole else 1, runs, run,
                                out + ((y * p.w + x) * p.cs + g * p.cg + b * p.cb) * p.size,
                                p.cs * p.size, 0 if i + o == 0 else 1,
                                end - y, line, p.w * p.cs * p.size,
                            )  # fmt: skip
                            x += height
        y = end


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
                        call_tile(
                            p.kernels, rows, v,
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
def address(name: str) -> int:
    """Where one of the four functions is, compiled or loaded from disk at the first call."""
    function = globals()[name]
    words = [types.int64] * function.__code__.co_argcount
    return int(callable_from_c(function, types.void(*words)).address)

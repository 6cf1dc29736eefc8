"""The compiled loops of `depthwise.py`: each channel is convolved with a kernel of its own.

There is nothing to share between channels, so no product of matrices.  Channels lie last, filled up
with zeros to `units`, a multiple of LANES; the loops take a vector of them through a row of
windows, four windows at a time: for each place of the kernel one number of it is loaded for the
four, and their sums stay in registers.

`g` is the geometry: h, w, hp, wp, oh, ow, kh, kw, sh, sw, top, left, dh, dw.  Arrays are flat
float32; weight is (kh kw, units).
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from ..codegen.compiling import compiled
from ..codegen.vectors import LANES, SIZE, ZERO, load, spread, store
from .conv_loops import clear, copy, scratch


@register_jitable
def address(a):
    return np.int64(a.ctypes.data)


@compiled
def widen(source, start, target, to, count, c, units):
    """`count` pixels of c channels to where they have room for `units`."""
    if c == units:
        copy(source, start, target, to, count * c)
    else:
        for k in range(count):
            copy(source, start + k * c, target, to + k * units, c)


@compiled
def narrow(source, start, target, to, count, c, units):
    """The reverse of `widen`."""
    if c == units:
        copy(source, start, target, to, count * c)
    else:
        for k in range(count):
            copy(source, start + k * units, target, to + k * c, c)


@compiled
def row(image, weight, bias, out, g, units):
    """A row of windows' results, (ow, units) at the address `out`, from the padded image whose
    first row of those windows is at the address `image`."""
    _, _, _, wp, _, ow, kh, kw, _, sw, _, _, dh, dw = g
    pixel = units * SIZE
    step = sw * pixel
    for j in range(0, units, LANES):
        v = 0
        while v < ow:
            four = v + 4 <= ow
            a = b = c = d = load(bias, j)
            for i in range(kh):
                at = image + i * dh * wp * pixel + v * step
                for m in range(kw):
                    factor = load(weight, (i * kw + m) * units + j)
                    a = a + factor * load(at, j)
                    if four:
                        b = b + factor * load(at + step, j)
                        c = c + factor * load(at + 2 * step, j)
                        d = d + factor * load(at + 3 * step, j)
                    at += dw * pixel
            store(out, v * units + j, a)
            if four:
                store(out, (v + 1) * units + j, b)
                store(out, (v + 2) * units + j, c)
                store(out, (v + 3) * units + j, d)
            v += 4 if four else 1


@compiled
def spread_row(gradient, weight, d, g, units):
    """gradient += what a row of windows, whose gradient is at the address `d`, says of its pixels:
    the transpose of `row`."""
    _, _, _, wp, _, ow, kh, kw, _, sw, _, _, dh, dw = g
    pixel = units * SIZE
    for j in range(0, units, LANES):
        for i in range(kh):
            for m in range(kw):
                factor = load(weight, (i * kw + m) * units + j)
                at = gradient + (i * dh * wp + m * dw) * pixel
                for v in range(ow):
                    t = at + v * sw * pixel
                    store(t, j, load(t, j) + factor * load(d, v * units + j))


@compiled
def weigh_row(image, d, total, g, units):
    """total (kh kw, units) += the weight's gradient from a row of windows."""
    _, _, _, wp, _, ow, kh, kw, _, sw, _, _, dh, dw = g
    pixel = units * SIZE
    step = sw * pixel
    whole = ow - ow % 4
    for j in range(0, units, LANES):
        for i in range(kh):
            for m in range(kw):
                at = image + (i * dh * wp + m * dw) * pixel
                s = load(total, (i * kw + m) * units + j)
                p = q = r = spread(ZERO)
                for v in range(0, whole, 4):
                    t, e = at + v * step, d + v * pixel
                    s = s + load(t, j) * load(e, j)
                    p = p + load(t + step, j) * load(e + pixel, j)
                    q = q + load(t + 2 * step, j) * load(e + 2 * pixel, j)
                    r = r + load(t + 3 * step, j) * load(e + 3 * pixel, j)
                for v in range(whole, ow):
                    s = s + load(at + v * step, j) * load(d + v * pixel, j)
                store(total, (i * kw + m) * units + j, (s + p) + (q + r))


@compiled
def forward(lo, hi, x, weight, bias, y, c, g):
    """y (N, oh, ow, C) from x (N, h, w, C), for images lo..hi; bias (units,)."""
    h, w, hp, wp, oh, ow, _, _, sh, _, top, left, _, _ = g
    units = bias.size
    image = scratch(hp * wp * units, x)
    clear(image, 0, image.size)
    result = scratch(ow * units, x)
    k, b = address(weight), address(bias)
    for n in range(lo, hi):
        for u in range(h):
            widen(x, (n * h + u) * w * c, image, ((u + top) * wp + left) * units, w, c, units)
        for u in range(oh):
            seen = address(image) + u * sh * wp * units * SIZE
            start = (n * oh + u) * ow * c
            if c == units:
                row(seen, k, b, address(y) + start * SIZE, g, units)
            else:
                row(seen, k, b, address(result), g, units)
                narrow(result, 0, y, start, ow, c, units)


@compiled
def backward(lo, hi, x, gy, weight, gx, gw, c, g):
    """gx (N, h, w, C) and gw (N, kh kw, units), for images lo..hi; either is left alone where it is
    empty."""
    h, w, hp, wp, oh, ow, kh, kw, sh, _, top, left, _, _ = g
    units = weight.size // (kh * kw)
    image = scratch(hp * wp * units if gw.size > 0 else 0, gy)
    gradient = scratch(hp * wp * units if gx.size > 0 else 0, gy)
    d = scratch(ow * units, gy)
    clear(image, 0, image.size)
    clear(d, 0, d.size)
    k = address(weight)
    for n in range(lo, hi):
        total = address(gw) + n * weight.size * SIZE
        if gw.size > 0:
            clear(gw, n * weight.size, weight.size)
            for u in range(h):
                widen(x, (n * h + u) * w * c, image, ((u + top) * wp + left) * units, w, c, units)
        clear(gradient, 0, gradient.size)
        for u in range(oh):
            widen(gy, (n * oh + u) * ow * c, d, 0, ow, c, units)
            start = u * sh * wp * units * SIZE
            if gx.size > 0:
                spread_row(address(gradient) + start, k, address(d), g, units)
            if gw.size > 0:
                weigh_row(address(image) + start, address(d), total, g, units)
        for u in range(h if gx.size > 0 else 0):
            narrow(gradient, ((u + top) * wp + left) * units, gx, (n * h + u) * w * c, w, c, units)

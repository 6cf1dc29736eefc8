"""The compiled loops of `depthwise.py`: each channel is convolved with a kernel of its own.

There is nothing to share between channels, so no product of matrices.  Channels lie last, filled up
with zeros to `units`, a multiple of LANES; the loops take a vector of them through a row of
windows, four windows at a time: for each place of the kernel one number of it is loaded for the
four, and their sums stay in registers.

`g` is the geometry: h, w, hp, wp, oh, ow, kh, kw, sh, sw, top, left, dh, dw.  Arrays are flat
float32; weight is (kh kw, units).
"""

from __future__ import annotations

from ..codegen.compiling import compiled, inner
from ..codegen.places import address_of, clear, copy
from ..codegen.vectors import LANES, SIZE, ZERO, load, spread, store
from .conv_loops import scratch
from .products import smaller

BAND = 2**16  # numbers of a gradient's rows that stay in the cache while many passes go over them


@inner
def widen(source, start, target, to, count, c, units):
    """`count` pixels of c channels to where they have room for `units`."""
    if c == units:
        copy(source, start, target, to, count * c)
    else:
        for k in range(count):
            copy(source, start + k * c, target, to + k * units, c)


@inner
def narrow(source, start, target, to, count, c, units):
    """The reverse of `widen`."""
    if c == units:
        copy(source, start, target, to, count * c)
    else:
        for k in range(count):
            copy(source, start + k * units, target, to + k * c, c)


@inner
def apart(units):
    """Numbers from one pixel of a scratch image to the next: as a multiple of four lines of the
    cache, pixels of a row would push each other out."""
    return units + LANES if units % (4 * LANES) == 0 else units


@inner
def row(image, weight, bias, out, g, units, pitch):
    """A row of windows' results, (ow, units) at the address `out`, from the padded image whose
    first row of those windows is at the address `image`, `pitch` numbers a pixel."""
    _, _, _, wp, _, ow, kh, kw, _, sw, _, _, dh, dw = g
    if sw == 1 and dw == 1 and ow >= 8:
        line = dh * wp * pitch * SIZE
        row_by_eight(image, weight, bias, out, ow, kh, kw, line, units, pitch)
        return
    pixel = pitch * SIZE
    step = sw * pixel
    for j in range(0, units, LANES):
        v = 0
        while v < ow:
            four = ow >= 4
            if four and v + 4 > ow:
                v = ow - 4  # some are computed twice, which is quicker than one by one
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


@inner
def row_by_eight(image, weight, bias, out, ow, kh, kw, line, units, pitch):
    """`row` for kernels whose columns lie side by side, and at least eight windows.  Of the ten
    pixels that eight windows see with three places of a kernel's row, each is loaded once."""
    pixel = pitch * SIZE
    for j in range(0, units, LANES):
        v = 0
        while v < ow:
            if v + 8 > ow:
                v = ow - 8  # some are computed twice, which is quicker than one by one
            y0 = y1 = y2 = y3 = y4 = y5 = y6 = y7 = load(bias, j)
            for i in range(kh):
                at = image + i * line + v * pixel
                k = i * kw * units + j
                for _ in range(kw // 3):
                    p, q, r = load(weight, k), load(weight, k + units), load(weight, k + 2 * units)
                    a, b = load(at, j), load(at + pixel, j)
                    c, d = load(at + 2 * pixel, j), load(at + 3 * pixel, j)
                    y0 = y0 + p * a + q * b + r * c
                    y1 = y1 + p * b + q * c + r * d
                    a, b = load(at + 4 * pixel, j), load(at + 5 * pixel, j)
                    y2 = y2 + p * c + q * d + r * a
                    y3 = y3 + p * d + q * a + r * b
                    c, d = load(at + 6 * pixel, j), load(at + 7 * pixel, j)
                    y4 = y4 + p * a + q * b + r * c
                    y5 = y5 + p * b + q * c + r * d
                    a, b = load(at + 8 * pixel, j), load(at + 9 * pixel, j)
                    y6 = y6 + p * c + q * d + r * a
                    y7 = y7 + p * d + q * a + r * b
                    at += 3 * pixel
                    k += 3 * units
                for _ in range(kw % 3):
                    p = load(weight, k)
                    y0 = y0 + p * load(at, j)
                    y1 = y1 + p * load(at + pixel, j)
                    y2 = y2 + p * load(at + 2 * pixel, j)
                    y3 = y3 + p * load(at + 3 * pixel, j)
                    y4 = y4 + p * load(at + 4 * pixel, j)
                    y5 = y5 + p * load(at + 5 * pixel, j)
                    y6 = y6 + p * load(at + 6 * pixel, j)
                    y7 = y7 + p * load(at + 7 * pixel, j)
                    at += pixel
                    k += units
            to = v * units + j
            store(out, to, y0)
            store(out, to + units, y1)
            store(out, to + 2 * units, y2)
            store(out, to + 3 * units, y3)
            store(out, to + 4 * units, y4)
            store(out, to + 5 * units, y5)
            store(out, to + 6 * units, y6)
            store(out, to + 7 * units, y7)
            v += 8


@inner
def spread_row(gradient, weight, d, g, units, pitch):
    """gradient += what a row of windows, whose gradient is at the address `d`, says of its pixels:
    the transpose of `row`, for windows with a stride."""
    _, _, _, wp, _, ow, kh, kw, _, sw, _, _, dh, dw = g
    pixel = pitch * SIZE
    for j in range(0, units, LANES):
        for i in range(kh):
            for m in range(kw):
                factor = load(weight, (i * kw + m) * units + j)
                at = gradient + (i * dh * wp + m * dw) * pixel
                for v in range(ow):
                    t = at + v * sw * pixel
                    store(t, j, load(t, j) + factor * load(d, v * units + j))


@inner
def weigh(image, d, total, g, units, pitch):
    """total (kh kw, units) += the weight's gradient from one image, whose result's gradient
    (oh, ow, units) is at the address `d`."""
    _, _, _, wp, oh, ow, _, _, sh, _, _, _, _, _ = g
    rows = BAND // (ow * units) + 1
    for u in range(0, oh, rows):
        seen, own = u * sh * wp * pitch * SIZE, u * ow * units * SIZE
        weigh_band(image + seen, d + own, total, smaller(rows, oh - u), g, units, pitch)


@inner
def weigh_band(image, d, total, rows, g, units, pitch):
    """`weigh` for so many rows of windows."""
    _, _, _, wp, _, ow, kh, kw, sh, sw, _, _, dh, dw = g
    pixel = pitch * SIZE
    step, place = sw * pixel, dw * pixel
    along = units * SIZE
    for j in range(0, units, LANES):
        for i in range(kh):
            m = 0
            while m < kw:
                first = image + i * dh * wp * pixel + m * place
                k = (i * kw + m) * units + j
                a = b = c = p = q = r = spread(ZERO)
                if m + 3 > kw:
                    for u in range(rows):
                        at, of = first + u * sh * wp * pixel, d + u * ow * along
                        for _ in range(0, ow - 1, 2):
                            a = a + load(at, j) * load(of, j)
                            p = p + load(at + step, j) * load(of + along, j)
                            at += 2 * step
                            of += 2 * along
                        if ow % 2 == 1:
                            a = a + load(at, j) * load(of, j)
                    store(total, k, load(total, k) + (a + p))
                    m += 1
                    continue
                # Three places at once: what windows see of a row, and its gradient, is loaded once.
                for u in range(rows):
                    at, of = first + u * sh * wp * pixel, d + u * ow * along
                    for _ in range(0, ow - 1, 2):
                        e, f = load(of, j), load(of + along, j)
                        a = a + load(at, j) * e
                        b = b + load(at + place, j) * e
                        c = c + load(at + 2 * place, j) * e
                        p = p + load(at + step, j) * f
                        q = q + load(at + step + place, j) * f
                        r = r + load(at + step + 2 * place, j) * f
                        at += 2 * step
                        of += 2 * along
                    if ow % 2 == 1:
                        e = load(of, j)
                        a = a + load(at, j) * e
                        b = b + load(at + place, j) * e
                        c = c + load(at + 2 * place, j) * e
                store(total, k, load(total, k) + (a + p))
                store(total, k + units, load(total, k + units) + (b + q))
                store(total, k + 2 * units, load(total, k + 2 * units) + (c + r))
                m += 3


@compiled
def forward(lo, hi, x, weight, bias, y, c, g):
    """y (N, oh, ow, C) from x (N, h, w, C), for images lo..hi; bias (units,)."""
    h, w, hp, wp, oh, ow, _, _, sh, _, top, left, _, _ = g
    units = bias.size
    pitch = apart(units)
    image = scratch(hp * wp * pitch, x)
    clear(image, 0, image.size)
    result = scratch(ow * units, x)
    k, b = address_of(weight), address_of(bias)
    for n in range(lo, hi):
        for u in range(h):
            widen(x, (n * h + u) * w * c, image, ((u + top) * wp + left) * pitch, w, c, pitch)
        for u in range(oh):
            seen = address_of(image) + u * sh * wp * pitch * SIZE
            start = (n * oh + u) * ow * c
            if c == units:
                row(seen, k, b, address_of(y) + start * SIZE, g, units, pitch)
            else:
                row(seen, k, b, address_of(result), g, units, pitch)
                narrow(result, 0, y, start, ow, c, units)


@compiled
def backward(lo, hi, x, gy, weight, gx, gw, c, g):
    """gx (N, h, w, C) and gw (N, kh kw, units), for images lo..hi; either is left alone where it is
    empty."""
    h, w, hp, wp, oh, ow, kh, kw, sh, _, top, left, _, _ = g
    units = weight.size // (kh * kw)
    pitch = apart(units)
    image = scratch(hp * wp * pitch if gw.size > 0 else 0, gy)
    gradient = scratch(hp * wp * pitch if gx.size > 0 else 0, gy)
    wide = scratch(0 if c == units else oh * ow * units, gy)
    clear(image, 0, image.size)
    clear(wide, 0, wide.size)
    k = address_of(weight)
    for n in range(lo, hi):
        d = address_of(gy) + n * oh * ow * c * SIZE
        if wide.size > 0:
            widen(gy, n * oh * ow * c, wide, 0, oh * ow, c, units)
            d = address_of(wide)
        if gw.size > 0:
            clear(gw, n * weight.size, weight.size)
            for u in range(h):
                widen(x, (n * h + u) * w * c, image, ((u + top) * wp + left) * pitch, w, c, pitch)
            weigh(address_of(image), d, address_of(gw) + n * weight.size * SIZE, g, units, pitch)
        if gx.size > 0:
            clear(gradient, 0, gradient.size)
            for u in range(oh):
                start = u * sh * wp * pitch * SIZE
                to = d + u * ow * units * SIZE
                spread_row(address_of(gradient) + start, k, to, g, units, pitch)
            for u in range(h):
                start = ((u + top) * wp + left) * pitch
                narrow(gradient, start, gx, (n * h + u) * w * c, w, c, pitch)

"""The compiled loops of `pool.py`.

Images lie in memory as planes, (N, C, H, W), or with channels last, (N, H, W, C).  Both are
(parts, h, w, last): N C planes with `last` = 1, or N images with `last` = C; arrays are flat, and
each loop runs over parts lo..hi.  `g` is the geometry: h, w, last, oh, ow, kh, kw, sh, sw, top,
left, dh, dw, as `pool.py` puts it together.

The innermost loop must be long, or a processor's wide registers are of no use: it runs over the
channels, or without them over the windows of a row.
"""

from __future__ import annotations

import numpy as np

from ..codegen.compiling import compiled, inner, summing
from ..codegen.places import clear, copy, row


@inner
def inside(place, windows, stride, before, size):
    """The windows first..end whose place, so far from the window's start, is in the image."""
    first = max(0, (before - place + stride - 1) // stride)
    return first, max(first, min(windows, (before - place + size - 1) // stride + 1))


@inner
def gather(x, start, values, i, j, g):
    """values (oh, ow, last) = what place (i, j) of every window of a part sees; -inf outside."""
    h, w, last, oh, ow, _, _, sh, sw, top, left, dh, dw = g
    first, end = inside(i * dh, oh, sh, top, h)
    begin, stop = inside(j * dw, ow, sw, left, w)
    if end - first < oh or stop - begin < ow:
        for k in range(values.size):
            values[k] = -np.inf
    for u in range(first, end):
        a = start + ((u * sh + i * dh - top) * w + begin * sw + j * dw - left) * last
        to = (u * ow + begin) * last
        if last == 1 and sw > 1:
            target = row(values, to, stop - begin)
            for v in range(target.size):
                target[v] = x[a + v * sw]
        elif sw == 1:
            copy(x, a, values, to, (stop - begin) * last)
        else:
            for v in range(stop - begin):
                copy(x, a + v * sw * last, values, to + v * last, last)


@inner
def compete(values, k, best, place):
    """Let place k of every window compete with the best so far; the first NaN wins."""
    for v in range(values.size):
        value, largest, where = values[v], best[v], place[v]
        new = (value > largest) | ((value != value) & (largest == largest))
        best[v] = value if new else largest
        place[v] = k if new else where


@compiled
def max_pool(lo, hi, x, y, places, g):
    """y and places (parts, oh, ow, last): the largest number of each window, and where it is.

    A place is gathered for all windows of a part, and then compared: loops so long fill wide
    vectors, and nothing in them branches.
    """
    h, w, last, oh, ow, kh, kw, sh, sw, top, left, dh, dw = g
    each = oh * ow * last
    firsts, place = np.empty(each, np.int32), np.empty(each, np.int32)
    at = 0
    for u in range(oh):  # the first place inside the image, if nothing is larger than -inf
        down = max(0, (top - u * sh + dh - 1) // dh)
        for v in range(ow):
            across = max(0, (left - v * sw + dw - 1) // dw)
            for _ in range(last):
                firsts[at] = down * kw + across
                at += 1
    values = np.empty(each, x.dtype)
    for n in range(lo, hi):
        best = row(y, n * each, each)
        for k in range(each):
            best[k], place[k] = -np.inf, firsts[k]
        for i in range(kh):
            for j in range(kw):
                gather(x, n * h * w * last, values, i, j, g)
                compete(values, np.int32(i * kw + j), best, place)
        target = row(places, n * each, each)
        for k in range(each):
            target[k] = place[k]


@inner
def sees(window, stride, before, dilation, size, kernel):
    """Whether a window sees any pixel: one that is dilated can lie around the image."""
    first = max(0, (before - window * stride + dilation - 1) // dilation)
    return first < min(kernel, (before - window * stride + size - 1) // dilation + 1)


@compiled
def max_pool_backward(lo, hi, gy, places, gx, g):
    """gx (parts, h, w, last) = the gradient of each window at the place it chose, else zero."""
    h, w, last, oh, ow, kh, kw, sh, sw, top, left, dh, dw = g
    away = np.empty(kh * kw, np.int64)  # from the first pixel of a window to each of its places
    for k in range(kh * kw):
        away[k] = (k // kw * dh * w + k % kw * dw) * last
    for n in range(lo, hi):
        clear(gx, n * h * w * last, h * w * last)
        for u in range(oh):
            at = (n * oh + u) * ow * last
            start = ((n * h + u * sh - top) * w - left) * last
            if not sees(u, sh, top, dh, h, kh):
                continue
            for v in range(ow):
                if dw > 1 and not sees(v, sw, left, dw, w, kw):
                    at += last
                    continue
                for c in range(last):
                    gx[start + v * sw * last + c + away[places[at]]] += gy[at]
                    at += 1


@summing
def avg_pool(lo, hi, x, y, down, across, g):
    """y (parts, oh, ow, last): each window's sum, divided by down[u] across[v]: first down its
    columns, along whole lines, then across."""
    h, w, last, oh, ow, kh, kw, sh, sw, top, left, _, _ = g
    line = np.empty(w * last, x.dtype)
    for n in range(lo, hi):
        for u in range(oh):
            clear(line, 0, line.size)
            for i in range(max(0, top - u * sh), min(kh, top - u * sh + h)):
                source = row(x, (n * h + u * sh + i - top) * line.size, line.size)
                for k in range(line.size):
                    line[k] += source[k]
            if last == 1 and kw < ow:  # short windows: place by place, for all of them
                sums = row(y, (n * oh + u) * ow, ow)
                clear(sums, 0, ow)
                for j in range(kw):
                    first, end = inside(j, ow, sw, left, w)
                    for v in range(first, end):
                        sums[v] += line[v * sw + j - left]
                for v in range(ow):
                    sums[v] /= down[u] * across[v]
                continue
            for v in range(ow):
                begin, end = max(0, v * sw - left), min(w, v * sw - left + kw)
                sums = row(y, ((n * oh + u) * ow + v) * last, last)
                if last == 1:
                    values = row(line, begin, end - begin)
                    total = x.dtype.type(0)
                    for k in range(values.size):
                        total += values[k]
                    sums[0] = total
                else:
                    clear(sums, 0, last)
                    for b in range(begin, end):
                        values = row(line, b * last, last)
                        for c in range(last):
                            sums[c] += values[c]
                for c in range(last):
                    sums[c] /= down[u] * across[v]


@summing
def avg_pool_backward(lo, hi, gy, gx, down, across, g):
    """gx (parts, h, w, last): each window's gradient, divided by down[u] across[v], at all its
    pixels: first across, then down."""
    h, w, last, oh, ow, kh, kw, sh, sw, top, left, _, _ = g
    line, share = np.empty(w * last, gy.dtype), np.empty(max(last, ow), gy.dtype)
    for n in range(lo, hi):
        clear(gx, n * h * line.size, h * line.size)
        for u in range(oh):
            clear(line, 0, line.size)
            if last == 1 and kw < ow:
                source = row(gy, (n * oh + u) * ow, ow)
                for v in range(ow):
                    share[v] = source[v] / (down[u] * across[v])
                for j in range(kw):
                    first, end = inside(j, ow, sw, left, w)
                    for v in range(first, end):
                        line[v * sw + j - left] += share[v]
            else:
                for v in range(ow):
                    begin, end = max(0, v * sw - left), min(w, v * sw - left + kw)
                    source = row(gy, ((n * oh + u) * ow + v) * last, last)
                    for c in range(last):
                        share[c] = source[c] / (down[u] * across[v])
                    for b in range(begin, end):
                        target = row(line, b * last, last)
                        for c in range(last):
                            target[c] += share[c]
            for i in range(max(0, top - u * sh), min(kh, top - u * sh + h)):
                target = row(gx, (n * h + u * sh + i - top) * line.size, line.size)
                for k in range(line.size):
                    target[k] += line[k]

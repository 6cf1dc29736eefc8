"""The compiled loops of `depthwise.py`: each channel is convolved with a kernel of its own.

There is nothing to share between channels, so no product of matrices; the loops multiply and add
along what is contiguous.  In planes (N, C, H, W) that is the whole plane: the image is padded, the
result is computed in rows as wide as the padded image, at every pixel, and its windows are picked
out afterwards.  With channels last it is a pixel's channels.  `g` is the geometry: h, w, hp, wp,
oh, ow, kh, kw, sh, sw, top, left, dh, dw.  Arrays are flat.
"""

from __future__ import annotations

import numpy as np

from ..codegen.compiling import fused, summing
from .conv_loops import clear, copy, row


@fused
def add(factor, source, start, target, to, count):
    """target[to :] += factor source[start :], `count` numbers."""
    a, b = row(source, start, count), row(target, to, count)
    for k in range(count):
        b[k] += factor * a[k]


@summing
def dot(a, start, b, to, count):
    """Σ a[start :] b[to :], `count` numbers."""
    x, y = row(a, start, count), row(b, to, count)
    total = a.dtype.type(0)
    for k in range(count):
        total += x[k] * y[k]
    return total


@fused
def pad(source, start, image, last, g):
    """Put one image, `last` numbers a pixel, into the middle of the padded one."""
    h, w, _, wp, _, _, _, _, _, _, top, left, _, _ = g
    for y in range(h):
        copy(source, start + y * w * last, image, ((y + top) * wp + left) * last, w * last)


@fused
def crop(image, target, start, last, g):
    """The reverse of `pad`."""
    h, w, _, wp, _, _, _, _, _, _, top, left, _, _ = g
    for y in range(h):
        copy(image, ((y + top) * wp + left) * last, target, start + y * w * last, w * last)


@fused
def zeros(g, last, like):
    """A padded image of zeros."""
    _, _, hp, wp, _, _, _, _, _, _, _, _, _, _ = g
    image = np.empty(hp * wp * last, like.dtype)
    clear(image, 0, image.size)
    return image


@fused
def reach(g):
    """How many numbers of a padded plane lie between the first window's begin and the last's."""
    _, _, _, wp, oh, ow, _, _, sh, sw, _, _, _, _ = g
    return (oh - 1) * sh * wp + (ow - 1) * sw + 1


@fused
def forward_planes(lo, hi, x, weight, bias, y, g):
    """y (planes, oh, ow) from x (planes, h, w), for planes lo..hi; weight (C, kh kw), bias (C,)."""
    h, w, _, wp, oh, ow, kh, kw, sh, sw, _, _, dh, dw = g
    image, full = zeros(g, 1, x), np.empty(reach(g), x.dtype)
    for n in range(lo, hi):
        c = n % bias.size
        pad(x, n * h * w, image, 1, g)
        for k in range(full.size):
            full[k] = bias[c]
        for i in range(kh):
            for j in range(kw):
                add(weight[c, i * kw + j], image, i * dh * wp + j * dw, full, 0, full.size)
        for u in range(oh):
            for v in range(ow):
                y[(n * oh + u) * ow + v] = full[u * sh * wp + v * sw]


@fused
def backward_planes(lo, hi, x, gy, weight, gx, gw, g):
    """gx (planes, h, w) and gw (planes, kh kw); either is left alone where it is empty."""
    h, w, _, wp, oh, ow, kh, kw, sh, sw, _, _, dh, dw = g
    image, gradient = zeros(g, 1, gy), zeros(g, 1, gy)
    d = np.empty(reach(g), gy.dtype)  # gy where its windows begin, zeros between
    clear(d, 0, d.size)
    for n in range(lo, hi):
        c = n % weight.shape[0]
        if gw.size > 0:
            pad(x, n * h * w, image, 1, g)
        clear(gradient, 0, gradient.size)
        for u in range(oh):
            for v in range(ow):
                d[u * sh * wp + v * sw] = gy[(n * oh + u) * ow + v]
        for i in range(kh):
            for j in range(kw):
                start = i * dh * wp + j * dw
                if gx.size > 0:
                    add(weight[c, i * kw + j], d, 0, gradient, start, d.size)
                if gw.size > 0:
                    gw[n, i * kw + j] = dot(d, 0, image, start, d.size)
        if gx.size > 0:
            crop(gradient, gx, n * h * w, 1, g)


@fused
def forward_last(lo, hi, x, weight, bias, y, g):
    """y (N, oh, ow, C) from x (N, h, w, C), for images lo..hi; weight (kh kw, C), bias (C,)."""
    h, w, _, wp, oh, ow, kh, kw, sh, sw, _, _, dh, dw = g
    channels = bias.size
    image = zeros(g, channels, x)
    for n in range(lo, hi):
        pad(x, n * h * w * channels, image, channels, g)
        for u in range(oh):
            for v in range(ow):
                out = row(y, ((n * oh + u) * ow + v) * channels, channels)
                for c in range(channels):
                    out[c] = bias[c]
                for i in range(kh):
                    for j in range(kw):
                        pixel = (u * sh + i * dh) * wp + v * sw + j * dw
                        a, k = row(image, pixel * channels, channels), weight[i * kw + j]
                        for c in range(channels):
                            out[c] += k[c] * a[c]


@fused
def backward_last(lo, hi, x, gy, weight, gx, gw, g):
    """gx (N, h, w, C) and gw (N, kh kw, C); either is left alone where it is empty."""
    h, w, _, wp, oh, ow, kh, kw, sh, sw, _, _, dh, dw = g
    channels = weight.shape[1]
    image, gradient = zeros(g, channels, gy), zeros(g, channels, gy)
    for n in range(lo, hi):
        if gw.size > 0:
            pad(x, n * h * w * channels, image, channels, g)
            for k in range(kh * kw):
                clear(gw[n, k], 0, channels)
        clear(gradient, 0, gradient.size)
        for u in range(oh):
            for v in range(ow):
                d = row(gy, ((n * oh + u) * ow + v) * channels, channels)
                for i in range(kh):
                    for j in range(kw):
                        pixel = (u * sh + i * dh) * wp + v * sw + j * dw
                        if gx.size > 0:
                            t, k = row(gradient, pixel * channels, channels), weight[i * kw + j]
                            for c in range(channels):
                                t[c] += k[c] * d[c]
                        if gw.size > 0:
                            a, s = row(image, pixel * channels, channels), gw[n, i * kw + j]
                            for c in range(channels):
                                s[c] += d[c] * a[c]
        if gx.size > 0:
            crop(gradient, gx, n * h * w * channels, channels, g)

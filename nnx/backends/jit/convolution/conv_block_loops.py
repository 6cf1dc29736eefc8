"""The loops of `conv_block.py`: what happens to a convolution's result while it is in cache.

Arrays are flat, images one after another; `p` is a record of `record.FIELDS`; layouts are those of
`products.py`.  A *window* is one of max-pooling's, without pooling one pixel.  Its *place* is a
byte: which of its pixels was the largest, or `ph pw` where ReLU closed it.
"""

from __future__ import annotations

import numpy as np

from ..codegen.compiling import compiled, inner
from ..codegen.microkernel import call
from ..codegen.places import address_of, clear, copy, row
from .conv_loops import gradients, pad, pad_or_not, scratch, sum_of_part


@inner
def choose(result, bias, y, places, at, p):
    """After the bias and ReLU, the largest number of each window of one image, and its place.

    The bias can wait until the largest is found.  NaN goes through, and gets no gradient.
    """
    outputs = p.g * p.og
    pixel, line = p.os, p.ow * p.os
    zero = result.dtype.type(0)
    closed = np.int32(p.ph * p.pw)
    for u in range(p.qh):
        for v in range(p.qw):
            first = u * p.ph * line + v * p.pw * pixel
            to = at + (u * p.qw + v) * outputs
            best, place = row(y, to, outputs), row(places, to, outputs)
            if p.ph == 2 and p.pw == 2:
                r0, r1 = row(result, first, outputs), row(result, first + pixel, outputs)
                below = first + line
                r2, r3 = row(result, below, outputs), row(result, below + pixel, outputs)
                for c in range(outputs):
                    x0, x1, x2, x3 = r0[c], r1[c], r2[c], r3[c]
                    k = np.int32(1) if x1 > x0 else np.int32(0)
                    m = x1 if x1 > x0 else x0
                    k = np.int32(2) if x2 > m else k
                    m = x2 if x2 > m else m
                    k = np.int32(3) if x3 > m else k
                    m = (x3 if x3 > m else m) + bias[c]
                    nan = (x0 != x0) | (x1 != x1) | (x2 != x2) | (x3 != x3)
                    best[c] = x0 + x1 + x2 + x3 if nan else (m if m > zero else zero)
                    place[c] = np.uint8(k if (m > zero) & (not nan) else closed)
            else:
                copy(result, first, best, 0, outputs)
                for c in range(outputs):
                    place[c] = 0
                for i in range(1, p.ph * p.pw):
                    r = row(result, first + i // p.pw * line + i % p.pw * pixel, outputs)
                    for c in range(outputs):
                        larger = (r[c] > best[c]) | (r[c] != r[c])
                        best[c] = r[c] if larger else best[c]
                        place[c] = np.uint8(i) if larger else place[c]
                for c in range(outputs):
                    best[c] += bias[c]
                close(best, place, closed)


@inner
def close(y, places, full):
    """ReLU, and its mark where it is closed: also at NaN, which it lets through."""
    for c in range(y.size):
        m = y[c]
        places[c] = places[c] if m > 0 else np.uint8(full)
        y[c] = m if (m > 0) | (m != m) else 0


@compiled
def forward(lo, hi, images, weights, bias, y, places, p):
    """y and places (N, P, Q, O) from images (N, h, w, C), for images lo..hi."""
    image = pad_or_not(images, p)
    each = p.qh * p.qw * p.g * p.og
    result = scratch(p.oh * p.ow * p.os, images)
    for n in range(lo, hi):
        source = address_of(images) + n * p.h * p.w * p.c * p.size
        if image.size > 0:
            pad(images, n, image, p)
            source = address_of(image)
        call(p.convolve, p.here, source, address_of(weights), address_of(result), 0)
        choose(result, bias, y, places, n * each, p)


@compiled
def forward_statistics(lo, hi, images, weights, out, means, squares, p):
    """out (N, oh, ow, O) = the convolution; and per image and channel its mean and the sum of
    squared deviations from it, in means and squares (N, O).

    Sums of numbers far from zero lose digits, so the image's first pixel is taken from all.
    """
    image = pad_or_not(images, p)
    outputs = p.g * p.og
    pixels = p.oh * p.ow
    result = scratch(pixels * p.os, images)
    sums, products = np.empty(outputs, images.dtype), np.empty(outputs, images.dtype)
    for n in range(lo, hi):
        source = address_of(images) + n * p.h * p.w * p.c * p.size
        if image.size > 0:
            pad(images, n, image, p)
            source = address_of(image)
        call(p.convolve, p.here, source, address_of(weights), address_of(result), 0)
        clear(sums, 0, outputs)
        clear(products, 0, outputs)
        first = row(result, 0, outputs)
        for k in range(pixels):
            line = row(result, k * p.os, outputs)
            to = (n * pixels + k) * outputs
            kept = row(out, to, outputs)
            for c in range(outputs):
                kept[c] = line[c]
                deviation = line[c] - first[c]
                sums[c] += deviation
                products[c] += deviation * deviation
        for c in range(outputs):
            means[n * outputs + c] = first[c] + sums[c] / pixels
            squares[n * outputs + c] = products[c] - sums[c] * sums[c] / pixels


@compiled
def normalise(lo, hi, out, scale, shift, y, places, chosen, relu, p):
    """y = scale v + shift for the number v of each window for which that is largest (chosen)."""
    outputs = p.g * p.og
    full = p.ph * p.pw
    each = p.qh * p.qw * outputs
    for n in range(lo, hi):
        start = n * p.oh * p.ow * outputs
        for u in range(p.qh):
            for v in range(p.qw):
                first = start + (u * p.ph * p.ow + v * p.pw) * outputs
                to = n * each + (u * p.qw + v) * outputs
                best, place = row(y, to, outputs), row(places, to, outputs)
                raw = row(chosen, to, outputs)
                r0 = row(out, first, outputs)
                if p.ph == 2 and p.pw == 2:
                    below = first + p.ow * outputs
                    r1, r2 = (
                        row(out, first + outputs, outputs),
                        row(out, below, outputs),
                    )
                    r3 = row(out, below + outputs, outputs)
                    for c in range(outputs):
                        s = scale[c]
                        x, m, k = r0[c], r0[c] * s, np.int32(0)
                        larger = r1[c] * s > m
                        x, k = (r1[c] if larger else x), (np.int32(1) if larger else k)
                        m = x * s
                        larger = r2[c] * s > m
                        x, k = (r2[c] if larger else x), (np.int32(2) if larger else k)
                        m = x * s
                        larger = r3[c] * s > m
                        x, k = (r3[c] if larger else x), (np.int32(3) if larger else k)
                        raw[c] = x
                        best[c] = x * s + shift[c]
                        place[c] = np.uint8(k)
                else:
                    for c in range(outputs):
                        raw[c] = r0[c]
                        place[c] = 0
                    for i in range(1, full):
                        other = first + (i // p.pw * p.ow + i % p.pw) * outputs
                        r = row(out, other, outputs)
                        for c in range(outputs):
                            larger = r[c] * scale[c] > raw[c] * scale[c]
                            raw[c] = r[c] if larger else raw[c]
                            place[c] = np.uint8(i) if larger else place[c]
                    for c in range(outputs):
                        best[c] = raw[c] * scale[c] + shift[c]
                if relu:
                    close(best, place, full)


@compiled
def norm_sums(lo, hi, gy, places, chosen, mean, inverse, sums, products, p):
    """Per image and channel: the sums of G and of G x̂ over the open windows."""
    outputs = p.g * p.og
    full = p.ph * p.pw
    windows = p.qh * p.qw
    for n in range(lo, hi):
        total, product = (
            row(sums, n * outputs, outputs),
            row(products, n * outputs, outputs),
        )
        clear(total, 0, outputs)
        clear(product, 0, outputs)
        for k in range(windows):
            at = (n * windows + k) * outputs
            g, x, place = (
                row(gy, at, outputs),
                row(chosen, at, outputs),
                row(places, at, outputs),
            )
            for c in range(outputs):
                open_g = g[c] if np.int32(place[c]) < full else 0
                total[c] += open_g
                product[c] += open_g * ((x[c] - mean[c]) * inverse[c])


@inner
def spread_windows(gy, n, places, panels, biases, p):
    """The gradient of each window to its place in the panels, zero to the others; and added to
    the bias's gradient."""
    outputs = p.g * p.og
    zero = gy.dtype.type(0)
    closed = np.int32(p.ph * p.pw)
    for k in range(p.qh * p.qw):
        at = (n * p.qh * p.qw + k) * outputs
        gradient, place = row(gy, at, outputs), row(places, at, outputs)
        for c in range(outputs):
            biases[c] += gradient[c] if np.int32(place[c]) < closed else zero
    for g in range(p.g):
        for b in range(p.nob):
            count = min(p.ob, p.og - b * p.ob)
            channel = g * p.og + b * p.ob
            for u in range(p.qh):
                for v in range(p.qw):
                    at = ((n * p.qh + u) * p.qw + v) * outputs + channel
                    gradient, place = row(gy, at, count), row(places, at, count)
                    y, x = p.down + u * p.ph, p.right + v * p.pw
                    to = (((g * p.nob + b) * p.hd + y) * p.wd + x) * p.ob
                    if p.ph == 2 and p.pw == 2:
                        t0, t1 = row(panels, to, count), row(panels, to + p.ob, count)
                        to += p.wd * p.ob
                        t2, t3 = row(panels, to, count), row(panels, to + p.ob, count)
                        for c in range(count):
                            which = np.int32(place[c])
                            value = gradient[c]
                            t0[c] = value if which == 0 else zero
                            t1[c] = value if which == 1 else zero
                            t2[c] = value if which == 2 else zero
                            t3[c] = value if which == 3 else zero
                        continue
                    for i in range(p.ph * p.pw):
                        target = row(panels, to + (i // p.pw * p.wd + i % p.pw) * p.ob, count)
                        for c in range(count):
                            target[c] = gradient[c] if np.int32(place[c]) == i else zero


@inner
def spread_normalised(gy, n, places, out, a, b, d, panels, p):
    """The gradient a G + b v + d of each number v of the convolution, G being zero but at the
    place of its window."""
    outputs = p.g * p.og
    for g in range(p.g):
        for block in range(p.nob):
            count = min(p.ob, p.og - block * p.ob)
            channel = g * p.og + block * p.ob
            a0, b0 = row(a, channel, count), row(b, channel, count)
            d0 = row(d, channel, count)
            for u in range(p.qh):
                for v in range(p.qw):
                    at = ((n * p.qh + u) * p.qw + v) * outputs + channel
                    gradient, place = row(gy, at, count), row(places, at, count)
                    for i in range(p.ph):
                        y, x = u * p.ph + i, v * p.pw
                        to = (((g * p.nob + block) * p.hd + p.down + y) * p.wd + p.right + x) * p.ob
                        start = ((n * p.oh + y) * p.ow + x) * outputs + channel
                        for j in range(p.pw):
                            target = row(panels, to + j * p.ob, count)
                            value = row(out, start + j * outputs, count)
                            k = np.int32(i * p.pw + j)
                            for c in range(count):
                                here = gradient[c] * a0[c] if np.int32(place[c]) == k else 0
                                target[c] = here + value[c] * b0[c] + d0[c]


@compiled
def backward(lo, hi, bounds, images, gy, places, weights, totals, biases, gx, p):
    """The gradients from parts lo..hi of the batch, which begin at the images `bounds`: each into
    its row of totals and biases, and into gx.  Empty totals or gx are left alone."""
    image = pad_or_not(images, p)
    panels = scratch(p.g * p.nob * p.hd * p.wd * p.ob, gy)
    clear(panels, 0, panels.size)
    padded_gradient = scratch(p.hp * p.wp * p.cs, gy)
    for part in range(lo, hi):
        total = sum_of_part(totals, part)
        for n in range(bounds[part], bounds[part + 1]):
            source = source_of(images, n, image, total != 0, p)
            spread_windows(gy, n, places, panels, biases[part], p)
            gradients(n, source, panels, padded_gradient, address_of(weights), total, gx, p)


@compiled
def backward_normalised(lo, hi, bounds, images, gy, places, out, a, b, d, weights, totals, gx, p):
    """`backward` where there was batch norm, of the result `out`; it takes the bias's effect away.

    Not one function for both: each would be compiled with what only the other needs.
    """
    image = pad_or_not(images, p)
    panels = scratch(p.g * p.nob * p.hd * p.wd * p.ob, gy)
    clear(panels, 0, panels.size)
    padded_gradient = scratch(p.hp * p.wp * p.cs, gy)
    for part in range(lo, hi):
        total = sum_of_part(totals, part)
        for n in range(bounds[part], bounds[part + 1]):
            source = source_of(images, n, image, total != 0, p)
            spread_normalised(gy, n, places, out, a, b, d, panels, p)
            gradients(n, source, panels, padded_gradient, address_of(weights), total, gx, p)


@inner
def source_of(images, n, image, wanted, p):
    """The address of image n, or of its padded copy where it has padding and is wanted."""
    if wanted and image.size > 0:
        pad(images, n, image, p)
        return address_of(image)
    return address_of(images) + n * p.h * p.w * p.c * p.size

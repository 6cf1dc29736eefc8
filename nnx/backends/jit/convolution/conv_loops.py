"""The compiled loops of `conv.py`: convolution and its gradients, image by image.

One image at a time stays in the cache: the padded image, its result, its gradient.  The layouts
are those of `products.py`, which does the arithmetic; here numbers are put where it wants them.
`p` is a record of `record.FIELDS`.
"""

from __future__ import annotations

import numpy as np

from ..codegen.compiling import compiled, inner
from ..codegen.microkernel import call
from ..codegen.places import address_of, clear, copy


@inner
def scratch(count, like):
    """An uninitialised array of `count` numbers that begins with a line of the cache, as vectors
    are read: one that lies across two lines costs two reads."""
    line = 64 // like.itemsize
    room = np.empty(count + line, like.dtype)
    start = -(address_of(room) // like.itemsize) % line
    return room[start : start + count]


@inner
def pad(images, n, image, p):
    """Put image n of images, which lie one after another, into the middle of the padded one."""
    line = p.w * p.c
    for y in range(p.h):
        copy(images, (n * p.h + y) * line, image, ((y + p.top) * p.wp + p.left) * p.c, line)


@inner
def pad_or_not(images, p):
    """A scratch array for the padded image, all zeros; empty where nothing is padded."""
    plain = p.hp == p.h and p.wp == p.w
    image = scratch(0 if plain else p.hp * p.wp * p.c, images)
    clear(image, 0, image.size)
    return image


@inner
def fill(result, start, pixel, bias, p):
    """Begin a result, `pixel` numbers a pixel, with the bias; left as it is where that is empty."""
    for k in range(p.oh * p.ow if bias.size > 0 else 0):
        copy(bias, 0, result, start + k * pixel, bias.size)


@inner
def spread(gy, n, panels, p):
    """The gradient (N, oh, ow, O) of image n into its panels."""
    outputs = p.g * p.og
    for g in range(p.g):
        for b in range(p.nob):
            count = min(p.ob, p.og - b * p.ob)
            for y in range(p.oh):
                to = (((g * p.nob + b) * p.hd + p.down + y) * p.wd + p.right) * p.ob
                start = (n * p.oh + y) * p.ow * outputs + g * p.og + b * p.ob
                for x in range(p.ow):
                    copy(gy, start + x * outputs, panels, to + x * p.ob, count)


@inner
def sum_of_part(totals, part):
    """The address of a part's sum of weight gradients; 0 where there are none."""
    each = totals.shape[1] * totals.itemsize
    return address_of(totals) + part * each if totals.size > 0 else 0


@inner
def gradients(n, image, panels, padded_gradient, weights, total, gx, p):
    """One image's gradients from its panels: added to what lies at the address `total`, unless
    that is 0, and put into gx, unless that is empty.  image and weights are addresses too."""
    d = address_of(panels)
    if total != 0:
        call(p.weight_gradient, p.here, image, d, total)
    if gx.size == 0:
        return
    line = p.w * p.c
    if p.rotate == 1 and p.cs == p.c:
        call(p.input_by_rotation, p.here, d, weights, address_of(gx) + n * p.h * line * p.size)
        return
    width, top, left = p.w, 0, 0
    if p.rotate == 1:
        call(p.input_by_rotation, p.here, d, weights, address_of(padded_gradient))
    else:
        clear(padded_gradient, 0, padded_gradient.size)
        call(p.input_by_scattering, p.here, d, weights, address_of(padded_gradient))
        width, top, left = p.wp, p.top, p.left
    for y in range(p.h):
        for x in range(p.w):
            start = ((y + top) * width + x + left) * p.cs
            copy(padded_gradient, start, gx, (n * p.h + y) * line + x * p.c, p.c)


# ---- whole kernels: what `threads.split` runs.  Arrays are flat: images one after another. ----


@compiled
def forward(lo, hi, images, weights, bias, y, p):
    """y (N, oh, ow, O) = the convolution of images (N, h, w, C), for images lo..hi."""
    image = pad_or_not(images, p)
    outputs = p.g * p.og
    each = p.oh * p.ow * outputs
    direct = p.os == outputs
    result = scratch(0 if direct else p.oh * p.ow * p.os, images)
    kernel = address_of(weights)
    onto = 1 if bias.size > 0 else 0
    for n in range(lo, hi):
        source = address_of(images) + n * p.h * p.w * p.c * p.size
        if image.size > 0:
            pad(images, n, image, p)
            source = address_of(image)
        if direct:
            fill(y, n * each, outputs, bias, p)
            call(p.convolve, p.here, source, kernel, address_of(y) + n * each * p.size, onto)
        else:
            fill(result, 0, p.os, bias, p)
            call(p.convolve, p.here, source, kernel, address_of(result), onto)
            for k in range(p.oh * p.ow):
                copy(result, k * p.os, y, n * each + k * outputs, outputs)


@compiled
def backward(lo, hi, bounds, images, gy, weights, totals, gx, p):
    """The gradients from parts lo..hi of the batch, which begin at the images `bounds`: each into
    its row of totals, and into gx; an empty array is left alone."""
    image = pad_or_not(images, p)
    panels = scratch(p.g * p.nob * p.hd * p.wd * p.ob, gy)
    clear(panels, 0, panels.size)
    padded_gradient = scratch(p.hp * p.wp * p.cs, gy)
    kernel = address_of(weights)
    for part in range(lo, hi):
        total = sum_of_part(totals, part)
        for n in range(bounds[part], bounds[part + 1]):
            source = address_of(images) + n * p.h * p.w * p.c * p.size
            if total != 0 and image.size > 0:
                pad(images, n, image, p)
                source = address_of(image)
            spread(gy, n, panels, p)
            gradients(n, source, panels, padded_gradient, kernel, total, gx, p)

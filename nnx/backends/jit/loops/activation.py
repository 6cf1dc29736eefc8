"""The compiled loops of `activation.py`, which imports this file when it first needs them.

Elementwise ones take vectors of float32.  `slope` is the derivative, for a backward pass that only
has to multiply by it; where it is not wanted an empty vector is given.
"""

from __future__ import annotations

import math

import numpy as np

from ..codegen import elementary as e
from ..codegen.compiling import fused, summing

ZERO, HALF, ONE = e.ZERO, e.HALF, e.ONE
ROOT_HALF = np.float32(math.sqrt(0.5))
DENSITY = np.float32(1 / math.sqrt(2 * math.pi))
INNER, CUBIC, THREE = np.float32(math.sqrt(2 / math.pi)), np.float32(0.044715), np.float32(3)
TWO = np.float32(2)
STRANDS = 64  # in which a row's maximum is looked for, joined at the end: four vectors or more


@fused
def tanh(x, y):
    for i in range(x.size):
        y[i] = e.tanh(x[i])


@fused
def tanh_backward(g, y, gx):
    for i in range(g.size):
        gx[i] = g[i] * (ONE - y[i] * y[i])


@fused
def sigmoid(x, y):
    for i in range(x.size):
        y[i] = e.sigmoid(x[i])


@fused
def sigmoid_backward(g, y, gx):
    for i in range(g.size):
        gx[i] = g[i] * (y[i] * (ONE - y[i]))


@fused
def softplus(x, y):
    for i in range(x.size):
        y[i] = e.softplus(x[i])


@fused
def erf(x, y):
    for i in range(x.size):
        y[i] = e.erf(x[i])


@fused
def silu(x, y, slope):
    if slope.size == 0:
        for i in range(x.size):
            y[i] = x[i] * e.sigmoid(x[i])
    else:
        for i in range(x.size):
            s = e.sigmoid(x[i])
            v = x[i] * s
            y[i] = v
            slope[i] = s + v * (ONE - s)


@fused
def leaky_relu(x, a, y, slope):
    a = np.float32(a)
    for i in range(x.size):
        v = x[i]
        y[i] = v if v > ZERO else a * v
    for i in range(slope.size):
        slope[i] = ONE if x[i] > ZERO else a


@fused
def hardtanh_backward(g, y, low, high, gx):
    for i in range(g.size):
        gx[i] = g[i] if (y[i] > low) & (y[i] < high) else ZERO


@fused
def elu(x, alpha, scale, width, y, slope):
    alpha, scale, width = np.float32(scale * alpha), np.float32(scale), np.float32(1 / width)
    if slope.size == 0:
        for i in range(x.size):
            v = x[i]
            below = alpha * e.expm1_below((ZERO if v > ZERO else v) * width)
            y[i] = scale * v if v > ZERO else below
    else:
        for i in range(x.size):
            v = x[i]
            below = (ZERO if v > ZERO else v) * width
            y[i] = scale * v if v > ZERO else alpha * e.expm1_below(below)
            slope[i] = scale if v > ZERO else alpha * width * e.exp_below(below)


@fused
def gelu(x, y, slope):
    if slope.size == 0:
        for i in range(x.size):
            y[i] = x[i] * (HALF + HALF * e.erf(x[i] * ROOT_HALF))
    else:
        for i in range(x.size):
            v = x[i]
            phi = HALF + HALF * e.erf(v * ROOT_HALF)
            y[i] = v * phi
            slope[i] = phi + v * DENSITY * e.exp(-HALF * v * v)


@fused
def gelu_by_tanh(x, y, slope):
    if slope.size == 0:
        for i in range(x.size):
            v = x[i]
            y[i] = v * e.sigmoid(TWO * INNER * (v + CUBIC * v * v * v))
    else:
        for i in range(x.size):
            v = x[i]
            phi = e.sigmoid(TWO * INNER * (v + CUBIC * v * v * v))
            y[i] = v * phi
            inner = INNER * (ONE + THREE * CUBIC * v * v)
            slope[i] = phi + TWO * v * phi * (ONE - phi) * inner


@fused
def softmax(x, y):
    """Each row of y is e^x / sum of e^x, as e^(x - max) / sum of it."""
    for n in range(x.shape[0]):
        out = y[n]
        exp_below(x[n], out)
        scale = ONE / total(out)
        for c in range(out.size):
            out[c] *= scale


@fused
def softmax_backward(g, y, gx):
    """Each row of gx is y (g - sum of g y)."""
    for n in range(g.shape[0]):
        g_n, y_n, out = g[n], y[n], gx[n]
        for c in range(out.size):
            out[c] = g_n[c] * y_n[c]
        t = total(out)
        for c in range(out.size):
            out[c] -= y_n[c] * t


@fused
def log_softmax(x, y):
    """Each row of y is x - max - log of the sum of e^(x - max)."""
    for n in range(x.shape[0]):
        row, out = x[n], y[n]
        top = exp_below(row, out)
        t = np.log(total(out))
        for c in range(out.size):
            out[c] = (row[c] - top) - t


@fused
def log_softmax_backward(g, y, gx):
    """Each row of gx is g - e^y sum of g."""
    for n in range(g.shape[0]):
        g_n, y_n, out = g[n], y[n], gx[n]
        t = total(g_n)
        for c in range(out.size):
            out[c] = g_n[c] - e.exp_of_a_share(y_n[c]) * t


@fused
def cross_entropy(logits, targets, z, losses):
    """losses = log sum of e^logits - logits[target], row by row; z = softmax - onehot(target)."""
    for n in range(logits.shape[0]):
        out = z[n]
        top = exp_below(logits[n], out)
        t = total(out)
        losses[n] = np.log(t) - (logits[n, targets[n]] - top)
        scale = ONE / t
        for c in range(out.size):
            out[c] *= scale
        out[targets[n]] -= ONE


@fused
def exp_below(row, out):
    """out = e^(row - max); returns the max, over which NaN may pass: the sum of `out` meets it."""
    full = row.size // STRANDS * STRANDS
    top = row[0]
    if full:
        strands = row[:STRANDS].copy()
        for start in range(STRANDS, full, STRANDS):
            some = row[start : start + STRANDS]
            for k in range(STRANDS):
                strands[k] = strands[k] if strands[k] > some[k] else some[k]
        for k in range(STRANDS):
            top = top if top > strands[k] else strands[k]
    for c in range(full, row.size):
        top = top if top > row[c] else row[c]
    for c in range(row.size):
        out[c] = e.exp_of_a_share(row[c] - top)
    return top


@summing
def total(row):
    t = ZERO
    for c in range(row.size):
        t += row[c]
    return t

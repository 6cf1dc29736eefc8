"""The compiled loops of `norm.py`.

Numbers that are normalised together lie in *runs*: x (runs, length), each with its own mean,
or in the columns of *lines*: x (lines, C), each column with its own.  Columns are summed in blocks
of BLOCK lines, whose sums are added up elsewhere, in float64.  So a sum's order depends on the
shape alone.
"""

from __future__ import annotations

import numpy as np

from ..codegen.compiling import summing
from ..codegen.places import clear

BLOCK = 64


@summing
def moments(a):
    """The mean of a run, and the sum of squared deviations from it."""
    total, squares = a.dtype.type(0), a.dtype.type(0)
    for k in range(a.size):
        total += a[k]
    mean = total / a.dtype.type(a.size)
    for k in range(a.size):
        squares += (a[k] - mean) * (a[k] - mean)
    return mean, squares


# ---- runs ----


@summing
def run_statistics(lo, hi, x, means, squares):
    """Each run's `moments`, for runs lo..hi; all loops below are over runs, lines or blocks."""
    for n in range(lo, hi):
        means[n], squares[n] = moments(x[n])


@summing
def run_scale(lo, hi, x, means, scale, shift, y):
    """y = (x - mean) scale + shift, with one of each for every run."""
    for n in range(lo, hi):
        a, b = x[n], y[n]
        mean, s, t = means[n], scale[n], shift[n]
        for k in range(a.size):
            b[k] = (a[k] - mean) * s + t


@summing
def run_sums(lo, hi, gy, x, means, sums, products):
    """Σ G and Σ G (x - mean) of every run."""
    for n in range(lo, hi):
        g, a, mean = gy[n], x[n], means[n]
        total, product = g.dtype.type(0), g.dtype.type(0)
        for k in range(a.size):
            total += g[k]
            product += g[k] * (a[k] - mean)
        sums[n], products[n] = total, product


@summing
def run_combine(lo, hi, gy, x, means, a, b, d, gx):
    """gx = a G + b (x - mean) + d, with one of each for every run."""
    for n in range(lo, hi):
        g, v, out = gy[n], x[n], gx[n]
        mean, p, q, r = means[n], a[n], b[n], d[n]
        for k in range(v.size):
            out[k] = p * g[k] + (q * (v[k] - mean) + r)


# ---- columns of lines ----


@summing
def column_statistics(lo, hi, x, means, squares):
    """In each block of lines: each column's mean, and sum of squared deviations from it."""
    lines = x.shape[0]
    for n in range(lo, hi):
        mean, square = means[n], squares[n]
        clear(mean, 0, mean.size)
        clear(square, 0, square.size)
        begin, end = n * BLOCK, min(lines, n * BLOCK + BLOCK)
        for m in range(begin, end):
            a = x[m]
            for c in range(a.size):
                mean[c] += a[c]
        for c in range(mean.size):
            mean[c] /= mean.dtype.type(end - begin)
        for m in range(begin, end):
            a = x[m]
            for c in range(a.size):
                square[c] += (a[c] - mean[c]) * (a[c] - mean[c])


@summing
def column_scale(lo, hi, x, mean, scale, shift, y):
    """y = (x - mean) scale + shift, with one of each for every column."""
    for m in range(lo, hi):
        a, b = x[m], y[m]
        for c in range(a.size):
            b[c] = (a[c] - mean[c]) * scale[c] + shift[c]


@summing
def column_sums(lo, hi, gy, x, mean, sums, products):
    """In each block of lines: Σ G and Σ G (x - mean) of every column."""
    lines = x.shape[0]
    for n in range(lo, hi):
        total, product = sums[n], products[n]
        clear(total, 0, total.size)
        clear(product, 0, product.size)
        for m in range(n * BLOCK, min(lines, n * BLOCK + BLOCK)):
            g, a = gy[m], x[m]
            for c in range(a.size):
                total[c] += g[c]
                product[c] += g[c] * (a[c] - mean[c])


@summing
def column_combine(lo, hi, gy, x, mean, a, b, d, gx):
    """gx = a G + b (x - mean) + d, with one of each for every column."""
    for m in range(lo, hi):
        g, v, out = gy[m], x[m], gx[m]
        for c in range(v.size):
            out[c] = a[c] * g[c] + (b[c] * (v[c] - mean[c]) + d[c])


# ---- layer norm: runs with a weight and a bias for every place ----


@summing
def layer_norm(lo, hi, x, weight, bias, eps, means, inverses, y):
    """y = weight (x - mean) inverse + bias."""
    for n in range(lo, hi):
        a, b = x[n], y[n]
        mean, squares = moments(a)
        inverse = a.dtype.type(1) / np.sqrt(squares / a.dtype.type(a.size) + eps)
        means[n], inverses[n] = mean, inverse
        for k in range(a.size):
            b[k] = (a[k] - mean) * inverse * weight[k] + bias[k]


@summing
def layer_norm_backward(lo, hi, gy, x, weight, means, inverses, gx, products, sums):
    """gx (M, D), and in each block of rows Σ G x̂ and Σ G of every place (blocks, D)."""
    rows, length = x.shape
    for n in range(lo, hi):
        product, total = products[n], sums[n]
        clear(product, 0, length)
        clear(total, 0, length)
        for m in range(n * BLOCK, min(rows, n * BLOCK + BLOCK)):
            g, a, out = gy[m], x[m], gx[m]
            mean, inverse = means[m], inverses[m]
            s, q = a.dtype.type(0), a.dtype.type(0)
            for k in range(length):
                normal = (a[k] - mean) * inverse
                scaled = g[k] * weight[k]
                s += scaled
                q += scaled * normal
                product[k] += g[k] * normal
                total[k] += g[k]
            s /= a.dtype.type(length)
            q /= a.dtype.type(length)
            for k in range(length):
                normal = (a[k] - mean) * inverse
                out[k] = (g[k] * weight[k] - s - normal * q) * inverse


# ---- group norm: samples (N, groups, channels of a group, pixels), each read while it is near ----


@summing
def group_norm(lo, hi, x, weight, bias, eps, means, inverses, y):
    """y = weight (x - mean) inverse + bias, with a weight and a bias for every channel."""
    for n in range(lo, hi):
        for k in range(x.shape[1]):
            runs, outs = x[n, k], y[n, k]
            own, shift = weight[k * len(runs) :], bias[k * len(runs) :]
            mean, squares = moments(runs.reshape(-1))
            length = runs.dtype.type(runs.size)
            inverse = runs.dtype.type(1) / np.sqrt(squares / length + eps)
            means[n, k], inverses[n, k] = mean, inverse
            for c in range(len(runs)):
                a, b = runs[c], outs[c]
                s, t = inverse * own[c], shift[c]
                for p in range(a.size):
                    b[p] = (a[p] - mean) * s + t


@summing
def group_norm_backward(lo, hi, gy, x, weight, means, inverses, sums, products, gx):
    """gx, and Σ G and Σ G (x - mean) of every sample's channels (N, groups, channels)."""
    for n in range(lo, hi):
        for k in range(x.shape[1]):
            runs, gradients, outs = x[n, k], gy[n, k], gx[n, k]
            own = weight[k * len(runs) :]
            mean, inverse = means[n, k], inverses[n, k]
            zero = runs.dtype.type(0)
            s, q = zero, zero
            for c in range(len(runs)):
                g, v = gradients[c], runs[c]
                total, product = zero, zero
                for p in range(v.size):
                    total += g[p]
                    product += g[p] * (v[p] - mean)
                sums[n, k, c], products[n, k, c] = total, product
                s += own[c] * total
                q += own[c] * product
            length = runs.dtype.type(runs.size)
            b = -inverse * inverse * inverse * q / length
            d = -inverse * s / length
            for c in range(len(runs)):
                g, v, out = gradients[c], runs[c], outs[c]
                a = inverse * own[c]
                for p in range(v.size):
                    out[p] = a * g[p] + (b * (v[p] - mean) + d)

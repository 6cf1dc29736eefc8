"""The compiled loops of `linear.py`, which imports this file when it first needs them."""

from __future__ import annotations

import numpy as np

from ..codegen.compiling import compiled


@compiled
def relu(x, y):
    """y = max(x, 0), with NaN kept, for vectors."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        v = x[i]
        y[i] = zero if v <= zero else v


@compiled
def relu_backward(g, y, gx):
    """gx = g where y > 0, else 0, for vectors."""
    zero = g.dtype.type(0)
    for i in range(g.size):
        gx[i] = g[i] if y[i] > zero else zero


@compiled
def bias_relu(y, b):
    """y = max(y + b, 0) in place: (N, O) and (O,)."""
    zero = y.dtype.type(0)
    for n in range(y.shape[0]):
        for o in range(y.shape[1]):
            v = y[n, o] + b[o]
            y[n, o] = zero if v <= zero else v


@compiled
def relu_bias_backward(g, y, gx, gb):
    """gx = g where y > 0, else 0, (N, O); gb += its sums over n, (O,)."""
    zero = g.dtype.type(0)
    for n in range(g.shape[0]):
        for o in range(g.shape[1]):
            v = g[n, o] if y[n, o] > zero else zero
            gx[n, o] = v
            gb[o] += v


@compiled
def less_the_largest(logits, targets, z, losses):
    """z = logits - max, row by row, and losses = -z[target]."""
    for n in range(logits.shape[0]):
        largest = logits[n, 0]
        for c in range(1, logits.shape[1]):
            largest = max(largest, logits[n, c])
        for c in range(logits.shape[1]):
            z[n, c] = logits[n, c] - largest
        losses[n] = -z[n, targets[n]]


@compiled
def normalise(e, targets, losses):
    """losses += log(sum e), row by row; and e becomes e / sum e - onehot(target)."""
    one = e.dtype.type(1)
    for n in range(e.shape[0]):
        total = e.dtype.type(0)
        for c in range(e.shape[1]):
            total += e[n, c]
        losses[n] += np.log(total)
        scale = one / total
        for c in range(e.shape[1]):
            e[n, c] *= scale
        e[n, targets[n]] -= one

"""Recurrent layers written out from their definitions: one sequence, one step, one gate at a time.

Slow and obviously right; the oracle of the tests.  PyTorch's layouts and gate orders.
"""

from __future__ import annotations

import numpy as np

GATES = {"rnn": 1, "relu": 1, "lstm": 4, "gru": 3, "gru-before": 3}


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step(kind, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr=None):
    """One step of one sequence: x (D,), h and c (H,) -> h', c'."""
    if kind in ("rnn", "relu"):
        z = w_ih @ x + b_ih + w_hh @ h + b_hh
        return (np.tanh(z) if kind == "rnn" else np.maximum(z, 0)), c
    if kind == "lstm":
        i, f, g, o = np.split(w_ih @ x + b_ih + w_hh @ h + b_hh, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        return (h if w_hr is None else w_hr @ h), c
    xr, xz, xn = np.split(w_ih @ x + b_ih, 3)
    wr, wz, wn = np.split(w_hh, 3)
    br, bz, bn = np.split(b_hh, 3)
    r, z = sigmoid(xr + wr @ h + br), sigmoid(xz + wz @ h + bz)
    n = np.tanh(xn + r * (wn @ h + bn)) if kind == "gru" else np.tanh(xn + wn @ (r * h) + bn)
    return (1 - z) * n + z * h, c


def layer(kind, x, weights, h0, c0, lengths=None):
    """x (T, N, D), weights per direction, h0 (S, N, P), c0 (S, N, H) -> y, h_n, c_n."""
    steps, n, _ = x.shape
    out = h0.shape[2]
    y = np.zeros((steps, n, len(weights) * out))
    h_n, c_n = np.zeros_like(h0), np.zeros_like(c0)
    for s, own in enumerate(weights):
        for k in range(n):
            length = steps if lengths is None else lengths[k]
            h, c = h0[s, k], c0[s, k]
            for t in range(length) if s == 0 else reversed(range(length)):
                h, c = step(kind, x[t, k], h, c, *own)
                y[t, k, s * out : (s + 1) * out] = h
            h_n[s, k], c_n[s, k] = h, c
    return y, h_n, c_n


def example(kind, directions=1, steps=4, n=3, features=3, hidden=4, proj=0, bias=True, seed=0):
    """x, weights, h0, c0 of a small layer, float64."""
    rng = np.random.default_rng(seed)
    rows, out = GATES[kind] * hidden, proj or hidden

    def draw(*shape):
        return rng.uniform(-0.8, 0.8, shape)

    weights = []
    for _ in range(directions):
        own = [draw(rows, features), draw(rows, out), draw(rows), draw(rows)]
        if not bias:
            own[2:] = [np.zeros(rows), np.zeros(rows)]
        weights.append((*own, draw(out, hidden)) if proj else tuple(own))
    x, h0 = draw(steps, n, features) * 2, draw(directions, n, out)
    return x, weights, h0, draw(directions, n, hidden)

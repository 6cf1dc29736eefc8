"""The compiled scans of the simple recurrent layer; layouts and terms: `scan.py`."""

from __future__ import annotations

from numba.extending import register_jitable

from ..codegen.compiling import compiled
from ..codegen.places import address_of
from ..codegen.vectors import LANES, ONE, SIZE, load, relu, store, tanh, where_positive
from .scan import clear, product, share


@register_jitable
def activate(z, b, rectified, units, h):
    """z and h become f(z + b): a row's step."""
    if rectified:
        for j in range(0, units, LANES):
            value = relu(load(z, j) + load(b, j))
            store(z, j, value)
            store(h, j, value)
    else:
        for j in range(0, units, LANES):
            value = tanh(load(z, j) + load(b, j))
            store(z, j, value)
            store(h, j, value)


@compiled
def rnn_forward(lo, hi, kernel, z, w, bias, lengths, rectified, h_n):
    """z (T, N, S, units) becomes y; bias (S, units)."""
    steps, n, directions, units = z.shape
    row = directions * units * SIZE
    state = units * SIZE
    for s in range(directions):
        first, rows = share(lo, hi, s, n)
        if rows <= 0:
            continue
        h, b = address_of(h_n, s, first), address_of(bias, s)
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            y = address_of(z, t, first, s)
            product(kernel, rows, w.shape[1], units, h, state, address_of(w, s), y, row, 1)
            for m in range(rows):
                y_m, h_m = y + m * row, h + m * state
                if t >= lengths[first + m]:
                    clear(y_m, units)
                else:
                    activate(y_m, b, rectified, units, h_m)


@compiled
def rnn_backward(lo, hi, kernel, y, w, gy, lengths, rectified, gz, gh):
    """gz (T, N, S, units) is written; gh (S, N, units), the gradient of h_n, becomes that of h0."""
    steps, n, directions, units = y.shape
    row = directions * units * SIZE
    state = units * SIZE
    for s in range(directions):
        first, rows = share(lo, hi, s, n)
        if rows <= 0:
            continue
        h = address_of(gh, s, first)
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            z_t, y_t, g_t = (
                address_of(gz, t, first, s),
                address_of(y, t, first, s),
                address_of(gy, t, first, s),
            )
            for m in range(rows):
                z_m, y_m, g_m, h_m = z_t + m * row, y_t + m * row, g_t + m * row, h + m * state
                if t >= lengths[first + m]:
                    clear(z_m, units)
                    continue
                if rectified:
                    for j in range(0, units, LANES):
                        store(z_m, j, where_positive(load(y_m, j), load(h_m, j) + load(g_m, j)))
                else:
                    for j in range(0, units, LANES):
                        y_j = load(y_m, j)
                        store(z_m, j, (load(h_m, j) + load(g_m, j)) * (ONE - y_j * y_j))
                clear(h_m, units)
            product(kernel, rows, w.shape[1], units, z_t, row, address_of(w, s), h, state, 1)

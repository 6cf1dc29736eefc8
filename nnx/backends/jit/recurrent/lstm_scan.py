"""The compiled scans of the LSTM; layouts and terms: `scan.py`.  Gates i, f, g, o."""

from __future__ import annotations

from numba.extending import register_jitable

from ..codegen.compiling import compiled
from ..codegen.places import address_of
from ..codegen.vectors import LANES, ONE, SIZE, load, sigmoid, store, tanh
from .scan import clear, earlier, product, share, starts


@compiled
def lstm_forward(lo, hi, kernel, z, w, bias, lengths, y, cells, h_n, c_n):
    """z (T, N, S, 4 units) becomes the gates; bias (S, 4 units); y and cells (T, N, S, units) are
    written, y with 0 and cells not where a sequence has ended."""
    steps, n, directions, units = y.shape
    row, state = directions * units * SIZE, units * SIZE
    for s in range(directions):
        first, rows = share(lo, hi, s, n)
        if rows <= 0:
            continue
        h, c, b = address_of(h_n, s, first), address_of(c_n, s, first), address_of(bias, s)
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            z_t, y_t = address_of(z, t, first, s), address_of(y, t, first, s)
            cell_t = address_of(cells, t, first, s)
            product(
                kernel, rows, w.shape[1], 4 * units, h, state, address_of(w, s), z_t, 4 * row, 1
            )
            for m in range(rows):
                if t >= lengths[first + m]:
                    clear(y_t + m * row, units)
                    continue
                _forward(
                    units, z_t + 4 * m * row, b, h + m * state, c + m * state,
                    y_t + m * row, cell_t + m * row,
                )  # fmt: skip


@register_jitable
def _forward(units, z, bias, h, c, y, cell):
    """One row and step; all but `units` are addresses."""
    two, three = 2 * units, 3 * units
    for j in range(0, units, LANES):
        i = sigmoid(load(z, j) + load(bias, j))
        f = sigmoid(load(z, units + j) + load(bias, units + j))
        g = tanh(load(z, two + j) + load(bias, two + j))
        o = sigmoid(load(z, three + j) + load(bias, three + j))
        store(z, j, i)
        store(z, units + j, f)
        store(z, two + j, g)
        store(z, three + j, o)
        c_j = f * load(c, j) + i * g
        h_j = o * tanh(c_j)
        store(c, j, c_j)
        store(cell, j, c_j)
        store(h, j, h_j)
        store(y, j, h_j)


@compiled
def lstm_backward(lo, hi, kernel, gates, cells, w, c0, gy, lengths, gz, gh, gc):
    """gz (T, N, S, 4 units) is written; gh and gc (S, N, units), the gradients of h_n and c_n,
    become those of h0 and c0."""
    steps, n, directions, units = cells.shape
    row, state = directions * units * SIZE, units * SIZE
    for s in range(directions):
        first, rows = share(lo, hi, s, n)
        if rows <= 0:
            continue
        h, c, before_first = (
            address_of(gh, s, first),
            address_of(gc, s, first),
            address_of(c0, s, first),
        )
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            z_t, a_t = address_of(gz, t, first, s), address_of(gates, t, first, s)
            g_t, c_t = address_of(gy, t, first, s), address_of(cells, t, first, s)
            c_earlier = c_t + (earlier(t, s) - t) * n * row
            for m in range(rows):
                length = lengths[first + m]
                if t >= length:
                    clear(z_t + 4 * m * row, 4 * units)
                    continue
                before = c_earlier + m * row
                if starts(t, s, length):
                    before = before_first + m * state
                _backward(
                    units, a_t + 4 * m * row, c_t + m * row, before, g_t + m * row,
                    z_t + 4 * m * row, h + m * state, c + m * state,
                )  # fmt: skip
            product(kernel, rows, w.shape[1], units, z_t, 4 * row, address_of(w, s), h, state, 1)


@register_jitable
def _backward(units, gates, cell, before, gy, gz, gh, gc):
    """One row and step; all but `units` are addresses.  gh becomes 0: the product is added."""
    two, three = 2 * units, 3 * units
    for j in range(0, units, LANES):
        i, f = load(gates, j), load(gates, units + j)
        g, o = load(gates, two + j), load(gates, three + j)
        d_h = load(gh, j) + load(gy, j)
        tanh_c = tanh(load(cell, j))
        d_c = load(gc, j) + d_h * o * (ONE - tanh_c * tanh_c)
        store(gz, j, d_c * g * i * (ONE - i))
        store(gz, units + j, d_c * load(before, j) * f * (ONE - f))
        store(gz, two + j, d_c * i * (ONE - g * g))
        store(gz, three + j, d_h * tanh_c * o * (ONE - o))
        store(gc, j, d_c * f)
    clear(gh, units)

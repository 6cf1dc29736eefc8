"""The compiled scans of the GRU, both variants; layouts and terms: `scan.py`.

Four slots of `units` numbers stand for a row's step, in an order that lets two products share them:

    forward     n, r, z, u      u = W_hn h + b_hn, or where the reset comes before the product r h
    backward    δn, δr, δz, δu  of the pre-activations, and of u, or of r h

The input's product has to do with the first three, the recurrent one, reset after, with the last.
"""

from __future__ import annotations

from numba.extending import register_jitable

from ..codegen.compiling import compiled
from ..codegen.places import address_of
from ..codegen.vectors import LANES, ONE, SIZE, load, sigmoid, store, tanh
from .scan import clear, earlier, product, share, starts


@compiled
def gru_forward(lo, hi, kernel, z, w, bias, lengths, y, h_n):
    """z (T, N, S, 4 units) becomes the gates; w's columns are r, z, n; bias (S, 4 units); y
    (T, N, S, units) is written."""
    steps, n, directions, units = y.shape
    row, state = directions * units * SIZE, units * SIZE
    for s in range(directions):
        first, rows = share(lo, hi, s, n)
        if rows <= 0:
            continue
        h, b, w_rz = address_of(h_n, s, first), address_of(bias, s), address_of(w, s)
        inner = w.shape[1]
        w_n = w_rz + 2 * units * inner * SIZE  # 2 units are whole panels
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            z_t, y_t = address_of(z, t, first, s), address_of(y, t, first, s)
            product(kernel, rows, inner, 2 * units, h, state, w_rz, z_t + state, 4 * row, 1)
            product(kernel, rows, inner, units, h, state, w_n, z_t + 3 * state, 4 * row, 0)
            for m in range(rows):
                if t >= lengths[first + m]:
                    clear(y_t + m * row, units)
                    continue
                _forward(units, z_t + 4 * m * row, b, h + m * state, y_t + m * row)


@register_jitable
def _forward(units, z, bias, h, y):
    """One row and step; all but `units` are addresses."""
    two, three = 2 * units, 3 * units
    for j in range(0, units, LANES):
        r = sigmoid(load(z, units + j) + load(bias, units + j))
        update = sigmoid(load(z, two + j) + load(bias, two + j))
        u = load(z, three + j) + load(bias, three + j)
        n = tanh(load(z, j) + load(bias, j) + r * u)
        h_j = n + update * (load(h, j) - n)
        store(z, j, n)
        store(z, units + j, r)
        store(z, two + j, update)
        store(z, three + j, u)
        store(h, j, h_j)
        store(y, j, h_j)


@compiled
def gru_backward(lo, hi, kernel, gates, y, w, h0, gy, lengths, gz, gh):
    """w's rows are r, z, n; gz (T, N, S, 4 units) is written; gh (S, N, units), the gradient of
    h_n, becomes that of h0."""
    steps, n, directions, units = y.shape
    row, state = directions * units * SIZE, units * SIZE
    for s in range(directions):
        first, rows = share(lo, hi, s, n)
        if rows <= 0:
            continue
        h, before_first = address_of(gh, s, first), address_of(h0, s, first)
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            z_t, a_t = address_of(gz, t, first, s), address_of(gates, t, first, s)
            g_t, y_t = address_of(gy, t, first, s), address_of(y, t, first, s)
            y_earlier = y_t + (earlier(t, s) - t) * n * row
            for m in range(rows):
                length = lengths[first + m]
                if t >= length:
                    clear(z_t + 4 * m * row, 4 * units)
                    continue
                before = y_earlier + m * row
                if starts(t, s, length):
                    before = before_first + m * state
                _backward(
                    units, a_t + 4 * m * row, before, g_t + m * row, z_t + 4 * m * row,
                    h + m * state,
                )  # fmt: skip
            product(
                kernel, rows, w.shape[1], units, z_t + state, 4 * row, address_of(w, s), h, state, 1
            )


@register_jitable
def _backward(units, gates, before, gy, gz, gh):
    """One row and step; all but `units` are addresses."""
    two, three = 2 * units, 3 * units
    for j in range(0, units, LANES):
        n, r = load(gates, j), load(gates, units + j)
        update, u = load(gates, two + j), load(gates, three + j)
        d = load(gh, j) + load(gy, j)
        d_n = d * (ONE - update) * (ONE - n * n)
        d_u = d_n * r
        store(gz, j, d_n)
        store(gz, units + j, d_u * u * (ONE - r))
        store(gz, two + j, d * (load(before, j) - n) * update * (ONE - update))
        store(gz, three + j, d_u)
        store(gh, j, d * update)


# ---- reset before the product ----


@compiled
def gru_before_forward(lo, hi, kernel, z, w_rz, w_n, bias, lengths, y, h_n):
    """As `gru_forward`."""
    steps, n, directions, units = y.shape
    row, state = directions * units * SIZE, units * SIZE
    two, three = 2 * units, 3 * units
    for s in range(directions):
        first, rows = share(lo, hi, s, n)
        if rows <= 0:
            continue
        h, b = address_of(h_n, s, first), address_of(bias, s)
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            z_t, y_t = address_of(z, t, first, s), address_of(y, t, first, s)
            product(
                kernel,
                rows,
                w_rz.shape[1],
                two,
                h,
                state,
                address_of(w_rz, s),
                z_t + state,
                4 * row,
                1,
            )
            for m in range(rows):
                z_m, h_m = z_t + 4 * m * row, h + m * state
                for j in range(0, units, LANES):
                    r = sigmoid(load(z_m, units + j) + load(b, units + j))
                    store(z_m, units + j, r)
                    store(z_m, three + j, r * load(h_m, j))
            product(
                kernel, rows, w_n.shape[1], units, z_t + 3 * state, 4 * row, address_of(w_n, s),
                z_t, 4 * row, 1,
            )  # fmt: skip
            for m in range(rows):
                z_m, h_m, y_m = z_t + 4 * m * row, h + m * state, y_t + m * row
                if t >= lengths[first + m]:
                    clear(y_m, units)
                    continue
                for j in range(0, units, LANES):
                    update = sigmoid(load(z_m, two + j) + load(b, two + j))
                    c = tanh(load(z_m, j) + load(b, j))
                    h_j = c + update * (load(h_m, j) - c)
                    store(z_m, j, c)
                    store(z_m, two + j, update)
                    store(h_m, j, h_j)
                    store(y_m, j, h_j)


@compiled
def gru_before_backward(lo, hi, kernel, gates, y, w_rz, w_n, h0, gy, lengths, gz, gh):
    """As `gru_backward`."""
    steps, n, directions, units = y.shape
    row, state = directions * units * SIZE, units * SIZE
    two, three = 2 * units, 3 * units
    for s in range(directions):
        first, rows = share(lo, hi, s, n)
        if rows <= 0:
            continue
        h, before_first = address_of(gh, s, first), address_of(h0, s, first)
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            z_t, a_t = address_of(gz, t, first, s), address_of(gates, t, first, s)
            g_t, y_t = address_of(gy, t, first, s), address_of(y, t, first, s)
            y_earlier = y_t + (earlier(t, s) - t) * n * row
            for m in range(rows):
                z_m, a_m, h_m = z_t + 4 * m * row, a_t + 4 * m * row, h + m * state
                length = lengths[first + m]
                if t >= length:
                    clear(z_m, 4 * units)
                    continue
                before, g_m = y_earlier + m * row, g_t + m * row
                if starts(t, s, length):
                    before = before_first + m * state
                for j in range(0, units, LANES):
                    c, update = load(a_m, j), load(a_m, two + j)
                    d = load(h_m, j) + load(g_m, j)
                    store(z_m, j, d * (ONE - update) * (ONE - c * c))
                    store(z_m, two + j, d * (load(before, j) - c) * update * (ONE - update))
                    store(h_m, j, d * update)
            product(
                kernel, rows, w_n.shape[1], units, z_t, 4 * row, address_of(w_n, s),
                z_t + 3 * state, 4 * row, 0,
            )  # fmt: skip
            for m in range(rows):
                z_m, a_m, h_m = z_t + 4 * m * row, a_t + 4 * m * row, h + m * state
                if t >= lengths[first + m]:
                    continue
                for j in range(0, units, LANES):
                    q, r = load(z_m, three + j), load(a_m, units + j)  # q: the gradient of r h
                    store(z_m, units + j, q * load(a_m, three + j) * (ONE - r))
                    store(h_m, j, load(h_m, j) + q * r)
            product(
                kernel, rows, w_rz.shape[1], units, z_t + state, 4 * row, address_of(w_rz, s), h,
                state, 1,
            )  # fmt: skip

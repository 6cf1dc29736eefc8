"""A small simple recurrent layer, forward and backward in one compiled call each.

What takes time in a small layer is not arithmetic but calls: some fifteen for a pass, and two or
three for every step.  Here the products over all time steps, the scan and the weights' gradients
follow one another in compiled code, on one thread.

Everything is filled up with zeros to whole registers beforehand (`small_rnn.py`), so that no
product has a remainder of columns:

    x (T N, D')  w_ih (S, D, units)  w_hh (S, H, units)  bias (S, units)  h_n (S, N, units)
    z, before, gz (T N, units): one direction's at a time

Terms: `scan.py`.
"""

from __future__ import annotations

from numba.extending import register_jitable

from ..codegen.compiling import compiled
from ..codegen.microkernel import kernel_address as kernel_address  # for those who call these
from ..codegen.vectors import LANES, ONE, SIZE, load, store, where_positive
from .rnn_scan import activate
from .scan import WIDTH, address, by_panel, clear, copy, earlier, starts


@register_jitable
def product(kernel, rows, inner, columns, a, a_row, a_step, b, b_step, c, onto):
    """c (rows, columns) = the sum over k of a[:, k] b[k], or added to what stands there.

    a, b, c: addresses; a_row, a_step: bytes from row to row and from k to k, so that a may lie
    transposed; b_step: bytes from row to row of b; c is contiguous.
    """
    for start in range(0, columns, WIDTH):
        vectors, right, to = (
            min(WIDTH, columns - start) // LANES,
            b + start * SIZE,
            c + start * SIZE,
        )
        by_panel(
            kernel, rows, vectors, inner, a, a_row, a_step, right, b_step, to, columns * SIZE, onto
        )


@compiled
def forward(kernel, x, w_ih, w_hh, bias, lengths, rectified, z, h_n, y):
    """y (T, N, S H) is written; h_n, the initial state, becomes the last one."""
    n, units = lengths.size, z.shape[1]
    directions, features, hidden = w_ih.shape[0], w_ih.shape[1], w_hh.shape[1]
    steps, x_row, row = x.shape[0] // n, x.shape[1] * SIZE, units * SIZE
    first = address(z)
    for s in range(directions):
        h, b = address(h_n[s]), address(bias[s])
        product(
            kernel, steps * n, features, units, address(x), x_row, SIZE, address(w_ih[s]), row,
            first, 0,
        )  # fmt: skip
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            z_t = first + t * n * row
            product(kernel, n, hidden, units, h, row, SIZE, address(w_hh[s]), row, z_t, 1)
            for m in range(n):
                z_m, h_m = z_t + m * row, h + m * row
                if t >= lengths[m]:
                    clear(z_m, units)
                else:
                    activate(z_m, b, rectified, units, h_m)
        for r in range(steps * n):
            t, m = divmod(r, n)
            for j in range(hidden):
                y[t, m, s * hidden + j] = z[r, j]


@compiled
def backward(
    kernel, x, y, gy, w_ih, w_hh, lengths, rectified, one, h0, before, gz, gh, gx, gw_ih, gw_hh, gb
):
    """The gradients: gh (S, N, units), that of h_n, becomes that of h0; gx (T N, D') is filled
    unless it is empty; gw_ih (S, units, D'), gw_hh (S, units, units) and gb (S, units) are.

    w_ih (S, H, D') and w_hh (S, H, units) lie as the parameters do.  one: an array of a 1.
    """
    n, units, columns = lengths.size, gz.shape[1], x.shape[1]
    directions, hidden = w_hh.shape[0], w_hh.shape[1]
    steps, row, x_row = x.shape[0] // n, units * SIZE, columns * SIZE
    first = address(gz)
    for s in range(directions):
        h = address(gh[s])
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            for m in range(n):
                r = t * n + m
                z_r, b_r = first + r * row, address(before) + r * row
                if t >= lengths[m]:
                    clear(z_r, units)
                    clear(b_r, units)
                    continue
                for j in range(hidden):  # into whole registers
                    gz[r, j] = y[t, m, s * hidden + j]
                    before[r, j] = gy[t, m, s * hidden + j]
                h_m = h + m * row
                for j in range(0, units, LANES):
                    y_j, g_j = load(z_r, j), load(h_m, j) + load(b_r, j)
                    store(
                        z_r, j, where_positive(y_j, g_j) if rectified else g_j * (ONE - y_j * y_j)
                    )
                clear(h_m, units)
                if starts(t, s, lengths[m]):
                    copy(address(h0[s, m]), b_r, units)
                else:
                    t_before = earlier(t, s)
                    for j in range(hidden):
                        before[r, j] = y[t_before, m, s * hidden + j]
            z_t = first + t * n * row
            product(kernel, n, hidden, units, z_t, row, SIZE, address(w_hh[s]), row, h, 1)
        rows = steps * n
        if gx.size > 0:
            w = address(w_ih[s])
            onto = 1 if s > 0 else 0
            product(kernel, rows, hidden, columns, first, row, SIZE, w, x_row, address(gx), onto)
        for b, width, c in (
            (address(x), columns, address(gw_ih[s])),
            (address(before), units, address(gw_hh[s])),
        ):
            product(kernel, units, rows, width, first, SIZE, row, b, width * SIZE, c, 0)
        product(kernel, 1, rows, units, address(one), 0, 0, first, row, address(gb[s]), 0)

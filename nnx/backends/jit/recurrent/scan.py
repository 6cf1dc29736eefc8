"""What the compiled scans over time share: `rnn_scan.py`, `lstm_scan.py`, `gru_scan.py`.

A scan does the rows lo..hi of all directions' batches, one after another (row r is sequence
r mod N of direction r div N), for all time steps: rows do not know of each other, so threads share
nothing and no step waits for another thread.  A step is a product in registers
(`microkernel.py`), which adds the recurrent share to the pre-activations where they lie, and one
pass over the units (`vectors.py`).

Layouts are those of `portable/recurrent.py`, with the hidden units filled up with zeros to `units`,
a multiple of LANES, so that neither has a remainder: z (T, N, S, gates units), states
(T, N, S, units).  `y` is the layer's output: the state after each step, and 0 from a sequence's
end on, so the state *before* a step is y one step earlier, or h0.  What moves along with the
scan, h_n in the forward and the gradient of h0 in the backward, begins as h0 and as the gradient
of h_n, and is rewritten at each step.

`w` (S, K, columns) is the right factor of a step's product, each direction's cut into panels of
WIDTH columns that lie one after another, (columns / WIDTH, K, WIDTH): what the product reads next
is next in memory.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from ....typing import Array
from ..codegen.compiling import inner
from ..codegen.microkernel import ROWS, VECTORS, call_tile, heights, need
from ..codegen.vectors import LANES, SIZE, ZERO, spread, store

WIDTH = VECTORS * LANES


def panels(factors: list[Array]) -> Array:
    """S x (K, columns), columns a multiple of LANES -> (S, K, columns) in panels."""
    inner, columns = factors[0].shape
    w = np.empty((len(factors), inner, columns), np.float32)
    for factor, flat in zip(factors, w.reshape(len(factors), -1), strict=True):
        for start in range(0, columns, WIDTH):
            panel = factor[:, start : start + WIDTH]
            flat[start * inner :][: panel.size].reshape(panel.shape)[:] = panel
    return w


@register_jitable
def share(lo, hi, s, n):
    """The sequences of direction s among the rows lo..hi: the first, and how many."""
    first = max(lo - s * n, 0)
    return first, min(hi - s * n, n) - first


@register_jitable
def earlier(t, s):
    """The time of the step before."""
    return t - 1 if s == 0 else t + 1


@register_jitable
def starts(t, s, length):
    """Whether the step at time t is a sequence's first."""
    return t == 0 if s == 0 else t == length - 1


@register_jitable
def clear(a, units):
    """`units` numbers from the address on become 0."""
    for j in range(0, units, LANES):
        store(a, j, spread(ZERO))


@inner
def product(kernels, rows, depth, columns, a, a_row, w, c, c_row, onto):
    """c (rows, columns) = a (rows, depth) w, or added to what stands there if `onto` is 1.

    kernels: the tiles' `microkernel.table`; a, w, c: addresses; a_row, c_row: bytes from row to
    row.  The rows are cut into pieces of nearly one height, at most ROWS; equal ones go in one
    call.
    """
    pieces = (rows + ROWS - 1) // ROWS
    height, longer = rows // pieces, rows % pieces
    done = longer * (height + 1)
    for start in range(0, columns, WIDTH):
        width = min(WIDTH, columns - start)
        panel, to = w + start * depth * SIZE, c + start * SIZE
        for part in range(2):  # the pieces that are longer by one, and the others
            count = longer if part == 0 else pieces - longer
            tall = height + 1 if part == 0 else height
            skip = 0 if part == 0 else done
            if count > 0:
                call_tile(
                    kernels, tall, width // LANES,
                    a + skip * a_row, a_row, 0, 0, SIZE,
                    panel, 0, 0, width * SIZE,
                    1, 1, depth,
                    to + skip * c_row, c_row, onto,
                    count, tall * a_row, tall * c_row,
                )  # fmt: skip


def need_products(parts: list[tuple[int, int]], n: int, directions: int, units: int) -> None:
    """Have the tiles that `product` calls for these parts of the rows; columns are 1 to 4 gates."""
    rows = {min(hi - s * n, n) - max(lo - s * n, 0) for lo, hi in parts for s in range(directions)}
    vectors = {VECTORS, *(k * units // LANES % VECTORS for k in range(1, 5))} - {0}
    need(4, {height for count in rows for height in heights(count)}, vectors)

"""The compiled sweeps of `recurrent.py`, which imports this file, and numba with it, when first
used.  float32.

Each function does the rows lo..hi of the batch, all time steps, both directions: rows do not
know of each other, so threads share nothing and no step waits for another thread.  A row's state
and pre-activations stay in cache from step to step; everything a step needs is done in one pass
over the hidden units.

Arrays are laid out as in `portable/recurrent.py`: z (T, N, S, G), states (T, N, S, H).  `y` is the
layer's output: the state after each step, and 0 from a sequence's end on, so the state *before* a
step is y one step earlier, or h0.  `w` is the right factor of a step's product, (S, K, G): its
columns, and those of the buffers that take the product, are filled up with zeros to a multiple of
WIDTH, so that no product has a remainder.

To be worked on eight or sixteen units at a time by LLVM, the inner loops run over slices that
begin at 0 (an index that might be negative prevents it), and fused multiply-adds are allowed.
"""

from __future__ import annotations

import numpy as np
from numba import njit

WIDTH = 16  # numbers in the widest register there is

OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

# tanh x = x P(x²) / Q(x²), the minimax fit of its kind on [0, 9] (relative error 2.1e-8), found
# by iteratively reweighted least squares.  Rounded in float32 it is within 5.2 units in the last
# place of tanh, and 3.1e-7, everywhere; beyond LIMIT it stays what it is there, 1 or 1 - 1.2e-7.
LIMIT = np.float32(8.2)
P1 = np.float32(0.13381025195121765)
P2 = np.float32(0.0034955882001668215)
P3 = np.float32(2.0609082639566623e-05)
P4 = np.float32(1.3354664041287378e-08)
Q1 = np.float32(0.4671434164047241)
Q2 = np.float32(0.025876982137560844)
Q3 = np.float32(0.0003285635029897094)
Q4 = np.float32(7.776558845762338e-07)
ONE = np.float32(1)
HALF = np.float32(0.5)
ZERO = np.float32(0)


@njit(inline="always", **OPTIONS)
def tanh(x):
    """Within 5.2 units in the last place; NaN stays NaN."""
    x = LIMIT if x > LIMIT else x
    x = -LIMIT if x < -LIMIT else x
    s = x * x
    p = ONE + s * (P1 + s * (P2 + s * (P3 + s * P4)))
    q = ONE + s * (Q1 + s * (Q2 + s * (Q3 + s * Q4)))
    return x * p / q


@njit(inline="always", **OPTIONS)
def sigmoid(x):
    return HALF * tanh(HALF * x) + HALF


@njit(**OPTIONS)
def evaluate(x, y):
    """y = tanh(x), for the test of it."""
    for i in range(x.size):
        y[i] = tanh(x[i])


@njit(**OPTIONS)
def add_product(a, w, out):
    """out += a w: (M, K) x (K, G) -> (M, G), for the few rows of one step.

    Two rows and four of w at a time: w is read once for two rows, and each sum is loaded and
    stored once for four multiply-adds.
    """
    rows, inner = a.shape
    for m in range(0, rows - 1, 2):
        out0, out1 = out[m], out[m + 1]
        for k in range(0, inner - 3, 4):
            w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            a0, a1, a2, a3 = a[m, k], a[m, k + 1], a[m, k + 2], a[m, k + 3]
            b0, b1, b2, b3 = a[m + 1, k], a[m + 1, k + 1], a[m + 1, k + 2], a[m + 1, k + 3]
            for j in range(out0.size):
                sum0 = out0[j] + a0 * w0[j]
                sum1 = out1[j] + b0 * w0[j]
                sum0 += a1 * w1[j]
                sum1 += b1 * w1[j]
                sum0 += a2 * w2[j]
                sum1 += b2 * w2[j]
                sum0 += a3 * w3[j]
                sum1 += b3 * w3[j]
                out0[j] = sum0
                out1[j] = sum1
        for k in range(inner - inner % 4, inner):
            w0, a0, b0 = w[k], a[m, k], a[m + 1, k]
            for j in range(out0.size):
                out0[j] += a0 * w0[j]
                out1[j] += b0 * w0[j]
    if rows % 2:
        m = rows - 1
        out0 = out[m]
        for k in range(0, inner - 3, 4):
            w0, w1, w2, w3 = w[k], w[k + 1], w[k + 2], w[k + 3]
            a0, a1, a2, a3 = a[m, k], a[m, k + 1], a[m, k + 2], a[m, k + 3]
            for j in range(out0.size):
                sum0 = out0[j] + a0 * w0[j]
                sum0 += a1 * w1[j]
                sum0 += a2 * w2[j]
                sum0 += a3 * w3[j]
                out0[j] = sum0
        for k in range(inner - inner % 4, inner):
            w0, a0 = w[k], a[m, k]
            for j in range(out0.size):
                out0[j] += a0 * w0[j]


@njit(inline="always", **OPTIONS)
def before(y, h0, t, n, s, length):
    """The state of row n before time t."""
    if s == 0:
        return h0[s, n] if t == 0 else y[t - 1, n, s]
    return h0[s, n] if t == length - 1 else y[t + 1, n, s]


# ---- the simple layer ----


@njit(**OPTIONS)
def rnn_forward(lo, hi, z, w, h0, lengths, relu, h_n):
    """z (T, N, S, H) becomes y."""
    steps, _, directions, hidden = z.shape
    rows = hi - lo
    h = np.empty((rows, hidden), np.float32)
    u = np.zeros((rows, w.shape[2]), np.float32)
    for s in range(directions):
        h[:] = h0[s, lo:hi]
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            u[:, :hidden] = z[t, lo:hi, s]
            add_product(h, w[s], u)
            for m in range(rows):
                h_m, u_m, y_m = h[m], u[m], z[t, lo + m, s]
                if t >= lengths[lo + m]:
                    y_m[:] = ZERO
                elif relu:
                    for j in range(hidden):
                        value = u_m[j]
                        value = ZERO if value <= ZERO else value  # NaN stays NaN
                        h_m[j] = value
                        y_m[j] = value
                else:
                    for j in range(hidden):
                        value = tanh(u_m[j])
                        h_m[j] = value
                        y_m[j] = value
        h_n[s, lo:hi] = h


@njit(**OPTIONS)
def rnn_backward(lo, hi, y, w, gy, gh_n, lengths, relu, gz, gh0):
    """w (S, H, H), not transposed; gz (T, N, S, H) and gh0 are written."""
    steps, _, directions, hidden = y.shape
    rows = hi - lo
    gh = np.zeros((rows, w.shape[2]), np.float32)
    for s in range(directions):
        gh[:, :hidden] = gh_n[s, lo:hi]
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            for m in range(rows):
                gh_m, gz_m = gh[m], gz[t, lo + m, s]
                if t >= lengths[lo + m]:
                    gz_m[:] = ZERO
                    continue
                y_m, gy_m = y[t, lo + m, s], gy[t, lo + m, s]
                if relu:
                    for j in range(hidden):
                        g = gh_m[j] + gy_m[j]
                        gz_m[j] = g if y_m[j] > ZERO else ZERO
                        gh_m[j] = ZERO
                else:
                    for j in range(hidden):
                        g = gh_m[j] + gy_m[j]
                        gz_m[j] = g * (ONE - y_m[j] * y_m[j])
                        gh_m[j] = ZERO
            add_product(gz[t, lo:hi, s], w[s], gh)
        gh0[s, lo:hi] = gh[:, :hidden]


# ---- the LSTM ----


@njit(**OPTIONS)
def lstm_forward(lo, hi, z, w, h0, c0, lengths, y, cells, h_n, c_n):
    """z (T, N, S, 4H) becomes the gates; y and cells (T, N, S, H) are written."""
    steps, _, directions, hidden = y.shape
    rows = hi - lo
    h = np.empty((rows, hidden), np.float32)
    c = np.empty((rows, hidden), np.float32)
    u = np.zeros((rows, w.shape[2]), np.float32)
    for s in range(directions):
        h[:] = h0[s, lo:hi]
        c[:] = c0[s, lo:hi]
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            u[:, : 4 * hidden] = z[t, lo:hi, s]
            add_product(h, w[s], u)
            for m in range(rows):
                h_m, c_m, y_m, cell_m = h[m], c[m], y[t, lo + m, s], cells[t, lo + m, s]
                if t >= lengths[lo + m]:
                    y_m[:] = ZERO
                    cell_m[:] = c_m
                    continue
                z_m, u_m = z[t, lo + m, s], u[m]
                i, f = z_m[:hidden], z_m[hidden : 2 * hidden]
                g, o = z_m[2 * hidden : 3 * hidden], z_m[3 * hidden :]
                ui, uf = u_m[:hidden], u_m[hidden : 2 * hidden]
                ug, uo = u_m[2 * hidden : 3 * hidden], u_m[3 * hidden : 4 * hidden]
                for j in range(hidden):
                    i_j, f_j = sigmoid(ui[j]), sigmoid(uf[j])
                    g_j, o_j = tanh(ug[j]), sigmoid(uo[j])
                    c_j = f_j * c_m[j] + i_j * g_j
                    h_j = o_j * tanh(c_j)
                    i[j], f[j], g[j], o[j] = i_j, f_j, g_j, o_j
                    c_m[j], h_m[j] = c_j, h_j
                    cell_m[j], y_m[j] = c_j, h_j
        h_n[s, lo:hi] = h
        c_n[s, lo:hi] = c


@njit(**OPTIONS)
def lstm_backward(lo, hi, gates, cells, w, c0, gy, gh_n, gc_n, lengths, gz, gh0, gc0):
    """w (S, 4H, H), not transposed; gz (T, N, S, 4H), gh0 and gc0 are written."""
    steps, _, directions, hidden = cells.shape
    rows = hi - lo
    gh = np.zeros((rows, w.shape[2]), np.float32)
    gc = np.empty((rows, hidden), np.float32)
    for s in range(directions):
        gh[:, :hidden] = gh_n[s, lo:hi]
        gc[:] = gc_n[s, lo:hi]
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            for m in range(rows):
                n = lo + m
                g_m = gz[t, n, s]
                if t >= lengths[n]:
                    g_m[:] = ZERO
                    continue
                c_before = before(cells, c0, t, n, s, lengths[n])
                gh_m, gc_m, gy_m, c_m, a_m = (
                    gh[m],
                    gc[m],
                    gy[t, n, s],
                    cells[t, n, s],
                    gates[t, n, s],
                )
                i, f = a_m[:hidden], a_m[hidden : 2 * hidden]
                g, o = a_m[2 * hidden : 3 * hidden], a_m[3 * hidden :]
                gi, gf = g_m[:hidden], g_m[hidden : 2 * hidden]
                gg, go = g_m[2 * hidden : 3 * hidden], g_m[3 * hidden :]
                for j in range(hidden):
                    d_h = gh_m[j] + gy_m[j]
                    tanh_c = tanh(c_m[j])
                    d_c = gc_m[j] + d_h * o[j] * (ONE - tanh_c * tanh_c)
                    gi[j] = d_c * g[j] * i[j] * (ONE - i[j])
                    gf[j] = d_c * c_before[j] * f[j] * (ONE - f[j])
                    gg[j] = d_c * i[j] * (ONE - g[j] * g[j])
                    go[j] = d_h * tanh_c * o[j] * (ONE - o[j])
                    gc_m[j] = d_c * f[j]
                    gh_m[j] = ZERO
            add_product(gz[t, lo:hi, s], w[s], gh)
        gh0[s, lo:hi] = gh[:, :hidden]
        gc0[s, lo:hi] = gc


# ---- the GRU, reset after the product ----


@njit(**OPTIONS)
def gru_forward(lo, hi, z, w, bias, h0, lengths, y, u_n, h_n):
    """z (T, N, S, 3H) becomes the gates; bias (S, 3H) is that of the recurrent product; y and u_n
    (T, N, S, H) are written."""
    steps, _, directions, hidden = y.shape
    rows = hi - lo
    h = np.empty((rows, hidden), np.float32)
    u = np.zeros((rows, w.shape[2]), np.float32)
    for s in range(directions):
        h[:] = h0[s, lo:hi]
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            u[:, : 3 * hidden] = bias[s]
            add_product(h, w[s], u)
            for m in range(rows):
                h_m, y_m = h[m], y[t, lo + m, s]
                if t >= lengths[lo + m]:
                    y_m[:] = ZERO
                    continue
                z_m, u_m, kept = z[t, lo + m, s], u[m], u_n[t, lo + m, s]
                r, update, n = z_m[:hidden], z_m[hidden : 2 * hidden], z_m[2 * hidden :]
                ur, uz, un = u_m[:hidden], u_m[hidden : 2 * hidden], u_m[2 * hidden : 3 * hidden]
                for j in range(hidden):
                    r_j = sigmoid(r[j] + ur[j])
                    z_j = sigmoid(update[j] + uz[j])
                    n_j = tanh(n[j] + r_j * un[j])
                    h_j = n_j + z_j * (h_m[j] - n_j)
                    kept[j] = un[j]
                    r[j], update[j], n[j] = r_j, z_j, n_j
                    h_m[j], y_m[j] = h_j, h_j
        h_n[s, lo:hi] = h


@njit(**OPTIONS)
def gru_backward(lo, hi, gates, y, u_n, w, h0, gy, gh_n, lengths, gz, gu_n, gh0):
    """w (S, 3H, H), not transposed; gz (T, N, S, 3H), gu_n (T, N, S, H), u_n's gradient, and gh0
    are written."""
    steps, _, directions, hidden = y.shape
    rows = hi - lo
    gh = np.zeros((rows, w.shape[2]), np.float32)
    gu = np.empty((rows, 3 * hidden), np.float32)
    for s in range(directions):
        gh[:, :hidden] = gh_n[s, lo:hi]
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            for m in range(rows):
                n = lo + m
                g_m, gu_m, last = gz[t, n, s], gu[m], gu_n[t, n, s]
                if t >= lengths[n]:
                    g_m[:] = ZERO
                    last[:] = ZERO
                    gu_m[:] = ZERO
                    continue
                h_before = before(y, h0, t, n, s, lengths[n])
                gh_m, gy_m, a_m, un = gh[m], gy[t, n, s], gates[t, n, s], u_n[t, n, s]
                r, update, c = a_m[:hidden], a_m[hidden : 2 * hidden], a_m[2 * hidden :]
                gr, gzz, gn = g_m[:hidden], g_m[hidden : 2 * hidden], g_m[2 * hidden :]
                ur, uz, ul = gu_m[:hidden], gu_m[hidden : 2 * hidden], gu_m[2 * hidden :]
                for j in range(hidden):
                    d = gh_m[j] + gy_m[j]
                    d_a = d * (ONE - update[j]) * (ONE - c[j] * c[j])
                    d_z = d * (h_before[j] - c[j]) * update[j] * (ONE - update[j])
                    d_u = d_a * r[j]
                    d_r = d_u * un[j] * (ONE - r[j])
                    gr[j], gzz[j], gn[j], last[j] = d_r, d_z, d_a, d_u
                    ur[j], uz[j], ul[j] = d_r, d_z, d_u
                    gh_m[j] = d * update[j]
            add_product(gu, w[s], gh)
        gh0[s, lo:hi] = gh[:, :hidden]


# ---- the GRU, reset before the product ----


@njit(**OPTIONS)
def gru_before_forward(lo, hi, z, w_rz, w_n, h0, lengths, y, h_n):
    """z (T, N, S, 3H), with both biases in it, becomes the gates; y (T, N, S, H) is written."""
    steps, _, directions, hidden = y.shape
    rows = hi - lo
    two = 2 * hidden
    h = np.empty((rows, hidden), np.float32)
    rh = np.empty((rows, hidden), np.float32)
    u = np.zeros((rows, w_rz.shape[2]), np.float32)
    a = np.zeros((rows, w_n.shape[2]), np.float32)
    for s in range(directions):
        h[:] = h0[s, lo:hi]
        for k in range(steps):
            t = k if s == 0 else steps - 1 - k
            u[:, :two] = z[t, lo:hi, s, :two]
            add_product(h, w_rz[s], u)
            for m in range(rows):
                h_m, rh_m = h[m], rh[m]
                r, ur = z[t, lo + m, s][:hidden], u[m][:hidden]
                for j in range(hidden):
                    r[j] = sigmoid(ur[j])
                    rh_m[j] = r[j] * h_m[j]
            a[:, :hidden] = z[t, lo:hi, s, two:]
            add_product(rh, w_n[s], a)
            for m in range(rows):
                h_m, y_m = h[m], y[t, lo + m, s]
                if t >= lengths[lo + m]:
                    y_m[:] = ZERO
                    continue
                z_m, uz, an = z[t, lo + m, s], u[m][hidden:two], a[m]
                update, n = z_m[hidden:two], z_m[two:]
                for j in range(hidden):
                    z_j, n_j = sigmoid(uz[j]), tanh(an[j])
                    h_j = n_j + z_j * (h_m[j] - n_j)
                    update[j], n[j] = z_j, n_j
                    h_m[j], y_m[j] = h_j, h_j
        h_n[s, lo:hi] = h


@njit(**OPTIONS)
def gru_before_backward(lo, hi, gates, y, w_rz, w_n, h0, gy, gh_n, lengths, gz, rh, gh0):
    """w_rz (S, 2H, H), w_n (S, H, H), not transposed; gz (T, N, S, 3H), rh = r h (T, N, S, H),
    what W_hn was applied to, and gh0 are written."""
    steps, _, directions, hidden = y.shape
    rows = hi - lo
    gh = np.zeros((rows, w_rz.shape[2]), np.float32)
    q = np.zeros((rows, w_n.shape[2]), np.float32)
    for s in range(directions):
        gh[:, :hidden] = gh_n[s, lo:hi]
        for k in range(steps - 1, -1, -1):
            t = k if s == 0 else steps - 1 - k
            for m in range(rows):
                n = lo + m
                g_m, rh_m = gz[t, n, s], rh[t, n, s]
                if t >= lengths[n]:
                    g_m[:] = ZERO
                    rh_m[:] = ZERO
                    continue
                h_before = before(y, h0, t, n, s, lengths[n])
                gh_m, gy_m, a_m = gh[m], gy[t, n, s], gates[t, n, s]
                r, update, c = a_m[:hidden], a_m[hidden : 2 * hidden], a_m[2 * hidden :]
                gzz, gn = g_m[hidden : 2 * hidden], g_m[2 * hidden :]
                for j in range(hidden):
                    d = gh_m[j] + gy_m[j]
                    gn[j] = d * (ONE - update[j]) * (ONE - c[j] * c[j])
                    gzz[j] = d * (h_before[j] - c[j]) * update[j] * (ONE - update[j])
                    rh_m[j] = r[j] * h_before[j]
                    gh_m[j] = d * update[j]
            q[:] = ZERO
            add_product(gz[t, lo:hi, s, 2 * hidden :], w_n[s], q)  # the gradient of r h
            for m in range(rows):
                n = lo + m
                if t >= lengths[n]:
                    continue
                gh_m, q_m, rh_m = gh[m], q[m], rh[t, n, s]
                r, gr = gates[t, n, s][:hidden], gz[t, n, s][:hidden]
                for j in range(hidden):
                    gr[j] = q_m[j] * rh_m[j] * (ONE - r[j])
                    gh_m[j] += q_m[j] * r[j]
            add_product(gz[t, lo:hi, s, : 2 * hidden], w_rz[s], gh)
        gh0[s, lo:hi] = gh[:, :hidden]

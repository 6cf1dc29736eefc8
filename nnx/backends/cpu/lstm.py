"""The LSTM on NumPy; how it lies in memory: `recurrent.py`.

Gates stand in the order i, f, o, g inside, so that the three sigmoids are one block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..portable.lstm import LSTMKernels
from ..saved import Saved
from .recurrent import (
    Array,
    Columns,
    alike,
    columns,
    ends,
    first_states,
    in_sweep_order,
    input_products,
    input_products_backward,
    output,
    recurrent_products_backward,
)


def _sigmoids_first(a: Array, scaled: bool) -> Array:
    """Rows of i, f, g, o as i, f, o, g (and back); scaled: those of the sigmoids halved."""
    i, f, g, o = a.reshape(4, -1, *a.shape[1:])
    b = np.concatenate([i, f, o, g])
    if scaled:
        b[: 3 * len(i)] *= 0.5
    return b


class NumpyLSTM(LSTMKernels):
    def lstm(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        weights: list[Any],
        lengths: Array | None,
    ) -> tuple[Array, Array, Array, Saved]:
        if weights[0][4] is not None or not alike(x, weights, h0, c0):
            return super().lstm(x, h0, c0, weights, lengths)
        steps, directions = x.shape[0], len(weights)
        hidden = weights[0][1].shape[1]
        end = ends(lengths, steps, directions)
        xt = columns(x, end)
        bias = None
        if weights[0][2] is not None:
            bias = np.stack([_sigmoids_first(w[2] + w[3], True) for w in weights])[..., None]
        z = input_products(xt, [_sigmoids_first(w[0], True) for w in weights], bias)
        w_hh = np.stack([_sigmoids_first(w[1], True) for w in weights])  # (S, 4H, H)
        hs, cs = first_states(z, h0, hidden), first_states(z, c0, hidden)
        tanh_c = np.empty_like(hs[1:])
        u = np.empty_like(z[0])  # (S, 4H, N)
        i_g = np.empty_like(hs[0])
        matmul, add, multiply, tanh = np.matmul, np.add, np.multiply, np.tanh
        half = z.dtype.type(0.5)
        for k in range(steps):
            a = z[k]
            matmul(w_hh, hs[k], out=u)
            add(a, u, out=a)
            tanh(a, out=a)
            sigmoids = a[:, : 3 * hidden]
            multiply(sigmoids, half, out=sigmoids)
            add(sigmoids, half, out=sigmoids)
            i, f = a[:, :hidden], a[:, hidden : 2 * hidden]
            o, g = a[:, 2 * hidden : 3 * hidden], a[:, 3 * hidden :]
            c = cs[k + 1]
            multiply(f, cs[k], out=c)
            multiply(i, g, out=i_g)
            add(c, i_g, out=c)
            tanh(c, out=tanh_c[k])
            multiply(o, tanh_c[k], out=hs[k + 1])
            if end is not None and end.any[k]:
                np.copyto(c, cs[k], where=end.done[k])
                np.copyto(hs[k + 1], hs[k], where=end.done[k])
        h_n, c_n = hs[-1].transpose(0, 2, 1).copy(), cs[-1].transpose(0, 2, 1).copy()
        saved = Columns((xt, weights, z, hs, cs, tanh_c, end))
        return output(hs[1:], end), h_n, c_n, saved

    def lstm_backward(
        self, gy: Array, gh_n: Array, gc_n: Array, saved: Saved, needs_x: bool
    ) -> tuple[Array | None, Array, Array, list[tuple[Array | None, ...]]]:
        if not isinstance(saved, Columns):
            return super().lstm_backward(gy, gh_n, gc_n, saved, needs_x)
        xt, weights, gates, hs, cs, tanh_c, end = saved
        steps, directions, _, n = gates.shape
        hidden = hs.shape[2]
        three = 3 * hidden
        g_out = in_sweep_order(gy, directions, end)
        i, f = gates[:, :, :hidden], gates[:, :, hidden : 2 * hidden]
        o, g = gates[:, :, 2 * hidden : three], gates[:, :, three:]

        # What a gate's gradient is multiplied by on its way to z, for all steps at once:
        # i, f, g by δc, o by δh.  And h_to_c = dc/dh's share, o (1 - tanh² c).
        gz = np.empty_like(gates)
        np.subtract(1, gates[:, :, :three], out=gz[:, :, :three])
        gz[:, :, :three] *= gates[:, :, :three]
        gz[:, :, :hidden] *= g
        gz[:, :, hidden : 2 * hidden] *= cs[:-1]
        gz[:, :, 2 * hidden : three] *= tanh_c
        slope = gz[:, :, three:]
        np.multiply(g, g, out=slope)
        np.subtract(1, slope, out=slope)
        slope *= i
        h_to_c = tanh_c * tanh_c
        np.subtract(1, h_to_c, out=h_to_c)
        h_to_c *= o
        if end is not None:
            np.copyto(gz, 0, where=end.done)
            np.copyto(h_to_c, 0, where=end.done)
            f = np.where(end.done, f.dtype.type(1), f)  # δc passes unchanged

        w_t = np.stack([_sigmoids_first(w[1], False).T for w in weights])  # (S, H, 4H)
        gh = gh_n.transpose(0, 2, 1).astype(gates.dtype)  # copies, (S, H, N)
        gc = gc_n.transpose(0, 2, 1).astype(gates.dtype)
        back, q = np.empty_like(gh), np.empty_like(gh)
        matmul, add, multiply = np.matmul, np.add, np.multiply
        gc4 = gc[:, None]  # (S, 1, H, N)
        by_gate = gz.reshape(steps, directions, 4, hidden, n)
        for k in range(steps - 1, -1, -1):
            add(gh, g_out[k], out=gh)
            multiply(gh, h_to_c[k], out=q)
            add(gc, q, out=gc)
            d = by_gate[k]
            multiply(d[:, :2], gc4, out=d[:, :2])
            multiply(d[:, 3], gc, out=d[:, 3])
            multiply(d[:, 2], gh, out=d[:, 2])
            multiply(gc, f[k], out=gc)
            matmul(w_t, gz[k], out=back)
            if end is not None and end.any[k]:
                np.copyto(back, gh, where=end.done[k])
            gh, back = back, gh
        inside = [_sigmoids_first(w[0], False) for w in weights]
        gx, gw_ih = input_products_backward(gz, xt, inside, needs_x)
        gw_hh = recurrent_products_backward(gz, hs[:-1])
        gb: list[Array | None] = [None] * directions
        if weights[0][2] is not None:
            gb = [_sigmoids_first(b, False) for b in gz.sum(axis=(0, 3))]
        gradients: list[tuple[Array | None, ...]] = [
            (
                _sigmoids_first(gw_ih[s], False),
                _sigmoids_first(gw_hh[s], False),
                gb[s],
                gb[s],
                None,
            )
            for s in range(directions)
        ]
        return gx, gh.transpose(0, 2, 1), gc.transpose(0, 2, 1), gradients

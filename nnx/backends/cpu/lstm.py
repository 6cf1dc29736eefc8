"""The LSTM on NumPy; how it lies in memory: `recurrent.py`.

Gates stand in the order i, f, o, g inside, so that the three sigmoids are one block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array
from ..flush import by_hand, clean, flushing
from ..portable.lstm import LSTMKernels
from ..portable.residuals import Residuals
from .memory import empty_like
from .recurrent import (
    Columns,
    biases,
    columns,
    ends,
    first_states,
    held,
    in_scan_order,
    input_gradient,
    input_products,
    input_weights,
    last_states,
    one_or_both,
    output,
    recurrent_weights,
    rows_by_direction,
    scan_state,
    stacked,
    state,
    times,
)


def _sigmoids_first(a: Array, scaled: bool = False) -> Array:
    """Rows of i, f, g, o as i, f, o, g (and back); scaled: those of the sigmoids halved."""
    i, f, g, o = a.reshape(4, -1, *a.shape[1:])
    b = np.concatenate([i, f, o, g])
    if scaled:
        b[: 3 * len(i)] *= 0.5
    return b


class NumpyLSTM(LSTMKernels):
    @flushing
    def lstm(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        weights: list[Any],
        lengths: Array | None,
    ) -> tuple[Array, Array, Array, Residuals]:
        if weights[0][4] is not None:  # a projection
            return super().lstm(x, h0, c0, weights, lengths)
        steps, directions = x.shape[0], len(weights)
        hidden = weights[0][1].shape[1]
        end = ends(lengths, steps, directions)
        xt = columns(x, end)
        bias = None
        if weights[0][2] is not None:
            rows = [_sigmoids_first(w[2] + w[3], scaled=True)[:, None] for w in weights]
            bias = stacked(directions, rows)
        z = input_products(xt, [_sigmoids_first(w[0], scaled=True) for w in weights], bias)
        w_hh = stacked(directions, [_sigmoids_first(w[1], scaled=True) for w in weights])
        states, cells = first_states(z, h0, hidden), first_states(z, c0, hidden)
        tanh_c = empty_like(states[1:])

        zs, hs, cs, tcs = one_or_both(directions, z, states, cells, tanh_c)
        sigmoids, i, f, o, g = _gates(zs, hidden)
        u, i_g = np.empty_like(zs[0]), np.empty_like(hs[0])
        product = times(w_hh)
        add, multiply, tanh, by_us = np.add, np.multiply, np.tanh, by_hand()
        half = np.asarray(0.5, z.dtype)
        for a, s_k, i_k, f_k, o_k, g_k, h_before, h, c_before, c, tc, done in zip(
            zs,
            sigmoids,
            i,
            f,
            o,
            g,
            hs[:-1],
            hs[1:],
            cs[:-1],
            cs[1:],
            tcs,
            held(end, directions),
            strict=False,
        ):
            product(h_before, u)
            add(a, u, out=a)
            tanh(a, out=a)
            multiply(s_k, half, out=s_k)
            add(s_k, half, out=s_k)
            multiply(f_k, c_before, out=c)
            multiply(i_k, g_k, out=i_g)
            add(c, i_g, out=c)
            tanh(c, out=tc)
            multiply(o_k, tc, out=h)
            if done is not None:
                np.copyto(c, c_before, where=done)
                np.copyto(h, h_before, where=done)
            if by_us:
                clean(c, h)
        residuals = Columns((xt, weights, z, states, cells, tanh_c, end))
        return output(states[1:], end), last_states(states), last_states(cells), residuals

    @flushing
    def lstm_backward(
        self, gy: Array, gh_n: Array, gc_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, Array, list[tuple[Any, ...]]]:
        if not isinstance(residuals, Columns):
            return super().lstm_backward(gy, gh_n, gc_n, residuals, needs_x)
        xt, weights, gates, states, cells, tanh_c, end = residuals
        directions, hidden = gates.shape[1], states.shape[2]

        # What a gate's gradient is multiplied by on its way to z, for all steps at once:
        # i, f, g by δc, o by δh.  And h_to_c = o (1 - tanh² c), δh's way to δc.
        gz = empty_like(gates)
        sigmoids, i, f, o, g = _gates(gates, hidden)
        to_sigmoids, to_i, to_f, to_o, to_g = _gates(gz, hidden)
        np.subtract(1, sigmoids, out=to_sigmoids)
        to_sigmoids *= sigmoids
        to_i *= g
        to_f *= cells[:-1]
        to_o *= tanh_c
        np.multiply(g, g, out=to_g)
        np.subtract(1, to_g, out=to_g)
        to_g *= i
        h_to_c = np.multiply(tanh_c, tanh_c, out=empty_like(tanh_c))
        np.subtract(1, h_to_c, out=h_to_c)
        h_to_c *= o
        if end is not None:
            np.copyto(gz, 0, where=end.done)
            np.copyto(h_to_c, 0, where=end.done)
            f = np.where(end.done, f.dtype.type(1), f)  # δc passes unchanged

        w_t = stacked(directions, [_sigmoids_first(w[1]).T for w in weights])  # (S, H, 4H)
        gh, gc = scan_state(directions, gh_n), scan_state(directions, gc_n)
        back, q = np.empty_like(gh), np.empty_like(gh)
        gc_twice = gc[..., None, :, :]  # the same memory, for i and f in one call
        i_and_f = gz[:, :, : 2 * hidden]
        i_and_f = i_and_f.reshape(*gz.shape[:2], 2, hidden, -1)
        arrays = (gz, i_and_f, to_o, to_g, h_to_c, f, in_scan_order(gy, directions, end))
        product = times(w_t)
        add, multiply, by_us = np.add, np.multiply, by_hand()
        for d, d_if, d_o, d_g, r_k, f_k, g_k, done in zip(
            *(a[::-1] for a in one_or_both(directions, *arrays)),
            held(end, directions, backward=True),
            strict=False,
        ):
            add(gh, g_k, out=gh)
            multiply(gh, r_k, out=q)
            add(gc, q, out=gc)
            multiply(d_if, gc_twice, out=d_if)
            multiply(d_g, gc, out=d_g)
            multiply(d_o, gh, out=d_o)
            multiply(gc, f_k, out=gc)
            if by_us:
                clean(gc, d)
            product(d, back)
            if done is not None:
                np.copyto(back, gh, where=done)
            gh, back = back, gh
        per_direction = rows_by_direction(gz)
        gx = None
        if needs_x:
            gx = input_gradient(gz, [_sigmoids_first(w[0]) for w in weights])
        gw_ih = [_sigmoids_first(a) for a in input_weights(per_direction, xt)]
        gw_hh = [_sigmoids_first(a) for a in recurrent_weights(per_direction, states[:-1])]
        gb = [
            None if b is None else _sigmoids_first(b)
            for b in biases(per_direction, weights[0][2] is not None)
        ]
        gradients = list(zip(gw_ih, gw_hh, gb, gb, [None] * directions, strict=True))
        return gx, state(directions, gh), state(directions, gc), gradients


def _gates(a: Array, hidden: int) -> tuple[Array, Array, Array, Array, Array]:
    """Views (..., H, N) of (..., 4H, N): the three sigmoids, and i, f, o, g each alone."""
    three = 3 * hidden
    return (
        a[..., :three, :],
        a[..., :hidden, :],
        a[..., hidden : 2 * hidden, :],
        a[..., 2 * hidden : three, :],
        a[..., three:, :],
    )

"""The GRU on NumPy, both variants; how it lies in memory: `recurrent.py`."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np

from ...typing import Array
from ..flush import by_hand, clean, flushing
from ..portable.gru import GRUKernels
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
    rows,
    rows_by_direction,
    scan_state,
    stacked,
    state,
    times,
)


def _halved(a: Array) -> Array:
    """The rows of r and z halved: their sigmoid is then a tanh."""
    b = a.copy()
    b[: 2 * len(a) // 3] *= 0.5
    return b


def _gates(a: Array, hidden: int) -> tuple[Array, Array, Array, Array]:
    """Views (..., H, N) of (..., 3H, N): r and z together, and r, z, n each alone."""
    two = 2 * hidden
    return a[..., :two, :], a[..., :hidden, :], a[..., hidden:two, :], a[..., two:, :]


class NumpyGRU(GRUKernels):
    @flushing
    def gru(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Array, Residuals]:
        steps, directions = x.shape[0], len(weights)
        hidden = weights[0][1].shape[1]
        two = 2 * hidden
        end = ends(lengths, steps, directions)
        xt = columns(x, end)
        bias, bias_n = None, None
        if weights[0][2] is not None:
            recurrent = [_halved(w[3])[:, None] for w in weights]
            if reset_after:  # r multiplies the last third, so it cannot be added beforehand
                bias_n = stacked(directions, [b[two:].copy() for b in recurrent])
                for b in recurrent:
                    b[two:] = 0
            own = [_halved(w[2])[:, None] for w in weights]
            bias = stacked(directions, [a + b for a, b in zip(own, recurrent, strict=True)])
        z = input_products(xt, [_halved(w[0]) for w in weights], bias)
        w_hh = stacked(directions, [_halved(w[1]) for w in weights])
        states = first_states(z, h0, hidden)
        u_n = empty_like(states[1:]) if reset_after else None

        zs, hs = one_or_both(directions, z, states)
        us = one_or_both(directions, u_n)[0] if u_n is not None else repeat(None)
        u, q = np.empty_like(zs[0]), np.empty_like(hs[0])
        u_rz, u_last = u[..., :two, :], u[..., two:, :]
        w_rz, w_n = w_hh[..., :two, :], w_hh[..., two:, :]
        product, product_rz, product_n = times(w_hh), times(w_rz), times(w_n)
        if directions == 1 and not reset_after:  # np.dot writes to contiguous memory only
            u_rz = u_rz.copy()
        add, multiply, subtract, tanh = np.add, np.multiply, np.subtract, np.tanh
        by_us = by_hand()
        half = np.asarray(0.5, z.dtype)
        for rz, r, update, n, before, h, m, done in zip(
            *_gates(zs, hidden), hs[:-1], hs[1:], us, held(end, directions), strict=False
        ):
            if reset_after:
                product(before, u)
            else:
                product_rz(before, u_rz)
            add(rz, u_rz, out=rz)
            tanh(rz, out=rz)
            multiply(rz, half, out=rz)
            add(rz, half, out=rz)
            if m is not None:
                if bias_n is None:
                    np.copyto(m, u_last)
                else:
                    add(u_last, bias_n, out=m)
                multiply(r, m, out=q)
            else:
                multiply(r, before, out=h)  # r h, in h's place for a moment
                product_n(h, q)
            add(n, q, out=n)
            tanh(n, out=n)
            subtract(before, n, out=h)
            multiply(h, update, out=h)
            add(h, n, out=h)  # (1 - z) n + z h
            if done is not None:
                np.copyto(h, before, where=done)
            if by_us:
                clean(h)
        residuals = Columns((xt, weights, z, u_n, states, end))
        return output(states[1:], end), last_states(states), residuals

    @flushing
    def gru_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        xt, weights, gates, u_n, states, end = residuals
        directions, hidden = gates.shape[1], states.shape[2]
        before = states[:-1]

        # What δh is multiplied by on its way to each of r, z, n, for all steps at once.
        _, r, z, n = _gates(gates, hidden)
        gu = empty_like(gates)
        _, to_r, to_z, to_n = _gates(gu, hidden)
        not_z = np.subtract(1, z, out=empty_like(z))
        to_a = np.multiply(n, n, out=empty_like(n))
        np.subtract(1, to_a, out=to_a)
        to_a *= not_z  # (1 - z) (1 - n²)
        np.subtract(before, n, out=to_z)
        to_z *= z
        to_z *= not_z
        np.subtract(1, r, out=to_r)
        if u_n is not None:
            np.multiply(to_a, r, out=to_n)
            to_r *= to_n
            to_r *= u_n
        else:
            np.copyto(to_n, to_a)
            to_r *= r
            to_r *= before  # times W_hn^T δa, in the loop
        if end is not None:
            np.copyto(gu, 0, where=end.done)
            np.copyto(to_a, 0, where=end.done)
            z = np.where(end.done, z.dtype.type(1), z)  # δh passes unchanged
        gh = scan_state(directions, gh_n)
        g_out = in_scan_order(gy, directions, end)
        if u_n is not None:
            g_all = not_z  # δh of every step, in an array that is not needed any more
            gh = _back_reset_after(weights, gu, z, g_out, g_all, gh)
        else:
            gh = _back_reset_before(weights, gu, r, z, g_out, gh)

        g = rows_by_direction(gu)
        biased = weights[0][2] is not None
        gb_ih = gb_hh = biases(g, biased)
        if u_n is not None:
            gw_hh = recurrent_weights(g, before)
            np.multiply(to_a, g_all, out=to_n)  # from δu to δz: the last third differs
            for s, g_s in enumerate(g):
                g_s[2 * hidden :] = rows(to_n[:, s])
            gb_ih = biases(g, biased)
        else:
            rz, last = [a[: 2 * hidden] for a in g], [a[2 * hidden :] for a in g]
            both = recurrent_weights(rz, before), recurrent_weights(last, r * before)
            gw_hh = [np.concatenate(pair) for pair in zip(*both, strict=True)]
        gx = input_gradient(gu, [w[0] for w in weights]) if needs_x else None
        gradients = list(zip(input_weights(g, xt), gw_hh, gb_ih, gb_hh, strict=True))
        return gx, state(directions, gh), gradients


def _back_reset_after(
    weights: list[Any], gu: Array, z: Array, g_out: Array, g_all: Array, gh: Array
) -> Array:
    """The scan back: scales gu to δu in place, leaves δh of each step in g_all; δh0."""
    directions, hidden = len(weights), z.shape[2]
    w_t = stacked(directions, [w[1].T for w in weights])  # (S, H, 3H)
    by_gate = gu.reshape(*gu.shape[:2], 3, hidden, -1)
    thrice = g_all[:, :, None]  # the same memory, for all gates in one call
    q = np.empty_like(gh)
    product = times(w_t)
    add, multiply, by_us = np.add, np.multiply, by_hand()
    arrays = one_or_both(directions, gu, by_gate, z, g_out, g_all, thrice)
    for u, gates, z_k, g_k, d, d_thrice in zip(*(a[::-1] for a in arrays), strict=True):
        add(gh, g_k, out=d)
        if by_us:
            clean(d)
        multiply(gates, d_thrice, out=gates)
        multiply(d, z_k, out=q)
        product(u, gh)
        add(gh, q, out=gh)
    return gh


def _back_reset_before(
    weights: list[Any], gu: Array, r: Array, z: Array, g_out: Array, gh: Array
) -> Array:
    """The scan back: scales gu to δz in place; δh0."""
    directions, hidden = len(weights), z.shape[2]
    two = 2 * hidden
    w_n = stacked(directions, [w[1][two:].T for w in weights])  # (S, H, H)
    w_rz = stacked(directions, [w[1][:two].T for w in weights])  # (S, H, 2H)
    by_gate = gu.reshape(*gu.shape[:2], 3, hidden, -1)
    zn, d_r, d_n, rz = by_gate[:, :, 1:], by_gate[:, :, 0], by_gate[:, :, 2], gu[:, :, :two]
    q = np.empty_like(gh)
    twice = gh[..., None, :, :]  # the same memory, for z and n in one call
    product_rz, product_n = times(w_rz), times(w_n)
    add, multiply, by_us = np.add, np.multiply, by_hand()
    arrays = one_or_both(directions, zn, d_r, d_n, rz, r, z, g_out)
    for zn_k, dr, dn, rz_k, r_k, z_k, g_k in zip(*(a[::-1] for a in arrays), strict=True):
        add(gh, g_k, out=gh)
        if by_us:
            clean(gh)
        multiply(zn_k, twice, out=zn_k)
        multiply(gh, z_k, out=gh)
        product_n(dn, q)  # the gradient of r h
        multiply(dr, q, out=dr)
        multiply(q, r_k, out=q)
        add(gh, q, out=gh)
        product_rz(rz_k, q)
        add(gh, q, out=gh)
    return gh

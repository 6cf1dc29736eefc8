"""The GRU on NumPy, both variants; how it lies in memory: `recurrent.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..portable.gru import GRUKernels
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


def _halved(a: Array) -> Array:
    """The rows of r and z halved: their sigmoid is then a tanh."""
    b = a.copy()
    b[: 2 * len(a) // 3] *= 0.5
    return b


class NumpyGRU(GRUKernels):
    def gru(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Array, Saved]:
        if not alike(x, weights, h0):
            return super().gru(x, h0, weights, lengths, reset_after)
        steps, directions = x.shape[0], len(weights)
        hidden = weights[0][1].shape[1]
        two = 2 * hidden
        end = ends(lengths, steps, directions)
        xt = columns(x, end)
        bias, bias_n = None, None
        if weights[0][2] is not None:
            recurrent = np.stack([w[3] for w in weights])[..., None]  # (S, 3H, 1)
            bias_n = recurrent[:, two:].copy() if reset_after else None
            if reset_after:
                recurrent[:, two:] = 0  # r multiplies it, so it cannot be added beforehand
            bias = np.stack([w[2] for w in weights])[..., None] + recurrent
            bias[:, :two] *= 0.5
        z = input_products(xt, [_halved(w[0]) for w in weights], bias)
        w_hh = np.stack([_halved(w[1]) for w in weights])  # (S, 3H, H)
        hs = first_states(z, h0, hidden)
        u_n = np.empty_like(hs[1:]) if reset_after else None
        u, q = np.empty_like(z[0]), np.empty_like(hs[0])
        matmul, add, multiply, tanh = np.matmul, np.add, np.multiply, np.tanh
        half = z.dtype.type(0.5)
        u_rz, u_last = u[:, :two], u[:, two:]
        w_rz, w_n = w_hh[:, :two], w_hh[:, two:]
        for k in range(steps):
            a, before, h = z[k], hs[k], hs[k + 1]
            rz, n = a[:, :two], a[:, two:]
            if reset_after:
                matmul(w_hh, before, out=u)
            else:
                matmul(w_rz, before, out=u_rz)
            add(rz, u_rz, out=rz)
            tanh(rz, out=rz)
            multiply(rz, half, out=rz)
            add(rz, half, out=rz)
            if u_n is not None:
                m = u_n[k]
                if bias_n is None:
                    np.copyto(m, u_last)
                else:
                    add(u_last, bias_n, out=m)
                multiply(a[:, :hidden], m, out=q)
            else:
                multiply(a[:, :hidden], before, out=h)  # r h, in h's place for a moment
                matmul(w_n, h, out=q)
            add(n, q, out=n)
            tanh(n, out=n)
            np.subtract(before, n, out=h)
            multiply(h, a[:, hidden:two], out=h)
            add(h, n, out=h)  # (1 - z) n + z h
            if end is not None and end.any[k]:
                np.copyto(h, before, where=end.done[k])
        h_n = hs[-1].transpose(0, 2, 1).copy()
        return output(hs[1:], end), h_n, Columns((xt, weights, z, u_n, hs, end))

    def gru_backward(
        self, gy: Array, gh_n: Array, saved: Saved, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Array | None, ...]]]:
        if not isinstance(saved, Columns):
            return super().gru_backward(gy, gh_n, saved, needs_x)
        xt, weights, gates, u_n, hs, end = saved
        steps, directions, _, batch = gates.shape
        hidden = hs.shape[2]
        two = 2 * hidden
        g_out = in_sweep_order(gy, directions, end)
        r, z, n = gates[:, :, :hidden], gates[:, :, hidden:two], gates[:, :, two:]
        before = hs[:-1]

        # What δh is multiplied by on its way to each of r, z, n, for all steps at once.
        gu = np.empty_like(gates)
        to_r, to_z, to_n = gu[:, :, :hidden], gu[:, :, hidden:two], gu[:, :, two:]
        not_z = 1 - z
        to_a = n * n
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
            for part in (gu, to_a):
                np.copyto(part, 0, where=end.done)
            z = np.where(end.done, z.dtype.type(1), z)  # δh passes unchanged

        gh = gh_n.transpose(0, 2, 1).astype(gates.dtype)  # a copy, (S, H, N)
        q = np.empty_like(gh)
        matmul, add, multiply = np.matmul, np.add, np.multiply
        by_gate = gu.reshape(steps, directions, 3, hidden, batch)
        if u_n is not None:
            w_t = np.stack([w[1].T for w in weights])  # (S, H, 3H)
            g_all = not_z  # δh of every step, in an array that is not needed any more
            for k in range(steps - 1, -1, -1):
                d = g_all[k]
                add(gh, g_out[k], out=d)
                multiply(by_gate[k], d[:, None], out=by_gate[k])
                multiply(d, z[k], out=q)
                matmul(w_t, gu[k], out=gh)
                add(gh, q, out=gh)
        else:
            w_n = np.stack([w[1][two:].T for w in weights])  # (S, H, H)
            w_rz = np.stack([w[1][:two].T for w in weights])  # (S, H, 2H)
            for k in range(steps - 1, -1, -1):
                add(gh, g_out[k], out=gh)
                d = by_gate[k]
                multiply(d[:, 1:], gh[:, None], out=d[:, 1:])
                multiply(gh, z[k], out=gh)
                matmul(w_n, d[:, 2], out=q)  # the gradient of r h
                multiply(d[:, 0], q, out=d[:, 0])
                multiply(q, r[k], out=q)
                add(gh, q, out=gh)
                matmul(w_rz, gu[k][:, :two], out=q)
                add(gh, q, out=gh)

        if u_n is not None:
            gw_hh = recurrent_products_backward(gu, before)
            gb_hh = gu.sum(axis=(0, 3))
            np.multiply(to_a, g_all, out=to_n)  # from δu to δz: the last third differs
            gb_ih = gb_hh.copy()
            gb_ih[:, two:] = to_n.sum(axis=(0, 3))
        else:
            gw_hh = np.concatenate(
                [
                    recurrent_products_backward(gu[:, :, :two], before),
                    recurrent_products_backward(to_n, r * before),
                ],
                axis=1,
            )
            gb_ih = gb_hh = gu.sum(axis=(0, 3))
        gx, gw_ih = input_products_backward(gu, xt, [w[0] for w in weights], needs_x)
        biased = weights[0][2] is not None
        gradients: list[tuple[Array | None, ...]] = [
            (gw_ih[s], gw_hh[s], gb_ih[s] if biased else None, gb_hh[s] if biased else None)
            for s in range(directions)
        ]
        return gx, gh.transpose(0, 2, 1), gradients

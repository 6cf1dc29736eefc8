"""The simple recurrent layer on NumPy; how it lies in memory: `recurrent.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..portable.rnn import RNNKernels
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


class NumpyRNN(RNNKernels):
    def rnn(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        nonlinearity: str,
    ) -> tuple[Array, Array, Saved]:
        if not alike(x, weights, h0):
            return super().rnn(x, h0, weights, lengths, nonlinearity)
        steps, directions = x.shape[0], len(weights)
        end = ends(lengths, steps, directions)
        xt = columns(x, end)
        bias = None
        if weights[0][2] is not None:
            bias = np.stack([w[2] + w[3] for w in weights])[..., None]  # (S, H, 1)
        z = input_products(xt, [w[0] for w in weights], bias)
        w_hh = np.stack([w[1] for w in weights])  # (S, H, H)
        hs = first_states(z, h0, w_hh.shape[1])
        matmul, add, tanh, relu = np.matmul, np.add, np.tanh, nonlinearity == "relu"
        for k in range(steps):
            h = hs[k + 1]
            matmul(w_hh, hs[k], out=h)
            add(h, z[k], out=h)
            if relu:
                np.maximum(h, 0, out=h)
            else:
                tanh(h, out=h)
            if end is not None and end.any[k]:
                np.copyto(h, hs[k], where=end.done[k])
        h_n = hs[-1].transpose(0, 2, 1).copy()
        saved = Columns((xt, weights, hs, end, relu))
        return output(hs[1:], end), h_n, saved

    def rnn_backward(
        self, gy: Array, gh_n: Array, saved: Saved, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Array | None, ...]]]:
        if not isinstance(saved, Columns):
            return super().rnn_backward(gy, gh_n, saved, needs_x)
        xt, weights, hs, end, relu = saved
        directions = len(weights)
        g = in_sweep_order(gy, directions, end)
        h = hs[1:]
        if relu:
            gz = (h > 0).astype(h.dtype)
        else:
            gz = h * h
            np.subtract(1, gz, out=gz)
        if end is not None:
            np.copyto(gz, 0, where=end.done)
        w_t = np.stack([w[1].T for w in weights])  # (S, H, H)
        gh = gh_n.transpose(0, 2, 1).astype(h.dtype)  # a copy, (S, H, N)
        back = np.empty_like(gh)
        matmul, add, multiply = np.matmul, np.add, np.multiply
        for k in range(len(h) - 1, -1, -1):
            add(gh, g[k], out=gh)
            multiply(gz[k], gh, out=gz[k])
            matmul(w_t, gz[k], out=back)
            if end is not None and end.any[k]:
                np.copyto(back, gh, where=end.done[k])
            gh, back = back, gh
        gx, gw_ih = input_products_backward(gz, xt, [w[0] for w in weights], needs_x)
        gw_hh = recurrent_products_backward(gz, hs[:-1])
        gb = gz.sum(axis=(0, 3)) if weights[0][2] is not None else [None] * directions
        gradients: list[tuple[Array | None, ...]] = [
            (gw_ih[s], gw_hh[s], gb[s], gb[s]) for s in range(directions)
        ]
        return gx, gh.transpose(0, 2, 1), gradients

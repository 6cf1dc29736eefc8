"""The simple recurrent layer on NumPy; how it lies in memory: `recurrent.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array
from ..flush import by_hand, clean, flushing
from ..portable.residuals import Residuals
from ..portable.rnn import RNNKernels
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


class NumpyRNN(RNNKernels):
    @flushing
    def rnn(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        nonlinearity: str,
    ) -> tuple[Array, Array, Residuals]:
        steps, directions = x.shape[0], len(weights)
        end = ends(lengths, steps, directions)
        xt = columns(x, end)
        bias = None
        if weights[0][2] is not None:
            bias = stacked(directions, [(w[2] + w[3])[:, None] for w in weights])
        z = input_products(xt, [w[0] for w in weights], bias)
        w_hh = stacked(directions, [w[1] for w in weights])
        states = first_states(z, h0, w_hh.shape[-1])
        zs, hs = one_or_both(directions, z, states)
        product = times(w_hh)
        relu, add, tanh, by_us = nonlinearity == "relu", np.add, np.tanh, by_hand()
        for z_k, before, h, done in zip(zs, hs[:-1], hs[1:], held(end, directions), strict=False):
            product(before, h)
            add(h, z_k, out=h)
            if relu:
                np.maximum(h, 0, out=h)
            else:
                tanh(h, out=h)
            if done is not None:
                np.copyto(h, before, where=done)
            if by_us:
                clean(h)
        residuals = Columns((xt, weights, states, end, relu))
        return output(states[1:], end), last_states(states), residuals

    @flushing
    def rnn_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        xt, weights, states, end, relu = residuals
        directions, h = len(weights), states[1:]
        if relu:
            gz = (h > 0).astype(h.dtype)
        else:
            gz = np.multiply(h, h, out=empty_like(h))
            np.subtract(1, gz, out=gz)
        if end is not None:
            np.copyto(gz, 0, where=end.done)
        w_t = stacked(directions, [w[1].T for w in weights])
        gs, gzs = one_or_both(directions, in_scan_order(gy, directions, end), gz)
        gh = scan_state(directions, gh_n)
        back = np.empty_like(gh)
        product = times(w_t)
        add, multiply, by_us = np.add, np.multiply, by_hand()
        dones = held(end, directions, backward=True)
        for g_k, gz_k, done in zip(gs[::-1], gzs[::-1], dones, strict=False):
            add(gh, g_k, out=gh)
            multiply(gz_k, gh, out=gz_k)
            if by_us:
                clean(gh, gz_k)
            product(gz_k, back)
            if done is not None:
                np.copyto(back, gh, where=done)
            gh, back = back, gh
        g = rows_by_direction(gz)
        gx = input_gradient(gz, [w[0] for w in weights]) if needs_x else None
        gw_ih, gw_hh = input_weights(g, xt), recurrent_weights(g, states[:-1])
        gb = biases(g, weights[0][2] is not None)
        gradients = list(zip(gw_ih, gw_hh, gb, gb, strict=True))
        return gx, state(directions, gh), gradients

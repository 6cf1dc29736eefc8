"""The simple recurrent network, h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or with relu."""

from __future__ import annotations

from typing import Any

from ...typing import Array
from .recurrent import (
    apart,
    final,
    input_product,
    input_product_backward,
    only,
    previous,
    recurrent_product_backward,
    running,
    scan,
    side_by_side,
    stacked,
)
from .residuals import Residuals


class RNNKernels:
    """Shapes and the three grains: see `recurrent.py`; the derivation: `nnx.ops.recurrent.rnn`."""

    xp: Any

    # ---- the scan over time ----

    def rnn_sequence(
        self, z: Array, h0: Array, weight_hh: Array, lengths: Array | None, nonlinearity: str
    ) -> tuple[Array, Residuals]:
        """h[t] = f(z[t] + h[t-1] W_hh^T), f being the `nonlinearity`, "tanh" or "relu".

        z (T, N, S, H) with both biases in it, h0 (S, N, H), weight_hh (S, H, H), lengths (N,) or
        None -> states (T, N, S, H), and what the backward needs.
        """
        xp = self.xp
        steps, _, directions, _ = z.shape
        mask = running(xp, lengths, steps)
        states = xp.empty_like(z)
        for s in range(directions):
            w = xp.matrix_transpose(weight_hh[s, ...])
            h = h0[s, ...]
            for t in scan(steps, s):
                a = z[t, :, s, :] + h @ w  # (N, H) + (N, H) x (H, H)
                new = xp.tanh(a) if nonlinearity == "tanh" else xp.maximum(a, xp.zeros_like(a))
                h = new if mask is None else xp.where(mask[t, ...], new, h)
                states[t, :, s, :] = h
        return states, Residuals((states, h0, weight_hh, lengths, nonlinearity))

    def rnn_sequence_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals
    ) -> tuple[Array, Array, Array]:
        """gz (T, N, S, H), gh0 (S, N, H) and gW_hh (S, H, H).

        Args:
            gy: (T, N, S, H), what the output hands down at each time, 0 where a sequence has ended.
            gh_n: (S, N, H), what the last state hands back.
            residuals: what `rnn_sequence` kept.
        """
        xp = self.xp
        states, h0, weight_hh, lengths, nonlinearity = residuals
        steps, _, directions, _ = states.shape
        mask = running(xp, lengths, steps)
        slope = 1 - states * states if nonlinearity == "tanh" else xp.astype(states > 0, gy.dtype)
        if mask is not None:
            slope = only(xp, mask[..., None], slope)
        gz = xp.empty_like(states)
        gh0 = xp.empty_like(h0)
        for s in range(directions):
            gh = gh_n[s, ...]
            for t in reversed(scan(steps, s)):
                gh = gh + gy[t, :, s, :]
                g = gh * slope[t, :, s, :]
                gz[t, :, s, :] = g
                back = g @ weight_hh[s, ...]  # (N, H) x (H, H)
                gh = back if mask is None else xp.where(mask[t, ...], back, gh)
            gh0[s, ...] = gh
        return gz, gh0, recurrent_product_backward(xp, gz, previous(xp, states, h0))

    # ---- the whole layer ----

    def rnn(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        nonlinearity: str,
    ) -> tuple[Array, Array, Residuals]:
        """A whole layer: y (T, N, S H), h_n (S, N, H), and what `rnn_backward` needs.

        Args:
            x: (T, N, D).
            h0: (S, N, H), or None for zeros.
            weights: for each direction (weight_ih, weight_hh, bias_ih, bias_hh), a bias None if not
                there.
            lengths: (N,), or None where all are T.
            nonlinearity: "tanh" or "relu".
        """
        xp = self.xp
        steps, n, _ = x.shape
        mask = running(xp, lengths, steps)
        x = only(xp, mask, x)
        z = input_product(xp, x, weights, both_biases=True)
        weight_hh = stacked(xp, weights, 1)
        if h0 is None:
            h0 = xp.zeros((z.shape[2], n, z.shape[3]), dtype=x.dtype, device=x.device)
        states, swept = self.rnn_sequence(z, h0, weight_hh, lengths, nonlinearity)
        y = only(xp, mask, side_by_side(xp, states))
        return y, final(xp, states), Residuals((x, weights, lengths, swept))

    def rnn_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        """gx (T, N, D), gh0 (S, N, H), and per direction (gW_ih, gW_hh, gb_ih, gb_hh).

        Args:
            gy: the gradient of y (T, N, S H).
            gh_n: that of h_n (S, N, H).
            residuals: what `rnn` kept.
            needs_x: False: None stands for gx.
        """
        xp = self.xp
        x, weights, lengths, swept = residuals
        gy = only(xp, running(xp, lengths, x.shape[0]), gy)
        gy = apart(xp, gy, len(weights))
        gz, gh0, gw_hh = self.rnn_sequence_backward(gy, gh_n, swept)
        gx, gw_ih, gb = input_product_backward(xp, gz, x, weights, needs_x)
        biased = weights[0][2] is not None
        gradients: list[tuple[Any, ...]] = [
            (gw_ih[s], gw_hh[s, ...], gb[s] if biased else None, gb[s] if biased else None)
            for s in range(len(weights))
        ]
        return gx, gh0, gradients

"""The GRU in its two variants: gates r, z, n in this order (PyTorch's)."""

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
    sigmoid,
    stacked,
)
from .residuals import Residuals


class GRUKernels:
    """Shapes and the three grains: see `recurrent.py`; the derivation: `nnx.ops.recurrent.gru`.

    With x = W_ih x[t] + b_ih and u = W_hh h[t-1] + b_hh, both cut in three,

        reset after the product    n = tanh(x_n + r u_n)                      one elementwise pass
        reset before it            n = tanh(x_n + W_hn (r h[t-1]) + b_hn)     two, a product between
    """

    xp: Any

    # ---- one step's elementwise parts ----

    def gru_cell(self, x: Array, u: Array, h: Array) -> tuple[Array, Array]:
        """Reset after: x, u (N, 3H), h (N, H) -> gates (N, 3H) = [r, z, n], h' (N, H).

        r, z = sigmoid(x + u);  n = tanh(x_n + r u_n);  h' = (1 - z) n + z h.
        """
        xp = self.xp
        hidden = h.shape[1]
        rz = sigmoid(xp, x[:, : 2 * hidden] + u[:, : 2 * hidden])
        n = xp.tanh(x[:, 2 * hidden :] + rz[:, :hidden] * u[:, 2 * hidden :])
        z = rz[:, hidden:]
        return xp.concat([rz, n], axis=1), (1 - z) * n + z * h

    def gru_cell_backward(
        self, gh: Array, gates: Array, u_n: Array, h: Array
    ) -> tuple[Array, Array, Array]:
        """gh (N, H), the gradient of h' -> gx (N, 3H), gu (N, 3H), and h's (N, H) but through u.

        gates are what `gru_cell` gave, h what it was given, and u_n (N, H) the last third of its u.
        """
        xp = self.xp
        hidden = h.shape[1]
        r, z, n = gates[:, :hidden], gates[:, hidden : 2 * hidden], gates[:, 2 * hidden :]
        ga = gh * (1 - z) * (1 - n * n)
        g_rz = xp.concat([ga * u_n * r * (1 - r), gh * (h - n) * z * (1 - z)], axis=1)
        return xp.concat([g_rz, ga], axis=1), xp.concat([g_rz, ga * r], axis=1), gh * z

    def gru_reset(self, x: Array, u: Array, h: Array) -> tuple[Array, Array]:
        """Reset before, first pass: x, u (N, 2H), h (N, H) -> gates (N, 2H) = [r, z], and r h."""
        rz = sigmoid(self.xp, x + u)
        return rz, rz[:, : h.shape[1]] * h

    def gru_reset_backward(
        self, g_rh: Array, gz: Array, rz: Array, h: Array
    ) -> tuple[Array, Array]:
        """g_rh, gz (N, H), the gradients of r h and of z -> that of x and u (N, 2H), and of h (N,
        H).

        rz are the gates that `gru_reset` gave, h what it was given.
        """
        hidden = h.shape[1]
        r, z = rz[:, :hidden], rz[:, hidden:]
        g = self.xp.concat([g_rh * h * r * (1 - r), gz * z * (1 - z)], axis=1)
        return g, g_rh * r

    def gru_update(self, x: Array, u: Array, z: Array, h: Array) -> tuple[Array, Array]:
        """Reset before, second pass: all (N, H) -> n = tanh(x + u), h' = (1 - z) n + z h."""
        n = self.xp.tanh(x + u)
        return n, (1 - z) * n + z * h

    def gru_update_backward(
        self, gh: Array, z: Array, n: Array, h: Array
    ) -> tuple[Array, Array, Array]:
        """gh (N, H), the gradient of h' -> those of x and u, of z, and of h, each (N, H).

        n is what `gru_update` gave, z and h what it was given.
        """
        return gh * (1 - z) * (1 - n * n), gh * (h - n), gh * z

    # ---- the scan over time ----

    def gru_sequence(
        self,
        z: Array,
        h0: Array,
        weight_hh: Array,
        bias_hh: Array | None,
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Residuals]:
        """The cell of the chosen variant on z[t] and u = h[t-1] W_hh^T + b_hh, for every t.

        z (T, N, S, 3H) with bias_ih in it, h0 (S, N, H), weight_hh (S, 3H, H), bias_hh (S, 3H) or
        None, lengths (N,) or None, reset_after as in `nnx.nn.GRU` -> states (T, N, S, H), and what
        the backward needs.
        """
        xp = self.xp
        steps, n, directions, _ = z.shape
        hidden = h0.shape[2]
        two = 2 * hidden
        mask = running(xp, lengths, steps)
        gates = xp.empty_like(z)
        states = xp.empty((steps, n, directions, hidden), dtype=z.dtype, device=z.device)
        u_n: Any = xp.empty_like(states) if reset_after else None  # needed for r's gradient
        if bias_hh is None:
            bias_hh = xp.zeros((directions, 3 * hidden), dtype=z.dtype, device=z.device)
        for s in range(directions):
            w = xp.matrix_transpose(weight_hh[s, ...])  # (H, 3H)
            b = bias_hh[s, ...]
            h = h0[s, ...]
            for t in scan(steps, s):
                x = z[t, :, s, :]
                if reset_after:
                    u = h @ w + b
                    u_n[t, :, s, :] = u[:, two:]
                    gates_t, new = self.gru_cell(x, u, h)
                else:
                    rz, rh = self.gru_reset(x[:, :two], h @ w[:, :two] + b[:two], h)
                    u = rh @ w[:, two:] + b[two:]
                    candidate, new = self.gru_update(x[:, two:], u, rz[:, hidden:], h)
                    gates_t = xp.concat([rz, candidate], axis=1)
                h = new if mask is None else xp.where(mask[t, ...], new, h)
                gates[t, :, s, :], states[t, :, s, :] = gates_t, h
        return states, Residuals((gates, u_n, states, h0, weight_hh, lengths))

    def gru_sequence_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals
    ) -> tuple[Array, Array, Array, Array]:
        """gz (T, N, S, 3H), gh0 (S, N, H), gW_hh (S, 3H, H), gb_hh (S, 3H).

        Args:
            gy: (T, N, S, H), what the output hands down at each time, 0 where a sequence has ended.
            gh_n: (S, N, H), what the last state hands back.
            residuals: what `gru_sequence` kept.
        """
        xp = self.xp
        gates, u_n, states, h0, weight_hh, lengths = residuals
        steps, _, directions, hidden = states.shape
        two = 2 * hidden
        mask = running(xp, lengths, steps)
        before = previous(xp, states, h0)
        gz = xp.empty_like(gates)
        gu = gz if u_n is None else xp.empty_like(gates)
        gh0 = xp.empty_like(h0)
        for s in range(directions):
            w = weight_hh[s, ...]  # (3H, H)
            gh = gh_n[s, ...]
            for t in reversed(scan(steps, s)):
                gh = gh + gy[t, :, s, :]
                gates_t, h = gates[t, :, s, :], before[t, :, s, :]
                if u_n is not None:
                    gx_t, gu_t, direct = self.gru_cell_backward(gh, gates_t, u_n[t, :, s, :], h)
                    through = gu_t @ w  # (N, 3H) x (3H, H)
                else:
                    rz, candidate = gates_t[:, :two], gates_t[:, two:]
                    ga, g_update, direct = self.gru_update_backward(
                        gh, rz[:, hidden:], candidate, h
                    )
                    g_rh = ga @ w[two:, :]  # (N, H) x (H, H)
                    g_rz, by_reset = self.gru_reset_backward(g_rh, g_update, rz, h)
                    gx_t = gu_t = xp.concat([g_rz, ga], axis=1)
                    through = g_rz @ w[:two, :] + by_reset
                m = None if mask is None else mask[t, ...]
                gz[t, :, s, :] = only(xp, m, gx_t)
                if u_n is not None:
                    gu[t, :, s, :] = only(xp, m, gu_t)
                new = direct + through
                gh = new if m is None else xp.where(m, new, gh)
            gh0[s, ...] = gh
        gb_hh = xp.sum(gu, axis=(0, 1))
        if u_n is not None:
            return gz, gh0, recurrent_product_backward(xp, gu, before), gb_hh
        rh = gates[..., :hidden] * before  # what W_hn was applied to
        if mask is not None:
            rh = only(xp, mask[..., None], rh)
        gw_rz = recurrent_product_backward(xp, gu[..., :two], before)
        gw_n = recurrent_product_backward(xp, gu[..., two:], rh)
        return gz, gh0, xp.concat([gw_rz, gw_n], axis=1), gb_hh

    # ---- the whole layer ----

    def gru(
        self,
        x: Array,
        h0: Array | None,
        weights: list[Any],
        lengths: Array | None,
        reset_after: bool,
    ) -> tuple[Array, Array, Residuals]:
        """A whole layer: y (T, N, S H), h_n (S, N, H), and what `gru_backward` needs.

        Args:
            x: (T, N, D).
            h0: (S, N, H), or None for zeros.
            weights: for each direction (weight_ih, weight_hh, bias_ih, bias_hh), a bias None if not
                there.
            lengths: (N,), or None where all are T.
            reset_after: as in `nnx.nn.GRU`.
        """
        xp = self.xp
        steps, n, _ = x.shape
        mask = running(xp, lengths, steps)
        x = only(xp, mask, x)
        z = input_product(xp, x, weights, both_biases=False)
        if h0 is None:
            h0 = xp.zeros((z.shape[2], n, z.shape[3] // 3), dtype=x.dtype, device=x.device)
        weight_hh, bias_hh = stacked(xp, weights, 1), stacked(xp, weights, 3)
        states, swept = self.gru_sequence(z, h0, weight_hh, bias_hh, lengths, reset_after)
        y = only(xp, mask, side_by_side(xp, states))
        return y, final(xp, states), Residuals((x, weights, lengths, swept))

    def gru_backward(
        self, gy: Array, gh_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
        """gx (T, N, D), gh0 (S, N, H), and per direction (gW_ih, gW_hh, gb_ih, gb_hh).

        Args:
            gy: the gradient of y (T, N, S H).
            gh_n: that of h_n (S, N, H).
            residuals: what `gru` kept.
            needs_x: False: None stands for gx.
        """
        xp = self.xp
        x, weights, lengths, swept = residuals
        gy = only(xp, running(xp, lengths, x.shape[0]), gy)
        gy = apart(xp, gy, len(weights))
        gz, gh0, gw_hh, gb_hh = self.gru_sequence_backward(gy, gh_n, swept)
        gx, gw_ih, gb_ih = input_product_backward(xp, gz, x, weights, needs_x)
        biased = weights[0][2] is not None
        gradients: list[tuple[Any, ...]] = [
            (
                gw_ih[s],
                gw_hh[s, ...],
                gb_ih[s] if biased else None,
                gb_hh[s, ...] if biased else None,
            )
            for s in range(len(weights))
        ]
        return gx, gh0, gradients

"""The LSTM: gates i, f, g, o in this order (PyTorch's)."""

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


class LSTMKernels:
    """Shapes and the three grains: see `recurrent.py`; the derivation: `nnx.ops.recurrent.lstm`."""

    xp: Any

    # ---- one step's elementwise half ----

    def lstm_cell(self, z: Array, c: Array) -> tuple[Array, Array, Array]:
        """z (N, 4H), c (N, H) -> gates (N, 4H) = [i, f, g, o], c' (N, H), h' (N, H).

        i, f, o = sigmoid, g = tanh of their quarter of z;  c' = f c + i g;  h' = o tanh(c').
        """
        xp = self.xp
        hidden = c.shape[1]
        i = sigmoid(xp, z[:, :hidden])
        f = sigmoid(xp, z[:, hidden : 2 * hidden])
        g = xp.tanh(z[:, 2 * hidden : 3 * hidden])
        o = sigmoid(xp, z[:, 3 * hidden :])
        c = f * c + i * g
        return xp.concat([i, f, g, o], axis=1), c, o * xp.tanh(c)

    def lstm_cell_backward(
        self, gh: Array, gc: Array, gates: Array, c: Array, c_next: Array
    ) -> tuple[Array, Array]:
        """gh, gc (N, H), the gradients of h' and c' -> gz (N, 4H) and the gradient of c (N, H).

        gates and c_next are what `lstm_cell` gave, c what it was given.
        """
        xp = self.xp
        hidden = c.shape[1]
        i, f = gates[:, :hidden], gates[:, hidden : 2 * hidden]
        g, o = gates[:, 2 * hidden : 3 * hidden], gates[:, 3 * hidden :]
        tanh_c = xp.tanh(c_next)
        gc = gc + gh * o * (1 - tanh_c * tanh_c)
        gz = xp.concat(
            [
                gc * g * i * (1 - i),
                gc * c * f * (1 - f),
                gc * i * (1 - g * g),
                gh * tanh_c * o * (1 - o),
            ],
            axis=1,
        )
        return gz, gc * f

    # ---- the scan over time ----

    def lstm_sequence(
        self,
        z: Array,
        h0: Array,
        c0: Array,
        weight_hh: Array,
        weight_hr: Array | None,
        lengths: Array | None,
    ) -> tuple[Array, Array, Residuals]:
        """`lstm_cell` on z[t] + h[t-1] W_hh^T, for every t.

        z (T, N, S, 4H) with both biases in it, h0 (S, N, P), c0 (S, N, H), weight_hh (S, 4H, P),
        lengths (N,) or None; P = H, unless weight_hr (S, P, H) projects: h = (o tanh c) W_hr^T. ->
        states (T, N, S, P), c_n (S, N, H), and what the backward needs.
        """
        xp = self.xp
        steps, n, directions, _ = z.shape
        hidden = c0.shape[2]
        mask = running(xp, lengths, steps)
        gates = xp.empty_like(z)
        states = xp.empty((steps, n, directions, h0.shape[2]), dtype=z.dtype, device=z.device)
        cells = xp.empty((steps, n, directions, hidden), dtype=z.dtype, device=z.device)
        for s in range(directions):
            w = xp.matrix_transpose(weight_hh[s, ...])
            h, c = h0[s, ...], c0[s, ...]
            for t in scan(steps, s):
                gates_t, new_c, new_h = self.lstm_cell(z[t, :, s, :] + h @ w, c)
                if weight_hr is not None:
                    new_h = new_h @ xp.matrix_transpose(weight_hr[s, ...])  # (N, H) x (H, P)
                if mask is None:
                    h, c = new_h, new_c
                else:
                    h, c = xp.where(mask[t, ...], new_h, h), xp.where(mask[t, ...], new_c, c)
                gates[t, :, s, :], states[t, :, s, :], cells[t, :, s, :] = gates_t, h, c
        residuals = Residuals((gates, cells, states, h0, c0, weight_hh, weight_hr, lengths))
        return states, final(xp, cells), residuals

    def lstm_sequence_backward(
        self, gy: Array, gh_n: Array, gc_n: Array, residuals: Residuals
    ) -> tuple[Array, Array, Array, Array, Array | None]:
        """gz (T, N, S, 4H), gh0 (S, N, P), gc0 (S, N, H), gW_hh (S, 4H, P), gW_hr or None.

        Args:
            gy: (T, N, S, P), what the output hands down at each time, 0 where a sequence has ended.
            gh_n, gc_n: (S, N, P) and (S, N, H), what the last states hand back.
            residuals: what `lstm_sequence` kept.
        """
        xp = self.xp
        gates, cells, states, h0, c0, weight_hh, weight_hr, lengths = residuals
        steps, _, directions, _ = gates.shape
        hidden = c0.shape[2]
        mask = running(xp, lengths, steps)
        before = previous(xp, cells, c0)
        gz = xp.empty_like(gates)
        gh_all = xp.zeros_like(states)  # the whole gradient of each projected state
        gh0, gc0 = xp.empty_like(h0), xp.empty_like(c0)
        for s in range(directions):
            gh, gc = gh_n[s, ...], gc_n[s, ...]
            for t in reversed(scan(steps, s)):
                gh = gh + gy[t, :, s, :]
                through = gh
                if weight_hr is not None:
                    gh_all[t, :, s, :] = only(xp, None if mask is None else mask[t, ...], gh)
                    through = gh @ weight_hr[s, ...]  # (N, P) x (P, H)
                g, gc_before = self.lstm_cell_backward(
                    through, gc, gates[t, :, s, :], before[t, :, s, :], cells[t, :, s, :]
                )
                if mask is None:
                    gh, gc = g @ weight_hh[s, ...], gc_before  # (N, 4H) x (4H, P)
                else:
                    g = only(xp, mask[t, ...], g)
                    gh = xp.where(mask[t, ...], g @ weight_hh[s, ...], gh)
                    gc = xp.where(mask[t, ...], gc_before, gc)
                gz[t, :, s, :] = g
            gh0[s, ...], gc0[s, ...] = gh, gc
        gw_hh = recurrent_product_backward(xp, gz, previous(xp, states, h0))
        gw_hr = None
        if weight_hr is not None:
            unprojected = gates[..., 3 * hidden :] * xp.tanh(cells)  # o tanh c
            if mask is not None:
                unprojected = only(xp, mask[..., None], unprojected)
            gw_hr = recurrent_product_backward(xp, gh_all, unprojected)
        return gz, gh0, gc0, gw_hh, gw_hr

    # ---- the whole layer ----

    def lstm(
        self,
        x: Array,
        h0: Array | None,
        c0: Array | None,
        weights: list[Any],
        lengths: Array | None,
    ) -> tuple[Array, Array, Array, Residuals]:
        """A whole layer: y (T, N, S P), h_n (S, N, P), c_n (S, N, H), and what `lstm_backward`
        needs.

        Args:
            x: (T, N, D).
            h0, c0: (S, N, P) and (S, N, H), None for zeros.
            weights: for each direction (weight_ih, weight_hh, bias_ih, bias_hh, weight_hr), None
                for what is not there.
            lengths: (N,), or None where all are T.
        """
        xp = self.xp
        steps, n, _ = x.shape
        mask = running(xp, lengths, steps)
        x = only(xp, mask, x)
        z = input_product(xp, x, weights, both_biases=True)
        weight_hh, weight_hr = stacked(xp, weights, 1), stacked(xp, weights, 4)
        assert weight_hh is not None
        directions, hidden = z.shape[2], z.shape[3] // 4
        if h0 is None:
            h0 = xp.zeros((directions, n, weight_hh.shape[2]), dtype=x.dtype, device=x.device)
        if c0 is None:
            c0 = xp.zeros((directions, n, hidden), dtype=x.dtype, device=x.device)
        states, c_n, swept = self.lstm_sequence(z, h0, c0, weight_hh, weight_hr, lengths)
        y = only(xp, mask, side_by_side(xp, states))
        return y, final(xp, states), c_n, Residuals((x, weights, lengths, swept))

    def lstm_backward(
        self, gy: Array, gh_n: Array, gc_n: Array, residuals: Residuals, needs_x: bool
    ) -> tuple[Array | None, Array, Array, list[tuple[Any, ...]]]:
        """gx (T, N, D), gh0, gc0, and per direction (gW_ih, gW_hh, gb_ih, gb_hh, gW_hr).

        Args:
            gy: the gradient of y (T, N, S P).
            gh_n, gc_n: those of h_n (S, N, P) and c_n (S, N, H).
            residuals: what `lstm` kept.
            needs_x: False: None stands for gx.
        """
        xp = self.xp
        x, weights, lengths, swept = residuals
        gy = only(xp, running(xp, lengths, x.shape[0]), gy)
        gy = apart(xp, gy, len(weights))
        gz, gh0, gc0, gw_hh, gw_hr = self.lstm_sequence_backward(gy, gh_n, gc_n, swept)
        gx, gw_ih, gb = input_product_backward(xp, gz, x, weights, needs_x)
        biased = weights[0][2] is not None
        gradients: list[tuple[Any, ...]] = [
            (
                gw_ih[s],
                gw_hh[s, ...],
                gb[s] if biased else None,
                gb[s] if biased else None,
                None if gw_hr is None else gw_hr[s, ...],
            )
            for s in range(len(weights))
        ]
        return gx, gh0, gc0, gradients

"""The LSTM: one step's elementwise half, and a layer over a whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends import Array
from ...tensor import Tensor
from .._function import Several
from .._operands import as_tensor, require_one_dtype
from ..array.autocast import in_low_precision
from .layer import (
    RecurrentLayer,
    Weights,
    by_direction,
    check_layer,
    device_lengths,
    layer_operands,
    time_major,
)


class LSTMCell(Several):
    """c' = f * c + i * g,  h' = o * tanh(c'),  with i, f, o = σ(z_i, z_f, z_o), g = tanh(z_g).

    (Xu 8.2-8.7.)  z (N, 4H) in PyTorch's order i, f, g, o (the book's is i, f, o, g), c (N, H)
    -> h' (N, H), c' (N, H).

    Backward.  c' feeds h' and the next step, so with δh, δc the gradients of h' and c'

        δc <- δc + δh * o * (1 - tanh² c')   (8.11)
        δo = δh * tanh c'                    (8.10, where the book prints tanh' by mistake)
        δi = δc * g,  δf = δc * c,  δg = δc * i,  dL/dc = δc * f        (8.12-8.15)

    and through the activations, σ' = σ (1 - σ) (8.24), tanh' = 1 - tanh²:

        δz_i = δi i (1 - i),  δz_f = δf f (1 - f),  δz_g = δg (1 - g²),  δz_o = δo o (1 - o)

    (8.16-8.19).  Kept: the gates, c and c'; 6 H numbers per row.
    """

    def forward(self, z: Array, c: Array) -> tuple[Array, Array]:
        gates, c_next, h_next = self.backend.lstm_cell(z, c)
        if True in self.needs_input_grad:
            self.kept = gates, c, c_next
        return h_next, c_next

    def backward(self, gh: Array, gc: Array) -> tuple[Array, Array]:
        return self.backend.lstm_cell_backward(gh, gc, *self.kept)


class LSTM(RecurrentLayer):
    """`LSTMCell` on z[t] = W_ih x[t] + b_ih + W_hh h[t-1] + b_hh, for all T steps at once (8.1).

    x (T, N, D) -> y (T, N, S P), h_n (S, N, P), c_n (S, N, H), in one or both directions.  P = H,
    or with a projection (Sak et al. 2014) P < H and h[t] = W_hr (o[t] * tanh c[t]).

    Backward through time.  From the last step to the first, with δc[t] and δz[t] by `LSTMCell`:

        δh[t]   = δy[t] + W_hh^T δz[t+1]              (8.9, 8.28; δh[T] takes h_n's gradient too)
        δz[t], δc[t-1] from W_hr^T δh[t] and δc[t]    (8.10-8.19; δc[T] is c_n's gradient)

    Then, for all steps in one product each (8.27, 8.29-8.32; for (8.31) read δz):

        dL/dx[t]  = W_ih^T δz[t]
        dL/dW_ih  = sum_t δz[t] x[t]^T,   dL/dW_hh = sum_t δz[t] h[t-1]^T
        dL/db_ih  = dL/db_hh = sum_t δz[t]
        dL/dW_hr  = sum_t δh[t] (o[t] * tanh c[t])^T
        dL/dh0    = W_hh^T δz[1],         dL/dc0 = δc[0]

    In direction 1, t-1 reads t+1; dL/dx is the sum over both directions (9.33).

    Unequal lengths: where t >= lengths[n] neither h nor c moves, so δh and δc pass unchanged and
    δz[t] = 0; y[t] = 0 is a constant there, so δy[t] is ignored.

    Kept for backward, per step and row: x, the gates (4 H), c (H), h (P); the tuned kernels also
    tanh c (H).
    """

    def __init__(
        self, directions: int, projected: bool, lengths: np.ndarray | None, batch_first: bool
    ) -> None:
        self.directions, self.projected = directions, projected
        self.lengths, self.batch_first = lengths, batch_first

    def forward(
        self, x: Array, h0: Array | None, c0: Array | None, *flat: Array | None
    ) -> tuple[Array, Array, Array]:
        xp = self.backend.xp
        x = time_major(xp, x, self.batch_first)
        weights = by_direction(flat, 5 if self.projected else 4)
        if not self.projected:
            weights = [(*own, None) for own in weights]
        lengths = device_lengths(self.backend, self.lengths, x)
        y, h_n, c_n, self.residuals = self.backend.lstm(x, h0, c0, weights, lengths)
        return time_major(xp, y, self.batch_first), h_n, c_n

    def backward(
        self, gy: Array | None, gh_n: Array | None, gc_n: Array | None
    ) -> tuple[Array | None, ...]:
        xp = self.backend.xp
        gy, gh_n, gc_n = self.filled(gy, gh_n, gc_n)
        gy = time_major(xp, gy, self.batch_first)
        gx, gh0, gc0, weights = self.backend.lstm_backward(
            gy, gh_n, gc_n, self.residuals, self.needs_input_grad[0]
        )
        if gx is not None:
            gx = time_major(xp, gx, self.batch_first)
        flat = (g for own in weights for g in (own if self.projected else own[:4]))
        return (gx, gh0, gc0, *flat)


@in_low_precision
def lstm_cell(z: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The elementwise half of an LSTM step (Hochreiter and Schmidhuber 1997; Xu 8.2-8.7).

    z (N, 4H), the pre-activations of i, f, g, o; c (N, H) -> h' (N, H), c' (N, H).

    Raises:
        ValueError: the shapes do not fit.
        TypeError: dtypes that differ.
    """
    z, c = as_tensor("lstm_cell", z), as_tensor("lstm_cell", c)
    require_one_dtype("lstm_cell", z=z, c=c)
    if z.ndim != 2 or c.ndim != 2 or z.shape != (c.shape[0], 4 * c.shape[1]):
        raise ValueError(
            f"lstm_cell: z must be (N, 4H) where c is (N, H); z has shape {z.shape}, c {c.shape}"
        )
    h, c = LSTMCell()(z, c)
    return h, c


@in_low_precision
def lstm(
    x: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    lengths: Any = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer of LSTM units over a whole sequence (Gers et al. 2000; Xu 8.1-8.32).

    x (T, N, D); weights: per direction (one, or two for both) the tuple weight_ih (4H, D),
    weight_hh (4H, P), bias_ih (4H,), bias_hh (4H,), the biases or None, and, for a projection to
    P < H units, weight_hr (P, H); gates in the order i, f, g, o; h0 (S, N, P), c0 (S, N, H),
    zeros where None; lengths: per sequence its number of steps, 1..T
    -> y (T, N, S P), 0 after a sequence's end; h_n (S, N, P), c_n (S, N, H) after its last step.

    Raises:
        ValueError: shapes that do not fit, or a length outside 1..T.
        TypeError: dtypes that differ.
    """
    x, weights, (h0, c0) = layer_operands("lstm", x, weights, h0, c0)
    checked = check_layer("lstm", 4, x, weights, {"h0": h0, "c0": c0}, lengths)
    projected = len(weights[0]) == 5
    flat = [w for own in weights for w in own]
    y, h_n, c_n = LSTM(len(weights), projected, checked, False)(x, h0, c0, *flat)
    return y, h_n, c_n

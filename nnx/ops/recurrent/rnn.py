"""The simple recurrent layer over a whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends import Array
from ...tensor import Tensor
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

NONLINEARITIES = ("tanh", "relu")


class RNN(RecurrentLayer):
    """h[t] = f(z[t]),  z[t] = W_ih x[t] + b_ih + W_hh h[t-1] + b_hh,  f = tanh or relu.

    (Xu 7.1-7.3.)  One layer, all T steps, one or both directions: direction 1 reads x from the
    last step to the first and has weights of its own; the two outputs stand side by side.
    x (T, N, D) -> y (T, N, S H), h_n (S, N, H).

    Backward through time.  Write δh[t] = dL/dh[t], and y[t] = h[t] for what the next layer sees.
    h[t] is used twice: as y[t], and to make z[t+1].  So, from the last step to the first,

        δh[t] = δy[t] + W_hh^T δz[t+1]      (7.11; δh[T] takes the gradient of h_n too)
        δz[t] = δh[t] * f'(z[t])            (7.7)

    with f' from the output alone: tanh' = 1 - h² (7.10), relu' = [h > 0].  Once all δz are known,
    every step having used the same weights (7.16, 7.17),

        dL/dx[t]  = W_ih^T δz[t]            (7.12)
        dL/dW_ih  = sum_t δz[t] x[t]^T      (7.14)   (H, T N) x (T N, D): one product
        dL/dW_hh  = sum_t δz[t] h[t-1]^T    (7.13)   (H, T N) x (T N, H): one product
        dL/db_ih  = dL/db_hh = sum_t δz[t]  (7.15)
        dL/dh0    = W_hh^T δz[1]

    In direction 1, t-1 reads t+1; dL/dx is the sum over both directions (9.33).

    Unequal lengths: where t >= lengths[n] the state does not move, h[t] = h[t-1], so there
    δh[t-1] = δh[t] and δz[t] = 0; and y[t] = 0 is a constant, so δy[t] is ignored.

    Kept for backward: x, and the states, T N S H numbers (one array of H per step and row).
    """

    def __init__(
        self, directions: int, nonlinearity: str, lengths: np.ndarray | None, batch_first: bool
    ) -> None:
        self.directions, self.nonlinearity = directions, nonlinearity
        self.lengths, self.batch_first = lengths, batch_first

    def forward(self, x: Array, h0: Array | None, *flat: Array | None) -> tuple[Array, Array]:
        xp = self.backend.xp
        x = time_major(xp, x, self.batch_first)
        y, h_n, self.residuals = self.backend.rnn(
            x,
            h0,
            by_direction(flat, 4),
            device_lengths(self.backend, self.lengths, x),
            self.nonlinearity,
        )
        return time_major(xp, y, self.batch_first), h_n

    def backward(self, gy: Array | None, gh_n: Array | None) -> tuple[Array | None, ...]:
        xp = self.backend.xp
        gy, gh_n = self.filled(gy, gh_n)
        gy = time_major(xp, gy, self.batch_first)
        gx, gh0, weights = self.backend.rnn_backward(
            gy, gh_n, self.residuals, self.needs_input_grad[0]
        )
        if gx is not None:
            gx = time_major(xp, gx, self.batch_first)
        return (gx, gh0, *(g for own in weights for g in own))


@in_low_precision
def rnn(
    x: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None = None,
    lengths: Any = None,
    nonlinearity: str = "tanh",
) -> tuple[Tensor, Tensor]:
    """A layer of simple recurrent units over a whole sequence (Elman 1990; Xu 7.1-7.17).

    x (T, N, D); weights: per direction (one, or two for both) the tuple weight_ih (H, D),
    weight_hh (H, H), bias_ih (H,), bias_hh (H,), the biases or None; h0 (S, N, H), zeros where
    None; lengths: per sequence its number of steps, 1..T; nonlinearity: "tanh" or "relu"
    -> y (T, N, S H), 0 after a sequence's end, and h_n (S, N, H), the state after its last step.

    Raises:
        ValueError: shapes that do not fit, a length outside 1..T, an unknown nonlinearity.
        TypeError: dtypes that differ.
    """
    if nonlinearity not in NONLINEARITIES:
        raise ValueError(f"rnn: nonlinearity must be tanh or relu, got {nonlinearity!r}")
    x, weights, (h0,) = layer_operands("rnn", x, weights, h0)
    checked = check_layer("rnn", 1, x, weights, {"h0": h0}, lengths)
    flat = [w for own in weights for w in own]
    y, h_n = RNN(len(weights), nonlinearity, checked, False)(x, h0, *flat)
    return y, h_n

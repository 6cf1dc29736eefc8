"""The GRU in its two variants: one step's elementwise parts, and a layer over a whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends import Array
from ...tensor import Tensor
from .._function import Function, Several
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


class GRUCell(Function):
    """Reset after the product: x = W_ih x[t] + b_ih and u = W_hh h + b_hh, each cut in r, z, n;

        r, z = σ(x_r + u_r), σ(x_z + u_z)
        n    = tanh(x_n + r * u_n)             (Xu 9.8; PyTorch, cuDNN)
        h'   = (1 - z) * n + z * h             (9.9; in the book's 9.6 z is inverted)

    x, u (N, 3H), h (N, H) -> h' (N, H).

    Backward, with δ = dL/dh' and a = x_n + r * u_n:

        δa   = δ * (1 - z) * (1 - n²)          (9.11)
        δz_z = δ * (h - n) * z * (1 - z)       (9.15, 9.17: the gradient of x_z and of u_z)
        δz_r = δa * u_n * r * (1 - r)          (the gradient of x_r and of u_r)
        dL/dx = [δz_r, δz_z, δa],   dL/du = [δz_r, δz_z, δa * r],   dL/dh = δ * z

    Kept: the gates, u_n and h; 5 H numbers per row.
    """

    def forward(self, x: Array, u: Array, h: Array) -> Array:
        gates, h_next = self.backend.gru_cell(x, u, h)
        if True in self.needs_input_grad:
            self.kept = gates, u[:, 2 * h.shape[1] :], h
        return h_next

    def backward(self, g: Array) -> tuple[Array, Array, Array]:
        return self.backend.gru_cell_backward(g, *self.kept)


class GRUReset(Several):
    """Reset before the product, first half: r, z = σ(x + u) (Xu 9.2, 9.3), and r * h.

    x, u (N, 2H), h (N, H) -> r h (N, H), z (N, H).

    Backward, with δ = dL/d(r h) and δz: the gradient of x and of u is
    [δ h r (1 - r), δz z (1 - z)] (9.16, 9.17); that of h is δ r (the second term of 9.18).
    """

    def forward(self, x: Array, u: Array, h: Array) -> tuple[Array, Array]:
        rz, rh = self.backend.gru_reset(x, u, h)
        if True in self.needs_input_grad:
            self.kept = rz, h
        return rh, rz[:, h.shape[1] :]

    def backward(self, g: Array, gz: Array) -> tuple[Array, Array, Array]:
        g_rz, gh = self.backend.gru_reset_backward(g, gz, *self.kept)
        return g_rz, g_rz, gh


class GRUUpdate(Function):
    """Reset before the product, second half: n = tanh(x + u), h' = (1 - z) n + z h.

    x, u, z, h, all (N, H) -> h' (N, H); u = W_hn (r h) + b_hn (Xu 9.4-9.6, z inverted).

    Backward, with δ = dL/dh': dL/dx = dL/du = δ (1 - z) (1 - n²) (9.11), dL/dz = δ (h - n)
    (9.15), dL/dh = δ z (the first term of 9.18).
    """

    def forward(self, x: Array, u: Array, z: Array, h: Array) -> Array:
        n, h_next = self.backend.gru_update(x, u, z, h)
        if True in self.needs_input_grad:
            self.kept = z, n, h
        return h_next

    def backward(self, g: Array) -> tuple[Array, Array, Array, Array]:
        ga, gz, gh = self.backend.gru_update_backward(g, *self.kept)
        return ga, ga, gz, gh


class GRU(RecurrentLayer):
    """The chosen variant of the cell for all T steps, in one or both directions.

    x (T, N, D) -> y (T, N, S H), h_n (S, N, H).

    `reset_after=True` (PyTorch's, the default): `GRUCell` on x = W_ih x[t] + b_ih and
    u = W_hh h[t-1] + b_hh.  `reset_after=False` (the book's 9.4, the default of ONNX): r, z
    from their thirds of x and u, and the candidate from a product of its own,

        n = tanh(x_n + W_hn (r * h[t-1]) + b_hn)

    The two have the same parameters and are different functions.

    Backward through time.  δh[t] = δy[t] + what step t+1 hands back (9.10; δh[T] takes the
    gradient of h_n too).  Then by the cell δz[t] = dL/dx = [δz_r, δz_z, δa], and

        reset after:   δu = [δz_r, δz_z, δa * r],     δh[t-1] = δh z + W_hh^T δu
        reset before:  q  = W_hn^T δa  (9.12),  δz_r = q * h[t-1] * r (1 - r)  (9.16, 9.17)
                       δh[t-1] = δh z + q * r + W_hr^T δz_r + W_hz^T δz_z  (9.18, z inverted)

    Once all are known, in one product each,

        dL/dx[t]  = W_ih^T δz[t]                      (9.19, reading W_ax for its first W_ar)
        dL/dW_ih  = sum_t δz[t] x[t]^T,   dL/db_ih = sum_t δz[t]          (9.20, 9.22-9.23, 9.25)
        dL/dW_hh  = sum_t δu[t] h[t-1]^T, dL/db_hh = sum_t δu[t]                      reset after
        dL/dW_hn  = sum_t δa[t] (r[t] * h[t-1])^T, other rows as above        reset before (9.21)

    In direction 1, t-1 reads t+1; dL/dx is the sum over both directions (9.33).

    Unequal lengths: where t >= lengths[n] the state does not move, so δh passes unchanged and
    δz[t] = 0; y[t] = 0 is a constant there, so δy[t] is ignored.

    Kept for backward, per step and row: x, the gates (3 H), h (H), and u_n (H) with reset after.
    """

    def __init__(
        self, directions: int, reset_after: bool, lengths: np.ndarray | None, batch_first: bool
    ) -> None:
        self.directions, self.reset_after = directions, reset_after
        self.lengths, self.batch_first = lengths, batch_first

    def forward(self, x: Array, h0: Array | None, *flat: Array | None) -> tuple[Array, Array]:
        xp = self.backend.xp
        x = time_major(xp, x, self.batch_first)
        y, h_n, self.residuals = self.backend.gru(
            x,
            h0,
            by_direction(flat, 4),
            device_lengths(self.backend, self.lengths, x),
            self.reset_after,
        )
        return time_major(xp, y, self.batch_first), h_n

    def backward(self, gy: Array | None, gh_n: Array | None) -> tuple[Array | None, ...]:
        xp = self.backend.xp
        gy, gh_n = self.filled(gy, gh_n)
        gy = time_major(xp, gy, self.batch_first)
        gx, gh0, weights = self.backend.gru_backward(
            gy, gh_n, self.residuals, self.needs_input_grad[0]
        )
        if gx is not None:
            gx = time_major(xp, gx, self.batch_first)
        return (gx, gh0, *(g for own in weights for g in own))


@in_low_precision
def gru_cell(x: Tensor, u: Tensor, h: Tensor) -> Tensor:
    """The elementwise half of a GRU step, reset after the product (Cho et al. 2014; Xu 9.8).

    x (N, 3H), the input's share of r, z, n; u (N, 3H), the state's share; h (N, H) -> h' (N, H).

    Raises:
        ValueError: the shapes do not fit.
        TypeError: dtypes that differ.
    """
    x, u, h = _cell_operands("gru_cell", x=x, u=u, h=h)
    _check_cell("gru_cell", x, u, h, 3)
    return GRUCell()(x, u, h)


@in_low_precision
def gru_reset(x: Tensor, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The textbook's GRU step up to its second product: r h and z (Xu 9.2, 9.3).

    x (N, 2H), the input's share of r, z; u (N, 2H), the state's; h (N, H) -> r h, z (N, H).

    Raises:
        ValueError: the shapes do not fit.
        TypeError: dtypes that differ.
    """
    x, u, h = _cell_operands("gru_reset", x=x, u=u, h=h)
    _check_cell("gru_reset", x, u, h, 2)
    rh, z = GRUReset()(x, u, h)
    return rh, z


@in_low_precision
def gru_update(x: Tensor, u: Tensor, z: Tensor, h: Tensor) -> Tensor:
    """The textbook's GRU step after its second product (Xu 9.4-9.6): all (N, H) -> h' (N, H).

        h' = z h + (1 - z) tanh(x + u)

    Args:
        x: the input's part of the candidate, before tanh.
        u: the state's part of it, made of the state after the reset.
        z: the update gate, between 0 and 1.
        h: the state before.

    Raises:
        ValueError: the shapes do not fit.
        TypeError: dtypes that differ.
    """
    x, u, z, h = _cell_operands("gru_update", x=x, u=u, z=z, h=h)
    if h.ndim != 2 or not x.shape == u.shape == z.shape == h.shape:
        raise ValueError(
            f"gru_update: x, u, z and h must all be (N, H); x has shape {x.shape}, u {u.shape}, "
            f"z {z.shape}, h {h.shape}"
        )
    return GRUUpdate()(x, u, z, h)


def _cell_operands(name: str, **named: Any) -> list[Tensor]:
    """All of them as tensors of one dtype."""
    tensors = {key: as_tensor(name, a) for key, a in named.items()}
    require_one_dtype(name, **tensors)
    return list(tensors.values())


def _check_cell(name: str, x: Tensor, u: Tensor, h: Tensor, gates: int) -> None:
    if h.ndim != 2 or not x.shape == u.shape == (h.shape[0], gates * h.shape[1]):
        raise ValueError(
            f"{name}: x and u must be (N, {gates}H) where h is (N, H); x has shape {x.shape}, "
            f"u {u.shape}, h {h.shape}"
        )


@in_low_precision
def gru(
    x: Tensor,
    weights: Sequence[Weights],
    h0: Tensor | None = None,
    lengths: Any = None,
    reset_after: bool = True,
) -> tuple[Tensor, Tensor]:
    """A layer of gated recurrent units over a whole sequence (Cho et al. 2014; Xu 9.1-9.25).

    x (T, N, D); weights: per direction (one, or two for both) the tuple weight_ih (3H, D),
    weight_hh (3H, H), bias_ih (3H,), bias_hh (3H,), the biases or None; gates in the order
    r, z, n; h0 (S, N, H), zeros where None; lengths: per sequence its number of steps, 1..T;
    reset_after: PyTorch's variant, or with False the textbook's (9.4)
    -> y (T, N, S H), 0 after a sequence's end, and h_n (S, N, H), the state after its last step.

    Raises:
        ValueError: shapes that do not fit, or a length outside 1..T.
        TypeError: dtypes that differ.
    """
    x, weights, (h0,) = layer_operands("gru", x, weights, h0)
    checked = check_layer("gru", 3, x, weights, {"h0": h0}, lengths)
    flat = [w for own in weights for w in own]
    y, h_n = GRU(len(weights), reset_after, checked, False)(x, h0, *flat)
    return y, h_n

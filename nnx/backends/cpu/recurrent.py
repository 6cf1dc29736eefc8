"""How the recurrent kernels lie in memory on NumPy.

What costs on NumPy is the number of calls per time step, and calls on pieces that are not
contiguous.  So here

- a step's arrays are transposed, (units, N): each gate is one contiguous block, a few gates next
  to each other are one block too, and one call serves them all;
- both directions go through one loop, stacked on an axis S: step k is time k for direction 0 and
  time T-1-k for direction 1.  "In sweep order" means: stacked so, (T, S, units, N);
- a sigmoid is a tanh, σ(z) = (1 + tanh(z/2)) / 2, with the 1/2 before the sum folded into the
  weights, so that one tanh serves several gates;
- everything that does not depend on the previous step is done for all T at once.

Outputs are transposed views (T, N, units) of such arrays, so stacked layers copy nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..saved import Saved

Array = Any


class Columns(Saved):
    """Kept in the layout of this file; what is not, the portable kernels kept."""

    __slots__ = ()


class Ends:
    """Where sequences of unequal length have ended: what must not move there."""

    def __init__(self, lengths: Array, steps: int, directions: int) -> None:
        times = np.arange(steps)[:, None]
        self.by_time = times >= lengths  # (T, N)
        # (T, S, 1, N) in sweep order
        self.done = np.stack([self.by_time, self.by_time[::-1]][:directions], axis=1)[:, :, None]
        self.any: Any = self.done.any(axis=(1, 2, 3)).tolist()


def ends(lengths: Array | None, steps: int, directions: int) -> Ends | None:
    return None if lengths is None else Ends(lengths, steps, directions)


def columns(x: Array, end: Ends | None) -> Array:
    """(T, N, D) -> (T, D, N), contiguous; 0 where a sequence has ended."""
    xt = x.transpose(0, 2, 1)
    if end is None:
        return np.ascontiguousarray(xt)
    xt = xt.copy()
    np.copyto(xt, 0, where=end.by_time[:, None])
    return xt


def in_sweep_order(g: Array, directions: int, end: Ends | None) -> Array:
    """(T, N, S H) -> (T, S, H, N); 0 where a sequence has ended."""
    steps, n, units = g.shape
    gt = g.transpose(0, 2, 1).reshape(steps, directions, units // directions, n)
    if directions == 2:
        gt = np.stack([gt[:, 0], gt[::-1, 1]], axis=1)
    elif end is not None:
        gt = gt.copy()
    if end is not None:
        np.copyto(gt, 0, where=end.done)
    return gt


def output(states: Array, end: Ends | None) -> Array:
    """States after each step in sweep order, (T, S, H, N) -> y (T, N, S H); a view where it can."""
    steps, directions, units, n = states.shape
    if directions == 2:
        y = np.concatenate([states[:, 0], states[::-1, 1]], axis=1)  # (T, 2H, N)
    else:
        y = states.reshape(steps, units, n)
        if end is not None:
            y = y.copy()
    if end is not None:
        np.copyto(y, 0, where=end.by_time[:, None])
    return y.transpose(0, 2, 1)


def first_states(like: Array, h0: Array | None, units: int) -> Array:
    """(T + 1, S, H, N), of which [0] is the initial state: z (T, S, G, N) gives the sizes."""
    steps, directions, _, n = like.shape
    states = np.empty((steps + 1, directions, units, n), like.dtype)
    states[0] = 0 if h0 is None else h0.transpose(0, 2, 1)
    return states


def input_products(xt: Array, weights: list[Array], bias: Array | None) -> Array:
    """z = W x + b in sweep order: xt (T, D, N), weights S x (G, D), bias (S, G, 1)
    -> (T, S, G, N).
    """
    steps, _, n = xt.shape
    z = np.empty((steps, len(weights), weights[0].shape[0], n), xt.dtype)
    for s, w in enumerate(weights):
        np.matmul(w, xt if s == 0 else xt[::-1], out=z[:, s])
    if bias is not None:
        z += bias
    return z


def input_products_backward(
    gz: Array, xt: Array, weights: list[Array], needs_x: bool
) -> tuple[Array | None, list[Array]]:
    """gz (T, S, G, N) -> gx (T, N, D) and, per direction, gW (G, D)."""
    gx = None
    if needs_x:
        gx = np.matmul(weights[0].T, gz[:, 0])  # (T, D, N)
        if len(weights) == 2:
            gx += np.matmul(weights[1].T, gz[:, 1])[::-1]
        gx = gx.transpose(0, 2, 1)
    gw = []
    xs = rows(xt)
    for s in range(len(weights)):
        gw.append(rows(gz[:, s]) @ (xs if s == 0 else rows(xt[::-1])).T)
    return gx, gw


def rows(a: Array) -> Array:
    """(T, units, N) -> (units, T N), for one product over all steps and sequences."""
    return a.transpose(1, 0, 2).reshape(a.shape[1], -1)


def recurrent_products_backward(gu: Array, before: Array) -> Array:
    """gu (T, S, G, N), before (T, S, H, N) -> gW (S, G, H)."""
    return np.stack([rows(gu[:, s]) @ rows(before[:, s]).T for s in range(gu.shape[1])])


def alike(x: Array, weights: list[Any], *others: Array | None) -> bool:
    """Whether all arrays have one floating dtype: what the tuned kernels are written for."""
    dtype = x.dtype
    return dtype.kind == "f" and all(
        a is None or a.dtype == dtype for a in (*others, *(w for own in weights for w in own))
    )

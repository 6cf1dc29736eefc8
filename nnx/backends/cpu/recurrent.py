"""How the recurrent kernels lie in memory on NumPy.

What costs on NumPy is the number of calls per time step, and calls on pieces that are not
contiguous.  So here

- a step's arrays are transposed, (units, N): each gate is one contiguous block, a few gates next
  to each other are one block too, and one call serves them all;
- both directions go through one loop, stacked on an axis S: step k is time k for direction 0 and
  time T-1-k for direction 1.  "In scan order" means: stacked so, (T, S, units, N);
- a sigmoid is a tanh, σ(z) = (1 + tanh(z/2)) / 2, with the 1/2 before the sum folded into the
  weights, so that one tanh serves several gates;
- everything that does not depend on the previous step is done for all T at once.

Outputs are transposed views (T, N, units) of such arrays, so stacked layers copy nothing.

A loop over time runs through `zip` over arrays that were cut into gates beforehand: an iterator
hands out the view of a step in half the time of an index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np

from ...typing import Array
from ..portable.residuals import Residuals
from .memory import copied, empty


class Columns(Residuals):
    """Kept in the layout of this file; what is not, the portable kernels kept."""

    __slots__ = ()


class Ends:
    """Where sequences of unequal length have ended: what must not move there."""

    def __init__(self, lengths: Array, steps: int, directions: int) -> None:
        times = np.arange(steps)[:, None]
        self.by_time = times >= lengths  # (T, N)
        # (T, S, 1, N) in scan order
        self.done = np.stack([self.by_time, self.by_time[::-1]][:directions], axis=1)[:, :, None]
        self.any: Any = self.done.any(axis=(1, 2, 3))


def ends(lengths: Array | None, steps: int, directions: int) -> Ends | None:
    return None if lengths is None else Ends(lengths, steps, directions)


def held(end: Ends | None, directions: int, backward: bool = False) -> Iterable[Array | None]:
    """For each step in scan order (or from its end), where states are held; None: nowhere."""
    if end is None:
        return repeat(None)
    done = one_or_both(directions, end.done)[0]
    per_step = [d if some else None for d, some in zip(done, end.any, strict=True)]
    return per_step[::-1] if backward else per_step


def one_or_both(directions: int, *arrays: Array) -> list[Array]:
    """Arrays in scan order without the axis S where it is 1: a step's product is then np.dot."""
    return [a[:, 0] if directions == 1 else a for a in arrays]


def times(w: Array) -> Callable[[Array, Array], Array]:
    """The product w a, as a function of a and of where it is written to.

    The method of an array is called in 4/5 of the time of np.dot; it knows no stacks.
    """
    return w.dot if w.ndim == 2 else partial(np.matmul, w)


def stacked(directions: int, arrays: list[Array]) -> Array:
    """One array per direction: stacked, or the only one."""
    return arrays[0] if directions == 1 else np.stack(arrays)


def columns(x: Array, end: Ends | None) -> Array:
    """(T, N, D) -> (T, D, N), contiguous; 0 where a sequence has ended."""
    xt = x.transpose(0, 2, 1)
    if end is None:
        return xt if xt.flags.c_contiguous else copied(xt)
    xt = copied(xt)
    np.copyto(xt, 0, where=end.by_time[:, None])
    return xt


def in_scan_order(g: Array, directions: int, end: Ends | None) -> Array:
    """(T, N, S H) -> (T, S, H, N); 0 where a sequence has ended."""
    steps, n, units = g.shape
    gt = g.transpose(0, 2, 1).reshape(steps, directions, units // directions, n)
    if directions == 2:
        both = empty(gt.shape, gt.dtype)
        both[:, 0], both[:, 1] = gt[:, 0], gt[::-1, 1]
        gt = both
    elif end is not None:
        gt = copied(gt)
    if end is not None:
        np.copyto(gt, 0, where=end.done)
    return gt


def output(states: Array, end: Ends | None) -> Array:
    """States after each step in scan order, (T, S, H, N) -> y (T, N, S H); a view where it can."""
    steps, directions, units, n = states.shape
    if directions == 2:
        y = empty((steps, 2 * units, n), states.dtype)
        y[:, :units], y[:, units:] = states[:, 0], states[::-1, 1]
    else:
        y = states.reshape(steps, units, n)
        if end is not None:
            y = copied(y)
    if end is not None:
        np.copyto(y, 0, where=end.by_time[:, None])
    return y.transpose(0, 2, 1)


def first_states(like: Array, h0: Array | None, units: int) -> Array:
    """(T + 1, S, H, N), of which [0] is the initial state: z (T, S, G, N) gives the sizes."""
    steps, directions, _, n = like.shape
    states = empty((steps + 1, directions, units, n), like.dtype)
    states[0] = 0 if h0 is None else h0.transpose(0, 2, 1)
    return states


def input_products(xt: Array, weights: list[Array], bias: Array | None) -> Array:
    """z = W x + b in scan order: xt (T, D, N), weights S x (G, D), bias (S, G, 1) or (G, 1)
    -> (T, S, G, N).
    """
    steps, _, n = xt.shape
    z = empty((steps, len(weights), weights[0].shape[0], n), xt.dtype)
    for s, weight in enumerate(weights):
        np.matmul(weight, xt if s == 0 else xt[::-1], out=z[:, s])
    if bias is not None:
        z += bias
    return z


def input_gradient(gz: Array, weights: list[Array]) -> Array:
    """gz (T, S, G, N), weights S x (G, D) -> gx (T, N, D)."""
    shape = (len(gz), weights[0].shape[1], gz.shape[3])  # (T, D, N)
    gx = np.matmul(weights[0].T, gz[:, 0], out=empty(shape, gz.dtype))
    if len(weights) == 2:
        gx += np.matmul(weights[1].T, gz[:, 1], out=empty(shape, gz.dtype))[::-1]
    return gx.transpose(0, 2, 1)


def rows(a: Array) -> Array:
    """(T, units, N) -> (units, T N), for one product over all steps and sequences."""
    return copied(a.transpose(1, 0, 2)).reshape(a.shape[1], -1)


def rows_by_direction(a: Array) -> list[Array]:
    """(T, S, units, N) -> S x (units, T N)."""
    return [rows(a[:, s]) for s in range(a.shape[1])]


def input_weights(g: list[Array], xt: Array) -> list[Array]:
    """S x (G, T N) and xt (T, D, N) -> S x gW_ih (G, D)."""
    return [np.dot(g_s, rows(xt if s == 0 else xt[::-1]).T) for s, g_s in enumerate(g)]


def recurrent_weights(g: list[Array], before: Array) -> list[Array]:
    """S x (G, T N), before (T, S, H, N), what the weights were applied to -> S x gW_hh (G, H)."""
    return [np.dot(g_s, rows(before[:, s]).T) for s, g_s in enumerate(g)]


def biases(g: list[Array], biased: bool) -> list[Array | None]:
    """S x (G, T N) -> S x (G,), or None."""
    return [np.add.reduce(g_s, axis=1) if biased else None for g_s in g]


def last_states(states: Array) -> Array:
    """(T + 1, S, H, N) -> (S, N, H), an array of its own."""
    return states[-1].transpose(0, 2, 1).copy()


def scan_state(directions: int, h: Array) -> Array:
    """(S, N, H) -> (S, H, N), or (H, N) where S is 1; a copy."""
    copy = h.transpose(0, 2, 1).copy()
    return copy[0] if directions == 1 else copy


def state(directions: int, h: Array) -> Array:
    """The way back: (S, N, H)."""
    return (h[None] if directions == 1 else h).transpose(0, 2, 1)

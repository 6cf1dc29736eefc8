"""One call of a recurrent layer, as the compiled scans want it: arrays filled up to whole
vectors, weights in panels, and the products over all time steps.

Products over all time steps are BLAS's, through `threads.matmul`; the scan is split over the
batch and the directions.  The state before each step is the output itself, one step earlier, so
the output is what is kept of the states.

G = gates units numbers stand for the pre-activations of a row's step, unit k of gate g at
g units + k; where H is not a multiple of LANES, the units beyond are zeros.  A flat matrix has a
row for each time and sequence, (T N, S G).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ....typing import Array
from ...cpu.memory import empty
from ...flush import flushing
from ...portable.residuals import Residuals
from .. import thresholds
from ..codegen.threads import matmul, parts, split

_flushed = cache(flushing)

# NumPy takes some microseconds for each step, compiled scans some for all: of fewer steps than the
# first it takes so many times as many pre-activations as `thresholds.RECURRENT`.  Compiled over
# NumPy, forward and backward: RNN, 32 steps 0.76; 10 steps of 30 units 1.61 at 9,600, 1.14 at
# 38,400, of 128 units 0.81.  LSTM, 4 steps 0.74; one step 1.68 at 1,024, 0.79 at 16,384.
MANY, MANY_GATED = (32, 16), (4, 4)
# Steps times sequences for which it is worth to lay weights out in panels: one of 256 units 1.68.
ROWS = 32


class Rows(Residuals):
    """Kept in the layout of this folder; what is not, `cpu/` or `portable/` kept."""

    __slots__ = ()


def worth_a_scan(x: Array, weights: list[Any]) -> bool:
    """Whether compiled scans take this layer, and are worth it."""
    steps, n, _ = x.shape
    numbers, units = weights[0][1].shape
    many, more = MANY_GATED if numbers > units else MANY
    least = thresholds.RECURRENT * (1 if steps >= many else more)
    enough = steps * n * numbers >= least and steps * n >= ROWS
    return bool(enough and x.dtype == np.float32 and x.size > 0)


class Layer:
    """x (T, N, D), its weights (S tuples), lengths, and what else both scans need."""

    def __init__(self, x: Array, weights: list[Any], lengths: Array | None, gates: int) -> None:
        from ..codegen.vectors import LANES

        self.steps, self.n, self.features = x.shape
        self.weights, self.directions, self.gates = weights, len(weights), gates
        self.hidden = weights[0][1].shape[1]
        self.units = -(-self.hidden // LANES) * LANES
        self.unequal = lengths is not None
        self.rows = x.reshape(-1, self.features)  # (T N, D), 0 where a sequence has ended
        self.lengths = np.full(self.n, self.steps, np.int64)
        if lengths is not None:
            self.lengths[:] = lengths
            ended = np.arange(self.steps)[:, None] >= lengths
            self.rows = np.where(ended.reshape(-1, 1), np.float32(0), self.rows)

    # ---- into the scans' layout, and back ----

    def filled(self, a: Array) -> Array:
        """(gates H, ...) -> (gates units, ...)."""
        if self.units == self.hidden:
            return a
        blocks = a.reshape(-1, self.hidden, *a.shape[1:])
        full = np.zeros((len(blocks), self.units, *a.shape[1:]), a.dtype)
        full[:, : self.hidden] = blocks
        return full.reshape(-1, *a.shape[1:])

    def cut(self, a: Array) -> Array:
        """(gates units, ...) -> (gates H, ...)."""
        if self.units == self.hidden:
            return a
        blocks = a.reshape(-1, self.units, *a.shape[1:])
        return blocks[:, : self.hidden].reshape(-1, *a.shape[1:])

    def states(self) -> Array:
        """Room for a state of every step: (T, N, S, units)."""
        return empty((self.steps, self.n, self.directions, self.units), np.float32)

    def state(self, h: Array | None) -> Array:
        """(S, N, H) or None -> (S, N, units), an array of its own."""
        full = np.zeros((self.directions, self.n, self.units), np.float32)
        if h is not None:
            full[..., : self.hidden] = h
        return full

    def real(self, a: Array) -> Array:
        """(..., units) -> (..., H)."""
        return a if self.units == self.hidden else np.ascontiguousarray(a[..., : self.hidden])

    def output(self, y: Array) -> Array:
        """(T, N, S, units) -> (T, N, S H)."""
        return self.real(y).reshape(self.steps, self.n, -1)

    def output_gradient(self, gy: Array) -> Array:
        """(T, N, S H) -> (T, N, S, units), contiguous and writable: numba compiles a kernel anew
        for each other kind of array."""
        shape = (self.steps, self.n, self.directions, self.units)
        if self.units == self.hidden and gy.flags.c_contiguous and gy.flags.writeable:
            return gy.reshape(shape)
        full = empty(shape, np.float32)
        full[..., : self.hidden] = gy.reshape(*shape[:3], self.hidden)
        full[..., self.hidden :] = 0
        return full

    def bias(self, *which: int) -> Array:
        """The sum of these entries of the weights: (S, G), zeros where there is no bias."""
        full = np.zeros((self.directions, self.gates * self.units), np.float32)
        for s, own in enumerate(self.weights):
            for k in which:
                if own[k] is not None:
                    full[s] += self.filled(own[k])
        return full

    def factors(self, parts: list[Array], forward: bool) -> Array:
        """Recurrent weights, S x (g H, H), as the right factor of a step's product, in panels:
        forward (H, g units), backward (g units, units)."""
        from .scan import panels

        filled = [self.filled(part) for part in parts]
        if forward:
            return panels([a.T for a in filled])
        return panels([self.filled(a.T).T for a in filled])

    def recurrent(self, forward: bool) -> Array:
        return self.factors([own[1] for own in self.weights], forward)

    def scan(self, kernel: Callable[..., None], w: Array, *args: Any) -> None:
        """Run a scan over the rows, on as many threads as its work is worth; subnormal numbers
        are 0 (`flush.py`)."""
        from ..codegen.microkernel import table
        from .scan import need_products

        least = max(1, thresholds.SCAN_THREAD // (self.steps * w.shape[1] * w.shape[2]))
        rows = self.directions * self.n
        need_products(parts(rows, least), self.n, self.directions, self.units)
        split(_flushed(kernel), rows, table(4), *args, least=least)

    # ---- products over all time steps ----

    def slots(self, a: Array, s: int, first: int = 0, count: int | None = None) -> Array:
        """Some gates of direction s, all where `count` is None: (T, N, S, G) -> (T N, count units),
        a view."""
        stop = a.shape[3] if count is None else (first + count) * self.units
        return a[:, :, s, first * self.units : stop].reshape(self.steps * self.n, -1)

    def joined(self) -> Array:
        """The input weights of all directions, (S G, D)."""
        both = [self.filled(own[0]) for own in self.weights]
        return both[0] if len(both) == 1 else np.concatenate(both)

    def input_product(self) -> Array:
        """W_ih x for all steps and directions: z (T, N, S, G)."""
        z = empty((self.steps, self.n, self.directions, self.gates * self.units), np.float32)
        matmul(self.rows, self.joined().T, z.reshape(len(self.rows), -1))
        return z

    def x_gradient(self, gz: Array) -> Array:
        gx = empty(self.rows.shape, np.float32)
        matmul(gz.reshape(len(gx), -1), self.joined(), gx)
        return gx.reshape(self.steps, self.n, self.features)

    def input_gradient(self, gz: Array) -> list[Array]:
        """gW_ih of every direction."""
        gw = matmul(gz.reshape(len(self.rows), -1).T, self.rows)
        return [self.cut(own) for own in np.split(gw, self.directions)]

    def recurrent_gradient(self, gz: Array, y: Array, h0: Array | None) -> list[Array]:
        """gW_hh of every direction."""
        return [
            self.cut(self.applied_to_states(gz[:, :, s], y, h0, s)) for s in range(self.directions)
        ]

    def applied_to_states(self, g: Array, y: Array, h0: Array | None, s: int) -> Array:
        """The sum over all steps of g[t] (state before t)^T: g (T, N, G) -> (G, H).

        The state before a step is y one step earlier, and h0 before the first, which in
        direction 1 is a sequence's last step.  Where a sequence has ended both g and y are 0, so
        nothing need be left out.
        """
        later, before = (g[1:], y[:-1, :, 0]) if s == 0 else (g[:-1], y[1:, :, 1])
        rows = (self.steps - 1) * self.n
        gw = matmul(later.reshape(rows, g.shape[2]).T, before.reshape(rows, self.units))
        gw = gw[:, : self.hidden]
        if h0 is not None:
            first = g[0]
            if s == 1:
                first = g[self.lengths - 1, np.arange(self.n)] if self.unequal else g[-1]
            gw = gw + first.T @ h0[s]
        return gw

    def sums(self, gz: Array) -> Array:
        """Sums over all steps and sequences, (S, gates, H), as a product: BLAS adds in blocks,
        faster and closer."""
        flat = gz.reshape(len(self.rows), -1)
        total = matmul(np.ones((1, len(flat)), np.float32), flat)
        return total.reshape(self.directions, -1, self.units)[..., : self.hidden]

    def bias_gradient(self, gz: Array) -> list[Array | None]:
        if self.weights[0][2] is None:
            return [None] * self.directions
        return [own.reshape(-1) for own in self.sums(gz)]


class GRULayer(Layer):
    """The slots are n, r, z, u (`gru_scan.py`), the weights' gates r, z, n."""

    def __init__(
        self, x: Array, weights: list[Any], lengths: Array | None, reset_after: bool
    ) -> None:
        super().__init__(x, weights, lengths, 4)
        self.reset_after = reset_after

    def reset_last(self, a: Array) -> Array:
        """r, z, n -> n, r, z: what a product with the first three slots needs."""
        return np.concatenate([a[2 * self.hidden :], a[: 2 * self.hidden]])

    def reset_first(self, a: Array) -> Array:
        """n, r, z -> r, z, n."""
        return np.concatenate([a[self.hidden :], a[: self.hidden]])

    def bias(self, *which: int) -> Array:
        full = np.zeros((self.directions, 4, self.units), np.float32)
        for own, four in zip(self.weights, full[..., : self.hidden], strict=True):
            if own[2] is None:
                continue
            four[:3] = self.reset_last(own[2]).reshape(3, -1)
            r, z, n = own[3].reshape(3, -1)
            four[1] += r
            four[2] += z
            four[3 if self.reset_after else 0] += n
        return full.reshape(self.directions, -1)

    def recurrent_parts(self, forward: bool) -> tuple[Array, Array]:
        """The recurrent weights of r and z, and those of n."""
        two = 2 * self.hidden
        return (
            self.factors([own[1][:two] for own in self.weights], forward),
            self.factors([own[1][two:] for own in self.weights], forward),
        )

    def input_product(self) -> Array:
        z = empty((self.steps, self.n, self.directions, 4 * self.units), np.float32)
        for s, own in enumerate(self.weights):
            matmul(self.rows, self.filled(self.reset_last(own[0])).T, self.slots(z, s, 0, 3))
        return z

    def x_gradient(self, gz: Array) -> Array:
        shares = []
        for s, own in enumerate(self.weights):
            share = empty(self.rows.shape, np.float32)
            weight = self.filled(self.reset_last(own[0]))
            shares.append(matmul(self.slots(gz, s, 0, 3), weight, share))
        gx = shares[0]
        if len(shares) == 2:
            gx += shares[1]
        return gx.reshape(self.steps, self.n, self.features)

    def input_gradient(self, gz: Array) -> list[Array]:
        return [
            self.reset_first(self.cut(matmul(self.slots(gz, s, 0, 3).T, self.rows)))
            for s in range(self.directions)
        ]

    def recurrent_gradient(
        self, gz: Array, y: Array, h0: Array | None, gates: Array | None = None
    ) -> list[Array]:
        u = self.units
        if self.reset_after:
            return super().recurrent_gradient(gz[..., u:], y, h0)
        gradients = []
        for s in range(self.directions):
            rz = self.applied_to_states(gz[:, :, s, u : 3 * u], y, h0, s)
            n = matmul(self.slots(gz, s, 0, 1).T, self.slots(gates, s, 3, 1))[:, : self.hidden]
            gradients.append(self.cut(np.concatenate([rz, n])))
        return gradients

    def bias_gradients(self, gz: Array) -> tuple[list[Array | None], list[Array | None]]:
        """gb_ih and gb_hh of every direction."""
        if self.weights[0][2] is None:
            return [None] * self.directions, [None] * self.directions
        sums = self.sums(gz)
        ih: list[Array | None] = [four[[1, 2, 0]].reshape(-1) for four in sums]
        hh: list[Array | None] = [four[1:].reshape(-1) for four in sums]
        return ih, hh if self.reset_after else ih

"""A small simple recurrent layer: what `small_rnn_loops.py` needs, and what comes out of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....typing import Array
from ...portable.residuals import Residuals


class Whole(Residuals):
    """Kept by `forward`."""

    __slots__ = ()


def forward(
    x: Array, h0: Array | None, weights: list[Any], lengths: Array | None, rectified: bool
) -> tuple[Array, Array, Residuals]:
    loops = _compiled()
    steps, n, features = x.shape
    directions, hidden = len(weights), weights[0][1].shape[1]
    units, columns = (-(-count // loops.LANES) * loops.LANES for count in (hidden, features))
    rows = np.zeros((steps, n, columns), np.float32)
    rows[..., :features] = x
    if lengths is None:
        lengths = np.full(n, steps)
    else:
        lengths = np.array(lengths, np.int64)
        rows[np.arange(steps)[:, None] >= lengths] = 0  # a NaN times 0 would be one
    w_ih = np.zeros((directions, features, units), np.float32)
    w_hh = np.zeros((directions, hidden, units), np.float32)
    bias = np.zeros((directions, units), np.float32)
    for s, (ih, hh, b_ih, b_hh) in enumerate(weights):
        w_ih[s, :, :hidden], w_hh[s, :, :hidden] = ih.T, hh.T
        if b_ih is not None:
            np.add(b_ih, b_hh, out=bias[s, :hidden])
    first = _state(h0, directions, n, hidden, units)
    h_n = first.copy()
    rows = rows.reshape(steps * n, columns)
    z = np.empty((steps * n, units), np.float32)
    y = np.empty((steps, n, directions * hidden), np.float32)
    loops.forward(loops.kernel_address(4), rows, w_ih, w_hh, bias, lengths, rectified, z, h_n, y)
    residuals = Whole((rows, features, first, weights, lengths, rectified, y))
    return y, h_n[..., :hidden].copy(), residuals


def backward(
    gy: Array, gh_n: Array, residuals: Whole, needs_x: bool
) -> tuple[Array | None, Array, list[tuple[Any, ...]]]:
    loops = _compiled()
    rows, features, h0, weights, lengths, rectified, y = residuals
    (steps, n, _), (directions, _, units) = y.shape, h0.shape
    columns, hidden = rows.shape[1], y.shape[2] // directions
    w_ih = np.zeros((directions, hidden, columns), np.float32)
    w_hh = np.zeros((directions, hidden, units), np.float32)
    for s, own in enumerate(weights):
        w_ih[s, :, :features], w_hh[s, :, :hidden] = own[:2]
    gh = _state(gh_n, directions, n, hidden, units)
    before, gz = np.zeros((2, steps * n, units), np.float32)
    gx = np.empty((steps * n if needs_x else 0, columns), np.float32)
    gw_ih = np.empty((directions, units, columns), np.float32)
    gw_hh = np.empty((directions, units, units), np.float32)
    gb = np.empty((directions, units), np.float32)
    gy = np.require(gy, np.float32, ["C", "W"])  # numba compiles anew for each other kind of array
    loops.backward(
        loops.kernel_address(4), rows, y, gy, w_ih, w_hh, lengths, rectified, _ONE, h0, before, gz,
        gh, gx, gw_ih, gw_hh, gb,
    )  # fmt: skip
    # Contiguous, so that an optimizer can take them as vectors.
    gw_ih, gw_hh = gw_ih[:, :hidden, :features].copy(), gw_hh[:, :hidden, :hidden].copy()
    biases = gb[:, :hidden].copy() if weights[0][2] is not None else [None] * directions
    gradients = list(zip(gw_ih, gw_hh, biases, biases, strict=True))
    x_gradient = gx[:, :features].reshape(steps, n, features) if needs_x else None
    return x_gradient, gh[..., :hidden].copy(), gradients


_ONE = np.ones(1, np.float32)

_loops: Any = None


def _compiled() -> Any:
    """The compiled loops: numba is imported when they are first wanted."""
    global _loops
    if _loops is None:
        from . import small_rnn_loops as _loops
    return _loops


def _state(h: Array | None, directions: int, n: int, hidden: int, units: int) -> Array:
    full = np.zeros((directions, n, units), np.float32)
    if h is not None:
        full[..., :hidden] = h
    return full

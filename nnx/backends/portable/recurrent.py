"""What the recurrent kernels share: shapes, the mask of unequal lengths, the input products.

Recurrent kernels come in three grains, each made of the one below, so that a backend may
replace whichever pays:

    cell       `lstm_cell`, `gru_cell`, ...: the elementwise half of one time step
    sequence   `rnn_sequence`, `lstm_sequence`, `gru_sequence`: the scan over time of a layer,
               given the input's share of every pre-activation
    layer      `rnn`, `lstm`, `gru`: the input product for all time steps, the scan, the output

Shapes, everywhere:

    T, N       time steps, sequences in the batch
    S          directions: 1, or 2 where direction 1 scans from the last time step to the first
    D, H       features of the input, hidden units;  G = H, 4H or 3H pre-activations a step
    x          (T, N, D)
    h0, h_n    (S, N, H), before and after the scan
    z          (T, N, S, G)
    states     (T, N, S, H): the state *after* each step, at the step's own time in both directions
    lengths    (N,) integers in 1..T on the arrays' device, or None where all are T

Sequence n holds for t < lengths[n].  At later times its state does not move, whichever way the
scan goes: so direction 0 ends in the state after the last real step, direction 1 starts there
with h0, and h_n is right for both.  The output is 0 at those times.

`weights` is one tuple per direction: (weight_ih (G, D), weight_hh (G, H), bias_ih (G,) or None,
bias_hh (G,) or None), PyTorch's layout; the LSTM has a fifth entry, weight_hr or None.
"""

from __future__ import annotations

from typing import Any

from ...typing import Array


def running(xp: Any, lengths: Array | None, steps: int) -> Array | None:
    """(T, N, 1) bool: whether sequence n still holds at time t; None where all do."""
    if lengths is None:
        return None
    times = xp.arange(steps, dtype=lengths.dtype, device=lengths.device)
    return xp.expand_dims(times[:, None] < lengths[None, :], axis=-1)


def only(xp: Any, mask: Array | None, values: Array) -> Array:
    """`values` where the mask holds, 0 (not 0 times NaN) elsewhere; shapes broadcast."""
    return values if mask is None else xp.where(mask, values, xp.zeros_like(values))


def sigmoid(xp: Any, z: Array) -> Array:
    """1 / (1 + exp(-z)) = (1 + tanh(z/2)) / 2, which cannot overflow."""
    return 0.5 * xp.tanh(0.5 * z) + 0.5


def scan(steps: int, direction: int) -> range:
    """The times in the order a direction meets them."""
    return range(steps) if direction == 0 else range(steps - 1, -1, -1)


def previous(xp: Any, states: Array, first: Array) -> Array:
    """The state *before* each step: states (T, N, S, H), first (S, N, H) -> (T, N, S, H)."""
    parts = []
    for s in range(states.shape[2]):
        start = first[s, ...][None, ...]  # (1, N, H)
        own = states[:, :, s, :]
        both = [start, own[:-1, ...]] if s == 0 else [own[1:, ...], start]
        parts.append(xp.concat(both, axis=0))
    return xp.stack(parts, axis=2)


def final(xp: Any, states: Array) -> Array:
    """h_n (S, N, H): direction 0 ends at the last time, direction 1 at the first."""
    ends = (
        [states[-1, :, 0, :], states[0, :, 1, :]] if states.shape[2] == 2 else [states[-1, :, 0, :]]
    )
    return xp.stack(ends, axis=0)


def side_by_side(xp: Any, a: Array) -> Array:
    """(T, N, S, H) -> (T, N, S H)."""
    steps, n, directions, units = a.shape
    return xp.reshape(a, (steps, n, directions * units))


def apart(xp: Any, a: Array, directions: int) -> Array:
    """(T, N, S H) -> (T, N, S, H)."""
    steps, n, units = a.shape
    return xp.reshape(a, (steps, n, directions, units // directions))


def input_product(xp: Any, x: Array, weights: list[Any], both_biases: bool) -> Array:
    """z = x W_ih^T + b for all times and directions at once: (T, N, D) -> (T, N, S, G)."""
    steps, n, features = x.shape
    weight = xp.concat([w[0] for w in weights], axis=0)  # (S G, D)
    z = xp.reshape(x, (steps * n, features)) @ xp.matrix_transpose(weight)
    if weights[0][2] is not None:
        z = z + xp.concat([w[2] + w[3] if both_biases else w[2] for w in weights], axis=0)
    return apart(xp, xp.reshape(z, (steps, n, weight.shape[0])), len(weights))


def input_product_backward(
    xp: Any, gz: Array, x: Array, weights: list[Any], needs_x: bool
) -> tuple[Array | None, list[Array], list[Array]]:
    """From gz (T, N, S, G): gx (T, N, D), and per direction gW_ih (G, D) and gb (G,).

    The two directions' shares of gx add up in the product, since z = x [W_f, W_b]^T (Xu 9.33).
    """
    steps, n, features = x.shape
    directions, gates = gz.shape[2:]
    flat = xp.reshape(gz, (steps * n, directions * gates))
    gw = xp.matrix_transpose(flat) @ xp.reshape(x, (steps * n, features))  # (S G, D)
    gb = xp.sum(flat, axis=0)
    gx = None
    if needs_x:
        gx = xp.reshape(flat @ xp.concat([w[0] for w in weights], axis=0), x.shape)
    cut = [slice(s * gates, (s + 1) * gates) for s in range(directions)]
    return gx, [gw[c, :] for c in cut], [gb[c] for c in cut]


def recurrent_product_backward(xp: Any, gu: Array, before: Array) -> Array:
    """gW (S, G, H) = sum over t and n of gu[t, n]^T before[t, n], per direction.

    gu (T, N, S, G); before (T, N, S, H), what the recurrent weights were applied to.
    """
    steps, n, directions, gates = gu.shape
    parts = [
        xp.matrix_transpose(xp.reshape(gu[:, :, s, :], (steps * n, gates)))
        @ xp.reshape(before[:, :, s, :], (steps * n, before.shape[3]))
        for s in range(directions)
    ]
    return xp.stack(parts, axis=0)


def stacked(xp: Any, weights: list[Any], k: int) -> Array | None:
    """Entry k of every direction's weights, stacked: (S, ...)."""
    return None if weights[0][k] is None else xp.stack([w[k] for w in weights], axis=0)

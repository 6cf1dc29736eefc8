"""RNN, LSTM and GRU; `nnx.onnx.recording.recurrent` has the table of what differs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .... import ops
from ....tensor import Tensor
from ..node import Node, beside, host, operator

LSTM_ORDER = (0, 2, 3, 1)  # i, f, g, o of i, o, f, c
GRU_ORDER = (1, 0, 2)  # r, z, n of z, r, h
DEFAULTS = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


def _checked(node: Node, directions: int) -> str:
    """The first activation, if all are those that nnx's layers have."""
    names = [str(n) for n in node.get("activations") or DEFAULTS[node.op] * directions]
    given, wanted = [n.lower() for n in names], [n.lower() for n in DEFAULTS[node.op] * directions]
    relu = node.op == "RNN" and set(given) == {"relu"}
    if given != wanted and not relu:
        raise node.refuse(f"the activations {', '.join(names)}")
    for name in ("clip", "input_forget"):
        if node.get(name):
            raise node.refuse(f"{name}={node.get(name)}")
    return given[0]


def _layer(
    node: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None,
    lengths: Tensor | None,
    states: list[Tensor | None],
    order: tuple[int, ...],
    function: Any,
) -> Any:
    """The layer in ONNX's shapes: y (T, S, N, H), or with `layout` 1 (N, T, S, H)."""
    directions, rows = w.shape[0], w.shape[1]
    hidden = rows // len(order)
    first = bool(node.get("layout", 0))
    if first:
        x = ops.permute_dims(x, (1, 0, 2))
        states = [None if s is None else ops.permute_dims(s, (1, 0, 2)) for s in states]
    reverse = node.get("direction", "forward") == "reverse"
    counts = None if lengths is None else host(lengths).astype(np.int64)
    if counts is not None and (counts == x.shape[0]).all():
        counts = None
    if reverse:
        x = _turned(x, counts)
    gates = np.concatenate([np.arange(hidden) + k * hidden for k in order])
    weights = []
    for s in range(directions):
        own: list[Tensor | None] = [_by_gates(a[s], gates, order) for a in (w, r)]
        both = [None, None] if b is None else [b[s, :rows], b[s, rows:]]
        own += [None if a is None else _by_gates(a, gates, order) for a in both]
        weights.append(own)
    y, *lasts = function(x, weights, states, counts)
    if reverse:
        y = _turned(y, counts)
    steps, n = y.shape[:2]
    y = ops.reshape(y, (steps, n, directions, hidden))
    if first:
        y = ops.permute_dims(y, (1, 0, 2, 3))
        lasts = [ops.permute_dims(h, (1, 0, 2)) for h in lasts]
    else:
        y = ops.permute_dims(y, (0, 2, 1, 3))
    return (y, *lasts)


def _by_gates(a: Tensor, gates: np.ndarray, order: tuple[int, ...]) -> Tensor:
    if len(order) == 1:
        return a
    return ops.take(a, beside(a, gates), axis=0)


def _turned(x: Tensor, counts: np.ndarray | None) -> Tensor:
    """Each sequence of (T, N, D) from its end to its start; what stands beyond stays there."""
    if counts is None:
        return ops.flip(x, axis=0)
    steps = np.arange(x.shape[0])[:, None]
    places = np.where(steps < counts, counts - 1 - steps, steps)[..., None]
    places = np.array(np.broadcast_to(places, x.shape))
    return ops.take_along_axis(x, beside(x, places), axis=0)


@operator("RNN", static=(4,))
def rnn(
    node: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
) -> Any:
    kind = _checked(node, w.shape[0])
    return _layer(
        node, x, w, r, b, lengths, [h0], (0,),
        lambda x, weights, states, counts: ops.rnn(x, weights, states[0], counts, kind),
    )  # fmt: skip


@operator("LSTM", static=(4,))
def lstm(
    node: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> Any:
    _checked(node, w.shape[0])
    if peepholes is not None:
        return _layer(
            node, x, w, r, b, lengths, [h0, c0], LSTM_ORDER,
            lambda *given: _peeping(peepholes, *given),
        )  # fmt: skip
    return _layer(
        node, x, w, r, b, lengths, [h0, c0], LSTM_ORDER,
        lambda x, weights, states, counts: ops.lstm(x, weights, states[0], states[1], counts),
    )  # fmt: skip


def _peeping(
    peepholes: Tensor, x: Tensor, weights: Any, states: list[Tensor | None], counts: Any
) -> tuple[Tensor, ...]:
    """An LSTM whose gates see the cell (Gers and Schmidhuber 2000): i and f see c[t-1], o c[t].

    Step by step, since nnx's kernels have none: peepholes (S, 3 H) in the order i, o, f.
    """
    steps = x.shape[0]
    ys, hs, cs = [], [], []
    for s, (w_ih, w_hh, b_ih, b_hh) in enumerate(weights):
        hidden = w_hh.shape[1]
        p_i, p_o, p_f = (peepholes[s, k * hidden : (k + 1) * hidden] for k in range(3))
        zeros = ops.zeros_like(ops.matmul(x[0], ops.matrix_transpose(w_ih))[:, :hidden])
        h, c = (zeros if a is None else a[s] for a in states)
        made: dict[int, Tensor] = {}
        for t in range(steps) if s == 0 else reversed(range(steps)):
            z = ops.linear(x[t], w_ih, b_ih) + ops.linear(h, w_hh, b_hh)
            i, f, g, o = (z[:, k * hidden : (k + 1) * hidden] for k in range(4))
            c_next = ops.sigmoid(f + p_f * c) * c + ops.sigmoid(i + p_i * c) * ops.tanh(g)
            h_next = ops.sigmoid(o + p_o * c_next) * ops.tanh(c_next)
            if counts is not None:
                inside = beside(x, (counts > t)[:, None])
                made[t] = ops.where(inside, h_next, zeros)
                h_next, c_next = ops.where(inside, h_next, h), ops.where(inside, c_next, c)
            else:
                made[t] = h_next
            h, c = h_next, c_next
        ys.append(ops.stack([made[t] for t in range(steps)], axis=0))
        hs.append(h)
        cs.append(c)
    return ops.concat(ys, axis=2), ops.stack(hs, axis=0), ops.stack(cs, axis=0)


@operator("GRU", static=(4,))
def gru(
    node: Node,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
) -> Any:
    _checked(node, w.shape[0])
    after = bool(node.get("linear_before_reset", 0))
    return _layer(
        node, x, w, r, b, lengths, [h0], GRU_ORDER,
        lambda x, weights, states, counts: ops.gru(x, weights, states[0], counts, after),
    )  # fmt: skip

"""Recurrent layers: kinds, layers, directions, lengths, states, projections; and their cells."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnx import nn

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import torch
from .modules import fill


def recurrent(draw: Draw) -> Case:
    return _cell(draw) if draw.chance(0.15) else _layer(draw)


def _layer(draw: Draw) -> Case:
    kind = draw.choice(["RNN", "LSTM", "GRU"])
    dtype = draw.dtype()
    features, hidden = max(1, draw.size(40)), max(1, draw.size(40))
    steps, n = max(1, draw.size(20)), draw.size(40)
    options: dict[str, Any] = {
        "num_layers": draw.choice([1, 1, 2, 3]),
        "bias": draw.chance(0.8),
        "batch_first": draw.chance(0.4),
        "bidirectional": draw.chance(0.4),
    }
    portable_only: dict[str, Any] = {}
    if kind == "RNN":
        options["nonlinearity"] = draw.choice(["tanh", "tanh", "relu"])
    if kind == "LSTM" and hidden > 1 and draw.chance(0.25):
        options["proj_size"] = draw.between(1, hidden - 1)
    if kind == "GRU" and draw.chance(0.3):
        portable_only["reset_after"] = False
    batched = draw.chance(0.9)
    inputs = [Input(draw.values(_x_shape(batched, options, steps, n, features), dtype))]
    inputs[0].layout = draw.layout()
    rows = options["num_layers"] * (2 if options["bidirectional"] else 1)
    out = options.get("proj_size", hidden)
    states = 0
    if draw.chance(0.5):
        sizes = [out, hidden] if kind == "LSTM" else [out]
        states = len(sizes)
        for size in sizes:
            shape = (rows, n, size) if batched else (rows, size)
            inputs.append(Input(draw.values(shape, dtype), draw.chance(0.8), draw.layout()))
    lengths = None
    if batched and n and draw.chance(0.4):
        lengths = draw.whole((n,), 1, steps + 1)
    model = getattr(nn, kind)(features, hidden, **options, **portable_only)
    names = [name for name, _ in model.named_parameters()]
    scale = draw.choice([0.3, 0.3, 1.0, 3.0]) / hidden**0.5
    for _, p in model.named_parameters():
        w = (draw.values(p.shape, dtype) * scale).astype(dtype)
        inputs.append(Input(w, draw.chance(0.95), parameter=True))

    def split(rest: Any) -> tuple[Any, Any]:
        given = rest[:states]
        return (None if not given else given[0] if states == 1 else tuple(given)), rest[states:]

    def ours(x: Any, *rest: Any) -> Any:
        hx, weights = split(rest)
        layer = getattr(nn, kind)(features, hidden, **options, **portable_only)
        fill(layer, names, weights)
        y, last = layer(x, hx, lengths=lengths)
        return y, last

    def theirs(x: Any, *rest: Any) -> Any:
        t = torch()
        hx, weights = split(rest)
        layer = getattr(t.nn, kind)(features, hidden, **options).to(x.dtype)
        state = dict(zip(names, weights, strict=True))
        call = t.func.functional_call
        if lengths is None:
            return call(layer, state, (x, hx))
        pack = t.nn.utils.rnn
        first = options["batch_first"]
        packed = pack.pack_padded_sequence(x, t.tensor(lengths), first, enforce_sorted=False)
        y, last = call(layer, state, (packed, hx))
        y, _ = pack.pad_packed_sequence(y, first, total_length=steps)
        return y, last

    says = f"{kind}({features}, {hidden}, {options | portable_only})"
    says += "" if lengths is None else f", lengths {np.unique(lengths).tolist()}"
    knows = not portable_only and n > 0
    return Case(says, inputs, ours, theirs if knows else None, slack=4, cancels=True)


def _x_shape(batched: bool, options: Any, steps: int, n: int, features: int) -> tuple[int, ...]:
    if not batched:
        return (steps, features)
    return (n, steps, features) if options["batch_first"] else (steps, n, features)


def _cell(draw: Draw) -> Case:
    kind = draw.choice(["RNNCell", "LSTMCell", "GRUCell"])
    dtype = draw.dtype()
    features, hidden, n = max(1, draw.size(40)), max(1, draw.size(40)), draw.size()
    options: dict[str, Any] = {"bias": draw.chance(0.8)}
    if kind == "RNNCell":
        options["nonlinearity"] = draw.choice(["tanh", "relu"])
    lead = (n,) if draw.chance(0.85) else ()
    inputs = [Input(draw.values((*lead, features), dtype), layout=draw.layout())]
    states = draw.choice([0, 1]) * (2 if kind == "LSTMCell" else 1)
    for _ in range(states):
        inputs.append(Input(draw.values((*lead, hidden), dtype), layout=draw.layout()))
    cell = getattr(nn, kind)(features, hidden, **options)
    names = [name for name, _ in cell.named_parameters()]
    for _, p in cell.named_parameters():
        inputs.append(Input((draw.values(p.shape, dtype) * 0.4).astype(dtype), parameter=True))

    def state_of(rest: Any) -> Any:
        return None if not states else rest[0] if states == 1 else tuple(rest[:2])

    def ours(x: Any, *rest: Any) -> Any:
        layer = getattr(nn, kind)(features, hidden, **options)
        fill(layer, names, rest[states:])
        return layer(x, state_of(rest))

    def theirs(x: Any, *rest: Any) -> Any:
        t = torch()
        layer = getattr(t.nn, kind)(features, hidden, **options).to(x.dtype)
        state = dict(zip(names, rest[states:], strict=True))
        return t.func.functional_call(layer, state, (x, state_of(rest)))

    says = f"{kind}({features}, {hidden}, {options})"
    return Case(says, inputs, ours, theirs, slack=4, cancels=True)

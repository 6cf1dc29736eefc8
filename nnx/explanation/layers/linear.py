"""The dense layer."""

from __future__ import annotations

import numpy as np

from ... import nn
from ..arrays import Named
from ..expression import Expr, total
from ..writer import Index, Writer


def linear(w: Writer) -> None:
    """y = x Wᵀ + b."""
    m = w.measured
    layer: nn.Linear = m.layer
    x, weight, b = w.named_input(0, "x"), w.parameter("weight", "W"), w.parameter("bias", "b")
    assert weight is not None
    rows = x.shape[:-1]
    outputs, features = weight.shape
    w.forward(x, weight, b)

    def y(at: Index) -> Expr:
        *n, o = at
        terms: list[Expr] = [x[*n, d] * weight[o, d] for d in range(features)]
        return total(terms if b is None else [*terms, b[o]])

    plus = "" if b is None else " + b"
    w.derive(
        "y",
        m.y,
        y,
        "y[n, o] = Σ_d x[n, d] W[o, d]" + ("" if b is None else " + b[o]"),
        f"y = x Wᵀ{plus}:  {shape(x)} {shape(weight.array.T)}"
        + ("" if b is None else f" + {shape(b)}")
        + f" -> {shape(m.y)}",
        "Xu 3.2; nnx.ops.linear.Linear",
    )

    g = w.backward()
    w.say("means")
    if 0 in m.gradients:
        w.derive(
            "dx",
            m.gradients[0],
            lambda at: total([g[*at[:-1], o] * weight[o, at[-1]] for o in range(outputs)]),
            "dx[n, d] = Σ_o g[n, o] W[o, d]",
            f"dx = g W:  {shape(g)} {shape(weight)} -> {shape(x)}",
            "Xu 4.12",
            key=0,
        )
    every = list(np.ndindex(rows))
    w.derive(
        "dW",
        m.gradients["weight"],
        lambda at: total([g[*n, at[0]] * x[*n, at[1]] for n in every]),
        "dW[o, d] = Σ_n g[n, o] x[n, d]",
        f"dW = gᵀ x:  {shape(g.array.T)} {shape(x)} -> {shape(weight)}",
        "Xu 4.13",
        key="weight",
    )
    if b is not None:
        w.derive(
            "db",
            m.gradients["bias"],
            lambda at: total([g[*n, at[0]] for n in every]),
            "db[o] = Σ_n g[n, o]",
            f"{shape(g)} -> {shape(b)}",
            "Xu 4.13",
            key="bias",
        )
    assert layer.in_features == features
    w.check([("dx", 0, "x"), ("dW", "weight", "W"), ("db", "bias", "b")])


def shape(a: object) -> str:
    """(2, 3) of an array that has it."""
    lengths = a.shape if isinstance(a, Named) else getattr(a, "shape", ())
    return f"({', '.join(map(str, lengths))}{',' if len(lengths) == 1 else ''})"

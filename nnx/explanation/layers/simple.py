"""Layers that pass numbers on: flattening, dropout, the rows of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import nn
from ...tensor import Tensor
from ..arrays import Named
from ..expression import Expr, Num, element, total
from ..writer import Index, Writer
from .elementwise import pointwise
from .linear import shape


def flatten(w: Writer) -> None:
    """The same numbers in another shape."""
    m = w.measured
    x = w.named_input(0, "x")
    w.say("flatten")
    w.forward(x)

    def moved(name: str, source: Named, target: tuple[int, ...]) -> Any:
        def at_target(at: Index) -> Expr:
            flat = int(np.ravel_multi_index(at, target)) if target else 0
            return source[tuple(int(k) for k in np.unravel_index(flat, source.shape))]

        return at_target

    w.derive("y", m.y, moved("y", x, m.y.shape), "y = x", f"{shape(x)} -> {shape(m.y)}")
    g = w.backward()
    if 0 in m.gradients:
        w.derive(
            "dx", m.gradients[0], moved("dx", g, x.shape), "dx = g", f"{shape(g)} -> {shape(x)}",
            key=0,
        )  # fmt: skip
    w.check([("dx", 0, "x")])


def dropout(w: Writer) -> None:
    """y = x m / (1 - p)."""
    m = w.measured
    layer: Any = m.layer
    if not layer.training or layer.p == 0:
        w.say("dropout_passes")
        pointwise(w, "identity", [])
        return
    x = w.named_input(0, "x")
    ones = Tensor(m.tensors[0].data * 0 + 1)
    kept = m.called_again([ones]) != 0
    mask = Named("m", kept)
    keep = Num(1.0 - layer.p, name="(1 - p)")
    w.say("dropout", p=f"{layer.p:g}", keep=f"{1 - layer.p:g}")
    w.forward(x, mask)
    source = "Xu 9.26-9.29; nnx.ops.dropout.Dropout"

    def scaled(a: Named) -> Any:
        return lambda at: Num(0.0) if layer.p == 1 else a[at] * mask[at] / keep

    w.derive("y", m.y, scaled(x), "y = x m / (1 - p)", source=source)
    g = w.backward()
    if 0 in m.gradients:
        w.derive("dx", m.gradients[0], scaled(g), "dx = g m / (1 - p)", source=source, key=0)
    w.check([("dx", 0, "x")])


def embedding(w: Writer) -> None:
    """y[k] = W[i[k]]."""
    m = w.measured
    layer: nn.Embedding = m.layer
    ids = Named("i", m.inputs[0])
    table = w.parameter("weight", "W")
    assert table is not None
    rows = ids.array.astype(int)
    w.say("embedding")
    w.forward(ids, table)
    source = "nnx.ops.embedding.Embedding"
    w.derive(
        "y",
        m.y,
        lambda at: table[int(rows[at[:-1]]), at[-1]],
        "y[k, e] = W[i[k], e]",
        f"{shape(ids)}, {shape(table)} -> {shape(m.y)}",
        source,
    )
    at = w.chosen("y", m.y)
    w.say("embedding_row", k=element("i", at[:-1]), row=int(rows[at[:-1]]))
    g = w.backward()
    w.say("embedding_backward")

    def dw(at: Index) -> Expr:
        readers = [tuple(map(int, k)) for k in np.argwhere(rows == at[0])]
        if at[0] == layer.padding_idx:
            return Num(0.0)
        whole = total([g[*k, at[1]] for k in readers])
        return whole / float(len(readers)) if layer.scale_grad_by_freq and readers else whole

    if layer.padding_idx is not None:
        w.say("embedding_padding", row=layer.padding_idx)
    if layer.scale_grad_by_freq:
        w.say("embedding_frequency")
    gradient = m.gradients["weight"]
    w.derive(
        "dW",
        gradient,
        dw,
        "dW[v, e] = Σ_k [i[k] = v] g[k, e]",
        f"{shape(g)} -> {shape(table)}",
        source,
        key="weight",
    )
    if layer.padding_idx is None and not layer.scale_grad_by_freq:
        w.check([("dW", "weight", "W")])
    else:
        w.say("embedding_unchecked")


def without_limit(layer: Any, inputs: list[Any]) -> bool:
    """Whether rows are read as they are, however long."""
    return layer.max_norm is None


DROPOUTS: tuple[type[nn.Module], ...] = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)

"""Losses of classes: cross-entropy, and the negative log-likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..arrays import Named
from ..expression import Expr, Num, call, total
from ..writer import Index, Writer
from .linear import shape
from .loss import reduced


def cross_entropy(w: Writer) -> None:
    """l = -log softmax(x)[t], or -Σ a log softmax(x) of shares a."""
    if explains_classes(w.measured.layer, w.measured.inputs):
        _of_classes(w, logits=True)
    else:
        _of_shares(w)


def negative_log_likelihood(w: Writer) -> None:
    """l = -x[t]."""
    _of_classes(w, logits=False)


def _of_classes(w: Writer, logits: bool) -> None:
    """Losses of class indices, of rows (N, C) or one row (C,)."""
    m = w.measured
    layer: Any = m.layer
    x, t = w.named_input(0, "x"), w.named_input(1, "t")
    alone = x.array.ndim == 1
    classes = x.shape[-1]
    targets = np.atleast_1d(t.array.astype(int))
    rows = range(len(targets))
    weights = _weights(layer, targets)
    counted = [n for n in rows if weights[n] != 0]
    of_row = Named("w", weights)
    w.forward(x, t)
    if layer.weight is not None:
        w.say("class_weights")
        w.show(of_row)
    top = Named("m", np.atleast_2d(x.array).max(axis=-1))
    p_name = "p"

    def z(n: int, c: int) -> Num:
        return x[c] if alone else x[n, c]

    def below(n: int) -> Expr:
        return total([call("exp", z(n, c) - top[n]) for c in range(classes)])

    def share(n: int, c: int) -> Expr:
        return call("exp", z(n, c) - top[n]) / below(n)

    probabilities: dict[tuple[int, int], Num] = {}

    def p(n: int, c: int) -> Num:
        if (n, c) not in probabilities:
            name = f"{p_name}[{n}, {c}]"
            probabilities[n, c] = Num(*share(n, c).value(m.eps), name)
        return probabilities[n, c]

    def loss(n: int) -> Expr:
        if not weights[n]:
            return Num(0.0)
        hit = z(n, targets[n])
        e = call("log", below(n)) - (hit - top[n]) if logits else -hit
        return e if layer.weight is None else of_row[n] * e

    source = "Xu 2.13; nnx.ops.loss.cross_entropy.CrossEntropy"
    if not logits:
        source = "nnx.ops.loss.cross_entropy.NegativeLogLikelihood"
    if logits:
        w.say("cross_entropy")
        w.show(top)
        formula = "l[n] = -log p[n, t] = log Σ_c exp(x[n, c] - m[n]) - (x[n, t] - m[n])"
    else:
        formula = "l[n] = -x[n, t]"
    size = total([of_row[n] for n in counted]) if layer.weight is not None else None
    count: Expr = Num(float(len(counted))) if size is None else size
    over = "Σ w" if size is not None else str(len(counted))
    shapes = f"{shape(x)}, {shape(t)} -> {shape(m.y)}"
    every = [(n,) for n in counted]
    reduced(w, lambda at: loss(at[0] if at else 0), every, formula, source, shapes, count, over)
    g = w.backward()
    if logits:
        w.say("cross_entropy_backward")
        at = w.chosen("dx", m.gradients[0])
        n, c = (0, at[0]) if alone else (at[0], at[1])
        if weights[n]:
            row = np.exp(np.atleast_2d(x.array)[n] - top.array[n])
            p_nc = float(row[c] / np.sum(row))
            probabilities[n, c] = w.value(f"p[{n}, {c}]", share(n, c), p_nc)

    def dx(at: Index) -> Expr:
        n, c = (0, at[0]) if alone else (at[0], at[1])
        if not weights[n]:
            return Num(0.0)
        hit = Num(1.0 if c == targets[n] else 0.0)
        slope: Expr = p(n, c) - hit if logits else -hit
        if layer.weight is not None:
            slope = of_row[n] * slope
        if layer.reduction == "none":
            return (g[()] if alone else g[n]) * slope
        return g[()] * slope / count if layer.reduction == "mean" else g[()] * slope

    end = f" / {over}" if layer.reduction == "mean" else ""
    weight = " w[n]" if layer.weight is not None else ""
    w.derive(
        "dx",
        m.gradients[0],
        dx,
        f"dx[n, c] = g{weight} (p[n, c] - [c = t]){end}" if logits
        else f"dx[n, c] = -g{weight} [c = t]{end}",
        f"{shape(g)} -> {shape(x)}",
        "Xu 2.14-2.21" if logits else source,
        key=0,
    )  # fmt: skip
    w.check([("dx", 0, "x")])


def _of_shares(w: Writer) -> None:
    """Cross-entropy with a distribution over the classes, given or made of a class by smoothing."""
    m = w.measured
    layer: Any = m.layer
    x, t = w.named_input(0, "x"), w.named_input(1, "t")
    rows, classes = x.shape
    smoothing = float(layer.label_smoothing)
    shares = t.array
    if t.array.ndim == 1:
        shares = np.eye(classes)[t.array.astype(int)]
    a = Named("a", shares * (1 - smoothing) + smoothing / classes)
    top = Named("m", x.array.max(axis=-1))
    w.forward(x, t)
    w.say("cross_entropy_shares")
    if smoothing:
        w.formula(f"a = (1 - e) [c = t] + e / {classes}", f"e = {smoothing:g}")
    w.show(a, top)

    def below(n: int) -> Expr:
        return total([call("exp", x[n, c] - top[n]) for c in range(classes)])

    def log_p(n: int, c: int) -> Expr:
        return (x[n, c] - top[n]) - Num(*call("log", below(n)).value(m.eps), "s", (n,))

    def loss(n: int) -> Expr:
        return -total([a[n, c] * log_p(n, c) for c in range(classes)])

    source = "Xu 2.5-2.7; nnx.ops.loss.cross_entropy.SoftCrossEntropy"
    w.formula("s[n] = log Σ_c exp(x[n, c] - m[n])")
    first = np.log(np.sum(np.exp(x.array[0] - top.array[0])))
    w.value("s[0]", call("log", below(0)), float(first))
    formula = "l[n] = -Σ_c a[n, c] log p[n, c],  log p[n, c] = x[n, c] - m[n] - s[n]"
    shapes = f"{shape(x)}, {shape(t)} -> {shape(m.y)}"
    every = [(n,) for n in range(rows)]
    reduced(w, lambda at: loss(at[0]), every, formula, source, shapes, float(rows), str(rows))
    g = w.backward()

    def dx(at: Index) -> Expr:
        n, c = at
        p = call("exp", log_p(n, c))
        whole = total([a[n, k] for k in range(classes)])
        e = (g[n] if layer.reduction == "none" else g[()]) * (p * whole - a[n, c])
        return e / float(rows) if layer.reduction == "mean" else e

    end = f" / {rows}" if layer.reduction == "mean" else ""
    w.derive(
        "dx",
        m.gradients[0],
        dx,
        f"dx[n, c] = g (p[n, c] Σ_k a[n, k] - a[n, c]){end}",
        f"{shape(g)} -> {shape(x)}",
        source,
        key=0,
    )
    w.check([("dx", 0, "x")])


def _weights(layer: Any, targets: np.ndarray) -> np.ndarray:
    """For each row the weight of its class, 0 where it is ignored."""
    return np.asarray(layer.weights_of(targets))


def explains_classes(layer: Any, inputs: list[Any]) -> bool:
    """Whether targets are class indices of rows, not probabilities, and nothing is smoothed."""
    smoothed = getattr(layer, "label_smoothing", 0.0)
    x, t = inputs[0], inputs[1]
    indices = np.ndim(t) == np.ndim(x) - 1 and np.ndim(x) <= 2
    return bool(indices and not smoothed)


def explains_entropy(layer: Any, inputs: list[Any]) -> bool:
    """Whether targets are class indices, or shares of rows (N, C) without weights of classes."""
    if explains_classes(layer, inputs):
        return True
    x, t = inputs
    if np.ndim(x) != 2 or layer.weight is not None:
        return False
    return np.shape(t) == np.shape(x) or not np.any(np.asarray(t) == layer.ignore_index)

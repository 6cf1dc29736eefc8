"""Losses of numbers and their targets: l(x, t), reduced."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import nn
from ..expression import Condition, Expr, Named, Num, When, call, largest, total
from ..writer import Index, Writer
from .elementwise import log_one_plus_exp
from .linear import shape


@dataclass(frozen=True)
class Pair:
    """A loss of a number x and its target t, and its slope in x."""

    formula: str
    slope_formula: str
    loss: Callable[..., Expr]
    slope: Callable[..., Expr]
    source: str
    options: tuple[str, ...] = ()


def huber(d: Expr, width: float, scale: float) -> Expr:
    """A parabola with straight sides."""
    size = call("abs", d)
    near = abs(d.value(0.0).number) <= width
    if near:
        return inside_of(d, width, (0.5 * scale) * call("square", d))
    return outside_of(d, width, (scale * width) * (size - 0.5 * width))


def huber_slope(d: Expr, width: float, scale: float) -> Expr:
    value = d.value(0.0).number
    if abs(value) <= width:
        return inside_of(d, width, scale * d if scale != 1 else d)
    return outside_of(d, width, Num(math.copysign(scale * width, value)))


def inside_of(d: Expr, a: float, e: Expr) -> Expr:
    return When(e, Condition(call("abs", d), "≤", Num(a)))


def outside_of(d: Expr, a: float, e: Expr) -> Expr:
    return When(e, Condition(call("abs", d), ">", Num(a)))


def sign_of(d: Expr) -> Expr:
    value = d.value(0.0).number
    mark = "=" if value == 0 else ">" if value > 0 else "<"
    return When(Num(float(np.sign(value))), Condition(d, mark, Num(0.0)))


def smooth(x: Num, t: Num, beta: float) -> Expr:
    return call("abs", x - t) if beta == 0 else huber(x - t, beta, 1 / beta)


def smooth_slope(x: Num, t: Num, beta: float) -> Expr:
    return sign_of(x - t) if beta == 0 else huber_slope(x - t, beta, 1 / beta)


def log_of(p: Expr) -> Expr:
    """log p, held above -100."""
    number = p.value(0.0).number
    if number <= math.exp(-100):
        return When(Num(-100.0), Condition(p, "≤", Num(math.exp(-100))))
    return call("log", p)


PAIRS = {
    nn.MSELoss: Pair(
        "l = (x - t)²",
        "dl/dx = 2 (x - t)",
        lambda x, t: call("square", x - t),
        lambda x, t: 2.0 * (x - t),
        "nnx.ops.loss.regression.MSE",
    ),
    nn.L1Loss: Pair(
        "l = |x - t|",
        "dl/dx = sign(x - t)",
        lambda x, t: call("abs", x - t),
        lambda x, t: sign_of(x - t),
        "nnx.ops.loss.regression.L1",
    ),
    nn.SmoothL1Loss: Pair(
        "l = (x - t)² / (2 β) @ |x - t| ≤ β ; |x - t| - β/2",
        "dl/dx = (x - t) / β @ |x - t| ≤ β ; ±1",
        smooth,
        smooth_slope,
        "nnx.ops.loss.regression.Huber",
        ("beta",),
    ),
    nn.HuberLoss: Pair(
        "l = (x - t)² / 2 @ |x - t| ≤ δ ; δ (|x - t| - δ/2)",
        "dl/dx = x - t @ |x - t| ≤ δ ; ±δ",
        lambda x, t, delta: huber(x - t, delta, 1.0),
        lambda x, t, delta: huber_slope(x - t, delta, 1.0),
        "nnx.ops.loss.regression.Huber",
        ("delta",),
    ),
    nn.BCELoss: Pair(
        "l = -t log(x) - (1 - t) log(1 - x)",
        "dl/dx = (x - t) / (x (1 - x))",
        lambda x, t: -(t * log_of(x)) - (1.0 - t) * log_of(1.0 - x),
        lambda x, t: (x - t) / largest(x * (1.0 - x), 1e-12),
        "nnx.ops.loss.probability.BinaryCrossEntropy",
    ),
    nn.BCEWithLogitsLoss: Pair(
        "l = t log(1 + exp(-x)) + (1 - t) log(1 + exp(x))",
        "dl/dx = (1 - t) σ(x) - t σ(-x)  (= σ(x) - t)",
        lambda x, t: t * log_one_plus_exp(-x) + (1.0 - t) * log_one_plus_exp(x),
        lambda x, t: (1.0 - t) * call("sigmoid", x) - t * call("sigmoid", -x),
        "nnx.ops.loss.probability.BinaryCrossEntropyWithLogits",
    ),
    nn.SoftMarginLoss: Pair(
        "l = log(1 + exp(-t x))",
        "dl/dx = -t σ(-t x)",
        lambda x, t: log_one_plus_exp(-(t * x)),
        lambda x, t: -(t * call("sigmoid", -(t * x))),
        "nnx.ops.loss.margin",
    ),
}


def of_pairs(w: Writer) -> None:
    """A loss of each number and its target."""
    m = w.measured
    layer: Any = m.layer
    pair = PAIRS[type(layer)]
    options = [getattr(layer, name) for name in pair.options]
    x, t = w.named_input(0, "x"), w.named_input(1, "t")
    w.forward(x, t)
    every = list(np.ndindex(x.shape))
    size = float(len(every))

    def one(at: Index) -> Expr:
        return pair.loss(x[at], t[at], *options)

    if layer.reduction == "none":
        w.derive("y", m.y, one, pair.formula, source=pair.source)
    else:
        mean = layer.reduction == "mean"
        w.formula(pair.formula, source=pair.source)
        alone = m.with_option("reduction", "none")
        terms = [w.value(f"l{list(at)}", one(at), float(alone[at]), True) for at in every[:3]]
        terms += [Num(*one(at).value(m.eps), f"l{list(at)}") for at in every[3:]]
        whole = total(terms)
        w.derive(
            "y",
            m.y,
            lambda at: whole / size if mean else whole,
            f"y = Σ l / {len(every)}" if mean else "y = Σ l",
            f"{shape(x)} -> ()",
        )
    g = w.backward()

    def dx(at: Index) -> Expr:
        slope = pair.slope(x[at], t[at], *options)
        if layer.reduction == "none":
            return g[at] * slope
        return g[()] * slope / size if layer.reduction == "mean" else g[()] * slope

    if 0 in m.gradients:
        over = f" / {len(every)}" if layer.reduction == "mean" else ""
        w.formula(pair.slope_formula)
        w.derive(
            "dx",
            m.gradients[0],
            dx,
            f"dx = g dl/dx{over}",
            f"{shape(g)} -> {shape(x)}",
            pair.source,
            key=0,
        )
    w.check([("dx", 0, "x")])


def cross_entropy(w: Writer) -> None:
    """l = -log softmax(x)[t]."""
    _of_classes(w, logits=True)


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
    if layer.reduction == "none":
        w.derive("y", m.y, lambda at: loss(at[0] if at else 0), formula, source=source)
    else:
        w.formula(formula, source=source)
        shown = [n for n in counted][:3]
        each = np.atleast_1d(m.with_option("reduction", "none"))
        known = {n: w.value(f"l[{n}]", loss(n), float(each[n]), True) for n in shown}
        terms = [known.get(n) or Num(*loss(n).value(m.eps), f"l[{n}]") for n in counted]
        whole = total(terms)
        size = total([of_row[n] for n in counted]) if layer.weight is not None else None
        count: Expr = Num(float(len(counted))) if size is None else size
        mean = layer.reduction == "mean"
        over = "Σ w" if size is not None else str(len(counted))
        w.derive(
            "y",
            m.y,
            lambda at: whole / count if mean else whole,
            f"y = Σ l / {over}" if mean else "y = Σ l",
            f"{shape(x)}, {shape(t)} -> {shape(m.y)}",
        )
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


def _weights(layer: Any, targets: np.ndarray) -> np.ndarray:
    """For each row the weight of its class, 0 where it is ignored."""
    return np.asarray(layer.weights_of(targets))


def explains_classes(layer: Any, inputs: list[Any]) -> bool:
    """Whether targets are class indices of rows, not probabilities, and nothing is smoothed."""
    smoothed = getattr(layer, "label_smoothing", 0.0)
    x, t = inputs[0], inputs[1]
    indices = np.ndim(t) == np.ndim(x) - 1 and np.ndim(x) <= 2
    return bool(indices and not smoothed)


def unweighted(layer: Any, inputs: list[Any]) -> bool:
    """Whether no number has a weight."""
    return getattr(layer, "weight", None) is None and getattr(layer, "pos_weight", None) is None

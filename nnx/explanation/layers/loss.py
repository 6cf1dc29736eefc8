"""Losses of numbers and their targets: l(x, t), reduced."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import nn
from ..expression import Condition, Expr, Num, When, call, largest, total
from ..writer import Index, Writer
from .curves import log_one_plus_exp
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

    reduced(w, one, every, pair.formula, pair.source, f"{shape(x)} -> ()", size, str(len(every)))
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


def reduced(
    w: Writer,
    one: Callable[[Index], Expr],
    every: Sequence[Index],
    formula: str,
    source: str,
    shapes: str,
    count: Expr | float,
    over: str,
) -> None:
    """Derive what a loss makes of the losses of its numbers or rows: each, their sum, their mean.

    Args:
        w: what writes.
        one: the loss of one of them, by its index.
        every: the indices of those that count.
        formula: of one loss.
        source: where it is from.
        shapes: what goes in and comes out, of a sum.
        count: what the mean divides by.
        over: how that is written.
    """
    m = w.measured
    layer: Any = m.layer
    if layer.reduction == "none":
        w.derive("y", m.y, one, formula, source=source)
        return
    w.formula(formula, source=source)
    mean, each = layer.reduction == "mean", np.atleast_1d(m.with_option("reduction", "none"))
    terms = [w.value(f"l{list(at)}", one(at), float(each[at]), True) for at in every[:3]]
    terms += [Num(*one(at).value(m.eps), f"l{list(at)}") for at in every[3:]]
    whole = total(terms)
    w.derive(
        "y",
        m.y,
        lambda at: whole / count if mean else whole,
        f"y = Σ l / {over}" if mean else "y = Σ l",
        shapes,
    )


def unweighted(layer: Any, inputs: list[Any]) -> bool:
    """Whether no number has a weight."""
    return getattr(layer, "weight", None) is None and getattr(layer, "pos_weight", None) is None

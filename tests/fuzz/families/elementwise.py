"""Functions of each element: activations, arithmetic with broadcasting, comparisons, select."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nnx import ops

from ..case import Case, Input
from ..draw import INTEGERS, Draw
from ..pytorch import functional, torch

# of tanh x = x + Σ c x^k, the last of them, k = 23, first
TANH_SERIES = (
    *(-113927491862 / 2900518163668125, 18888466084 / 194896477400625),
    *(-443861162 / 1856156927625, 6404582 / 10854718875, -929569 / 638512875),
    *(21844 / 6081075, -1382 / 155925, 62 / 2835, -17 / 315, 2 / 15, -1 / 3),
)
# name -> the kind of values it is defined for
UNARY = {
    **dict.fromkeys(["exp", "expm1", "sin", "cos", "tanh", "square", "abs", "sign"], "wide"),
    **dict.fromkeys(["negative", "erf", "sigmoid"], "wide"),
    **dict.fromkeys(["floor", "ceil", "trunc"], "wide"),
    **dict.fromkeys(["log", "log1p", "sqrt", "log2", "log10"], "positive"),
    "reciprocal": "wide",
}
ACTIVATIONS: dict[str, dict[str, Callable[[Draw], Any]]] = {
    "relu": {},
    "relu6": {},
    "leaky_relu": {"negative_slope": lambda d: d.choice([0.01, 0.0, 0.3, 1.0, -0.2])},
    "elu": {"alpha": lambda d: d.choice([1.0, 0.3, 2.5])},
    "selu": {},
    "celu": {"alpha": lambda d: d.choice([1.0, 0.3, 2.5])},
    "sigmoid": {},
    "log_sigmoid": {},
    "softplus": {"beta": lambda d: d.choice([1.0, 0.5, 3.0])},
    "silu": {},
    "gelu": {"approximate": lambda d: d.choice(["none", "tanh"])},
    "mish": {},
    "softsign": {},
    "tanhshrink": {},
    "hardsigmoid": {},
    "hardswish": {},
    "hardshrink": {"lambd": lambda d: d.choice([0.5, 0.0, 1.0])},
    "softshrink": {"lambd": lambda d: d.choice([0.5, 0.0, 1.0])},
    "threshold": {
        "threshold": lambda d: d.choice([0.0, -0.5, 1.0]),
        "value": lambda d: d.choice([0.0, 2.0]),
    },
    "hardtanh": {
        "min_val": lambda d: d.choice([-1.0, -0.5, 0.0]),
        "max_val": lambda d: d.choice([1.0, 0.5, 2.0]),
    },
}
NO_DEFAULTS = ("threshold",)  # each option is given
THEIR_NAMES = {"log_sigmoid": "logsigmoid"}
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "pow", "logaddexp"]
COMPARISONS = {  # nnx's name -> PyTorch's
    "equal": "eq",
    "not_equal": "ne",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "logical_and": "logical_and",
    "logical_or": "logical_or",
}


def elementwise(draw: Draw) -> Case:
    return draw.choice([_unary, _activation, _binary, _binary, _with_number, _compare, _select])(
        draw
    )


def _shape(draw: Draw) -> tuple[int, ...]:
    """Mostly small; sometimes past the sizes where blocks and threads begin."""
    if draw.chance(0.03):
        n = draw.choice([1000, 4099, 70001])
        return (n if draw.cap is None else draw.cap,)
    return draw.shape()


def _kind(draw: Draw, usual: str) -> str:
    return draw.choice(["special", "lattice"]) if draw.chance(0.15) else usual


def _without_nan(x: Any) -> Any:
    """There a slope is nobody's promise."""
    return np.where(np.isnan(x), np.asarray(1, x.dtype), x)


def _unary(draw: Draw) -> Case:
    name = draw.choice(sorted(UNARY))
    x = _without_nan(draw.values(_shape(draw), draw.dtype(), _kind(draw, UNARY[name])))
    return Case(
        name,
        [Input(x, layout=draw.layout())],
        getattr(ops, name),
        lambda x: getattr(torch(), name)(x),
        relative=name not in ("sin", "cos"),
        cancels=name in ("tanh", "sigmoid"),  # 1 - y and 1 - y² do
    )


def _activation(draw: Draw) -> Case:
    name = draw.choice(sorted(ACTIVATIONS))
    needed = name in NO_DEFAULTS
    options = {k: f(draw) for k, f in ACTIVATIONS[name].items() if needed or draw.chance(0.6)}
    kind = _kind(draw, draw.choice(["wide", "normal"]))
    x = _without_nan(draw.values(_shape(draw), draw.dtype(), kind))

    def theirs(x: Any) -> Any:
        if name == "softplus":  # PyTorch's own goes over to the identity at 20, before it is one
            beta = options.get("beta", 1.0)
            return torch().logaddexp(x * beta, torch().zeros_like(x)) / beta
        if name == "softsign":  # PyTorch's is ∞/∞ at the ends
            return functional().softsign(x.clamp(-1e30, 1e30))
        if name == "tanhshrink":  # PyTorch's loses its digits near 0, where it is x³/3 - ...
            s = x.clamp(-0.3, 0.3) ** 2
            series = functools.reduce(lambda y, c: y * s + c, TANH_SERIES)
            return torch().where(x.abs() < 0.3, -x * s * series, x - x.tanh())
        if name == "hardswish":  # PyTorch's is -∞ times 0 at the end
            return functional().hardswish(x.clamp(-1e30))
        if name == "hardsigmoid":  # the sixth in its gradient is of float32
            return functional().relu6(x + 3) / 6
        if name == "celu":  # its constants are of float32
            alpha = options.get("alpha", 1.0)
            below = torch().where(x > 0, torch().zeros_like(x), x)
            return torch().where(x > 0, x, alpha * torch().expm1(below / alpha))
        return getattr(functional(), THEIR_NAMES.get(name, name))(x, **options)

    return Case(
        f"{name}({options}) of {kind} values",
        [Input(x, layout=draw.layout())],
        lambda x: getattr(ops, name)(x, **options),
        theirs,
        slack=4,  # sums of exponentials that nearly cancel
    )


def _binary(draw: Draw) -> Case:
    name = draw.choice(BINARY)
    dtype = draw.dtype()
    a, b = _operands(draw, name, dtype, dtype)
    exact = name in ("maximum", "minimum", "add", "subtract", "multiply")
    return Case(
        name,
        [Input(a, draw.chance(0.8), draw.layout()), Input(b, draw.chance(0.8), draw.layout())],
        getattr(ops, name),
        lambda a, b: getattr(torch(), name)(a, b),
        exact=exact and name in ("maximum", "minimum"),
    )


def _operands(draw: Draw, name: str, da: str, db: str) -> tuple[Any, Any]:
    shape = draw.shape()
    kind = draw.choice(["normal", "lattice", "wide"])
    ka, kb = kind, kind
    if name in ("divide", "pow"):
        ka, kb = ("normal", "positive") if name == "divide" else ("positive", "normal")
    sa, sb = shape, draw.smaller(shape)
    if draw.chance(0.5):
        sa, sb = sb, sa
    if draw.chance(0.02):
        sb = (*sb, 9, 8)
    return draw.values(sa, da, ka), draw.values(sb, db, kb)


def _with_number(draw: Draw) -> Case:
    """A tensor and a Python number keep the tensor's dtype."""
    name = draw.choice(["add", "subtract", "multiply", "divide", "pow"])
    number = draw.choice([2, 3, -1, 0.5, 2.5, 1])
    left = draw.chance(0.4) and name != "pow"
    kind = "positive" if name in ("divide", "pow") else "normal"
    x = draw.values(draw.shape(), draw.dtype(), kind)

    def ours(x: Any) -> Any:
        return getattr(ops, name)(number, x) if left else getattr(ops, name)(x, number)

    def theirs(x: Any) -> Any:
        t = torch()
        symbol = {
            "add": lambda a, b: a + b,
            "subtract": lambda a, b: a - b,
            "multiply": lambda a, b: a * b,
            "divide": lambda a, b: a / b,
            "pow": lambda a, b: t.pow(a, b),
        }[name]
        return symbol(number, x) if left else symbol(x, number)

    says = f"{name}({number}, x)" if left else f"{name}(x, {number})"
    return Case(says, [Input(x, layout=draw.layout())], ours, theirs)


def _compare(draw: Draw) -> Case:
    name = draw.choice(list(COMPARISONS))
    integers = draw.chance(0.4)
    dtype = draw.choice(INTEGERS[:5]) if integers else draw.dtype()
    if name.startswith("logical"):
        dtype = "bool"
    shape = draw.shape()
    other = draw.smaller(shape)
    if dtype == "bool":
        a, b = draw.whole(shape, 0, 2, "bool"), draw.whole(other, 0, 2, "bool")
    elif integers:
        a, b = draw.whole(shape, 0, 5, dtype), draw.whole(other, 0, 5, dtype)
    else:
        a, b = draw.values(shape, dtype, "lattice"), draw.values(other, dtype, "special")
    return Case(
        name,
        [Input(a, False, draw.layout()), Input(b, False, draw.layout())],
        getattr(ops, name),
        lambda a, b: getattr(torch(), COMPARISONS[name])(a, b),
        exact=True,
    )


def _select(draw: Draw) -> Case:
    dtype = draw.dtype()
    shape = draw.shape()
    if draw.chance(0.5):
        mask = draw.whole(draw.smaller(shape), 0, 2, "bool")
        a, b = draw.values(shape, dtype), draw.values(draw.smaller(shape), dtype)
        return Case(
            "where",
            [Input(mask), Input(a, layout=draw.layout()), Input(b, layout=draw.layout())],
            ops.where,
            lambda m, a, b: torch().where(m, a, b),
        )
    low, high = sorted([draw.uniform(-2, 2), draw.uniform(-2, 2)])
    low = None if draw.chance(0.2) else low
    high = None if low is not None and draw.chance(0.2) else high
    x = draw.values(shape, dtype, draw.choice(["normal", "lattice"]))
    return Case(
        f"clip({low}, {high})",
        [Input(x, layout=draw.layout())],
        lambda x: ops.clip(x, low, high),
        lambda x: torch().clamp(x, low, high),
        exact=True,
    )

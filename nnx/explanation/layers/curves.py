"""Functions of one number and their derivatives, as they are written."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..expression import Condition, Expr, Num, When, call, largest, smallest


@dataclass(frozen=True)
class Pointwise:
    """A function of one number, as it is written, and its derivative.

    Attributes:
        formula: of y.
        slope_formula: of dx.
        y: the expression of y, given x and the options.
        slope: that of dy/dx, given x, y and the options.
        source: the class with the derivation, and the textbook's number.
    """

    formula: str
    slope_formula: str
    y: Callable[..., Expr]
    slope: Callable[..., Expr]
    source: str


def when(e: Expr | float, x: Expr, sign: str, bound: float) -> Expr:
    """e, which holds since x is on this side of a bound."""
    return When(e if isinstance(e, Expr) else Num(e), Condition(x, sign, Num(bound)))


def by_side(x: Num, bound: float, above: Expr | float, below: Expr | float) -> Expr:
    """`above` where x is above the bound, else `below`."""
    if x.number > bound:
        return when(above, x, ">", bound)
    return when(below, x, "≤", bound)


def strictly_between(x: Num, low: float, high: float, slope: float = 1.0) -> Expr:
    """The slope between two bounds, 0 outside and on them."""
    if x.number <= low:
        return when(0.0, x, "≤", low)
    if x.number >= high:
        return when(0.0, x, "≥", high)
    return When(Num(slope), Condition(Num(low), "<", x), Condition(x, "<", Num(high)))


def log_one_plus_exp(z: Expr) -> Expr:
    """log(1 + exp(z)), which is z where the exponential overflows."""
    if z.value(0.0).number > 700:
        return When(z, Condition(z, ">", Num(700.0)))
    return call("log1p", call("exp", z))


def elu(x: Num, a: float, scale: float, width: float) -> Expr:
    """Of ELU, SELU and CELU."""
    inner: Expr = x if width == 1 else x / width
    below = (scale * a) * (call("exp", inner) - 1.0)
    return by_side(x, 0.0, x if scale == 1 else scale * x, below)


def elu_slope(x: Num, a: float, scale: float, width: float) -> Expr:
    inner: Expr = x if width == 1 else x / width
    factor = scale * a / width
    below = call("exp", inner) if factor == 1 else factor * call("exp", inner)
    return by_side(x, 0.0, scale, below)


def phi(x: Num) -> Expr:
    """The normal distribution's function."""
    return 0.5 * (1.0 + call("erf", x / math.sqrt(2)))


def gelu(x: Num, approximate: str = "none") -> Expr:
    if approximate == "tanh":
        return 0.5 * x * (1.0 + call("tanh", gelu_inner(x)))
    return x * phi(x)


def gelu_inner(x: Num) -> Expr:
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x * call("square", x))


def gelu_slope(x: Num, y: Num, approximate: str = "none") -> Expr:
    if approximate == "tanh":
        t = call("tanh", gelu_inner(x))
        inner = math.sqrt(2 / math.pi) * (1.0 + 0.134145 * call("square", x))
        return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - call("square", t)) * inner
    density = call("exp", -(0.5 * call("square", x))) * (1 / math.sqrt(2 * math.pi))
    return phi(x) + x * density


def mish_slope(x: Num, y: Num) -> Expr:
    t = call("tanh", log_one_plus_exp(x))
    return t + x * (1.0 - call("square", t)) * call("sigmoid", x)


def softshrink(x: Num, a: float = 0.5) -> Expr:
    if x.number > a:
        return when(x - a, x, ">", a)
    if x.number < -a:
        return when(x + a, x, "<", -a)
    return inside(x, a, 0.0)


def inside(x: Num, a: float, e: Expr | float) -> Expr:
    """e, since |x| <= a."""
    return When(e if isinstance(e, Expr) else Num(e), Condition(call("abs", x), "≤", Num(a)))


def outside(x: Num, a: float, e: Expr | float) -> Expr:
    """e where |x| > a, else 0."""
    if abs(x.number) > a:
        return When(e if isinstance(e, Expr) else Num(e), Condition(call("abs", x), ">", Num(a)))
    return inside(x, a, 0.0)


def softplus(x: Num, beta: float = 1.0, threshold: float = math.inf) -> Expr:
    z = x if beta == 1 else beta * x
    if beta * x.number > threshold:
        return When(x, Condition(z, ">", Num(threshold)))
    y = log_one_plus_exp(z)
    return y if beta == 1 else y / beta


def softplus_slope(x: Num, y: Num, beta: float = 1.0, threshold: float = math.inf) -> Expr:
    z = x if beta == 1 else beta * x
    if beta * x.number > threshold:
        return When(Num(1.0), Condition(z, ">", Num(threshold)))
    return call("sigmoid", z)


def hardswish_slope(x: Num, y: Num) -> Expr:
    if x.number <= -3 or x.number >= 3:
        return by_side(x, 0.0, 1.0, 0.0)
    return x / 3.0 + 0.5


def sign(x: Num) -> Expr:
    if x.number == 0:
        return when(0.0, x, "=", 0.0)
    return by_side(x, 0.0, 1.0, -1.0)


SELU = (1.6732632423543772, 1.0507009873554805, 1.0)
ACT, PIECES, BASIC = "nnx.ops.activation", "nnx.ops.piecewise", "nnx.ops.elementwise"


def _logarithm(base: int, name: str) -> Pointwise:
    """log(x) to a base."""
    return Pointwise(
        f"y = log(x) / log({base})",
        f"dx = g / (x log({base}))",
        lambda x: call("log", x) / call("log", float(base)),
        lambda x, y: 1.0 / (x * call("log", float(base))),
        f"{BASIC}.{name}",
    )


POINTWISE = {
    "identity": Pointwise("y = x", "dx = g", lambda x: x, lambda x, y: Num(1.0), "nnx.nn.Identity"),
    "relu": Pointwise(
        "y = max(x, 0)",
        "dx = g @ x > 0 ; 0",
        lambda x: largest(x, 0.0),
        lambda x, y: by_side(x, 0.0, 1.0, 0.0),
        f"Xu 3.12-3.13; {ACT}.ReLU",
    ),
    "relu6": Pointwise(
        "y = min(max(x, 0), 6)",
        "dx = g @ 0 < x < 6 ; 0",
        lambda x: smallest(largest(x, 0.0), 6.0),
        lambda x, y: strictly_between(x, 0.0, 6.0),
        f"{ACT}.Hardtanh",
    ),
    "hardtanh": Pointwise(
        "y = min(max(x, low), high)",
        "dx = g @ low < x < high ; 0",
        lambda x, low=-1.0, high=1.0: smallest(largest(x, low), high),
        lambda x, y, low=-1.0, high=1.0: strictly_between(x, low, high),
        f"{ACT}.Hardtanh",
    ),
    "leaky_relu": Pointwise(
        "y = x @ x > 0 ; a x",
        "dx = g @ x > 0 ; g a",
        lambda x, a=0.01: by_side(x, 0.0, x, a * x),
        lambda x, y, a=0.01: by_side(x, 0.0, 1.0, a),
        f"{ACT}.LeakyReLU",
    ),
    "elu": Pointwise(
        "y = x @ x > 0 ; a (exp(x) - 1)",
        "dx = g @ x > 0 ; g a exp(x)",
        lambda x, a=1.0: elu(x, a, 1.0, 1.0),
        lambda x, y, a=1.0: elu_slope(x, a, 1.0, 1.0),
        f"{ACT}.ELU",
    ),
    "selu": Pointwise(
        "y = s x @ x > 0 ; s a (exp(x) - 1);  s = 1.0507, a = 1.6733",
        "dx = g s @ x > 0 ; g s a exp(x)",
        lambda x: elu(x, *SELU),
        lambda x, y: elu_slope(x, *SELU),
        f"{ACT}.ELU",
    ),
    "celu": Pointwise(
        "y = x @ x > 0 ; a (exp(x / a) - 1)",
        "dx = g @ x > 0 ; g exp(x / a)",
        lambda x, a=1.0: elu(x, a, 1.0, a),
        lambda x, y, a=1.0: elu_slope(x, a, 1.0, a),
        f"{ACT}.ELU",
    ),
    "gelu": Pointwise(
        "y = x Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2",
        "dx = g (Φ(x) + x φ(x)),  φ(x) = exp(-x²/2) / √(2π)",
        gelu,
        gelu_slope,
        f"{ACT}.GELU",
    ),
    "silu": Pointwise(
        "y = x σ(x)",
        "dx = g (s + x s (1 - s)),  s = σ(x)",
        lambda x: x * call("sigmoid", x),
        lambda x, y: call("sigmoid", x) + x * call("sigmoid", x) * (1.0 - call("sigmoid", x)),
        f"{ACT}.SiLU",
    ),
    "mish": Pointwise(
        "y = x tanh(log(1 + exp(x)))",
        "dx = g (t + x (1 - t²) σ(x)),  t = tanh(log(1 + exp(x)))",
        lambda x: x * call("tanh", log_one_plus_exp(x)),
        mish_slope,
        f"{ACT}.Mish",
    ),
    "softplus": Pointwise(
        "y = log(1 + exp(b x)) / b",
        "dx = g σ(b x)",
        softplus,
        softplus_slope,
        f"{ACT}.Softplus",
    ),
    "softsign": Pointwise(
        "y = x / (1 + |x|)",
        "dx = g / (1 + |x|)²",
        lambda x: x / (1.0 + call("abs", x)),
        lambda x, y: 1.0 / call("square", 1.0 + call("abs", x)),
        f"{ACT}.Softsign",
    ),
    "sigmoid": Pointwise(
        "y = σ(x) = 1 / (1 + exp(-x))",
        "dx = g y (1 - y)",
        lambda x: 1.0 / (1.0 + call("exp", -x)),
        lambda x, y: y * (1.0 - y),
        f"Xu 8.24; {ACT}.Sigmoid",
    ),
    "log_sigmoid": Pointwise(
        "y = log σ(x) = -log(1 + exp(-x))",
        "dx = g σ(-x)",
        lambda x: -log_one_plus_exp(-x),
        lambda x, y: call("sigmoid", -x),
        f"{ACT}.LogSigmoid",
    ),
    "tanh": Pointwise(
        "y = tanh(x)",
        "dx = g (1 - y²)",
        lambda x: call("tanh", x),
        lambda x, y: 1.0 - call("square", y),
        f"Xu 7.10; {BASIC}.Tanh",
    ),
    "threshold": Pointwise(
        "y = x @ x > t ; v",
        "dx = g @ x > t ; 0",
        lambda x, t, v: by_side(x, t, x, v),
        lambda x, y, t, v: by_side(x, t, 1.0, 0.0),
        f"{PIECES}.Threshold",
    ),
    "hardshrink": Pointwise(
        "y = x @ |x| > a ; 0",
        "dx = g @ |x| > a ; 0",
        lambda x, a=0.5: outside(x, a, x),
        lambda x, y, a=0.5: outside(x, a, 1.0),
        f"{PIECES}.Hardshrink",
    ),
    "softshrink": Pointwise(
        "y = x - a @ x > a ; x + a @ x < -a ; 0",
        "dx = g @ |x| > a ; 0",
        softshrink,
        lambda x, y, a=0.5: outside(x, a, 1.0),
        f"{PIECES}.Softshrink",
    ),
    "tanhshrink": Pointwise(
        "y = x - tanh(x)",
        "dx = g tanh²(x)",
        lambda x: x - call("tanh", x),
        lambda x, y: call("square", call("tanh", x)),
        f"{PIECES}.Tanhshrink",
    ),
    "hardsigmoid": Pointwise(
        "y = min(max(x + 3, 0), 6) / 6",
        "dx = g / 6 @ -3 < x < 3 ; 0",
        lambda x: smallest(largest(x + 3.0, 0.0), 6.0) / 6.0,
        lambda x, y: strictly_between(x, -3.0, 3.0, 1 / 6),
        f"{PIECES}.Hardsigmoid",
    ),
    "hardswish": Pointwise(
        "y = x min(max(x + 3, 0), 6) / 6",
        "dx = g (x/3 + 1/2) @ -3 < x < 3 ; g @ x ≥ 3 ; 0",
        lambda x: x * smallest(largest(x + 3.0, 0.0), 6.0) / 6.0,
        hardswish_slope,
        f"{PIECES}.Hardswish",
    ),
    "exp": Pointwise(
        "y = exp(x)", "dx = g y", lambda x: call("exp", x), lambda x, y: y, f"{BASIC}.Exp"
    ),
    "expm1": Pointwise(
        "y = exp(x) - 1",
        "dx = g exp(x)",
        lambda x: call("exp", x) - 1.0,
        lambda x, y: call("exp", x),
        f"{BASIC}.Expm1",
    ),
    "log": Pointwise(
        "y = log(x)", "dx = g / x", lambda x: call("log", x), lambda x, y: 1.0 / x, f"{BASIC}.Log"
    ),
    "log1p": Pointwise(
        "y = log(1 + x)",
        "dx = g / (1 + x)",
        lambda x: call("log1p", x),
        lambda x, y: 1.0 / (1.0 + x),
        f"{BASIC}.Log1p",
    ),
    "log2": _logarithm(2, "Log2"),
    "log10": _logarithm(10, "Log10"),
    "sqrt": Pointwise(
        "y = √x",
        "dx = g / (2 y)",
        lambda x: call("sqrt", x),
        lambda x, y: 1.0 / (2.0 * y),
        f"{BASIC}.Sqrt",
    ),
    "square": Pointwise(
        "y = x²",
        "dx = g 2 x",
        lambda x: call("square", x),
        lambda x, y: 2.0 * x,
        f"{BASIC}.Square",
    ),
    "reciprocal": Pointwise(
        "y = 1 / x",
        "dx = -g / x²",
        lambda x: 1.0 / x,
        lambda x, y: -(1.0 / call("square", x)),
        f"{BASIC}.Reciprocal",
    ),
    "abs": Pointwise(
        "y = |x|",
        "dx = g sign(x)",
        lambda x: call("abs", x),
        lambda x, y: sign(x),
        f"{BASIC}.Abs",
    ),
    "negative": Pointwise(
        "y = -x", "dx = -g", lambda x: -x, lambda x, y: Num(-1.0), "nnx.ops.arithmetic"
    ),
    "sin": Pointwise(
        "y = sin(x)",
        "dx = g cos(x)",
        lambda x: call("sin", x),
        lambda x, y: call("cos", x),
        f"{BASIC}.Sin",
    ),
    "cos": Pointwise(
        "y = cos(x)",
        "dx = -g sin(x)",
        lambda x: call("cos", x),
        lambda x, y: -call("sin", x),
        f"{BASIC}.Cos",
    ),
    "erf": Pointwise(
        "y = erf(x)",
        "dx = g 2/√π exp(-x²)",
        lambda x: call("erf", x),
        lambda x, y: (2 / math.sqrt(math.pi)) * call("exp", -call("square", x)),
        f"{ACT}.Erf",
    ),
}

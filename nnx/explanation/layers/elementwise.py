"""Operations of one number: y = f(x), dx = g f'(x)."""

from __future__ import annotations

from typing import Any

from ... import nn, ops
from ..arrays import Named
from ..expression import Expr
from ..writer import Index, Writer
from .curves import POINTWISE

# A layer's entry, and its attributes that are the entry's options.
LAYERS: dict[type, tuple[str, tuple[str, ...]]] = {
    nn.Identity: ("identity", ()),
    nn.ReLU: ("relu", ()),
    nn.ReLU6: ("relu6", ()),
    nn.Hardtanh: ("hardtanh", ("min_val", "max_val")),
    nn.LeakyReLU: ("leaky_relu", ("negative_slope",)),
    nn.ELU: ("elu", ("alpha",)),
    nn.SELU: ("selu", ()),
    nn.CELU: ("celu", ("alpha",)),
    nn.GELU: ("gelu", ("approximate",)),
    nn.SiLU: ("silu", ()),
    nn.Mish: ("mish", ()),
    nn.Softplus: ("softplus", ("beta", "threshold")),
    nn.Softsign: ("softsign", ()),
    nn.Sigmoid: ("sigmoid", ()),
    nn.LogSigmoid: ("log_sigmoid", ()),
    nn.Tanh: ("tanh", ()),
    nn.Threshold: ("threshold", ("threshold", "value")),
    nn.Hardshrink: ("hardshrink", ("lambd",)),
    nn.Softshrink: ("softshrink", ("lambd",)),
    nn.Tanhshrink: ("tanhshrink", ()),
    nn.Hardsigmoid: ("hardsigmoid", ()),
    nn.Hardswish: ("hardswish", ()),
}


def of_layer(w: Writer) -> None:
    """An activation."""
    name, attributes = LAYERS[type(w.measured.layer)]
    pointwise(w, name, [getattr(w.measured.layer, a) for a in attributes])


def of_operation(w: Writer) -> None:
    """An operation of `nnx`."""
    pointwise(w, w.measured.layer.__name__, w.measured.inputs[1:])


def pointwise(w: Writer, name: str, options: list[Any]) -> None:
    """y = f(x), number by number."""
    entry, m = POINTWISE[name], w.measured
    x = w.named_input(0, "x")
    w.say("elementwise")
    w.forward(x)
    w.derive("y", m.y, lambda at: entry.y(x[at], *options), entry.formula, source=entry.source)
    g = w.backward()
    # y is the layer's own number, rounded as its dtype is
    y = Named("y", m.y, m.eps * abs(m.y))

    def dx(at: Index) -> Expr:
        return g[at] * entry.slope(x[at], y[at], *options)

    if 0 in m.gradients:
        w.derive("dx", m.gradients[0], dx, entry.slope_formula, source=entry.source, key=0)
    w.check([("dx", 0, "x")])


OPERATIONS = [getattr(ops, name) for name in POINTWISE if name != "identity"]

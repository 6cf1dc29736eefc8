"""Softmax along an axis, and its logarithm."""

from __future__ import annotations

from ... import nn
from ..arrays import Named
from ..expression import Expr, call, total
from ..writer import Index, Writer


def softmax(w: Writer) -> None:
    """y[c] = exp(x[c]) / Σ_k exp(x[k])."""
    _along(w, logarithm=False)


def log_softmax(w: Writer) -> None:
    """y[c] = x[c] - log Σ_k exp(x[k])."""
    _along(w, logarithm=True)


def _along(w: Writer, logarithm: bool) -> None:
    m = w.measured
    x = w.named_input(0, "x")
    axis = _axis(w) % x.array.ndim
    length = x.shape[axis]
    top = Named("m", x.array.max(axis=axis))
    y = Named("y", m.y, m.eps * abs(m.y))

    def others(at: Index) -> list[Index]:
        return [(*at[:axis], k, *at[axis + 1 :]) for k in range(length)]

    def below(at: Index) -> Expr:
        return total([call("exp", x[k] - peak(at)) for k in others(at)])

    def peak(at: Index) -> Expr:
        return top[(*at[:axis], *at[axis + 1 :])]

    w.forward(x)
    w.say("softmax_shift")
    w.show(top)
    if logarithm:
        formula = "y[c] = (x[c] - m) - log Σ_k exp(x[k] - m)"
        w.derive(
            "y",
            m.y,
            lambda at: (x[at] - peak(at)) - call("log", below(at)),
            formula,
            source="nnx.ops.softmax.LogSoftmax",
        )
    else:
        w.derive(
            "y",
            m.y,
            lambda at: call("exp", x[at] - peak(at)) / below(at),
            "y[c] = exp(x[c] - m) / Σ_k exp(x[k] - m)",
            source="Xu 2.2-2.3; nnx.ops.softmax.Softmax",
        )
    g = w.backward()

    def dx(at: Index) -> Expr:
        if logarithm:
            return g[at] - call("exp", y[at]) * total([g[k] for k in others(at)])
        return y[at] * (g[at] - total([g[k] * y[k] for k in others(at)]))

    w.say("log_softmax_backward" if logarithm else "softmax_backward")
    if 0 in m.gradients:
        w.derive(
            "dx",
            m.gradients[0],
            dx,
            "dx[j] = g[j] - exp(y[j]) Σ_c g[c]"
            if logarithm
            else "dx[j] = y[j] (g[j] - Σ_c g[c] y[c])",
            source=f"nnx.ops.softmax.{'LogSoftmax' if logarithm else 'Softmax'}",
            key=0,
        )
    w.check([("dx", 0, "x")])


def _axis(w: Writer) -> int:
    m = w.measured
    if isinstance(m.layer, nn.Softmax | nn.LogSoftmax):
        return m.layer.dim
    return int(m.inputs[1]) if len(m.inputs) > 1 else -1

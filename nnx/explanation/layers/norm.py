"""Normalisation: mean 0 and variance 1 over some of the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import nn
from ..expression import Expr, Made, Named, Num, call, element, total
from ..writer import Index, Writer
from .linear import shape

MOST = 2000  # numbers that are all computed for being shown


class Sets:
    """Which numbers are normalised together, and by which γ and β.

    Args:
        lengths: of x.
        key: the name of the set that a number belongs to, by its index.
        channel: which γ and β it has.
    """

    def __init__(
        self,
        lengths: tuple[int, ...],
        key: Callable[[Index], Index],
        channel: Callable[[Index], Index],
    ) -> None:
        self.key, self.channel = key, channel
        self.members: dict[Index, list[Index]] = {}
        self.of_channel: dict[Index, list[Index]] = {}
        for at in np.ndindex(lengths):
            self.members.setdefault(key(at), []).append(at)
            self.of_channel.setdefault(channel(at), []).append(at)
        self.shape = tuple(1 + max(k[axis] for k in self.members) for axis in range(len(key(at))))


def sets_of(layer: Any, lengths: tuple[int, ...]) -> Sets:
    """How a layer divides its input."""
    if isinstance(layer, nn.LayerNorm):
        lead = len(lengths) - len(layer.normalized_shape)
        return Sets(lengths, lambda at: at[:lead], lambda at: at[lead:])
    if isinstance(layer, nn.GroupNorm):
        own = layer.num_channels // layer.num_groups
        return Sets(lengths, lambda at: (at[0], at[1] // own), lambda at: (at[1],))
    if isinstance(layer, INSTANCES):
        return Sets(lengths, lambda at: at[:2], lambda at: (at[1],))
    return Sets(lengths, lambda at: (at[1],), lambda at: (at[1],))


def normalisation(w: Writer) -> None:
    """y = γ (x - μ) / √(σ² + ε) + β."""
    m = w.measured
    layer: Any = m.layer
    x = w.named_input(0, "x")
    gamma, beta = w.parameter("weight", "γ"), w.parameter("bias", "β")
    sets = sets_of(layer, x.shape)
    batch = isinstance(layer, BATCHES)
    running = batch and layer.running_mean is not None and not layer.training

    def xu(number: str) -> str:
        return f"Xu {number}" if batch else ""

    w.say("norm_running" if running else "norm_batch" if batch else "norm_sample")
    w.forward(x, gamma, beta)

    at = w.chosen("y", m.y)
    one = sets.key(at)
    mean: Named
    variance: Named
    if running:
        mean = Named("μ", m.buffers["running_mean"])
        variance = Named("σ²", m.buffers["running_var"])
        w.show(mean, variance)
    else:

        def middle(k: Index) -> Expr:
            return _mean([x[i] for i in sets.members[k]])

        own = np.asarray([x.array[i] for i in sets.members[one]])
        mean = Made("μ", sets.shape, middle, m.eps)
        w.formula("μ = (1/m) Σ x", f"m = {len(sets.members[one])}", xu("6.5"))
        w.value(element("μ", one), middle(one), float(np.mean(own)))

        def spread(k: Index) -> Expr:
            return _mean([call("square", x[i] - mean[k]) for i in sets.members[k]])

        variance = Made("σ²", sets.shape, spread, m.eps)
        w.formula("σ² = (1/m) Σ (x - μ)²", source=xu("6.6"))
        w.value(element("σ²", one), spread(one), float(np.var(own)))

    def inverse(k: Index) -> Expr:
        return 1.0 / call("sqrt", variance[k] + layer.eps)

    r = Made("r", sets.shape, inverse, m.eps)
    w.formula("r = 1 / √(σ² + ε)", f"ε = {layer.eps:g}")
    around = variance[one].number if running else np.var(own)
    w.value(element("r", one), inverse(one), float((around + layer.eps) ** -0.5))

    def normal(i: Index) -> Expr:
        return (x[i] - mean[sets.key(i)]) * r[sets.key(i)]

    def y(i: Index) -> Expr:
        e = normal(i)
        if gamma is not None:
            e = gamma[sets.channel(i)] * e
        return e if beta is None else e + beta[sets.channel(i)]

    home = HOMES.get(type(layer), "nnx.ops.norm.batch.BatchNorm")
    source = "; ".join(filter(None, (xu("6.13" if running else "6.7-6.8"), home)))
    formula = (
        ("y = " if gamma is None else "y = γ ") + "(x - μ) r" + ("" if beta is None else " + β")
    )
    w.derive("y", m.y, y, formula, f"{shape(x)} -> {shape(m.y)}", source)
    if batch and not running and layer.running_mean is not None:
        _running(w, layer, sets, one, mean, variance)

    g = w.backward()
    x_hat = Made("x̂", x.shape, normal, m.eps)
    if x.array.size <= MOST:
        w.say("norm_x_hat")
        w.show(x_hat.whole())

    def scaled(i: Index) -> Expr:
        return g[i] if gamma is None else gamma[sets.channel(i)] * g[i]

    if running:
        w.say("norm_running_backward")

        def dx(i: Index) -> Expr:
            return scaled(i) * r[sets.key(i)]
    else:
        w.say("norm_backward")

        def first(k: Index) -> Expr:
            return _mean([scaled(i) for i in sets.members[k]])

        def second(k: Index) -> Expr:
            return _mean([scaled(i) * x_hat[i] for i in sets.members[k]])

        a = Made("a", sets.shape, first, m.eps)
        b = Made("b", sets.shape, second, m.eps)
        one = sets.key(w.chosen("dx", m.gradients[0])) if 0 in m.gradients else one
        g_hat = "g" if gamma is None else "γ g"
        w.formula(f"a = (1/m) Σ {g_hat}")
        members = sets.members[one]
        slopes = np.asarray([scaled(i).value(0.0).number for i in members])
        w.value(element("a", one), first(one), float(np.mean(slopes)))
        w.formula(f"b = (1/m) Σ {g_hat} x̂")
        own = np.asarray([x.array[i] for i in members])
        along = (own - np.mean(own)) / np.sqrt(np.var(own) + layer.eps)
        w.value(element("b", one), second(one), float(np.mean(slopes * along)))

        def dx(i: Index) -> Expr:
            k = sets.key(i)
            return r[k] * (scaled(i) - a[k] - x_hat[i] * b[k])

    if 0 in m.gradients:
        whole = "γ g r" if running else "r (γ g - a - x̂ b)"
        w.derive(
            "dx",
            m.gradients[0],
            dx,
            "dx = " + (whole if gamma is not None else whole.replace("γ ", "")),
            f"{shape(g)} -> {shape(x)}",
            "nnx.ops.norm.batch.BatchNormInference"
            if running
            else "; ".join(filter(None, (xu("6.23"), "nnx.ops.norm.batch.BatchNorm"))),
            key=0,
        )
    if gamma is not None:
        w.derive(
            "dγ",
            m.gradients["weight"],
            lambda at: total([g[i] * x_hat[i] for i in sets.of_channel[at]]),
            "dγ = Σ g x̂",
            f"{shape(g)} -> {shape(gamma)}",
            xu("6.15"),
            key="weight",
        )
    if beta is not None:
        w.derive(
            "dβ",
            m.gradients["bias"],
            lambda at: total([g[i] for i in sets.of_channel[at]]),
            "dβ = Σ g",
            f"{shape(g)} -> {shape(beta)}",
            xu("6.16"),
            key="bias",
        )
    w.check([("dx", 0, "x"), ("dγ", "weight", "γ"), ("dβ", "bias", "β")])


def _running(w: Writer, layer: Any, sets: Sets, k: Index, mean: Named, variance: Named) -> None:
    """How the running statistics of one channel move."""
    m = w.measured
    fresh = layer.momentum
    if fresh is None:
        fresh = 1 / (float(m.buffers["num_batches_tracked"]) + 1)
    count = len(sets.members[k])
    old_mean, old_var = (Named(n, m.buffers[n]) for n in ("running_mean", "running_var"))
    share = Num(fresh, name="momentum")
    w.say("norm_track")
    w.formula("running_mean ← (1 - momentum) running_mean + momentum μ")
    w.spell(
        element("running_mean", k),
        (1.0 - share) * old_mean[k] + share * mean[k],
        float(m.buffers_after["running_mean"][k]),
    )
    w.formula("running_var ← (1 - momentum) running_var + momentum σ² m / (m - 1)")
    w.spell(
        element("running_var", k),
        (1.0 - share) * old_var[k] + share * variance[k] * float(count) / float(count - 1),
        float(m.buffers_after["running_var"][k]),
    )


def _mean(terms: list[Expr]) -> Expr:
    return total(terms) / float(len(terms))


BATCHES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCES = (nn.InstanceNorm1d, nn.InstanceNorm2d)
HOMES: dict[type[nn.Module], str] = {
    nn.LayerNorm: "nnx.ops.norm.sample.LayerNorm",
    nn.GroupNorm: "nnx.ops.norm.sample.GroupNorm",
    nn.InstanceNorm1d: "nnx.ops.norm.sample.GroupNorm",
    nn.InstanceNorm2d: "nnx.ops.norm.sample.GroupNorm",
}
LAYERS: tuple[type[nn.Module], ...] = (*BATCHES, *INSTANCES, nn.LayerNorm, nn.GroupNorm)


def no_statistics(layer: Any, inputs: list[Any]) -> bool:
    """Whether an instance norm has no running statistics, and x its axis N."""
    if not isinstance(layer, INSTANCES):
        return True
    axes = int(type(layer).__name__[-2])
    return not layer.track_running_stats and np.ndim(inputs[0]) == axes + 2

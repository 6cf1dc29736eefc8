"""Normalisation: mean 0 and variance 1 over some of the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ... import nn
from ..arrays import Columns, Made, Named, alike, box
from ..expression import Expr, Num, call, element
from ..writer import Index, Writer
from .linear import shape

MOST = 2000  # numbers that are all computed for being shown


class Sets(NamedTuple):
    """Which numbers are normalised together, and by which γ and β.

    Attributes:
        shape: how many sets there are.
        key: the name of the set that a number belongs to, by its index.
        channel: which γ and β it has.
        members: the indices of the numbers of a set, by its name.
        of_channel: those that have one γ and β.
    """

    shape: tuple[int, ...]
    key: Callable[[Any], Any]
    channel: Callable[[Any], Any]
    members: Callable[[Index], Columns]
    of_channel: Callable[[Index], Columns]


def sets_of(layer: Any, lengths: tuple[int, ...]) -> Sets:
    """How a layer divides its input."""
    every = [range(n) for n in lengths]

    def at(k: Index) -> list[range]:
        return [range(i, i + 1) for i in k]

    def of_channel(c: Index) -> Columns:
        return box(every[0], *at(c), *every[2:])

    if isinstance(layer, nn.LayerNorm):
        lead = len(lengths) - len(layer.normalized_shape)
        return Sets(
            lengths[:lead],
            lambda i: i[:lead],
            lambda i: i[lead:],
            lambda k: box(*at(k), *every[lead:]),
            lambda c: box(*every[:lead], *at(c)),
        )
    if isinstance(layer, nn.GroupNorm):
        own = layer.num_channels // layer.num_groups
        return Sets(
            (lengths[0], layer.num_groups),
            lambda i: (i[0], i[1] // own),
            lambda i: (i[1],),
            lambda k: box(*at(k[:1]), range(k[1] * own, (k[1] + 1) * own), *every[2:]),
            of_channel,
        )
    if isinstance(layer, INSTANCES):
        members: Callable[[Index], Columns] = lambda k: box(*at(k), *every[2:])  # noqa: E731
        return Sets(lengths[:2], lambda i: i[:2], lambda i: (i[1],), members, of_channel)
    return Sets(lengths[1:2], lambda i: (i[1],), lambda i: (i[1],), of_channel, of_channel)


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
            return _mean(lambda i: x[i], sets.members(k))

        own = x.array[sets.members(one)]
        mean = Made("μ", sets.shape, middle, m.eps)
        w.formula("μ = (1/m) Σ x", f"m = {len(own)}", xu("6.5"))
        w.value(element("μ", one), middle(one), float(np.mean(own)))

        def spread(k: Index) -> Expr:
            return _mean(lambda i: call("square", x[i] - mean[k]), sets.members(k))

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
    x_hat = Made("x̂", x.shape, normal, m.eps, by_element=True)
    if x.array.size <= MOST:
        w.say("norm_x_hat")
        w.show(x_hat.whole())

    def scaled(i: Any) -> Expr:
        return g[i] if gamma is None else gamma[sets.channel(i)] * g[i]

    if running:
        w.say("norm_running_backward")

        def dx(i: Index) -> Expr:
            return scaled(i) * r[sets.key(i)]
    else:
        w.say("norm_backward")

        def first(k: Index) -> Expr:
            return _mean(scaled, sets.members(k))

        def second(k: Index) -> Expr:
            return _mean(lambda i: scaled(i) * x_hat[i], sets.members(k))

        a = Made("a", sets.shape, first, m.eps)
        b = Made("b", sets.shape, second, m.eps)
        one = sets.key(w.chosen("dx", m.gradients[0])) if 0 in m.gradients else one
        g_hat = "g" if gamma is None else "γ g"
        w.formula(f"a = (1/m) Σ {g_hat}")
        members = sets.members(one)
        slopes = np.asarray(scaled(members).value(0.0).number)
        w.value(element("a", one), first(one), float(np.mean(slopes)))
        w.formula(f"b = (1/m) Σ {g_hat} x̂")
        own = x.array[members]
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
            lambda at: alike(lambda i: g[i] * x_hat[i], sets.of_channel(at)),
            "dγ = Σ g x̂",
            f"{shape(g)} -> {shape(gamma)}",
            xu("6.15"),
            key="weight",
        )
    if beta is not None:
        w.derive(
            "dβ",
            m.gradients["bias"],
            lambda at: alike(lambda i: g[i], sets.of_channel(at)),
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
    count = len(sets.members(k)[0])
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


def _mean(e: Callable[[Any], Expr], columns: Columns) -> Expr:
    return alike(e, columns) / float(len(columns[0]))


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

"""Recurrent layers one above the other, or in both directions: each of one direction by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...autograd import no_grad
from ...backends import backend_of, copy_beside
from ...random import Generator, use_generator
from ...tensor import Tensor
from ..arrays import Named
from ..measured import Measured
from ..writer import Writer
from .sequence import agree

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Part(NamedTuple):
    """One direction of one layer."""

    number: int
    end: str  # of its parameters' names
    measured: Measured


def stacked(w: Writer, inner: Callable[[Writer], None]) -> None:
    """Every layer and direction as a layer of one direction, which reads x turned round where it
    goes from the last step to the first; then the whole.

    Args:
        w: the writer of the whole.
        inner: writes what there is to say of one part.
    """
    m = w.measured
    layer: Any = m.layer
    parts, y, dx = taken_apart(m)
    w.say("stacked")
    for part in parts:
        inside = Writer(part.measured, w.page, {}, w.digits, w.level + 1)
        inside.inside = True
        inside.handed = part.number < layer.num_layers - 1
        part.measured.given = m.given
        way = w.words("from_last" if part.end else "from_first")
        title = w.words("direction", number=part.number + 1, of=layer.num_layers, way=way)
        inside.title(title)
        inner(inside)
    w.heading("chain")
    w.say("stacked_whole" if layer.bidirectional else "chain_rule")
    agree(w, "y", m.y, y)
    gradients: list[tuple[str, int | str, str]] = []
    if 0 in m.gradients:
        w.show(Named("dx", m.gradients[0]))
        agree(w, "dx", m.gradients[0], dx)
        gradients.append(("dx", 0, "x"))
    for part in parts:
        for kind in KINDS[: 4 if layer.bias else 2]:
            name = f"{kind}_l{part.number}{part.end}"
            agree(w, f"d({name})", m.gradients[name], part.measured.gradients[f"{kind}_l0"])
            gradients.append((f"d({name})", name, name))
    w.check(gradients)


def taken_apart(m: Measured) -> tuple[list[Part], np.ndarray, np.ndarray]:
    """The parts of a layer, and y and dx as they make them together."""
    layer: Any = m.layer
    ends = ("", "_reverse")[: layer.directions]
    x = m.tensors[0]
    along = 1 if layer.batch_first and x.ndim == 3 else 0

    def turned(a: np.ndarray, end: str) -> np.ndarray:
        return np.flip(a, along) if end else a

    seen = [np.asarray(backend_of(x.data).to_numpy(x.data))]
    singles: dict[tuple[int, str], Any] = {}
    for k in range(layer.num_layers):
        made = []
        for end in ends:
            singles[k, end] = one = _single(layer, k, end)
            with no_grad():
                y, _ = one(Tensor(copy_beside(x.data, turned(seen[k], end))))
            made.append(turned(np.asarray(backend_of(y.data).to_numpy(y.data)), end))
        seen.append(np.concatenate(made, axis=-1))
    parts: list[Part] = []
    g = m.upstream
    for k in reversed(range(layer.num_layers)):
        dx = np.zeros(seen[k].shape)
        for end, own in reversed([*zip(ends, np.split(g, len(ends), axis=-1), strict=True)]):
            inputs = Tensor(copy_beside(x.data, turned(seen[k], end)))
            part = Measured(singles[k, end], (inputs,), turned(own, end))
            parts.insert(0, Part(k, end, part))
            dx = dx + turned(part.gradients[0], end)
        g = dx
    return parts, seen[-1].astype(np.float64), g


def _single(layer: Any, k: int, end: str) -> Any:
    """A layer of one direction with the parameters of this one."""
    options = {
        name: getattr(layer, name)
        for name in ("bias", "batch_first", "nonlinearity", "reset_after")
        if hasattr(layer, name)
    }
    features = getattr(layer, f"weight_ih_l{k}{end}").shape[1]
    with use_generator(Generator(0)):  # its first values are not used
        single = type(layer)(features, layer.hidden_size, **options)
    for kind in KINDS[: 4 if layer.bias else 2]:
        getattr(single, f"{kind}_l0").data = getattr(layer, f"{kind}_l{k}{end}").data
    return single


def takes_apart(layer: Any, inputs: list[Any]) -> bool:
    """Whether it is several layers or directions of whole sequences from zeros, without dropout."""
    several = layer.num_layers > 1 or layer.bidirectional
    drops = layer.dropout and layer.training and layer.num_layers > 1
    whole = len(inputs) == 1 and isinstance(inputs[0], np.ndarray)
    return bool(several and whole and not drops and not layer.proj_size)

"""Layers without a derivation here: what they computed, and their gradients by differences."""

from __future__ import annotations

from ..arrays import Named
from ..writer import Writer


def other(w: Writer) -> None:
    """Shapes, values, and a check of the gradients."""
    m = w.measured
    w.say("fallback", name=m.name)
    names = {k: "x" + "′" * n for n, k in enumerate(m.differentiated)}
    w.forward(*(Named(name, m.inputs[k]) for k, name in names.items()))
    w.show(Named("y", m.y))
    w.backward()
    gradients: list[tuple[str, int | str, str]] = [(f"d{n}", k, n) for k, n in names.items()]
    gradients += [(f"d{key}", key, key) for key in m.parameters]
    for name, key, _ in gradients:
        if key in m.gradients:
            w.show(Named(name, m.gradients[key]))
    w.check(gradients)

"""Layers one after another: forward from the first to the last, and back by the chain rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Named
from ..steps import Verdict
from ..writer import Writer


def sequential(w: Writer, inner: Callable[[Writer], None], title: Callable[[Any], str]) -> None:
    """Each layer by itself, with the upstream gradient that the layers after it hand it.

    Args:
        w: the writer of the whole.
        inner: writes what there is to say of one layer.
        title: a layer's heading.
    """
    m = w.measured
    names, parts = zip(*m.layers_alone(), strict=True)
    chain = "x → " + " → ".join(
        f"{name} {type(part.original).__name__}" for name, part in zip(names, parts, strict=True)
    )
    w.say("sequential")
    w.formula(f"{chain} → y")
    for k, (name, part) in enumerate(zip(names, parts, strict=True)):
        at = {"y": w.at["y"]} if "y" in w.at and part is parts[-1] else {}
        inside = Writer(part, w.page, at, w.digits, w.level + 1)
        inside.inside, inside.handed = True, part is not parts[-1]
        part.given = m.given
        kind = title(part.original)
        inside.title(w.words("layer", number=k + 1, of=len(parts), name=name, kind=kind))
        inner(inside)
    w.derived.append("y")
    w.heading("chain")
    w.say("chain_rule")
    if len(parts) > 1:
        w.formula(" · ".join(f"(dy{k + 1}/dy{k})" if k else "(dy1/dx)" for k in range(len(parts))))
    agree(w, "y", m.y, parts[-1].y)
    if 0 in m.gradients and 0 in parts[0].gradients:
        w.show(Named("dx", m.gradients[0]))
        agree(w, "dx", m.gradients[0], parts[0].gradients[0])
    gradients: list[tuple[str, int | str, str]] = [("dx", 0, "x")]
    originals = [part.original for part in parts]
    for name, part in zip(names, parts, strict=True):
        if originals.count(part.original) > 1:  # shared: the model's gradient is the sum
            continue
        for key in part.parameters:
            whole = f"{name}.{key}"
            if whole in m.gradients and key in part.gradients:
                agree(w, f"d({whole})", m.gradients[whole], part.gradients[key])
                gradients.append((f"d({whole})", whole, whole))
    w.check(gradients)


def agree(w: Writer, name: str, whole: np.ndarray, part: np.ndarray) -> None:
    """The whole model's numbers beside those of the layers one by one."""
    scale = max(1.0, float(np.abs(whole).max()))
    gap = float(np.abs(whole - part).max())
    holds = gap <= 256 * w.measured.eps * scale
    text = w.words("agree" if holds else "disagree", name=name, gap=f"{gap:.1e}")
    w.page.steps.append(Verdict(text, holds))

"""Figures without windows, saved whole."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from ..io import replacing


def available() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def figure(width: float = 7.0, height: float = 4.5) -> Any:
    """A matplotlib Figure of this size in inches, to be saved with `save_figure`.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    if not available():
        raise RuntimeError("pictures need matplotlib: pip install 'nnx-array[plot]'")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save_figure(drawn: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as beside:
        drawn.savefig(beside, format="png", dpi=120)

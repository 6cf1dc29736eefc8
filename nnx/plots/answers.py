"""What a model says of numbers, held against what is true."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .canvas import COLOURS, Sheet
from .given import named, real, together

MANY = 500  # points: more are drawn small and pale, and as pixels


def predictions(
    truth: Any,
    predicted: Any,
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    over: Any = None,
    names: Sequence[Any] = (),
    *,
    ax: Any = None,
) -> Any:
    """Predicted numbers against the true ones: points about the line where both are equal.

    The legend tells, for each group,

        RMSE = √(mean (p - t)²)        R² = 1 - Σ (p - t)² / Σ (t - mean t)²

    over the pairs that are finite, and how many are not, which are not drawn.

    Args:
        truth: t, of any shape.
        predicted: p, of the same shape.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        over: (N,), times or places: truth and predicted, (N,) or (N, 1), are then drawn as two
            lines over it.
        names: D names for the columns of truth (N, D): a group for each; else all are one group.
        ax: matplotlib's axes to draw on; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.

    Raises:
        ValueError: the shapes differ, or do not fit over or names; there is no number; several
            axes.
        TypeError: numbers that are not real; what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    t, p = together("predictions", "", truth=truth, predicted=predicted)
    if not t.size:
        raise ValueError(f"predictions: there are no numbers; truth has shape {t.shape}")
    if over is not None:
        x = real("predictions", "over", over)
        if x.ndim != 1 or t.shape not in (x.shape, (*x.shape, 1)) or names:
            raise ValueError(
                "predictions: over must be (N,) with truth and predicted (N,) or (N, 1), and no "
                f"names; over has shape {x.shape}, truth {t.shape}, predicted {p.shape}"
            )
    groups = {"": (t.ravel(), p.ravel())}
    if names:
        if t.ndim != 2:
            raise ValueError(
                f"predictions: names are of the columns of truth (N, D); it has shape {t.shape}"
            )
        texts = named("predictions", "names", names, t.shape[1], t.shape)
        groups = {name: (t[:, k], p[:, k]) for k, name in enumerate(texts)}
    sheet = Sheet("predictions", 1, ax, lambda a, d: (5.0, 4.8) if over is None else (8.0, 4.0))
    (axes,) = sheet.axes
    axes.grid(alpha=0.3)
    if over is not None:
        axes.plot(x, t.ravel(), color="0.4", lw=2.5, alpha=0.6, label="true")
        axes.plot(x, p.ravel(), color=COLOURS[1], lw=1.2, label=_told("predicted", t, p))
        axes.legend(fontsize=8)
        return sheet.finish(title, path)
    both = np.concatenate([t.ravel(), p.ravel()])
    both = both[np.isfinite(both)]
    ends = (both.min(), both.max()) if len(both) else (0.0, 1.0)
    axes.plot(ends, ends, color="0.4", lw=1, ls="--", label="equal")
    for k, (name, (true, said)) in enumerate(groups.items()):
        many = len(true) > MANY
        axes.scatter(
            *(true, said),
            s=6 if many else 16,
            alpha=0.3 if many else 0.7,
            marker="os^vD"[k % 5],
            color=COLOURS[k % 8],
            linewidth=0,
            label=_told(name, true, said),
            rasterized=many,
        )
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    legend = axes.legend(fontsize=8)
    for handle in legend.legend_handles:
        handle.set_alpha(1.0)
    return sheet.finish(title, path)


def _told(name: str, t: np.ndarray, p: np.ndarray) -> str:
    """A name and how good it is."""
    t, p = t.ravel(), p.ravel()
    there = np.isfinite(t) & np.isfinite(p)
    said = [f"{np.sum(~there)} not finite"] if not there.all() else []
    t, p = t[there], p[there]
    if len(t):
        size = max(float(np.abs(t).max()), float(np.abs(p).max())) or 1.0  # squares stay finite
        t, p = t / size, p / size
        error, spread = np.mean((p - t) ** 2), np.mean((t - t.mean()) ** 2)
        said.insert(0, f"RMSE {size * np.sqrt(error):.3g}")
        if spread > 0:
            said.insert(1, f"R² {1 - error / spread:.3f}")
    return f"{name}: {', '.join(said)}" if name else ", ".join(said)

"""What runs through the layers of a network: activations and gradients, as histograms."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..nn import Module
from ..nn.module import temporary_modes
from ..nn.scopes import watching
from ..tensor import tensors_in
from .canvas import COLOURS, Sheet
from .charts import bars
from .given import real

MOST = 64  # panels


def activation_histograms(
    model: Module,
    *inputs: Any,
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    layers: Sequence[str] = (),
    bins: int = 50,
    across: int = 4,
    axes: Any = None,
) -> Any:
    """What each layer gives for a batch, in the order of the calls: a histogram for each.

    Above each stand mean and standard deviation, and what share of it is 0 where that is more than
    a hundredth: of units that are dead.  The model is called in evaluation mode and off the tape;
    its modes, gradients and buffers stay as they are.

    Args:
        model: any module.
        inputs: what it is called with.
        path: the file, of the kind that its ending says (.png, .svg, .pdf); None: none is written.
        title: above the picture.
        layers: names as `named_modules` gives them; without them all layers that hold no others.
        bins: bars in each.
        across: panels in a row, at most.
        axes: matplotlib's axes to draw on, one for each layer; None: a new figure.

    Returns:
        The figure of matplotlib; a notebook shows it.  Of a layer that gives several tensors (the
        outputs and the last state of a recurrent one) the first is shown; of one that is called
        several times all calls together; numbers that are not finite are counted above it.

    Raises:
        ValueError: there is no layer of this name, or one was not called; more than 64 to draw; the
            axes are not one for each.
        TypeError: what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    every = dict(model.named_modules())
    chosen = {
        name: module
        for name, module in every.items()
        if (name in layers if layers else not any(True for _ in module.children()))
    }
    _known("activation_histograms", layers, every)
    names = {id(module): name for name, module in chosen.items()}
    found: dict[str, list[np.ndarray]] = {}

    def keep(module: Module, _: Any, output: Any) -> None:
        name, first = names.get(id(module)), next(iter(tensors_in(output)), None)
        if name is not None and first is not None:
            values = real("activation_histograms", name, first)
            found.setdefault(name, []).append(values.ravel())

    with no_grad(), temporary_modes(model), watching(keep):
        model.eval()
        model(*inputs)
    for name in layers:
        if name not in found:
            raise ValueError(f"activation_histograms: the layer {name} was not called")
    panels = {
        f"{name or '.'}  {type(every[name]).__name__}": np.concatenate(values)
        for name, values in found.items()
    }
    return _draw("activation_histograms", panels, path, title, bins, across, axes, "activation")


def gradient_histograms(
    model: Module,
    *,
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    layers: Sequence[str] = (),
    bins: int = 50,
    across: int = 4,
    axes: Any = None,
) -> Any:
    """The gradients of a model's parameters as `backward()` left them: a histogram for each.

    Above each stand mean and standard deviation: those of the first layers tell whether gradients
    vanish or explode on their way.

    Args:
        model: any module, after `backward()` and before `zero_grad()`.
        layers: the names of parameters, as `named_parameters` gives them, or of what holds them;
            without them all that have a gradient.
        path, title, bins, across, axes: as of `activation_histograms`, a panel for each parameter.

    Returns:
        The figure of matplotlib; a notebook shows it.  Numbers that are not finite are counted
        above the histogram.

    Raises:
        ValueError: there is no parameter of this name, or none has a gradient; more than 64 to
            draw; the axes are not one for each.
        TypeError: what is no axes.
        RuntimeError: matplotlib is not installed.
    """
    every = dict(model.named_parameters())
    _known("gradient_histograms", layers, [*every, *dict(model.named_modules())])
    panels = {
        name: real("gradient_histograms", name, p.grad)
        for name, p in every.items()
        if p.grad is not None
        and (not layers or any(name == n or name.startswith(f"{n}.") for n in layers))
    }
    if not panels:
        raise ValueError(
            "gradient_histograms: no parameter has a gradient; call backward() of the loss first"
        )
    return _draw("gradient_histograms", panels, path, title, bins, across, axes, "gradient")


def _known(plot: str, layers: Sequence[str], names: Iterable[str]) -> None:
    unknown = [name for name in layers if name not in names]
    if isinstance(layers, str) or unknown:
        raise ValueError(
            f"{plot}: layers must be a list of names among {', '.join(filter(None, names))}; got "
            f"{layers!r}"
        )


def _draw(
    plot: str,
    panels: Mapping[str, np.ndarray],
    path: str | os.PathLike[str] | None,
    title: str,
    bins: int,
    across: int,
    given: Any,
    xlabel: str,
) -> Any:
    if len(panels) > MOST:
        raise ValueError(
            f"{plot}: {len(panels)} histograms are too many, {MOST} at most: choose some by layers"
        )
    sheet = Sheet(plot, len(panels), given, lambda a, d: (2.7 * a + 0.4, 2.0 * d + 0.5), across)
    for axes, (name, values) in zip(sheet.axes, panels.items(), strict=True):
        bars(axes, values, bins, None, COLOURS[0])
        axes.set_title(f"{name}\n{_told(values)}", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
    sheet.label(xlabel, "share")
    return sheet.finish(title, path)


def _told(values: np.ndarray) -> str:
    """Mean and spread of numbers, and what is remarkable about them."""
    finite = values[np.isfinite(values)]
    said = []
    if finite.size:
        size = float(np.abs(finite).max()) or 1.0  # squares stay finite
        said.append(f"{finite.mean():.2g} ± {size * np.std(finite / size):.2g}")
        zeros = np.mean(finite == 0)
        if zeros > 0.01:
            said.append(f"{zeros:.0%} zero")
    if values.size - finite.size:
        said.append(f"{values.size - finite.size} not finite")
    return ", ".join(said) or "empty"

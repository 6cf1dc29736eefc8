"""Rows of layers through `Sequential`, where layers are computed together; residual connections.

A layer is described by two factories, one for each library, and what it makes of (C, H, W).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

import nnx
from nnx import nn, ops

from ..case import Case, Input
from ..draw import Draw
from ..pytorch import torch
from .conv import batch, kernel_and_stride
from .modules import fill


@dataclass
class Layer:
    """One layer: how to make it in nnx and in PyTorch, and how to say it."""

    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    says: str


def stack(draw: Draw) -> Case:
    return draw.choice([_images, _images, _images, _features])(draw)


# ---- layers ----


def _conv(draw: Draw, size: tuple[int, int, int], keep: bool) -> tuple[Layer, tuple[int, int, int]]:
    c, h, w = size
    kernel, stride, dilation = kernel_and_stride(draw, 2)
    if draw.chance(0.7):
        dilation = (1, 1)
    groups = draw.choice([1, 1, 1, c])
    each = 1 if groups > 1 else draw.choice([1, 2, 3, 8, 17])
    out = groups * each
    bias = draw.chance(0.6)
    pads = tuple((draw.between(0, 2), draw.between(0, 2)) for _ in range(2))
    if draw.chance(0.7):
        pads = (pads[0][:1] * 2, pads[0][:1] * 2)
    if keep:
        out, stride = c, (1, 1)
        pads = tuple((d * (k - 1) // 2, d * (k - 1) - d * (k - 1) // 2)
                     for k, d in zip(kernel, dilation, strict=True))  # fmt: skip
    while any(
        n + sum(p) < d * (k - 1) + 1
        for n, p, k, d in zip((h, w), pads, kernel, dilation, strict=True)
    ):
        pads = tuple((a + 1, b + 1) for a, b in pads)
    mode = "zeros" if draw.chance(0.9) else "replicate"
    more = {"dilation": dilation, "groups": groups, "bias": bias}

    def theirs() -> Any:
        t = torch().nn
        flat = (*pads[1], *pads[0])
        pad = t.ZeroPad2d(flat) if mode == "zeros" else t.ReplicationPad2d(flat)
        return t.Sequential(pad, t.Conv2d(c, out, kernel, stride, **more))

    after = [
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, p, k, d, s in zip((h, w), pads, kernel, dilation, stride, strict=True)
    ]
    ours: Callable[[], Any] = lambda: nn.Conv2d(  # noqa: E731
        c, out, kernel, stride, padding=pads, padding_mode=mode, **more
    )
    says = f"Conv2d({c}, {out}, {kernel}, {stride}, {pads}, {mode}, {more})"
    return Layer(ours, theirs, says), (out, after[0], after[1])


def _pool(draw: Draw, size: tuple[int, int, int]) -> tuple[Layer, tuple[int, int, int]] | None:
    c, h, w = size
    kernel = tuple(draw.choice([1, 2, 2, 3]) for _ in range(2))
    if draw.chance(0.7):
        kernel = kernel[:1] * 2
    stride = kernel if draw.chance(0.7) else tuple(draw.between(1, 3) for _ in range(2))
    padding = tuple(k // 2 for k in kernel) if draw.chance(0.15) else (0, 0)
    dilation = draw.choice([1, 1, 1, 1, 2])
    ceil = draw.chance(0.2)
    span = [dilation * (k - 1) + 1 for k in kernel]
    room = [n + 2 * p - s for n, p, s in zip((h, w), padding, span, strict=True)]
    if min(room) < 0 or (dilation > 1 and (any(padding) or ceil)):
        return None
    options = (kernel, stride, padding if any(padding) else 0, dilation, False, ceil)
    after = []
    for n, p, r, s in zip((h, w), padding, room, stride, strict=True):
        count = -(-r // s) + 1 if ceil else r // s + 1
        after.append(count - 1 if ceil and (count - 1) * s >= n + p else count)
    layer = Layer(
        lambda: nn.MaxPool2d(*options),
        lambda: torch().nn.MaxPool2d(*options),
        f"MaxPool2d{options}",
    )
    return layer, (c, after[0], after[1])


def _plain(name: str, *args: Any, **options: Any) -> Layer:
    """A layer that both libraries call and make alike."""
    return Layer(
        lambda: getattr(nn, name)(*args, **options),
        lambda: getattr(torch().nn, name)(*args, **options),
        f"{name}({', '.join(map(str, args))}{', ' if args and options else ''}"
        f"{', '.join(f'{k}={v}' for k, v in options.items())})",
    )


def _norm(draw: Draw, features: int, name: str) -> Layer:
    return _plain(
        name,
        features,
        eps=draw.choice([1e-5, 1e-3]),
        momentum=draw.choice([0.1, None]),
        affine=draw.chance(0.85),
        track_running_stats=draw.chance(0.85),
    )


def _dropout(draw: Draw) -> Layer:
    p = draw.choice([0.0, 0.5, 0.25])
    return Layer(lambda: nn.Dropout(p), lambda: _same_mask(p), f"Dropout({p})")


def _same_mask(p: float) -> Any:
    """PyTorch's dropout with nnx's mask: the next numbers of the same stream."""
    t = torch()

    class Masked(t.nn.Module):  # type: ignore[name-defined, misc]
        def forward(self, x: Any) -> Any:
            if not self.training:
                return x
            mask = ops.dropout(nnx.tensor(np.ones(tuple(x.shape), "float32")), p)
            return x * t.tensor(np.array(mask.numpy() != 0)).to(x.dtype) / (1 - p)

    return Masked()


def _activation(draw: Draw) -> Layer:
    return _plain(draw.choice(["ReLU", "ReLU", "ReLU", "ReLU", "Tanh", "SiLU", "LeakyReLU"]))


# ---- rows ----


def _images(draw: Draw) -> Case:
    """conv (norm) (relu) (pool) (dropout), one to three times; then perhaps a dense layer."""
    n = max(1, batch(draw))
    size = (draw.choice([1, 2, 3, 8]), draw.between(1, 14), draw.between(1, 14))
    if draw.cap is not None:
        size = (min(size[0], draw.cap), size[1], size[2])
    shape = (n, *size)
    keep = draw.chance(0.3)  # a block whose result has the shape of its input
    layers: list[Layer] = []
    for _ in range(draw.choice([1, 1, 2, 3])):
        layer, size = _conv(draw, size, keep)
        layers.append(layer)
        if draw.chance(0.6):
            layers.append(_norm(draw, size[0], "BatchNorm2d"))
        if draw.chance(0.8):
            layers.append(_activation(draw))
        if draw.chance(0.5) and not keep and (pooled := _pool(draw, size)):
            layers.append(pooled[0])
            size = pooled[1]
        if draw.chance(0.2):
            layers.append(_dropout(draw))
    if not keep and draw.chance(0.4):
        layers += [_plain("Flatten"), _plain("Linear", size[0] * size[1] * size[2], 4)]
        if draw.chance(0.5):
            layers.append(_plain("ReLU"))
    return _case(draw, shape, layers, keep)


def _features(draw: Draw) -> Case:
    """Dense layers with their norms and activations."""
    n, width = max(1, draw.size()), max(1, draw.size(70))
    shape: tuple[int, ...] = (n, width)
    keep = draw.chance(0.3)
    layers: list[Layer] = []
    for _ in range(draw.between(1, 3)):
        out = width if keep else max(1, draw.size(70))
        layers.append(_plain("Linear", width, out, bias=draw.chance(0.8)))
        width = out
        kind = draw.rng.random()
        if kind < 0.25:
            layers.append(_norm(draw, width, "BatchNorm1d"))
        elif kind < 0.4:
            layers.append(_plain("LayerNorm", width))
        if draw.chance(0.8):
            layers.append(_activation(draw))
        if draw.chance(0.3):
            layers.append(_dropout(draw))
    return _case(draw, shape, layers, keep)


def _case(draw: Draw, shape: tuple[int, ...], layers: list[Layer], keep: bool) -> Case:
    dtype = draw.dtype()
    training, seed = draw.chance(0.6), draw.between(0, 99)
    recording = training or draw.chance(0.6)
    wires = draw.choice(["plain", "plain", "twice"])
    if keep:
        wires = draw.choice(["plain", "residual", "residual", "shared"])
    hooked = draw.between(0, len(layers) - 1) if draw.chance(0.1) else None
    probe = nn.Sequential(*[layer.ours() for layer in layers])
    names = [name for name, _ in probe.named_parameters()]
    inputs = [Input(draw.values(shape, dtype), draw.chance(0.8), draw.layout())]
    for _, p in probe.named_parameters():
        scale = 1 / max(1, np.prod(p.shape[1:])) ** 0.5 if p.ndim > 1 else 1
        w = (draw.values(p.shape, dtype) * scale).astype(dtype)
        inputs.append(Input(w, draw.chance(0.9), parameter=True))
    statistics = {
        name: draw.values(b.shape, dtype, "positive" if name.endswith("var") else "normal")
        for name, b in probe.named_buffers()
        if name.endswith(("running_mean", "running_var"))
    }

    def ours(x: Any, *weights: Any) -> Any:
        model = nn.Sequential(*[layer.ours() for layer in layers])
        nnx.manual_seed(seed)  # after the layers, whose first weights are random numbers too
        fill(model, names, weights)
        to = nnx.backends.backend_of(x.data)
        for name, values in statistics.items():
            path, _, last = name.rpartition(".")
            values = values.astype(nnx.backends.dtype_name(x.dtype))
            setattr(model.get_submodule(path), last, to.from_numpy(values))
        if hooked is not None:
            model[hooked].register_forward_hook(lambda *_: None)
        model.train(training)
        with nullcontext() if recording else nnx.no_grad():
            ys = _wired(model, x, wires)
        running = dict(model.named_buffers())
        return [*ys, *[running[name] for name in statistics]]

    def theirs(x: Any, *weights: Any) -> Any:
        t = torch()
        model = t.nn.Sequential(*[layer.theirs() for layer in layers]).to(x.dtype)
        model.train(training)
        nnx.manual_seed(seed)
        buffers = [b for name, b in model.named_buffers() if name.rpartition(".")[2] in RUNNING]
        for b, values in zip(buffers, statistics.values(), strict=True):
            b.copy_(t.tensor(values))
        own = [name for name, _ in model.named_parameters()]
        state = dict(zip(own, weights, strict=True))
        with nullcontext() if recording else t.no_grad():
            ys = _wired(lambda h: t.func.functional_call(model, state, (h,)), x, wires)
        return [*ys, *buffers]

    says = "Sequential(" + ", ".join(layer.says for layer in layers) + ")"
    says += f", {'training' if training else 'evaluation'}, {wires}"
    says += "" if recording else ", no_grad"
    says += "" if hooked is None else f", a hook on {hooked}"
    return Case(says, inputs, ours, theirs, slack=16, cancels=True)


RUNNING = ("running_mean", "running_var")


def _wired(block: Callable[[Any], Any], x: Any, wires: str) -> list[Any]:
    """The block alone; with its result used twice; beside its input; with its weights used twice.

    In the last two the block's input is no leaf, and its gradient is added to another.
    """
    if wires == "plain":
        return [block(x)]
    if wires == "twice":
        y = block(x * 0.75)
        return [y * y + y]
    h = x * 0.75
    if wires == "residual":
        return [block(h) + h]
    return [block(block(h)) * h]

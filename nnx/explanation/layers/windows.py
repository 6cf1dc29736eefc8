"""Convolution and pooling: what a window sees, and where its gradient goes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ... import nn
from ...ops.windows.arguments import padding_pairs, sizes
from ..arrays import Columns, Named, alike, box
from ..expression import Condition, Expr, Num, When, largest, total
from ..writer import Index, Writer
from .linear import shape

LETTERS = {1: "i", 2: "i, j", 3: "h, i, j"}
PLACES = {1: "p", 2: "p, q", 3: "o, p, q"}
SEEN = {1: "p s + i d", 2: "p s + i d, q s + j d", 3: "o s + h d, p s + i d, q s + j d"}


class Grid:
    """Windows over an image along each of its last axes.

    Args:
        image: the lengths of these axes.
        kernel, stride, padding, dilation: of each axis; the padding is (before, after).
    """

    def __init__(
        self,
        image: tuple[int, ...],
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        padding: tuple[tuple[int, int], ...],
        dilation: tuple[int, ...],
    ) -> None:
        self.image, self.kernel, self.stride = image, kernel, stride
        self.padding, self.dilation = padding, dilation

    def seen(self, window: Index, place: Index) -> Index | None:
        """Which pixel is under a place of a window; None: one of the padding."""
        pixel = tuple(
            p * s + k * d - before
            for p, s, k, d, (before, _) in zip(
                window, self.stride, place, self.dilation, self.padding, strict=True
            )
        )
        inside = all(0 <= u < n for u, n in zip(pixel, self.image, strict=True))
        return pixel if inside else None

    def under(self, place: Index, out: tuple[int, ...]) -> Columns:
        """All windows that have a pixel under a place, and then these pixels: of each, the indices
        by axes."""
        windows = box(*map(range, out))
        pixels = [
            p * s + k * d - before
            for p, s, k, d, (before, _) in zip(
                windows, self.stride, place, self.dilation, self.padding, strict=True
            )
        ]
        seen = np.all([(u >= 0) & (u < n) for u, n in zip(pixels, self.image, strict=True)], axis=0)
        return tuple([column[seen] for column in (*windows, *pixels)])

    def places(self) -> Iterable[Index]:
        """Every place of a window, row by row."""
        return np.ndindex(self.kernel)

    def windows_of(self, pixel: Index, out: tuple[int, ...]) -> list[tuple[Index, Index]]:
        """The windows that see a pixel, each with the place at which they do."""
        found = []
        for place in self.places():
            window = []
            for u, s, k, d, (before, _), n in zip(
                pixel, self.stride, place, self.dilation, self.padding, out, strict=True
            ):
                moved = u + before - k * d
                if moved % s or not 0 <= moved // s < n:
                    break
                window.append(moved // s)
            else:
                found.append((tuple(window), place))
        return found


# ---- convolution ----


def convolution(w: Writer) -> None:
    """y[n, o, p] = b[o] + Σ_c Σ_i W[o, c, i] x[n, c, p s + i d]."""
    m = w.measured
    layer: Any = m.layer
    axes = layer.axes
    x, weight, b = w.named_input(0, "x"), w.parameter("weight", "W"), w.parameter("bias", "b")
    assert weight is not None
    name = type(layer).__name__
    pairs = padding_pairs(name, layer.padding, layer.kernel_size, layer.stride, layer.dilation)
    grid = Grid(x.shape[-axes:], layer.kernel_size, layer.stride, pairs, layer.dilation)
    out = m.y.shape[-axes:]
    batch = x.shape[: -axes - 1]
    inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    places = list(grid.places())

    def pixel(n: Index, channel: int, window: Index, place: Index) -> Num:
        at = grid.seen(window, place)
        return Num(0.0) if at is None else x[*n, channel, *at]

    def y(at: Index) -> Expr:
        n, o, window = at[: len(batch)], at[len(batch)], at[len(batch) + 1 :]
        first = o // outputs * inputs
        terms: list[Expr] = [
            weight[o, c, *place] * pixel(n, first + c, window, place)
            for c in range(inputs)
            for place in places
        ]
        return total(terms if b is None else [*terms, b[o]])

    w.forward(x, weight, b)
    if any(side for pair in pairs for side in pair):
        w.say("zero_padding", padding=pairs)
    n, k = ("n, " if batch else ""), LETTERS[axes]
    plus = "" if b is None else " + b[o]"
    home = f"nnx.ops.windows.{'conv3d' if axes == 3 else 'conv'}.{name}"
    w.derive(
        "y",
        m.y,
        y,
        f"y[{n}o, {PLACES[axes]}] = Σ_c Σ_{k.replace(', ', '')} W[o, c, {k}] "
        f"x[{n}c, {SEEN[axes]}]{plus}",
        f"{shape(x)}, {shape(weight)} -> {shape(m.y)}; s = {layer.stride}, d = {layer.dilation}",
        f"Xu 4.3; {home}",
    )
    if layer.groups == 1:
        _im2col(w, x, weight, grid, out, len(batch))

    g = w.backward()
    w.say("conv_backward")

    def dx(at: Index) -> Expr:
        n, c, u = at[: len(batch)], at[len(batch)], at[len(batch) + 1 :]
        group, own = c // inputs, c % inputs
        return total(
            [
                weight[o, own, *place] * g[*n, o, *window]
                for o in range(group * outputs, (group + 1) * outputs)
                for window, place in grid.windows_of(u, out)
            ]
        )

    def dw(at: Index) -> Expr:
        o, c, *place = at
        channel = o // outputs * inputs + c
        inside = grid.under(tuple(place), out)
        lead, which = np.indices((math.prod(batch), len(inside[0]))).reshape(2, -1)
        columns = ([lead] if batch else []) + [column[which] for column in inside]

        def term(i: Any) -> Expr:
            n, window, seen = i[: -2 * axes], i[-2 * axes : -axes], i[-axes:]
            return g[*n, o, *window] * x[*n, channel, *seen]

        return alike(term, tuple(columns))

    if 0 in m.gradients:
        w.derive(
            "dx",
            m.gradients[0],
            dx,
            w.words("conv_dx", index=f"{n}c, u", place=k, out=f"{n}o"),
            f"dx = col2im(Wᵀ g):  {shape(g)} -> {shape(x)}",
            f"Xu 4.16-4.22; {home}",
            key=0,
        )
    w.derive(
        "dW",
        m.gradients["weight"],
        dw,
        f"dW[o, c, {k}] = Σ_n Σ_{PLACES[axes].replace(', ', '')} g[{n}o, {PLACES[axes]}] "
        f"x[{n}c, {SEEN[axes]}]",
        f"dW = Σ_n g Xᵀ:  {shape(g)}, {shape(x)} -> {shape(weight)}",
        "Xu 4.25-4.26",
        key="weight",
    )
    if b is not None:
        w.derive(
            "db",
            m.gradients["bias"],
            lambda at: alike(
                lambda i: g[*i[:-axes], at[0], *i[-axes:]], box(*map(range, (*batch, *out)))
            ),
            f"db[o] = Σ_n Σ_{PLACES[axes].replace(', ', '')} g[{n}o, {PLACES[axes]}]",
            f"{shape(g)} -> {shape(b)}",
            "Xu 4.27",
            key="bias",
        )
    w.check([("dx", 0, "x"), ("dW", "weight", "W"), ("db", "bias", "b")])


def _im2col(
    w: Writer,
    x: Named,
    weight: Named,
    grid: Grid,
    out: tuple[int, ...],
    batched: int,
) -> None:
    """The columns of the image whose output is spelled out."""
    at = w.chosen("y", w.measured.y)
    n, window = at[:batched], at[batched + 1 :]
    columns = np.zeros((weight.shape[1], *grid.kernel, *out))
    for place in grid.places():
        inside = grid.under(place, out)
        windows, pixels = inside[: len(out)], inside[len(out) :]
        for c, image in enumerate(x.array[n]):
            columns[(c, *place)][windows] = image[pixels]
    columns = columns.reshape(-1, math.prod(out))
    flat = weight.array.reshape(weight.shape[0], -1)
    w.say(
        "im2col",
        column=int(np.ravel_multi_index(window, out)),
        window=str(window),
        shapes=f"{shape(flat)} {shape(columns)} -> ({len(flat)}, {columns.shape[1]})",
        image="" if not n else f" {n[0]}",
    )
    w.show(Named("X", columns))


# ---- pooling ----


class Pool:
    """Which pixels each window of a pooling layer sees.

    Args:
        w: the writer whose layer it is.
    """

    def __init__(self, w: Writer) -> None:
        m = w.measured
        layer: Any = m.layer
        self.axes = int(type(layer).__name__[-2])
        x = np.asarray(m.inputs[0])
        self.out, self.image = m.y.shape[-self.axes :], x.shape[-self.axes :]
        self.of: dict[Index, list[Index]] = {p: self._seen(layer, p) for p in np.ndindex(self.out)}
        self.by: dict[Index, list[Index]] = {}
        for window, pixels in self.of.items():
            for pixel in pixels:
                self.by.setdefault(pixel, []).append(window)

    def _seen(self, layer: Any, window: Index) -> list[Index]:
        if "Adaptive" in type(layer).__name__:
            ranges = [
                range(p * n // k, -((p + 1) * n // -k))
                for p, n, k in zip(window, self.image, self.out, strict=True)
            ]
            self.grid = None
            return [tuple(r[k] for r, k in zip(ranges, at, strict=True))
                    for at in np.ndindex(*map(len, ranges))]  # fmt: skip
        name, axes = type(layer).__name__, self.axes
        kernel = sizes(name, "kernel_size", layer.kernel_size, axes)
        stride = sizes(name, "stride", layer.stride, axes)
        dilation = sizes(name, "dilation", getattr(layer, "dilation", 1), axes)
        pairs = padding_pairs(name, layer.padding, kernel, stride, dilation)
        self.grid = Grid(self.image, kernel, stride, pairs, dilation)
        seen = (self.grid.seen(window, place) for place in self.grid.places())
        return [pixel for pixel in seen if pixel is not None]

    def divisor(self, layer: Any, window: Index) -> int:
        """What a mean divides by."""
        if getattr(layer, "divisor_override", None):
            return int(layer.divisor_override)
        if self.grid is None or not layer.count_include_pad:
            return len(self.of[window])
        count = 1
        for p, s, k, n, (before, after) in zip(
            window, self.grid.stride, self.grid.kernel, self.image, self.grid.padding, strict=True
        ):
            start = p * s - before
            count *= min(start + k, n + after) - start
        return count


def max_pool(w: Writer) -> None:
    """The largest number of each window."""
    m = w.measured
    pool, x = Pool(w), w.named_input(0, "x")
    lead = x.array.ndim - pool.axes

    def window(at: Index) -> list[Num]:
        return [x[*at[:lead], *pixel] for pixel in pool.of[at[lead:]]]

    w.forward(x)
    places = PLACES[pool.axes]
    source = "Xu 4.2.2, 4.3.2; nnx.ops.windows.pool.MaxPool2d"
    w.derive(
        "y",
        m.y,
        lambda at: largest(*window(at)),
        w.words("max_y", places=places),
        f"{shape(x)} -> {shape(m.y)}",
        source,
    )
    g = w.backward()
    w.say("max_backward")

    def dx(at: Index) -> Expr:
        terms: list[Expr] = []
        for p in pool.by.get(at[lead:], []):
            out = (*at[:lead], *p)
            numbers = window(out)
            first = max(numbers, key=lambda number: number.number)
            mine = x[at]
            if first.name == mine.name:
                chosen = Condition(mine, "=", largest(*numbers))
                terms.append(g[out] * When(Num(1.0), chosen))
            else:
                sign = "=" if mine.number == first.number else "<"
                terms.append(g[out] * When(Num(0.0), Condition(mine, sign, first)))
        return total(terms)

    if 0 in m.gradients:
        w.derive(
            "dx",
            m.gradients[0],
            dx,
            w.words("max_dx"),
            f"{shape(g)} -> {shape(x)}",
            source,
            key=0,
        )
    w.check([("dx", 0, "x")])


def avg_pool(w: Writer) -> None:
    """The mean of each window."""
    m = w.measured
    pool, x = Pool(w), w.named_input(0, "x")
    lead = x.array.ndim - pool.axes
    places = PLACES[pool.axes]
    source = "Xu 4.2.2, 4.3.2; nnx.ops.windows.pool.AvgPool2d"

    def share(p: Index) -> float:
        return float(pool.divisor(m.layer, p))

    def y(at: Index) -> Expr:
        seen = [x[*at[:lead], *pixel] for pixel in pool.of[at[lead:]]]
        return total(seen) / share(at[lead:])

    w.forward(x)
    w.derive(
        "y",
        m.y,
        y,
        w.words("mean_y", places=places),
        f"{shape(x)} -> {shape(m.y)}",
        source,
    )
    g = w.backward()
    if 0 in m.gradients:
        w.derive(
            "dx",
            m.gradients[0],
            lambda at: total([g[*at[:lead], *p] / share(p) for p in pool.by.get(at[lead:], [])]),
            w.words("mean_dx"),
            f"{shape(g)} -> {shape(x)}",
            source,
            key=0,
        )
    w.check([("dx", 0, "x")])


def pads_with_zeros(layer: Any, inputs: list[Any]) -> bool:
    """Whether what stands around the image is 0."""
    return bool(layer.padding_mode == "zeros")


CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
MAXIMA: tuple[type[nn.Module], ...] = (
    nn.MaxPool1d,
    nn.MaxPool2d,
    nn.MaxPool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
)
MEANS: tuple[type[nn.Module], ...] = (
    nn.AvgPool1d,
    nn.AvgPool2d,
    nn.AvgPool3d,
    nn.AdaptiveAvgPool1d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveAvgPool3d,
)

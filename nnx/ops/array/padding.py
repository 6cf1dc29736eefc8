"""Borders: a constant, or a continuation of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...backends import Array
from ...tensor import Tensor
from .._function import Function, Unary
from .._operands import as_tensor
from ..windows.arguments import Pair

MODES = ("reflect", "replicate", "circular")


class PadConstant(Unary):
    """x in the middle of an array that is constant elsewhere: dx is g there."""

    def __init__(self, padding: tuple[Pair, ...], value: float) -> None:
        self.padding, self.value = padding, value

    def forward(self, x: Array) -> Array:
        pairs = list(zip(x.shape, self.padding, strict=True))
        self.inside = tuple([slice(before, before + n) for n, (before, _) in pairs])
        shape = tuple([n + before + after for n, (before, after) in pairs])
        y = self.backend.xp.full(shape, self.value, dtype=x.dtype, device=x.device)
        y[self.inside] = x
        return y

    def backward(self, g: Array) -> Array:
        return g[self.inside]


class PadBorder(Function):
    """y[..., p] = x[..., source(p)] along each of the last axes.

    With b the padding before an axis of length L, u = p - b and

        reflect     mirror at the edge pixel, which is not repeated: ... 2 1 | 0 1 2 ...
        replicate   the edge pixel again and again:                  ... 0 0 | 0 1 2 ...
        circular    the other end:                             ... L-2 L-1 | 0 1 2 ...

    Backward.  A pixel that was copied to several places gets the sum of their gradients: that of
    the interior, plus that of each border line at the line it came from.  One axis at a time.
    """

    def __init__(self, padding: tuple[Pair, ...], mode: str) -> None:
        self.padding, self.mode = padding, mode

    def forward(self, x: Array) -> Array:
        xp = self.backend.xp
        self.lines: list[tuple[int, int, int, list[int]]] = []
        for k, pair in enumerate(self.padding):
            if pair == (0, 0):
                continue
            axis = x.ndim - len(self.padding) + k
            length = x.shape[axis]
            kind = self.backend.index_dtype
            places = xp.arange(-pair[0], length + pair[1], dtype=kind, device=x.device)
            x = xp.take(x, source(xp, places, length, self.mode), axis=axis)
            host = np.arange(-pair[0], length + pair[1])
            lines = source(np, host, length, self.mode).tolist()
            self.lines.append((axis, length, pair[0], lines))
        return x

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        for axis, length, before, lines in reversed(self.lines):
            g = xp.moveaxis(g, axis, 0)
            gx = xp.asarray(g[before : before + length, ...], copy=True)
            for p, line in enumerate(lines):
                if not before <= p < before + length:
                    gx[line, ...] += g[p, ...]
            g = xp.moveaxis(gx, 0, axis)
        return g


def source(xp: Any, u: Any, length: int, mode: str) -> Any:
    """The lines of the image that are repeated at places u along a padded axis: a formula, so
    that a device can follow it without being sent a list."""
    if mode == "circular":
        return u % length
    if mode == "replicate":
        return xp.clip(u, 0, length - 1)
    return length - 1 - abs(length - 1 - abs(u))


def pad_border(x: Tensor, padding: tuple[Pair, ...], mode: str) -> Tensor:
    """Continue the last axes of x beyond their ends.

    Args:
        padding: (before, after) for each of the last axes.
        mode: "reflect", "replicate" or "circular".

    Raises:
        ValueError: an unknown mode; padding that reaches further than the image goes: at most
            length - 1 for "reflect", length for "circular".
    """
    x = as_tensor("pad_border", x)
    if mode not in MODES:
        raise ValueError(f"pad_border: mode {mode!r} is not one of {', '.join(MODES)}")
    for length, pair in zip(x.shape[x.ndim - len(padding) :], padding, strict=True):
        most = {"reflect": length - 1, "circular": length, "replicate": max(pair)}[mode]
        most = max(0, most) if length else 0
        if max(pair) > most:
            raise ValueError(
                f"pad_border: mode {mode!r} can add at most {most} to an axis of {length}; "
                f"padding {padding}, x has shape {x.shape}"
            )
    return PadBorder(tuple([(a, b) for a, b in padding]), mode)(x)


def pad(
    x: Tensor,
    pad_width: int | Sequence[int] | Sequence[Sequence[int]],
    mode: str = "constant",
    value: float = 0.0,
) -> Tensor:
    """x with a border.

    Args:
        x: of any shape; every axis grows by its two widths.
        pad_width: (before, after) for each axis, as in NumPy; or one number for both sides of all
            axes.  A vector takes its pair alone, (before, after).  PyTorch's row of numbers, the
            last axis first, is refused, with what it means.
        mode: "constant" (`value`), or a continuation: "reflect" (without the edge itself),
            "replicate" (the edge again), "circular" (the other end).
        value: what the border is of, in the mode "constant".

    Raises:
        ValueError: widths that are negative or not one pair per axis, an unknown mode, or a
            border that reaches further than the mode can continue x.
    """
    x = as_tensor("pad", x)
    widths: list[Any] = [pad_width] * 2 if isinstance(pad_width, int) else list(pad_width)
    flat = all(isinstance(n, int) for n in widths)
    if flat and len(widths) == 2 and (x.ndim == 1 or isinstance(pad_width, int)):
        widths = [widths] * x.ndim
    elif flat or len(widths) != x.ndim or any(isinstance(w, int) or len(w) != 2 for w in widths):
        raise ValueError(
            f"pad: pad_width must be (before, after) for each of the {x.ndim} axes; "
            f"pad_width {pad_width}, x has shape {x.shape}{_as_pairs(widths, x.ndim)}"
        )
    pairs = tuple([(int(before), int(after)) for before, after in widths])
    if any(n < 0 for pair in pairs for n in pair):
        raise ValueError(f"pad: widths must not be negative; pad_width {pad_width}")
    if mode == "constant":
        return PadConstant(pairs, value)(x)
    if mode not in MODES:
        raise ValueError(f"pad: mode {mode!r} is not one of constant, {', '.join(MODES)}")
    return pad_border(x, pairs, mode)


def _as_pairs(row: list[Any], ndim: int) -> str:
    """What PyTorch means by a row of numbers, from the last axis on, as pairs."""
    if len(row) % 2 or not 0 < len(row) <= 2 * ndim or not all(isinstance(n, int) for n in row):
        return ""
    given = [(row[k], row[k + 1]) for k in range(len(row) - 2, -1, -2)]
    pairs = [(0, 0)] * (ndim - len(given)) + given
    return f"; what PyTorch means by it, from the last axis on, is {pairs}"

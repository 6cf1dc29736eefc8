"""Borders that continue the image instead of adding zeros."""

from __future__ import annotations

from ..autograd import Function
from ..backends import Array
from ..tensor import Tensor
from ._window import Pair

MODES = ("reflect", "replicate", "circular")


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
        self.lines = []
        for k, pair in enumerate(self.padding):
            axis = x.ndim - len(self.padding) + k
            lines = source_lines(x.shape[axis], pair, self.mode)
            self.lines.append((axis, x.shape[axis], lines))
            x = xp.take(x, xp.asarray(lines, dtype=xp.int64, device=x.device), axis=axis)
        return x

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        for (axis, length, lines), (before, _) in zip(
            reversed(self.lines), reversed(self.padding), strict=True
        ):
            g = xp.moveaxis(g, axis, 0)
            gx = xp.asarray(g[before : before + length, ...], copy=True)
            for p, source in enumerate(lines):
                if not before <= p < before + length:
                    gx[source, ...] += g[p, ...]
            g = xp.moveaxis(gx, 0, axis)
        return g


def source_lines(length: int, padding: Pair, mode: str) -> list[int]:
    """For each line along a padded axis, the line of the image that it repeats."""
    lines = range(-padding[0], length + padding[1])
    if mode == "circular":
        return [u % length for u in lines]
    if mode == "replicate":
        return [min(max(u, 0), length - 1) for u in lines]
    return [length - 1 - abs(length - 1 - abs(u)) for u in lines]


def pad_border(x: Tensor, padding: tuple[Pair, ...], mode: str) -> Tensor:
    """Continue the last axes of x beyond their ends.

    Args:
        padding: (before, after) for each of the last axes.
        mode: "reflect", "replicate" or "circular".

    Raises:
        ValueError: an unknown mode; padding that reaches further than the image goes: at most
            length - 1 for "reflect", length for "circular".
    """
    if mode not in MODES:
        raise ValueError(f"pad_border: mode {mode!r} is not one of {', '.join(MODES)}")
    for length, pair in zip(x.shape[x.ndim - len(padding) :], padding, strict=True):
        most = {"reflect": length - 1, "circular": length, "replicate": max(pair)}[mode]
        if max(pair) > most or length == 0:
            raise ValueError(
                f"pad_border: mode {mode!r} can add at most {most} to an axis of {length}; "
                f"padding {padding}, x has shape {x.shape}"
            )
    return PadBorder(tuple(padding), mode)(x)

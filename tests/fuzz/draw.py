"""What a case is drawn from: choices, sizes, values, and the ways an array can lie in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
LAYOUTS = ("C", "F", "axes moved", "strided", "reversed", "read-only", "unaligned")


class Draw:
    """The random choices of one case; the same (seed, number) draws the same case everywhere.

    Values come from a stream of their own, so that with a `cap`, which no size exceeds, the other
    choices mostly stay: that is how a failing case is made smaller.
    """

    def __init__(self, seed: int, number: int, cap: int | None = None) -> None:
        self.rng = np.random.default_rng([seed, number, 0])
        self.stream = np.random.default_rng([seed, number, 1])
        self.cap = cap

    # ---- choices ----

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def choice(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def uniform(self, low: float, high: float) -> float:
        return round(float(self.rng.uniform(low, high)), 3)

    def size(self, large: int = 40, empty: bool = True) -> int:
        """A length of an axis: often 1, mostly small, sometimes large, rarely 0."""
        kind = self.rng.random()
        small, big = self.between(2, min(7, large)), self.between(min(8, large), large)
        n = 1 if kind < 0.25 else small if kind < 0.93 else big if kind < 0.98 else int(not empty)
        return n if self.cap is None else min(n, self.cap)

    def shape(self, least: int = 0, most: int = 4, large: int = 20) -> tuple[int, ...]:
        return tuple(self.size(large) for _ in range(self.between(least, most)))

    def smaller(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape that broadcasts to `shape`."""
        kept = shape[self.between(0, len(shape)) if self.chance(0.5) else 0 :]
        return tuple(1 if self.chance(0.25) else n for n in kept)

    def axis(self, ndim: int) -> int:
        """An axis, from either end; rarely one that is not there."""
        wrong = self.chance(0.02)
        k = self.between(-ndim, ndim - 1) if ndim else 0
        return ndim + 1 if wrong else k

    def axes(self, ndim: int) -> int | tuple[int, ...] | None:
        """One axis, several, or None for all."""
        kind = self.rng.random()
        some = [int(k) for k in self.rng.permutation(ndim)[: self.between(1, max(1, ndim))]]
        if kind < 0.25 or not ndim:
            return None
        if kind < 0.6:
            return self.axis(ndim)
        return tuple(k - ndim if self.chance(0.3) else k for k in some)

    def dtype(self) -> str:
        return "float32" if self.chance(0.7) else "float64"

    def layout(self) -> str:
        return "C" if self.chance(0.4) else self.choice(LAYOUTS)

    # ---- values ----

    def values(self, shape: Sequence[int], dtype: str = "float32", kind: str = "normal") -> Any:
        """Random values of a kind:

        normal; lattice (multiples of 1/4: sums and products are exact, ties are common); positive;
        unit (inside 0 to 1); wide (all magnitudes); special (zeros, infinities, NaN among them).
        """
        g, shape = self.stream, tuple(shape)
        x: Any
        if kind == "lattice":
            x = g.integers(-6, 7, shape) / 4
        elif kind == "positive":
            x = g.uniform(0.2, 2, shape)
        elif kind == "unit":
            x = g.uniform(0.02, 0.98, shape)
        elif kind == "wide":
            x = g.standard_normal(shape) * 10 ** g.uniform(-5, 4, shape)
        else:
            x = g.standard_normal(shape)
        if kind == "special":
            odd = g.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, 1e-30, 1.0], shape)
            x = np.where(g.random(shape) < 0.3, odd, x)
        return np.asarray(x, dtype)

    def whole(self, shape: Sequence[int], low: int, high: int, dtype: str = "int64") -> Any:
        """Random integers from `low` up to, not including, `high`."""
        if high <= low:
            return np.full(tuple(shape), low, dtype)
        return np.asarray(self.stream.integers(low, high, tuple(shape)), dtype)

    def index_dtype(self, low: int, high: int) -> str:
        """An integer dtype that holds all of `low` to `high`."""
        fits = [d for d in INTEGERS if np.iinfo(d).min <= low and high <= np.iinfo(d).max]
        return self.choice(fits)


def lay(values: np.ndarray, layout: str, rng: np.random.Generator) -> tuple[Any, Any]:
    """`values` in memory as `layout` says, and the array that owns that memory."""
    ndim = values.ndim
    if layout == "F":
        x = np.array(values, order="F")
        return x, x
    if layout == "axes moved" and ndim > 1:  # transposed, channels last, and all the others
        order = rng.permutation(ndim)
        whole = np.ascontiguousarray(values.transpose(order))
        return whole.transpose(np.argsort(order)), whole
    if layout in ("strided", "reversed") and ndim:
        axis = int(rng.integers(ndim))
        step = 2 if layout == "strided" else -1
        part = (slice(None),) * axis + (slice(None, None, step),)
        shape = list(values.shape)
        shape[axis] *= abs(step)
        fill = np.nan if values.dtype.kind == "f" else 1  # whoever reads between is seen
        whole = np.full(shape, fill, values.dtype)
        whole[part] = values
        return whole[part], whole
    if layout == "unaligned":
        raw = np.zeros(values.nbytes + 1, np.uint8)
        x = raw[1:].view(values.dtype).reshape(values.shape)
        x[...] = values
        return x, raw
    x = np.array(values)
    x.flags.writeable = layout != "read-only"
    return x, x


def brief(x: Any) -> str:
    """A short name of an array for the line that describes a case."""
    return f"{x.dtype}{list(x.shape)}"


def elements(shape: Sequence[int]) -> int:
    return math.prod(shape)

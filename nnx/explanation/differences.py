"""One gradient beside central differences of L = Σ g y."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .expression import Num, Quotient, element
from .measured import Measured
from .steps import Equality, Verdict, equality

STEP = 1e-6
FEW = 48  # numbers that are all changed one by one; more are moved together
KINK = 1e-3  # how far the slopes on both sides of a smooth function never are apart


class Found(NamedTuple):
    """What came out for one direction."""

    gap: float  # between gradient and slope
    kink: bool
    rounded: bool  # right but for the rounding of the dtype
    holds: bool


class Differences:
    """L is computed in float64, by a copy of the layer.

    Where the function has a kink, the gradient is to lie between the slopes of both sides.  Where
    the layer computes in another dtype, whose rounding alone makes the gradient differ, the same
    backward in float64 is to be the slope.

    Args:
        measured: what the layer did.
        name: the gradient's, "dW".
        key: what it is of: the number of an input, or a parameter's name.
        of: what that is called, "W".
        at: which element is spelled out.
        words: a sentence of the page's language.
    """

    def __init__(
        self,
        measured: Measured,
        name: str,
        key: int | str,
        of: str,
        at: tuple[int, ...],
        words: Callable[..., str],
    ) -> None:
        self.measured, self.name, self.key, self.of = measured, name, key, of
        self.at, self.words = at, words
        m = measured
        self.gradient = m.gradients[key]
        y, wide = m.in_float64
        self.wide = wide[key]
        self.values = m.values(key)
        self.middle = float(np.sum(m.upstream * y))
        self.scale = max(1.0, float(np.max(np.abs(self.gradient))))
        size = float(np.sum(np.abs(m.upstream * m.y)))  # of what is added up in L
        self.fine = self.scale * 1e-6 + 1e-15 * size / STEP
        self.slack = self.fine + self.scale * 64 * m.eps

    def steps(self) -> list[Equality | Verdict]:
        """One element spelled out, and all of them."""
        return [self._one(), *([self._all()] if self.gradient.size > 1 else [])]

    def _one(self) -> Equality | Verdict:
        at, h = self.at, STEP
        above, below = self._moved(at, h), self._moved(at, -h)
        got, where = float(self.gradient[at]), element(self.of, at)
        found = self._compared(above, below, got, float(self.wide[at]))
        name = element(self.name, at)
        if found.kink:
            text = self.words(
                "kink" if found.holds else "kink_fails",
                name=name,
                where=where,
                left=f"{(self.middle - below) / h:.4g}",
                right=f"{(above - self.middle) / h:.4g}",
                got=f"{got:.4g}",
            )
            return Verdict(text, found.holds)
        e = Quotient(
            Num(above, 0.0, f"L({where} + h)") - Num(below, 0.0, f"L({where} - h)"),
            2.0 * Num(h, 0.0, "h"),
        )
        terms = (above - below) / (2 * h)
        slack = max(self.slack, found.gap) if found.rounded else self.slack
        return equality(name, e, terms, got, 1e-16, slack, 10)

    def _all(self) -> Verdict:
        """Every element, or, where they are many, two directions through all of them."""
        found: list[Found] = []
        m, size = self.measured, self.gradient.size
        if size <= FEW:
            for at in np.ndindex(self.gradient.shape):
                above, below = self._moved(at, STEP), self._moved(at, -STEP)
                one = float(self.gradient[at]), float(self.wide[at])
                found.append(self._compared(above, below, *one))
        else:
            rng = np.random.default_rng(0)
            for _ in range(2):
                v = rng.standard_normal(self.gradient.shape)
                v /= math.sqrt(float(np.sum(v * v)))
                above = m.loss(self.key, self.values + STEP * v)
                below = m.loss(self.key, self.values - STEP * v)
                one = float(np.sum(v * self.gradient)), float(np.sum(v * self.wide))
                found.append(self._compared(above, below, *one))
        worst = max(f.gap for f in found)
        key = "differences_all" if size <= FEW else "differences_along"
        text = self.words(key, name=self.name, size=size, worst=f"{worst:.1e}")
        if kinks := sum(f.kink for f in found):
            text += self.words("and_kinks", kinks=kinks)
        if any(f.rounded for f in found):
            text += self.words("and_rounding", eps=f"{m.eps:.1e}")
        holds = all(f.holds for f in found)
        return Verdict(text if holds else text + self.words("and_fails"), holds)

    def _moved(self, at: tuple[int, ...], h: float) -> float:
        values = self.values.copy()
        values[at] += h
        return self.measured.loss(self.key, values)

    def _compared(self, above: float, below: float, got: float, wide: float) -> Found:
        slope = (above - below) / (2 * STEP)
        gap = abs(slope - got)
        if gap <= self.slack:
            return Found(gap, False, False, True)
        left, right = (self.middle - below) / STEP, (above - self.middle) / STEP
        if abs(right - left) > KINK * self.scale:
            low, high = min(left, right) - self.slack, max(left, right) + self.slack
            return Found(0.0, True, False, low <= got <= high)
        rounded = abs(slope - wide) <= self.fine and gap <= KINK * self.scale
        return Found(gap, False, rounded, rounded)

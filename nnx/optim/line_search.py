"""What quasi-Newton methods are made of: the memory of L-BFGS, and a line search.

Functions of flat arrays (N,) of any library, for `LBFGS` and for `nnx.linear_model`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..backends import Array


def two_loops(
    g: Array,
    pairs: list[tuple[Array, Array, float]],
    scale: float,
    dot: Callable[[Array, Array], float],
) -> Array:
    """-H g, where H is the inverse Hessian that the last steps suggest (Nocedal 1980).

    A pair, a step s of the weights and the change y of the gradient over it, corrects H by

        H <- (1 - ρ s yᵀ) H (1 - ρ y sᵀ) + ρ s sᵀ        ρ = 1 / yᵀs

    so that H y = s; the first H is `scale`.  H itself is never made: its product with g needs two
    loops over the pairs.

    Args:
        g: the gradient.
        pairs: s, y and ρ, the oldest first.
        scale: yᵀs / yᵀy of the newest pair; 1 where there is none.
        dot: the product of two flat arrays as a number.
    """
    q = -g
    shares = []
    for s, y, rho in reversed(pairs):
        shares.append(dot(s, q) * rho)
        q = q - shares[-1] * y
    r = q * scale
    for (s, y, rho), share in zip(pairs, reversed(shares), strict=True):
        r = r + (share - dot(y, r) * rho) * s
    return r


@dataclass(frozen=True, slots=True)
class Point:
    """A place on the line: how far along it, the loss, the gradient, the slope along the line."""

    t: float
    f: float
    g: Array
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point],
    trial: Point,
    start: Point,
    size: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    smallest: float = 1e-9,
    most: int = 25,
) -> tuple[Point, int]:
    """A step that meets the strong Wolfe conditions (Nocedal and Wright 2006, section 3.5)

        f(t) <= f(0) + c1 t f'(0)        |f'(t)| <= c2 |f'(0)|

    First t grows until an interval must hold such a step, then the interval shrinks.  Trial steps
    are minima of the cubic that has the values and slopes of two points; one too near an end
    twice running, or outside, is put a tenth of the interval inside.  PyTorch's rules.

    Args:
        evaluate: the point at a step t.
        trial: the first trial.
        start: t = 0.
        size: the largest component of the direction, by which a step moves most.
        smallest: an interval that moves no component by more is not shrunk further.
        most: trials after the first.

    Returns:
        the point found (the best one, where the trials run out), and how many trials there were,
        the first among them.
    """
    f, slope = start.f, start.slope
    before, now = start, trial
    trials = 0
    ends = None
    while trials < most:
        if now.f > f + c1 * now.t * slope or (trials > 1 and now.f >= before.f):
            ends = [before, now]
            break
        if abs(now.slope) <= -c2 * slope:
            return now, trials + 1
        if now.slope >= 0:
            ends = [before, now]
            break
        bounds = now.t + 0.01 * (now.t - before.t), now.t * 10
        t = lowest_of_cubic(before, now, *bounds)
        before, now = now, evaluate(t)
        trials += 1
    if ends is None:
        ends = [start, now]
    low, high = (0, 1) if ends[0].f <= ends[1].f else (1, 0)
    near_end = False
    while trials < most and not abs(ends[1].t - ends[0].t) * size < smallest:
        first, last = sorted((ends[0].t, ends[1].t))
        t = lowest_of_cubic(ends[0], ends[1], first, last)
        margin = 0.1 * (last - first)
        if min(last - t, t - first) < margin:
            if near_end or t >= last or t <= first:
                t = last - margin if abs(t - last) < abs(t - first) else first + margin
                near_end = False
            else:
                near_end = True
        else:
            near_end = False
        now = evaluate(t)
        trials += 1
        if now.f > f + c1 * t * slope or now.f >= ends[low].f:
            ends[high] = now
            low, high = (0, 1) if ends[0].f <= ends[1].f else (1, 0)
            continue
        if abs(now.slope) <= -c2 * slope:
            return now, trials + 1
        if now.slope * (ends[high].t - ends[low].t) >= 0:
            ends[high] = ends[low]
        ends[low] = now
    return ends[low], trials + 1


def lowest_of_cubic(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points with their slopes is lowest, within [low, high]; the
    middle, where it has no minimum (Nocedal and Wright, equation 3.59)."""
    middle = (low + high) / 2
    if a.t == b.t:
        return middle
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not 0 <= square < math.inf:
        return middle
    d2 = math.sqrt(square)
    if a.t > b.t:
        a, b = b, a
    down = b.slope - a.slope + 2 * d2
    if down == 0:
        return middle
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / down), low), high)

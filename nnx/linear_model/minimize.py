"""Minimisers for smooth convex functions of one flat array: Newton's method and L-BFGS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ..backends import Array, backend_of
from ..optim.line_search import Point, strong_wolfe, two_loops

ValueAndSlope = Callable[[Array], tuple[float, Array]]

HISTORY = 20  # pairs that L-BFGS keeps
STALLED = 50  # steps without a smaller gradient, after which there will be none


@dataclass
class Result:
    """Where a minimiser stopped.

    Attributes:
        w: the last weights.
        steps: how many there were.
        size: the largest component of the gradient there.
        converged: whether that is at most `tol`, or as small as rounding lets it be.
        path: the weights at the start and after each step.
    """

    w: Array
    steps: int
    size: float
    converged: bool
    path: list[Array] = field(default_factory=list)


def newton(
    function: ValueAndSlope, hessian: Callable[[Array], Array], w: Array, tol: float, most: int
) -> Result:
    """Newton's method: w <- w - H⁻¹ g, halved until f falls enough.

    H is positive semidefinite and may be singular (a softmax does not change when a number is
    added to all its scores); by its eigenvalues, H = Q Λ Qᵀ, the step Q Λ⁻¹ Qᵀ g leaves the
    directions alone in which f is flat to rounding.
    """
    xp = backend_of(w).xp
    eps = float(xp.finfo(w.dtype).eps)
    f, g = function(w)
    path = [w]
    for step in range(most + 1):
        size = float(xp.max(xp.abs(g)))
        if size <= tol:
            return Result(w, step, size, True, path)
        if step == most:
            break
        values, vectors = xp.linalg.eigh(hessian(w))
        flat = values <= w.shape[0] * eps * values[-1]
        inverse = xp.where(flat, 0 * values, 1 / xp.where(flat, xp.ones_like(values), values))
        d = -(vectors @ (inverse * (xp.matrix_transpose(vectors) @ g)))
        slope = float(xp.sum(g * d))
        t = 1.0
        while True:
            w_new = w + t * d
            f_new, g_new = function(w_new)
            if f_new <= f + 1e-4 * t * slope or t < 1e-10:
                break
            t /= 2
        # At the bottom f cannot tell better from worse any more; the gradient still can.
        if not f_new < f and not float(xp.max(xp.abs(g_new))) < size:
            return Result(w, step, size, abs(slope) <= 100 * eps * max(abs(f), 1.0), path)
        w, f, g = w_new, f_new, g_new
        path.append(w)
    return Result(w, most, size, False, path)


def lbfgs(function: ValueAndSlope, w: Array, tol: float, most: int) -> Result:
    """L-BFGS (Liu and Nocedal 1989) with the strong Wolfe conditions.

    Near the minimum f is level to rounding (it falls by the square of the gradient) while its
    slope along the line still tells the way; there a step is one that shortens the slope, found by
    the secant rule, as f is convex.
    """
    xp = backend_of(w).xp
    eps = float(xp.finfo(w.dtype).eps)

    def dot(a: Array, b: Array) -> float:
        return float(xp.sum(a * b))

    f, g = function(w)
    path = [w]
    pairs: list[tuple[Array, Array, float]] = []  # s, y, 1 / yᵀs
    scale = 1.0
    best, since = math.inf, 0
    for step in range(most + 1):
        size = float(xp.max(xp.abs(g)))
        best, since = (size, 0) if size < best else (best, since + 1)
        if size <= tol or step == most:
            return Result(w, step, size, size <= tol, path)
        d = two_loops(g, pairs, scale, dot)
        slope = dot(g, d)
        noise = 10 * eps * max(abs(f), 1.0)
        if since == STALLED:  # rounding goes round in circles
            return Result(w, step, size, abs(slope) <= 10 * noise, path)

        def along(t: float, w: Array = w, d: Array = d) -> Point:
            value, gradient = function(w + t * d)
            return Point(t, value, gradient, dot(gradient, d))

        found = along(1.0 if pairs else min(1.0, 1 / float(xp.sum(xp.abs(g)))))
        for _ in range(10):
            if abs(found.f - f) > noise or abs(found.slope) <= 0.9 * abs(slope):
                break
            found = along(found.t * slope / (slope - found.slope))
        if found.f > f + noise or abs(found.slope) > 0.9 * abs(slope):
            reach = float(xp.max(xp.abs(d)))
            found, _ = strong_wolfe(along, found, Point(0.0, f, g, slope), reach, smallest=0.0)
        if found.t == 0.0:
            if not pairs:
                return Result(w, step, size, abs(slope) <= 10 * noise, path)
            pairs, scale = [], 1.0  # what is remembered may be wrong: once more, straight down
            continue
        s, y = found.t * d, found.g - g
        w, f, g = w + s, found.f, found.g
        path.append(w)
        curvature = dot(s, y)
        if curvature > eps * dot(y, y):
            pairs = [*pairs[-HISTORY + 1 :], (s, y, 1 / curvature)]
            scale = curvature / dot(y, y)
    raise AssertionError("the loop returns")

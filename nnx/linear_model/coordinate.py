"""The elastic net's minimum: coordinate descent, and the exact solution where it has settled.

    F(w) = ½ |z - R w|² + λ₁ |w|₁ + λ₂/2 |w|²

One scalar after another is what array libraries do worst, so this runs in host memory, in float64,
on NumPy.  `lasso.py` and `logistic.py` first bring their data, where it lives, down to a triangle R
of p rows by a QR decomposition, which changes neither F nor its condition.
"""

from __future__ import annotations

import numpy as np

EPS = float(np.finfo(np.float64).eps)


def elastic_net(
    R: np.ndarray,
    z: np.ndarray,
    l1: float,
    l2: float,
    start: np.ndarray | None = None,
    tol: float = 1e-10,
    max_iter: int = 1000,
) -> tuple[np.ndarray, int, float]:
    """The w that minimises F.

    Along one coordinate F is a parabola with a kink at 0.  With r = z - R w + R_j w_j its minimum
    is

        w_j = S(R_jᵀ r, λ₁) / (|R_j|² + λ₂)        S(a, λ) = sign(a) max(0, |a| - λ)

    and that is a sweep over j (Tseng 2001; Friedman et al. 2010); S gives zeros that are zeros.
    Sweeps find out soon which weights are zero and which signs the others have, and are slow to
    find their values where columns are nearly parallel.  Once a sweep leaves the signs s as they
    were, the values follow from the linear system that is left, with A the columns not at zero:

        (R_AᵀR_A + λ₂) w_A = R_Aᵀz - λ₁ s_A

    Where its solution has the signs s it is F's minimum over A, and the minimum altogether if
    |R_jᵀ r| <= λ₁ for the others.  Where it has not, F falls all the way to the first sign that
    changes: that weight is set to zero, and the system of the others solved (Lee et al. 2007,
    feature-sign search); then the sweeps go on.

    Args:
        R: (m, p).
        z: (m,).
        l1, l2: λ₁ and λ₂, at least 0.
        start: where to start; zero where it is left out.
        tol: how far a condition of the minimum may be missed, relative to the largest |R_jᵀz|.
        max_iter: sweeps at most.

    Returns:
        w (p,), the sweeps, and by how much the conditions are missed, relative as in `tol`.
    """
    columns = np.ascontiguousarray(R.T)  # (p, m): a column is a row of it
    squares = np.einsum("jm,jm->j", columns, columns)
    slack = 8 * EPS * np.sqrt(squares) * np.linalg.norm(z)  # what rounding can make of a zero
    scale = max(float(np.max(np.abs(columns @ z), initial=0.0)), l1, EPS)
    w = np.zeros(len(columns)) if start is None else start.copy()
    r = z - R @ w
    signs = np.sign(w)
    missed = np.inf
    sweeps = 0
    while sweeps < max_iter and missed > tol:
        sweeps += 1
        for j, column in enumerate(columns):
            if squares[j] == 0.0:
                w[j] = 0.0
                continue
            old = w[j]
            along = float(column @ r) + squares[j] * old
            over = abs(along) - l1
            new = 0.0
            if over > (slack[j] if old == 0.0 else 0.0):
                new = np.copysign(over, along) / (squares[j] + l2)
            if new != old:
                r -= (new - old) * column
                w[j] = new
        before, signs = signs, np.sign(w)
        if np.array_equal(before, signs):
            w = settle(R, z, w, signs, l1, l2)
            r = z - R @ w
            signs = np.sign(w)
        missed = violation(columns, r, w, l1, l2, slack) / scale
    return w, sweeps, missed


def settle(
    R: np.ndarray, z: np.ndarray, w: np.ndarray, signs: np.ndarray, l1: float, l2: float
) -> np.ndarray:
    """The minimum over the weights that are not zero, those left out whose signs would change.

    By the singular values of R_A, U S Vᵀ: with c = Uᵀz and d = Vᵀs the system reads
    (S² + λ₂) v = S c - λ₁ d for v = Vᵀw.  Along a direction in which F has no curvature (columns
    that depend on each other) it is a line: w goes down it, or either way where it is level, until
    a weight is zero.
    """
    w = w.copy()
    active = np.flatnonzero(signs)
    while len(active):
        s, here = signs[active], w[active]
        U, S, Vt = np.linalg.svd(R[:, active], full_matrices=len(active) > len(R))
        size = np.zeros(len(active))
        size[: len(S)] = S
        curve = size * size + l2
        if curve[-1] <= (len(active) * EPS) ** 2 * curve[0]:
            way = -Vt[-1] if s @ Vt[-1] > 0 else Vt[-1]
            turned = way * s < 0
            if not turned.any():
                way, turned = -way, ~turned
            step = way
        else:
            c = np.zeros(len(active))
            c[: len(S)] = (U.T @ z)[: len(S)]
            goal = Vt.T @ ((size * c - l1 * (Vt @ s)) / curve)
            turned = np.sign(goal) != s
            if not turned.any():
                w[active] = goal
                break
            step = goal - here
        share = np.full(len(active), np.inf)
        share[turned] = -here[turned] / step[turned]
        first = int(np.argmin(share))
        here = here + share[first] * step
        here[first] = 0.0
        w[active] = here
        active = active[np.sign(here) == s]
    return w


def violation(
    columns: np.ndarray, r: np.ndarray, w: np.ndarray, l1: float, l2: float, slack: np.ndarray
) -> float:
    """By how much 0 is outside of the subgradient of F, in its worst coordinate."""
    pull = columns @ r - l2 * w
    rest = np.where(w != 0.0, np.abs(pull - l1 * np.sign(w)), np.maximum(np.abs(pull) - l1, 0.0))
    return float(np.max(np.maximum(rest - slack, 0.0), initial=0.0))

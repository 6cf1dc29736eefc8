"""The lasso and the elastic net: least squares with a penalty that makes weights exactly zero."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..backends import Array, backend_of
from . import checks
from .coordinate import elastic_net
from .estimator import Regressor, warn
from .least_squares import centred


class ElasticNet(Regressor):
    """The elastic net (Zou and Hastie 2005): least squares with both penalties.

    The w and b that minimise

        1/(2n) |y - Xw - b|² + α ρ |w|₁ + α (1-ρ)/2 |w|²

    X and y are centred and brought to a triangle by QR where they live; coordinate descent on that
    and the exact solution of what it leaves run in host memory (`nnx.linear_model.coordinate`).

    Args:
        alpha: α, at least 0.
        l1_ratio: ρ, from 0 (ridge, with α n of `Ridge`) to 1 (lasso).
        fit_intercept: learn b.
        max_iter: sweeps over the weights, at most.
        tol: how far a condition of the minimum may be missed, relative to the largest
            |xᵀ(y - ȳ)|.  Where the solution is unique it is found to rounding, and this does not
            matter.

    Attributes:
        coef_, intercept_: w and b; for y of shape (n, k), (k, p) and (k,).
        n_iter_: sweeps; a list for y of shape (n, k).

    Raises (in fit):
        ValueError: X and y do not fit together or are not finite, or a parameter is out of range.
    """

    n_iter_: int | list[int]

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-10,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from X (n, p) and y (n,) or (n, k).

        Raises:
            ValueError: as the class says.
            TypeError: X is sparse, or holds what is no number.
        """
        return self._fit(X, y, self.l1_ratio)

    def _fit(self, X: Any, y: Any, ratio: float) -> Self:
        name = type(self).__name__
        self.require_number(alpha=0, max_iter=1, tol=0)
        if not (isinstance(ratio, int | float | np.number) and 0 <= ratio <= 1):
            raise ValueError(f"{name}: l1_ratio must be from 0 to 1, got {ratio!r}")
        X = self.fit_input(X)
        y, flat = self.fit_targets(y, X)
        n = X.shape[0]
        X, y, x_mean, y_mean = centred(X, y, self.fit_intercept)
        R, Z = triangle(X, y)
        l1, l2 = n * self.alpha * ratio, n * self.alpha * (1 - ratio)
        found = []
        sweeps = []
        for k in range(Z.shape[1]):
            w, count, missed = elastic_net(
                R, Z[:, k], l1, l2, tol=max(self.tol, 1e-14), max_iter=int(self.max_iter)
            )
            if missed > max(self.tol, 1e-14):
                warn(
                    f"{name}: after {count} sweeps the conditions of the minimum are missed by "
                    f"{missed:.3g}, more than tol = {self.tol:g}"
                )
            found.append(w)
            sweeps.append(count)
        coef = checks.moved(np.stack(found), X)  # (k, p)
        self.n_iter_ = sweeps[0] if flat else sweeps
        self.keep(coef, y_mean - coef @ x_mean if self.fit_intercept else None, flat)
        return self


class Lasso(ElasticNet):
    """The lasso (Tibshirani 1996): the w and b that minimise 1/(2n) |y - Xw - b|² + α |w|₁.

    The penalty of Wang 1.1.1, λ |w|₁ beside 1/(2n) |y - Xw|², with α = λ.  The kink of |w| at 0
    holds weights there: those zeros are exact.

    Args:
        alpha: α, at least 0.
        fit_intercept: learn b.
        max_iter: sweeps over the weights, at most.
        tol: as in `ElasticNet`, whose ρ is 1 here.

    Attributes and errors are those of `ElasticNet`.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float = 1e-10,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any) -> Self:
        """Learn from X (n, p) and y (n,) or (n, k).

        Raises:
            ValueError: as the class says.
            TypeError: X is sparse, or holds what is no number.
        """
        return self._fit(X, y, 1.0)


def triangle(X: Array, Y: Array) -> tuple[np.ndarray, np.ndarray]:
    """R and Z in host memory with |Y - X w|² = |Z - R w|² + a constant, of at most p rows.

    With X = Q R, |y - Q R w|² = |Qᵀy - R w|² + |y - Q Qᵀy|².
    """
    xp = backend_of(X).xp
    if X.shape[0] > X.shape[1]:
        Q, R = xp.linalg.qr(X)
        X, Y = R, xp.matrix_transpose(Q) @ Y
    return checks.host(X).astype(np.float64), checks.host(Y).astype(np.float64)

"""Least squares: in closed form by a singular value decomposition, or by gradient descent."""

from __future__ import annotations

from typing import Any, Self

from ..backends import Array, backend_of
from . import checks
from .descent import Descent, with_ones
from .estimator import Regressor

STEPPING = ("gd", "sgd", "minibatch")


class LinearRegression(Regressor):
    """Least squares (Liu 1.2-1.3; Wang 1.1.1): the w and b that minimise |y - Xw - b|².

    Args:
        fit_intercept: learn b; otherwise b = 0 and the plane goes through the origin.
        solver:
            "svd", in closed form.  Of the normal equations' solution (XᵀX)⁻¹Xᵀy (Liu 1.6) neither
            the product, which squares the condition number, nor the inverse is ever made: with
            X = U S Vᵀ, w = V S⁻¹ Uᵀ y.
            "gd", "sgd", "minibatch", by descent on C(w, b) = 1/(2n) |y - Xw - b|² (Liu 1.2), with
            all samples at a step, one, or `batch_size`; b is learnt with w as the weight of a
            feature that is 1.  `nnx.nn.MSELoss` has no ½: with it a step size counts twice.
        tol: for "svd", singular values below tol times the largest count as zero, as in
            scikit-learn, and w is the shortest solution; for descent, see `stop`.
        learning_rate, eta0, batch_size, sampling, stop, max_iter, random_state, keep_path: of
            descent; `nnx.linear_model.descent.Descent` says what they mean.

    Attributes:
        coef_, intercept_: w and b; for y of shape (n, k), (k, p) and (k,).
        rank_, singular_: of the centred X, after "svd".
        n_iter_: passes over the data; 1 for "svd".
        t_: steps of descent.
        path_: with `keep_path`, the weights before the first step and after each: (steps + 1, p+1),
            b last (or k of those: (steps + 1, k, p+1)).

    Raises (in fit):
        ValueError: X and y do not fit together, are not finite, or a parameter is not one of the
            above.
    """

    rank_: int
    singular_: Array
    n_iter_: int
    t_: int
    path_: Array

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        solver: str = "svd",
        tol: float = 1e-6,
        learning_rate: Any = None,
        eta0: float | None = None,
        batch_size: int = 32,
        sampling: str = "shuffled",
        stop: str | None = "gradient",
        max_iter: int = 1000,
        random_state: Any = None,
        keep_path: bool = False,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.batch_size = batch_size
        self.sampling = sampling
        self.stop = stop
        self.max_iter = max_iter
        self.random_state = random_state
        self.keep_path = keep_path

    def fit(self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None) -> Self:
        """Learn from X (n, p) and y (n,) or (n, k).

        Args:
            coef_init, intercept_init: where descent starts; zero where they are left out.

        Raises:
            ValueError: as the class says.
            TypeError: X is sparse, or holds what is no number.
        """
        return self._fit(X, y, 0.0, coef_init, intercept_init)

    def _fit(self, X: Any, y: Any, alpha: Any, coef_init: Any, intercept_init: Any) -> Self:
        self.require(solver=("svd", *STEPPING))
        self.require_number(tol=0)
        X = self.fit_input(X)
        y, flat = self.fit_targets(y, X)
        penalty = penalties(alpha, y, type(self).__name__)
        if self.solver != "svd":
            self._descend(X, y, penalty, coef_init, intercept_init, flat)
            return self
        if coef_init is not None or intercept_init is not None or self.keep_path:
            raise ValueError(
                f"{type(self).__name__}: coef_init, intercept_init and keep_path belong to "
                f"descent; solver {self.solver!r} takes no steps"
            )
        X, y, x_mean, y_mean = centred(X, y, self.fit_intercept)
        coef, self.singular_, self.rank_ = least_squares(X, y, penalty, self._cutoff(X))
        self.n_iter_ = 1
        self.keep(coef, y_mean - coef @ x_mean if self.fit_intercept else None, flat)
        return self

    def _cutoff(self, X: Array) -> float:
        return self.tol

    def _descend(
        self, X: Array, y: Array, penalty: Array, coef: Any, intercept: Any, flat: bool
    ) -> None:
        xp = backend_of(X).xp
        n = X.shape[0]
        decay = xp.expand_dims(penalty / n, axis=1)  # (k, 1)
        features = with_ones(X, self.fit_intercept)

        def slope(w: Array, rows: Any) -> Array:
            """Of the mean over the rows, (k, p or p+1)."""
            A, t = (features, y) if rows is None else (rows(features), rows(y))
            return xp.matrix_transpose(A @ xp.matrix_transpose(w) - t) @ A / A.shape[0]

        Descent.of(self).fit(
            self, X, features, slope, 1.0, decay, y.shape[1], coef, intercept, flat
        )


class Ridge(LinearRegression):
    """Ridge regression (Liu 1.6): the w and b that minimise |y - Xw - b|² + α |w|².

    α is scikit-learn's.  With the mean and the halves of the texts, 1/(2n) |y - Xw|² + λ/2 |w|²
    (Liu 1.9), it is α = n λ, and with 1/(2n) |y - Xw|² + λ |w|² (Wang 1.1.1) it is α = 2 n λ.  Liu
    and Wang count b among the weights: `fit_intercept=False` with a feature of ones does that.

    In closed form w = V S (S² + α)⁻¹ Uᵀ y: small singular values are damped, so that w is unique
    and moderate where those of X are not.

    Args:
        alpha: α, at least 0; or one for each target, (k,).
        fit_intercept: learn b.
        solver: "svd", in closed form, or "gd", "sgd", "minibatch", by descent on 1/(2n) of the sum.
        tol: for descent, see `stop`; in closed form nothing but rounding is cut off.
        learning_rate, eta0, batch_size, sampling, stop, max_iter, random_state, keep_path: of
            descent; `nnx.linear_model.descent.Descent` says what they mean.

    Attributes are those of `LinearRegression`.

    Raises (in fit):
        ValueError: α is negative or of another number than the targets, or as LinearRegression.
    """

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        solver: str = "svd",
        tol: float = 1e-6,
        learning_rate: Any = None,
        eta0: float | None = None,
        batch_size: int = 32,
        sampling: str = "shuffled",
        stop: str | None = "gradient",
        max_iter: int = 1000,
        random_state: Any = None,
        keep_path: bool = False,
    ) -> None:
        super().__init__(
            fit_intercept=fit_intercept,
            solver=solver,
            tol=tol,
            learning_rate=learning_rate,
            eta0=eta0,
            batch_size=batch_size,
            sampling=sampling,
            stop=stop,
            max_iter=max_iter,
            random_state=random_state,
            keep_path=keep_path,
        )
        self.alpha = alpha

    def fit(self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None) -> Self:
        """Learn from X (n, p) and y (n,) or (n, k).

        Args:
            coef_init, intercept_init: where descent starts; zero where they are left out.

        Raises:
            ValueError: as the class says.
            TypeError: X is sparse, or holds what is no number.
        """
        return self._fit(X, y, self.alpha, coef_init, intercept_init)

    def _cutoff(self, X: Array) -> float:
        """The penalty makes the problem well-posed: only what is rounding is cut off."""
        return float(max(X.shape) * backend_of(X).xp.finfo(X.dtype).eps)


def least_squares(X: Array, Y: Array, penalty: Array, cutoff: float) -> tuple[Array, Array, int]:
    """The minimiser of |Y - X Wᵀ|² + Σ penalty_k |W_k|², by X = U S Vᵀ.

    Setting the gradient to zero, (XᵀX + α) w = Xᵀy; with XᵀX = V S² Vᵀ, w = V S/(S² + α) Uᵀ y.
    Directions whose singular value is at most `cutoff` times the largest are left out, which for
    α = 0 gives the shortest of all solutions.

    Args:
        X: (n, p).
        Y: (n, k).
        penalty: (k,).

    Returns:
        W (k, p), the singular values (min(n, p),), and how many of them were not cut off.
    """
    xp = backend_of(X).xp
    U, S, Vt = xp.linalg.svd(X, full_matrices=False)  # (n, r), (r,), (r, p)
    kept = S > cutoff * S[0]
    s = xp.expand_dims(xp.where(kept, S, xp.ones_like(S)), axis=1)  # (r, 1)
    damped = xp.where(xp.expand_dims(kept, axis=1), s / (s * s + penalty), 0 * (s + penalty))
    W = xp.matrix_transpose(damped * (xp.matrix_transpose(U) @ Y)) @ Vt  # (k, r) (r, p)
    return W, S, int(xp.sum(xp.astype(kept, xp.int64)))


def centred(X: Array, Y: Array, fit_intercept: bool) -> tuple[Array, Array, Array, Array]:
    """X and Y without their means, and the means: with b free, b = ȳ - x̄ w at the minimum, so w
    is the solution for centred data."""
    xp = backend_of(X).xp
    if not fit_intercept:
        zeros = xp.zeros((X.shape[1] + Y.shape[1],), dtype=X.dtype, device=X.device)
        return X, Y, zeros[: X.shape[1]], zeros[X.shape[1] :]
    x_mean, y_mean = xp.mean(X, axis=0), xp.mean(Y, axis=0)
    return X - x_mean, Y - y_mean, x_mean, y_mean


def penalties(alpha: Any, Y: Array, name: str) -> Array:
    """α as (k,) beside the targets."""
    values = checks.host(alpha).astype(float).reshape(-1)
    if values.size not in (1, Y.shape[1]) or not (values >= 0).all():
        raise ValueError(
            f"{name}: alpha must be a number of at least 0, or one for each of the "
            f"{Y.shape[1]} targets; got {alpha!r}"
        )
    xp = backend_of(Y).xp
    return xp.zeros((Y.shape[1],), dtype=Y.dtype, device=Y.device) + checks.moved(values, Y)

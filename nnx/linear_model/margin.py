"""Classification by margin losses."""

from __future__ import annotations

from typing import Any, Self

from ..backends import Array, backend_of
from .descent import Descent, with_ones
from .estimator import Classifier

CURVATURE = {"hinge": 1.0, "squared_hinge": 1.0, "logistic": 0.25}


class MarginClassifier(Classifier):
    """A linear classifier by a loss of the margin m = t (x·w + b), t = ±1 (Liu 1.4).

    The w and b minimise 1/n Σ l(m) + α/2 |w|², with one of Liu's three functions

        "hinge"           l = max(0, 1 - m)             l' = -1 where m < 1, else 0
        "squared_hinge"   l = ½ max(0, 1 - m)²          l' = -(1 - m) where m < 1, else 0
        "logistic"        l = log(1 + e^-m)             l' = -σ(-m)

    by gradient descent (Liu 2).  The hinge with α > 0 is the linear support vector machine.
    scikit-learn's "squared_hinge" has no ½.  More than two classes are learnt one against the rest.

    Args:
        loss: one of the three.
        alpha: α, at least 0.  (Liu's exercises have none: 0.)
        fit_intercept: learn b.
        solver: "gd", "sgd" or "minibatch".
        tol, learning_rate, eta0, batch_size, sampling, stop, max_iter, random_state, keep_path:
            `nnx.linear_model.descent.Descent` says what they mean.  The hinge has a kink: its
            gradient does not go to zero, so a shrinking learning_rate and `stop=None` suit it.

    Attributes:
        classes_, coef_, intercept_: labels, (1, p) and (1,); for k classes (k, p) and (k,).
        n_iter_, t_: passes over the data, and steps.
        path_: with `keep_path`, the weights before the first step and after each, b last:
            (steps + 1, p+1) for two classes, else (steps + 1, k, p+1).

    Raises (in fit):
        ValueError: X and y do not fit together, y has one class only, or a parameter is not one of
            the above.
    """

    n_iter_: int
    t_: int
    path_: Array

    def __init__(
        self,
        *,
        loss: str = "squared_hinge",
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        solver: str = "gd",
        tol: float = 1e-4,
        learning_rate: Any = None,
        eta0: float | None = None,
        batch_size: int = 32,
        sampling: str = "shuffled",
        stop: str | None = "gradient",
        max_iter: int = 1000,
        random_state: Any = None,
        keep_path: bool = False,
    ) -> None:
        self.loss = loss
        self.alpha = alpha
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
        """Learn from X (n, p) and labels y (n,).

        Args:
            coef_init, intercept_init: where to start; zero where they are left out.

        Raises:
            ValueError: as the class says.
            TypeError: X is sparse, or holds what is no number.
        """
        self.require(loss=tuple(CURVATURE), solver=("gd", "sgd", "minibatch"))
        self.require_number(alpha=0)
        X = self.fit_input(X)
        codes = self.fit_labels(y, X)
        home = backend_of(X)
        xp = home.xp
        k = int(self.classes_.shape[0])
        every = xp.arange(k, dtype=codes.dtype, device=X.device)
        own = xp.expand_dims(codes, axis=1) == every  # (n, k)
        T = 2 * xp.astype(own[:, 1:] if k == 2 else own, X.dtype) - 1  # ±1
        features = with_ones(X, self.fit_intercept)

        def slope(w: Array, rows: Any) -> Array:
            A, t = (features, T) if rows is None else (rows(features), rows(T))
            m = t * (A @ xp.matrix_transpose(w))
            if self.loss == "logistic":
                steep = home.sigmoid(-m)
            else:
                short = xp.clip(1 - m, 0, None)
                steep = short if self.loss == "squared_hinge" else xp.astype(short > 0, X.dtype)
            return xp.matrix_transpose(-t * steep) @ A / A.shape[0]

        flat = k == 2
        Descent.of(self).fit(
            self, X, features, slope, CURVATURE[self.loss], float(self.alpha), T.shape[1],
            coef_init, intercept_init, flat,
        )  # fmt: skip
        return self

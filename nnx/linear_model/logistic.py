"""Logistic and softmax regression: linear scores, and the probabilities they stand for."""

from __future__ import annotations

from typing import Any, Self

from ..backends import Array, backend_of
from .descent import Descent, with_ones
from .estimator import Classifier, warn
from .minimize import Result, lbfgs, newton

STEPPING = ("gd", "sgd", "minibatch")
MOST_FOR_NEWTON = 1000  # weights, where solver="auto" leaves the choice


class LogisticRegression(Classifier):
    """Logistic regression (Wang 1.1.2): P(second class) = σ(x·w + b).

    The w and b that minimise

        C Σ log(1 + e^(-t (x·w + b))) + ½ |w|²        t = 1 for the second class, else -1

    Three classes and more have a w and b each, and P = softmax(x·w + b), as `SoftmaxRegression`.
    The objective is scikit-learn's; a penalty λ |w|² beside the mean of n losses (Wang) has
    C = 1/(2 n λ), and λ/2 |w|² has C = 1/(n λ).  b is not penalised.

    Args:
        C: the weight of the data, above 0; `float("inf")` for no penalty.  Classes that a plane
            separates have no minimum then.
        fit_intercept: learn b.
        solver: "newton", which takes the fewest steps and in each solves a system of as many
            unknowns as there are weights; "lbfgs"; "auto", the first of them for up to 1000
            weights, the second for more; "gd", "sgd", "minibatch", descent on 1/(nC) times the
            objective.
        tol: "newton" and "lbfgs" stop when no component of the gradient of 1/(nC) times the
            objective, for weights scaled to a curvature of about 1, is larger; for descent, see
            `stop`.
        max_iter: steps; for descent, passes over the data.
        learning_rate, eta0, batch_size, sampling, stop, random_state: of descent;
            `nnx.linear_model.descent.Descent` says what they mean.
        keep_path: keep the weights after every step.

    Attributes:
        classes_, coef_, intercept_: labels, (1, p) and (1,); for k classes (k, p) and (k,).
        n_iter_: steps; for descent passes.
        t_: steps.
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
        C: float = 1.0,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float = 1e-12,
        max_iter: int = 1000,
        learning_rate: Any = None,
        eta0: float | None = None,
        batch_size: int = 32,
        sampling: str = "shuffled",
        stop: str | None = "gradient",
        random_state: Any = None,
        keep_path: bool = False,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.eta0 = eta0
        self.batch_size = batch_size
        self.sampling = sampling
        self.stop = stop
        self.random_state = random_state
        self.keep_path = keep_path

    def fit(self, X: Any, y: Any, coef_init: Any = None, intercept_init: Any = None) -> Self:
        """Learn from X (n, p) and labels y (n,).

        Args:
            coef_init, intercept_init: where descent starts; zero where they are left out.

        Raises:
            ValueError: as the class says.
            TypeError: X is sparse, or holds what is no number.
        """
        name = type(self).__name__
        self.require(solver=("auto", "newton", "lbfgs", *STEPPING))
        self.require_number(C=0, tol=0, max_iter=1)
        if self.C == 0:
            raise ValueError(f"{name}: C must be above 0, got {self.C!r}")
        X = self.fit_input(X)
        codes = self.fit_labels(y, X)
        xp = backend_of(X).xp
        k = int(self.classes_.shape[0])
        targets = xp.expand_dims(codes, axis=1) == xp.arange(k, dtype=codes.dtype, device=X.device)
        T = xp.astype(targets, X.dtype)  # (n, k)
        if self._two(k):
            T = T[:, 1:]
        decay = 0.0 if self.C == float("inf") else 1 / (self.C * X.shape[0])
        if self.solver in STEPPING:
            features = with_ones(X, self.fit_intercept)

            def slope(w: Array, rows: Any) -> Array:
                A, t = (features, T) if rows is None else (rows(features), rows(T))
                scores = A @ xp.matrix_transpose(w)
                return xp.matrix_transpose(probabilities(scores) - t) @ A / A.shape[0]

            curvature = 0.25 if T.shape[1] == 1 else 0.5  # of the loss, by the scores
            flat = T.shape[1] == 1
            Descent.of(self).fit(
                self, X, features, slope, curvature, decay, T.shape[1],
                coef_init, intercept_init, flat,
            )  # fmt: skip
            return self
        if coef_init is not None or intercept_init is not None:
            raise ValueError(
                f"{name}: coef_init and intercept_init belong to descent; "
                f"solver {self.solver!r} starts from zero"
            )
        self._minimise(X, T, decay)
        return self

    def _two(self, k: int) -> bool:
        """Whether one score stands for both classes."""
        return k == 2

    def _minimise(self, X: Array, T: Array, decay: float) -> None:
        """By Newton's method or L-BFGS, on centred and scaled features.

        With b free a shift of the features changes b alone; and the weights of features divided by
        s are v = s w, with the penalty Σ v²/s².  Both leave the minimum where it is.  With s² the
        curvature at w = 0, of loss and penalty, it is 1 in every v, and the steps find the minimum
        in the same few whatever the units of the features.
        """
        xp = backend_of(X).xp
        name = type(self).__name__
        p, k = X.shape[1], T.shape[1]
        mean = xp.mean(X, axis=0) if self.fit_intercept else xp.zeros_like(X[0, :])
        centre = X - mean
        size = xp.sqrt(xp.mean(centre * centre, axis=0) / 4 + decay)
        size = xp.where(size > 0, size, xp.ones_like(size))
        A = with_ones(centre / size, self.fit_intercept)  # (n, q)
        pull = decay / (size * size)
        if self.fit_intercept:
            pull = xp.concat([pull, xp.zeros((1,), dtype=X.dtype, device=X.device)])
        objective = Objective(A, T, pull)
        tol = max(self.tol, 4 * float(xp.finfo(X.dtype).eps))
        most = int(self.max_iter)
        start = xp.zeros((k * A.shape[1],), dtype=X.dtype, device=X.device)
        found: Result
        small = k * A.shape[1] <= MOST_FOR_NEWTON
        if self.solver == "newton" or (self.solver == "auto" and small):
            found = newton(objective, objective.hessian, start, tol, most)
        else:
            found = lbfgs(objective, start, tol, most)
        if not found.converged:
            warn(
                f"{name}: after {found.steps} steps the gradient's largest component is "
                f"{found.size:.3g}, not below tol = {tol:g}; without a penalty, classes that a "
                "plane separates have no minimum"
            )

        def shown(v: Array) -> Array:
            """(k, p+1): the weights of the features as they were given, b last."""
            V = xp.reshape(v, (k, A.shape[1]))
            W = V[:, :p] / size
            b = V[:, p] - W @ mean if self.fit_intercept else xp.zeros_like(W[:, 0])
            return xp.concat([W, xp.expand_dims(b, axis=1)], axis=1)

        W = shown(found.w)
        self.coef_, self.intercept_ = W[:, :p], W[:, p]
        self.n_iter_ = max(found.steps, 1)
        self.t_ = found.steps
        if self.keep_path:
            path = xp.stack([shown(v) for v in found.path])
            if not self.fit_intercept:
                path = path[:, :, :p]
            self.path_ = path[:, 0, :] if k == 1 else path
        elif hasattr(self, "path_"):
            del self.path_

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class for features X (n, p): (n, k), as `classes_` stand.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        return backend_of(log := self.predict_log_proba(X)).xp.exp(log)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithms of `predict_proba(X)`, (n, k), exact where these round to 0.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        scores = self.decision_function(X)
        home = backend_of(scores)
        if scores.ndim == 1:
            return home.xp.stack([-home.softplus(scores), -home.softplus(-scores)], axis=1)
        return scores - log_sum_exp(scores)


class SoftmaxRegression(LogisticRegression):
    """Softmax regression (Xu 2; Wang 1.1.3): P = softmax(x·w + b), a w and b for each class.

    They minimise

        C Σ -log P(class of the sample) + ½ Σ |w|²

    For two classes these are two w, opposite to each other, where `LogisticRegression` has their
    difference v = 2 w: ½ Σ |w|² is ¼ |v|², so a C here is 2 C there.  The mean cross-entropy
    without a penalty (Xu 2.7) is C = inf.

    Args:
        C: the weight of the data, above 0; `float("inf")` for no penalty.
        fit_intercept, solver, tol, max_iter, learning_rate, eta0, batch_size, sampling, stop,
            random_state, keep_path: as in `LogisticRegression`.

    Attributes and errors are those of `LogisticRegression`; coef_ is (k, p) for two classes too.
    """

    def _two(self, k: int) -> bool:
        return False

    def decision_function(self, X: Any) -> Array:
        """X w + b, (n, k); for two classes the second's score less the first's, (n,)."""
        scores = super().decision_function(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores


class Objective:
    """1/n Σ cross-entropy of scores A Wᵀ + ½ Σ pull W², its gradient and its Hessian.

    One score a row (k = 1) is a logit for two classes: f = softplus(z) - t z; otherwise
    f = log Σ e^z - t·z.  With the probabilities P, ∂f/∂z = P - t and ∂²f/∂z∂z' = P δ - P P'.

    Args:
        A: features (n, q).
        T: targets (n, k).
        pull: of the penalty, (q,).
    """

    def __init__(self, A: Array, T: Array, pull: Array) -> None:
        self.A, self.T, self.pull = A, T, pull
        self.home = backend_of(A)

    def __call__(self, w: Array) -> tuple[float, Array]:
        xp, n = self.home.xp, self.A.shape[0]
        W = xp.reshape(w, (self.T.shape[1], self.A.shape[1]))
        Z = self.A @ xp.matrix_transpose(W)  # (n, k)
        whole = self.home.softplus(Z) if Z.shape[1] == 1 else log_sum_exp(Z)
        loss = (xp.sum(whole) - xp.sum(self.T * Z)) / n + 0.5 * xp.sum(self.pull * W * W)
        G = xp.matrix_transpose(probabilities(Z) - self.T) @ self.A / n + self.pull * W
        return float(loss), xp.reshape(G, (-1,))

    def hessian(self, w: Array) -> Array:
        """(k q, k q): block (c, d) is 1/n Aᵀ diag(P_c (δ_cd - P_d)) A, and the penalty."""
        xp, (n, q), k = self.home.xp, self.A.shape, self.T.shape[1]
        W = xp.reshape(w, (k, q))
        P = probabilities(self.A @ xp.matrix_transpose(W))
        At = xp.matrix_transpose(self.A)
        rows = []
        for c in range(k):
            row = []
            for d in range(k):
                curve = P[:, c] * ((1 - P[:, d]) if c == d else -P[:, d]) / n
                row.append((At * curve) @ self.A)
            rows.append(xp.concat(row, axis=1))
        H = xp.concat(rows, axis=0)
        pull = xp.concat([self.pull] * k)
        return H + xp.eye(k * q, dtype=w.dtype, device=w.device) * pull


def probabilities(Z: Array) -> Array:
    """The sigmoid of one score a row, the softmax of several."""
    home = backend_of(Z)
    found: Array = home.sigmoid(Z) if Z.shape[1] == 1 else home.softmax(Z, 1)
    return found


def log_sum_exp(Z: Array) -> Array:
    """log Σ e^z along each row, (n, 1), without overflow."""
    xp = backend_of(Z).xp
    top = xp.max(Z, axis=1, keepdims=True)
    return top + xp.log(xp.sum(xp.exp(Z - top), axis=1, keepdims=True))

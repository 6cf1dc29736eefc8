"""Rosenblatt's perceptron: the first learning rule for a neuron."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..backends import Array, backend_of
from . import checks
from .descent import generator_of, with_ones
from .estimator import Classifier, warn


class Perceptron(Classifier):
    """The perceptron (Rosenblatt 1958; Liu 3.1; Xu 1.3): sign(w·x + b), learnt from mistakes.

        while there is a sample with t (w·x + b) <= 0:        t = 1 for the second class, else -1
            w = w + η t x
            b = b + η t

    A score of 0 counts as a mistake: from w = 0 nothing would ever move otherwise (as Liu's
    "< 0" has it, and as `nnx.functional.hinge_loss(margin=0)`, whose gradient at 0 is 0).  If a
    plane separates the classes, with a margin γ and all |x| <= R, at most (R/γ)² updates are made
    (Novikoff 1962).  If none does, the rule never comes to rest: after `max_iter` passes a warning
    says how many samples are still wrong, and the weights are the best of those that ended a pass
    (the pocket; Gallant 1990).

    Liu's rule moves w by η (y - ŷ) x, which is 2 η t x: his η is half of this one.  More than two
    classes are learnt one against the rest.

    Args:
        eta0: η; with w = 0 at the start it only scales w and b.
        fit_intercept: learn b.
        order: "cyclic", pass after pass in the order given (Liu); "first", always the first sample
            that is wrong, from the beginning (Xu 1.3.3); "random", in a new order at every pass.
        max_iter: passes over the samples, at most; with "first", updates.
        random_state: a seed or an `nnx.random.Generator` for "random".
        keep_path: keep the weights after every update.

    Attributes:
        classes_, coef_, intercept_: labels, (1, p) and (1,); for k classes (k, p) and (k,).
        separated_: whether no sample is wrong.
        n_iter_: passes in which mistakes were found (the most of any class), at least 1.
        t_: updates, of all classes together.
        path_: with `keep_path`, the weights at the start and after each update, (t + 1, p+1), b
            last; for k classes a list of k such arrays.

    Raises (in fit):
        ValueError: X and y do not fit together, y has one class only, or a parameter is not one of
            the above.
    """

    separated_: bool
    n_iter_: int
    t_: int
    path_: Any

    def __init__(
        self,
        *,
        eta0: float = 1.0,
        fit_intercept: bool = True,
        order: str = "cyclic",
        max_iter: int = 1000,
        random_state: Any = None,
        keep_path: bool = False,
    ) -> None:
        self.eta0 = eta0
        self.fit_intercept = fit_intercept
        self.order = order
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
        self.require(order=("cyclic", "first", "random"))
        self.require_number(eta0=0, max_iter=1)
        X = self.fit_input(X)
        codes = self.fit_labels(y, X)
        xp = backend_of(X).xp
        k = int(self.classes_.shape[0])
        A = with_ones(X, self.fit_intercept)
        start = self._start(A, 1 if k == 2 else k, coef_init, intercept_init)
        weights, paths, wrong = [], [], 0
        self.n_iter_ = self.t_ = 0
        for c in range(len(start)):
            t = 2 * xp.astype(codes == (1 if k == 2 else c), A.dtype) - 1
            signed = A * xp.expand_dims(t, axis=1)  # t x: a mistake is <= 0
            w, path, left = self._learn(signed, start[c])
            weights.append(w)
            paths.append(path)
            wrong += left
        W = xp.stack(weights)
        p = X.shape[1]
        self.coef_ = W[:, :p]
        self.intercept_ = W[:, -1] if self.fit_intercept else xp.zeros_like(W[:, 0])
        self.separated_ = wrong == 0
        if self.keep_path:
            self.path_ = paths[0] if k == 2 else paths
        if wrong:
            warn(
                f"Perceptron: not separated: after {self.n_iter_} passes {wrong} of "
                f"{X.shape[0] * len(weights)} samples are still on the wrong side; "
                "perhaps no plane separates the classes"
            )
        return self

    def _start(self, A: Array, outputs: int, coef: Any, intercept: Any) -> list[Array]:
        """The first weights of each output, (p,) or (p+1,)."""
        W = np.zeros((outputs, A.shape[1]))
        if coef is not None:
            wide = A.shape[1] - self.fit_intercept
            W[:, :wide] = checks.host(coef).reshape(outputs, wide)
        if intercept is not None:
            if not self.fit_intercept:
                raise ValueError("Perceptron: intercept_init was given, but fit_intercept is False")
            W[:, -1] = checks.host(intercept).reshape(outputs)
        return [checks.moved(row, A) for row in W]

    def _learn(self, signed: Array, w: Array) -> tuple[Array, Any, int]:
        """One output: the weights, their path, and how many samples are wrong in the end.

        Samples up to the next mistake leave w as it is, so their scores are computed together: the
        updates are those of going through them one by one.
        """
        xp = backend_of(signed).xp
        n = signed.shape[0]
        draws = generator_of(self.random_state) if self.order == "random" else None
        path = [w]
        best, fewest = w, n + 1
        rows = signed
        passes = 0
        while True:
            scores = rows @ w
            wrong = int(xp.sum(xp.astype(scores <= 0, xp.int64)))
            if passes and wrong < fewest:
                best, fewest = w, wrong
            if wrong == 0 or passes == self.max_iter:
                break
            passes += 1
            if draws is not None:
                home = backend_of(signed)
                order = xp.asarray(home.from_numpy(draws.host_permutation(n)), device=signed.device)
                rows = xp.take(signed, home.positions(order), axis=0)
            at = 0
            while at < n:
                mistakes = rows[at:, :] @ w <= 0
                if not bool(xp.any(mistakes)):
                    break
                at += int(xp.argmax(xp.astype(mistakes, xp.int64)))
                w = w + self.eta0 * rows[at, :]
                self.t_ += 1
                if self.keep_path:
                    path.append(w)
                at += 1
                if self.order == "first":
                    break
        self.n_iter_ = max(self.n_iter_, passes, 1)
        if passes == 0:
            best, fewest = w, wrong
        return best, xp.stack(path) if self.keep_path else None, fewest

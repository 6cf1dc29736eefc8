"""Gradient descent for linear models, as the texts have it: step sizes, sampling, stopping, paths.

    W(t) = W(t-1) - η(t) ∇C(W(t-1))        t = 1, 2, ...

over all samples at every step (Liu 2.1), over one (Liu 2.2), or over a few (Liu 2.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends import Array, backend_of
from ..random import Generator, default_generator
from . import checks
from .estimator import Regressor, warn

Slope = Callable[[Array, Any], Array]  # (weights, rows or None for all) -> gradient of their mean

SCHEDULES = ("constant", "inverse_sqrt", "inverse")
SAMPLINGS = ("shuffled", "with_replacement", "in_order")


@dataclass(frozen=True)
class Descent:
    """How the weights of a model descend.

    Attributes:
        solver: "gd", "sgd" or "minibatch".
        learning_rate: "constant", η(t) = C; "inverse_sqrt", C/√t (Liu 2.2); "inverse", C/t, which
            satisfies Robbins and Monro's Σ η = ∞, Σ η² < ∞; or a table of step sizes, whose last
            one holds after its end.  None: "constant" for gd, "inverse_sqrt" for the others, whose
            noise a constant step never averages out.
        eta0: C.  None: 1/L, where L bounds the curvature of C (the mean of what is minimised):
            the longest step that cannot climb, over all samples for gd, over each for the others.
        batch_size: samples at a step of "minibatch".
        sampling: "shuffled", without replacement, in a new order at every pass; or
            "with_replacement", drawn anew for each step; or "in_order", first to last.
        stop: "gradient", when |∇C| over all samples is at most tol (looked at after every step of
            gd, after every pass of the others); "step", when a step |ΔW| is shorter than tol
            (Liu 2.2.1), which in stochastic descent happens by chance of the samples drawn, far
            from the minimum too; None, after max_iter passes.
        tol: see `stop`.
        max_iter: passes over the data, at most; a pass is n / batch steps.
        random_state: a seed or an `nnx.random.Generator` for the samples; None draws from nnx's
            own generator (`nnx.manual_seed`).
        keep_path: keep the weights after every step.
    """

    solver: str
    learning_rate: Any
    eta0: float | None
    batch_size: int
    sampling: str
    stop: str | None
    tol: float
    max_iter: int
    random_state: Any
    keep_path: bool

    @classmethod
    def of(cls, model: Any) -> Descent:
        """The descent that a model's parameters describe.

        Raises:
            ValueError: one of them makes no sense; the message says what is allowed.
        """
        model.require(sampling=SAMPLINGS, stop=("gradient", "step", None))
        model.require_number(max_iter=1, tol=0, batch_size=1)
        if model.eta0 is not None:
            model.require_number(eta0=0)
        if model.learning_rate is None or isinstance(model.learning_rate, str):
            model.require(learning_rate=(*SCHEDULES, None))
        elif len(model.learning_rate) == 0:
            raise ValueError(f"{type(model).__name__}: the table of step sizes is empty")
        return cls(**{name: getattr(model, name) for name in cls.__dataclass_fields__})

    def fit(
        self,
        model: Any,
        X: Array,
        features: Array,
        slope: Slope,
        curvature: float,
        decay: Any,
        outputs: int,
        coef: Any,
        intercept: Any,
        flat: bool,
    ) -> None:
        """Descend, and write coef_, intercept_, n_iter_, t_ and path_ to the model.

        Args:
            X: (n, p).
            features: X, with a column of ones where there is an intercept.
            slope: the gradient of the mean loss of some rows at weights (k, p or p+1).
            curvature: the largest second derivative of a sample's loss by its scores.
            decay: λ of a penalty λ/2 |w|² on the mean loss, not on the intercept; a number, or
                (k, 1).
            coef, intercept: where to start, or None.
            flat: whether the model shows one output without its axis.
        """
        xp = backend_of(X).xp
        start = self.start(model, X, features, outputs, coef, intercept)
        has_ones = features.shape[1] > X.shape[1]

        pull = xp.ones_like(start) * decay
        if has_ones:
            pull[:, -1] = 0.0
        most = float(xp.max(pull))

        def whole(w: Array, rows: Any) -> Array:
            return slope(w, rows) + pull * w

        w = self.walk(model, whole if most else slope, start, features, curvature, most)
        p = X.shape[1]
        b = w[:, -1] if has_ones else None
        if isinstance(model, Regressor):
            model.keep(w[:, :p], b, flat)
        else:
            model.coef_ = w[:, :p]
            model.intercept_ = xp.zeros_like(w[:, 0]) if b is None else b
        if self.keep_path and flat:
            model.path_ = model.path_[:, 0, :]

    def start(
        self, model: Any, X: Array, features: Array, outputs: int, coef: Any, intercept: Any
    ) -> Array:
        """The first weights, (k, p or p+1): as given, or zero."""
        xp = backend_of(X).xp
        p = X.shape[1]
        parts = [(coef, p, "coef_init")]
        if features.shape[1] > p:
            parts.append((intercept, 1, "intercept_init"))
        elif intercept is not None:
            raise ValueError(
                f"{type(model).__name__}: intercept_init was given, but fit_intercept is False"
            )
        first = []
        for given, width, what in parts:
            values = np.zeros((outputs, width)) if given is None else checks.host(given)
            if values.size != outputs * width:
                raise ValueError(
                    f"{type(model).__name__}: {what} must have {outputs * width} elements "
                    f"({outputs} x {width}), its shape is {values.shape}"
                )
            first.append(checks.moved(values.reshape(outputs, width), X))
        return first[0] if len(first) == 1 else xp.concat(first, axis=1)

    def walk(
        self,
        model: Any,
        slope: Slope,
        w: Array,
        features: Array,
        curvature: float,
        decay: float,
    ) -> Array:
        """The weights after the last step."""
        xp = backend_of(w).xp
        draws = generator_of(self.random_state)
        full = self.solver == "gd"
        sizes = self.step_sizes(full, features, curvature, decay)
        path = [w]
        step = 0
        size = math.inf
        done = False
        passes = 0
        while passes < self.max_iter and not done:
            passes += 1
            for rows in self.batches(features, draws):
                g = slope(w, rows)
                if full and self.stop == "gradient":
                    size = float(xp.sqrt(xp.sum(g * g)))
                    if size <= self.tol:
                        done = True
                        break
                step += 1
                moved = w - next(sizes) * g
                if self.keep_path:
                    path.append(moved)
                if self.stop == "step":
                    size = float(xp.sqrt(xp.sum((moved - w) ** 2)))
                w = moved
                if self.stop == "step" and size < self.tol:
                    done = True
                    break
            if not done and not full and self.stop == "gradient":
                g = slope(w, None)
                size = float(xp.sqrt(xp.sum(g * g)))
                done = size <= self.tol
        if not bool(xp.all(xp.isfinite(w))):
            raise ValueError(
                f"{type(model).__name__}: the weights have overflowed after {step} steps: the "
                f"steps are too long; eta0 is {self.eta0}, learning_rate {self.learning_rate!r}"
            )
        model.n_iter_, model.t_ = passes, step
        if self.keep_path:
            model.path_ = xp.stack(path)
        elif hasattr(model, "path_"):
            del model.path_
        if self.stop is not None and not done:
            what = "gradient" if self.stop == "gradient" else "last step"
            warn(
                f"{type(model).__name__}: after {passes} passes ({step} steps) the {what} has the "
                f"length {size:.3g}, which is not below tol = {self.tol:g}"
            )
        return w

    def batches(self, features: Array, draws: Generator) -> Iterator[Any]:
        """For each step of a pass what picks its rows from an array; None for all rows."""
        if self.solver == "gd":
            yield None
            return
        xp, n = backend_of(features).xp, features.shape[0]
        size = 1 if self.solver == "sgd" else min(int(self.batch_size), n)
        if self.sampling == "shuffled":
            order = draws.host_permutation(n)
        elif self.sampling == "with_replacement":
            order = draws.host_choice(n, -(-n // size) * size)
        else:
            order = np.arange(n)
        for first in range(0, len(order), size):
            index = order[first : first + size]
            if len(index) == 1:
                at = int(index[0])
                yield lambda x, at=at: x[at : at + 1, ...]
            else:
                home = backend_of(features)
                where = xp.asarray(home.from_numpy(index), device=features.device)
                where = home.positions(where)
                yield lambda x, where=where: xp.take(x, where, axis=0)

    def step_sizes(
        self, full: bool, features: Array, curvature: float, decay: float
    ) -> Iterator[float]:
        """η(1), η(2), ..."""
        rate = self.learning_rate
        if rate is None:
            rate = "constant" if full else "inverse_sqrt"
        if not isinstance(rate, str):
            table = [float(eta) for eta in rate]
            yield from table
            while True:
                yield table[-1]
        eta = self.eta0
        if eta is None:
            eta = 1 / (curvature * steepness(features, full) + decay)
        t = 0
        while True:
            t += 1
            yield eta / {"constant": 1.0, "inverse_sqrt": math.sqrt(t), "inverse": t}[rate]


def steepness(features: Array, full: bool) -> float:
    """The largest eigenvalue of AᵀA / n over all samples, or of any one sample's a aᵀ: |a|²."""
    xp = backend_of(features).xp
    if full:
        s = xp.linalg.svdvals(features)
        most = float(s[0]) ** 2 / features.shape[0]
    else:
        most = float(xp.max(xp.sum(features * features, axis=1)))
    return most or 1.0


def with_ones(X: Array, ones: bool) -> Array:
    """X with a last feature that is 1, whose weight is the intercept."""
    if not ones:
        return X
    xp = backend_of(X).xp
    return xp.concat([X, xp.ones((X.shape[0], 1), dtype=X.dtype, device=X.device)], axis=1)


def generator_of(random_state: Any) -> Generator:
    """The generator that a model's `random_state` means.

    Raises:
        ValueError: it is neither None, nor a whole number of at least 0, nor a Generator.
    """
    if random_state is None:
        return default_generator()
    if isinstance(random_state, Generator):
        return random_state
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return Generator(int(random_state))
    raise ValueError(
        "random_state must be None, a seed of at least 0 or an nnx.random.Generator, "
        f"got {random_state!r}"
    )

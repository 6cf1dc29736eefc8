"""`NNRegressor`: a network that predicts numbers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from ..backends import Array, backend_of
from ..linear_model import checks
from ..tensor import Tensor
from .network import Network, counting


class NNRegressor(Network):
    """A network of numbers, by default of dense layers: predictions and R².

    It minimises, over batches, Σ w ½ |y - ŷ|² / Σ w + α/2 |W|² / Σ w: w are the samples' weights, 1
    where none are given, and W the weights without biases.  With its defaults it is scikit-learn's
    `MLPRegressor` on features that were standardized.  Scale targets to about 1 first.

    Args:
        hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate_init, max_iter,
            shuffle, random_state, tol, n_iter_no_change, early_stopping, validation_fraction,
            standardize, warm_start: as in `NNClassifier`; early stopping looks at R².
        module: a module, or a function of the numbers of features and targets that makes one, as
            there; it gives (n, targets).

    Attributes:
        n_outputs_: how many targets there are.
        module_, optimizer_, mean_, scale_, loss_curve_, loss_, best_loss_, validation_scores_,
            best_validation_score_, n_iter_, n_features_in_, feature_names_in_: as there.

    Raises:
        ValueError: when fitted, an argument makes no sense.
    """

    kind = "regressor"
    n_outputs_: int
    _flat: bool

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        module: Any = None,
        solver: Any = "adam",
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate_init: float = 1e-3,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        standardize: bool | str = "auto",
        warm_start: bool = False,
    ) -> None:
        self.hidden_layer_sizes, self.activation = hidden_layer_sizes, activation
        self.module, self.solver, self.alpha = module, solver, alpha
        self.batch_size, self.learning_rate_init = batch_size, learning_rate_init
        self.max_iter, self.shuffle, self.random_state = max_iter, shuffle, random_state
        self.tol, self.n_iter_no_change = tol, n_iter_no_change
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.standardize, self.warm_start = standardize, warm_start

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from features X (n, p) and targets y (n,) or (n, k); returns the model.

        Args:
            X: an array of any library, a tensor, a list or a data frame.
            y: numbers.
            sample_weight: (n,), how often each sample counts; 0 is the same as leaving it out.

        Raises:
            TypeError: X or y is sparse, or holds what is no number.
            ValueError: X, y or the weights do not fit each other, or are not finite; an argument of
                the constructor makes no sense.
        """
        self._check_options()
        old = self.n_outputs_ if self._goes_on() else None
        X = self.fit_input(X)
        targets, self._flat = self._targets(y, X)
        weights, X, targets = counting(self._weights(sample_weight, X), X, targets)
        self.n_outputs_ = targets.shape[1]
        if old not in (None, self.n_outputs_):
            raise ValueError(f"{type(self).__name__}: warm_start needs {old} targets again")
        generator = self._begin(X, weights, self.n_outputs_, self.warm_start)
        self._train(X, targets, weights, None, generator)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn once more, from these samples: one epoch; returns the model.

        Args:
            X, y, sample_weight: as in `fit`.

        Raises:
            TypeError: X or y is sparse, or holds what is no number.
            ValueError: as in `fit`; early_stopping is set.
        """
        self._check_options()
        if self.early_stopping:
            raise ValueError(
                f"{type(self).__name__}: partial_fit sees a part of the samples, so "
                "early_stopping=True means nothing to it"
            )
        first = not hasattr(self, "module_")
        X = self.fit_input(X) if first else self.input(X)
        targets, flat = self._targets(y, X)
        if first:
            self.n_outputs_, self._flat = targets.shape[1], flat
        elif targets.shape[1] != self.n_outputs_:
            raise ValueError(
                f"{type(self).__name__}: y has {targets.shape[1]} targets, before it had "
                f"{self.n_outputs_}"
            )
        weights, X, targets = counting(self._weights(sample_weight, X), X, targets)
        generator = self._begin(X, weights, self.n_outputs_, again=True)
        self._train_once(X, targets, weights, generator)
        return self

    def _targets(self, y: Any, X: Array) -> tuple[Array, bool]:
        """y as (n, k) beside X, and whether it was (n,)."""
        y = checks.numbers(y, X, type(self).__name__)
        return (y, False) if y.ndim == 2 else (backend_of(y).xp.expand_dims(y, axis=1), True)

    def _losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        if scores.shape[1] != targets.shape[1]:
            raise ValueError(
                f"{type(self).__name__}: the module must give {targets.shape[1]} numbers, one for "
                f"each target; it gave {scores.shape[1]}"
            )
        off = scores - targets
        return 0.5 * (off * off).sum(axis=1)

    def _goodness(self, scores: Array, targets: Array, weights: Array | None) -> float:
        """R² of predictions (n, k), the mean over the targets."""
        w = None if weights is None else checks.host(weights)
        return r2(checks.host(targets), checks.host(scores), w)

    def predict(self, X: Any) -> Array:
        """The numbers that are expected: (n,), or (n, k) for several targets.

        Args:
            X: features (n, p).

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        scores = self._scores(self.input(X))
        return scores[:, 0] if self._flat else scores

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² = 1 - Σ w (y - ŷ)² / Σ w (y - ȳ)², the mean over the targets where there are several.

        Args:
            X: features (n, p), of which ŷ is predicted.
            y: targets (n,) or (n, k).
            sample_weight: w (n,), how much each sample counts.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        predicted = checks.host(self.predict(X)).astype(np.float64)
        wanted = checks.host(y).astype(np.float64).reshape(predicted.shape)
        w = None if sample_weight is None else checks.host(sample_weight)
        return r2(wanted, predicted, w)


def r2(wanted: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None) -> float:
    """R², the mean over the columns; of a constant target 1 where it is met, else 0."""
    left = np.average((wanted - predicted) ** 2, axis=0, weights=weights)
    mean = np.average(wanted, axis=0, weights=weights)
    whole = np.average((wanted - mean) ** 2, axis=0, weights=weights)
    constant = whole == 0
    each = 1 - left / np.where(constant, 1, whole)
    return float(np.mean(np.where(constant, left == 0, each)))

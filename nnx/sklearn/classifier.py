"""`NNClassifier`: a network that tells classes apart."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import ops
from ..backends import Array, backend_of
from ..linear_model import checks
from ..linear_model.estimator import DataConversionWarning, taken, warn
from ..nn import LogSoftmax, Sigmoid, Softmax
from ..tensor import Tensor
from .network import Network, counting


class NNClassifier(Network):
    """A network of classes, by default of dense layers: labels, probabilities, accuracy.

    It minimises, over batches, Σ w l / Σ w + α/2 |W|² / Σ w: l is the cross-entropy of the
    softmax, or for several labels at once the sum of their binary cross-entropies; w are the
    samples' weights, 1 where none are given; W are the weights without biases.  With its defaults
    it is scikit-learn's `MLPClassifier` on features that were standardized.

    Args:
        hidden_layer_sizes: units of each hidden layer.
        activation: "relu", "tanh", "logistic", "identity", "gelu" or "silu".
        module: in place of those layers, a module (each fit starts from a copy of it, with its
            weights), or a function of the numbers of features and classes that makes one.  It gives
            scores (n, classes), before any softmax; for two classes one score will do.
        solver: "adam", "sgd" (with Nesterov's momentum 0.9), or a function that makes an optimizer
            of a list of parameters.
        alpha: α, the L2 penalty.
        batch_size: samples in a batch; "auto" is min(200, n).
        learning_rate_init: the optimizer's rate.
        max_iter: the most epochs; a warning tells where training had not stopped before.
        shuffle: whether batches are drawn anew in each epoch.
        random_state: a seed, a generator of nnx or of NumPy; None draws from nnx's shared one.
        tol: by how much the loss, or with `early_stopping` the score, must get better to count.
        n_iter_no_change: after how many more epochs that do not count training stops.
        early_stopping: hold out `validation_fraction` of the samples, of each class alike, and keep
            the network that was best on them.
        validation_fraction: the share of samples that is held out.
        standardize: take the mean out of each feature and divide by its standard deviation, as the
            first samples had them; "auto": of the default layers, not of a module.
        warm_start: `fit` goes on with the network there is.
        class_weight: by class, what its samples' weights are multiplied with; "balanced" makes all
            classes weigh the same.

    Attributes:
        classes_: the labels, sorted; of several labels at once their numbers.
        module_, optimizer_: what was trained, and by what.
        mean_, scale_: what is taken out of each feature, and what it is divided by, or None.
        loss_curve_, loss_, best_loss_: of each epoch, of the last, the least.
        validation_scores_, best_validation_score_: likewise, with `early_stopping`.
        n_iter_, n_features_in_, feature_names_in_: as in scikit-learn.

    Raises:
        ValueError: when fitted, an argument makes no sense.
    """

    kind = "classifier"
    classes_: Array
    multilabel_: bool

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
        class_weight: Any = None,
    ) -> None:
        self.hidden_layer_sizes, self.activation = hidden_layer_sizes, activation
        self.module, self.solver, self.alpha = module, solver, alpha
        self.batch_size, self.learning_rate_init = batch_size, learning_rate_init
        self.max_iter, self.shuffle, self.random_state = max_iter, shuffle, random_state
        self.tol, self.n_iter_no_change = tol, n_iter_no_change
        self.early_stopping, self.validation_fraction = early_stopping, validation_fraction
        self.standardize, self.warm_start = standardize, warm_start
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from features X (n, p) and labels y (n,); returns the model.

        Args:
            X: an array of any library, a tensor, a list or a data frame.
            y: labels, whole numbers or strings; or (n, k) of zeros and ones, for k labels at once.
            sample_weight: (n,), how often each sample counts; 0 is the same as leaving it out.

        Raises:
            TypeError: X or y is sparse, or holds what is no number.
            ValueError: X, y or the weights do not fit each other, are not finite, or hold one class
                only; an argument of the constructor makes no sense.
        """
        self._check_options()
        old = checks.host(self.classes_).tolist() if self._goes_on() else None
        X = self.fit_input(X)
        values = self._values(y, X)
        weights = self._weights(sample_weight, X)
        if weights is not None:
            values = values[checks.host(weights) > 0]  # a class that weighs nothing is none
        weights, X = counting(weights, X)
        self._set_classes(np.arange(values.shape[1]) if values.ndim == 2 else values, y)
        if old not in (None, checks.host(self.classes_).tolist()):
            raise ValueError(f"{type(self).__name__}: warm_start needs the classes {old} again")
        self.multilabel_ = values.ndim == 2
        targets = self._targets(values, X)
        weights = self._with_class_weights(weights, targets, X)
        generator = self._begin(X, weights, self.classes_.shape[0], self.warm_start)
        stratify = None if self.multilabel_ else checks.host(targets)
        self._train(X, targets, weights, stratify, generator)
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn once more, from these samples: one epoch; returns the model.

        Args:
            X, y, sample_weight: as in `fit`.
            classes: all labels there will be, at the first call; later calls need none.

        Raises:
            TypeError: X or y is sparse, or holds what is no number.
            ValueError: as in `fit`; the classes are missing at the first call, or others later on;
                y holds a label that is none of them.
        """
        name = type(self).__name__
        self._check_options()
        first = not hasattr(self, "module_")
        if self.early_stopping or self.class_weight == "balanced":
            raise ValueError(
                f"{name}: partial_fit sees a part of the samples, so early_stopping=True and "
                "class_weight='balanced' mean nothing to it"
            )
        X = self.fit_input(X) if first else self.input(X)
        values = self._values(y, X)
        if classes is not None and not first:
            known, given = checks.host(self.classes_).tolist(), np.unique(checks.host(classes))
            if given.tolist() != known:
                raise ValueError(f"{name}: classes {given.tolist()}, at the first call {known}")
        if first:
            if classes is None:
                raise ValueError(f"{name}: classes must be passed on the first call to partial_fit")
            self.multilabel_ = values.ndim == 2
            self._set_classes(checks.host(classes), y)
        weights, X, targets = counting(self._weights(sample_weight, X), X, self._targets(values, X))
        weights = self._with_class_weights(weights, targets, X)
        generator = self._begin(X, weights, self.classes_.shape[0], again=True)
        self._train_once(X, targets, weights, generator)
        return self

    # ---- labels ----

    def _values(self, y: Any, X: Array) -> np.ndarray:
        """y as labels (n,), or (n, k) of zeros and ones; checked, in host memory."""
        name = type(self).__name__
        host = checks.host(y) if y is not None and not hasattr(y, "nnz") else None
        if host is None or host.ndim != 2 or host.shape[1] == 1:
            values, column = checks.label_values(y, X, name)
            if column:
                warn(
                    "A column-vector y was passed when a 1d array was expected. Please change the "
                    f"shape of y to (n_samples,), for example using ravel(); {name} did so",
                    DataConversionWarning,
                )
            return values
        if host.dtype.kind not in "biuf" or not bool(np.all((host == 0) | (host == 1))):
            raise ValueError(
                f"{name}: Unknown label type: multiclass-multioutput; y of shape {host.shape} must "
                "hold zeros and ones, a column for each label"
            )
        if len(host) != X.shape[0]:
            raise ValueError(
                "Found input variables with inconsistent numbers of samples: "
                f"{[X.shape[0], len(host)]}"
            )
        return host

    def _set_classes(self, labels: np.ndarray, y: Any) -> None:
        classes = np.unique(labels)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes in the data, but the "
                f"data contains only one class: {classes.tolist()}"
            )
        self.classes_ = checks.classes_beside(classes, y)

    def _targets(self, values: np.ndarray, X: Array) -> Array:
        """The place of each label among the classes, (n,) int64; of several (n, k) in X's dtype."""
        if values.ndim == 2 or self.multilabel_:
            k = self.classes_.shape[0]
            if not self.multilabel_ or values.shape[1:] != (k,):
                was = f"(n, {k})" if self.multilabel_ else "(n,)"
                raise ValueError(f"{type(self).__name__}: y was {was}, now {values.shape}")
            return checks.moved(values, X)
        classes = checks.host(self.classes_)
        codes = np.minimum(np.searchsorted(classes, values), len(classes) - 1)
        unknown = classes[codes] != values
        if unknown.any():
            raise ValueError(
                f"{type(self).__name__}: y contains new labels: {np.unique(values[unknown])}; the "
                f"classes are {classes}"
            )
        return checks.moved(codes.astype(np.int64), X, keep_dtype=True)

    def _with_class_weights(self, weights: Array | None, targets: Array, X: Array) -> Array | None:
        """The samples' weights, times those of their classes."""
        if self.class_weight is None:
            return weights
        name = type(self).__name__
        if self.multilabel_:
            raise ValueError(
                f"{name}: class_weight means nothing where a sample has several labels"
            )
        labels = checks.host(self.classes_).tolist()
        codes = checks.host(targets)
        own = np.ones(len(codes)) if weights is None else checks.host(weights).astype(np.float64)
        if self.class_weight == "balanced":
            mass = np.bincount(codes, own, len(labels))
            of_class = own.sum() / (len(labels) * mass)
        elif isinstance(self.class_weight, dict):
            unknown = set(self.class_weight) - set(labels)
            if unknown:
                raise ValueError(f"{name}: class_weight has {sorted(unknown)}, none of {labels}")
            of_class = np.asarray([self.class_weight.get(label, 1.0) for label in labels])
        else:
            raise ValueError(
                f"{name}: class_weight must be None, 'balanced' or a dict of classes, got "
                f"{self.class_weight!r}"
            )
        return checks.moved(own * of_class[codes], X)

    # ---- learning ----

    def _losses(self, scores: Tensor, targets: Tensor) -> Tensor:
        if self.multilabel_:
            self._require_outputs(scores, (self.classes_.shape[0],))
            each = ops.binary_cross_entropy_with_logits(scores, targets, reduction="none")
            return each.sum(axis=1)
        self._require_outputs(scores, (self.classes_.shape[0], 1))
        if scores.shape[1] == 1:  # of two classes, the second's
            column = ops.expand_dims(targets.astype(scores.dtype), axis=1)
            each = ops.binary_cross_entropy_with_logits(scores, column, reduction="none")
            return each.sum(axis=1)
        return ops.cross_entropy(scores, targets, reduction="none")

    def _require_outputs(self, scores: Tensor, allowed: tuple[int, ...]) -> None:
        if scores.shape[1] not in allowed or (scores.shape[1] == 1 and self.classes_.shape[0] > 2):
            raise ValueError(
                f"{type(self).__name__}: the module must give {allowed[0]} scores, one for each "
                f"class; it gave {scores.shape[1]}"
            )

    def _start(self, X: Array, weights: Array | None, outputs: int, generator: Any) -> None:
        super()._start(X, weights, outputs, generator)
        last = list(self.module_.modules())[-1]
        if isinstance(last, Softmax | LogSoftmax | Sigmoid):
            raise ValueError(
                f"{type(self).__name__}: the module must give scores, and the loss takes the "
                f"softmax itself; leave {type(last).__name__} out at its end"
            )

    def _goodness(self, scores: Array, targets: Array, weights: Array | None) -> float:
        """The accuracy of scores (n, k), rows that are wholly right."""
        scores, wanted = checks.host(scores), checks.host(targets)
        right = (
            np.all((scores > 0) == (wanted > 0), axis=1)
            if self.multilabel_
            else _places(scores) == wanted
        )
        return float(np.average(right, weights=None if weights is None else checks.host(weights)))

    # ---- predicting ----

    def decision_function(self, X: Any) -> Array:
        """Scores: (n,) for two classes, positive for the second; else (n, k), logits of each.

        Args:
            X: features (n, p).

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        scores = self._scores(self.input(X))
        if self.multilabel_ or self.classes_.shape[0] > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

    def predict_proba(self, X: Any) -> Array:
        """Probabilities (n, k) of the classes; of several labels at once, of each by itself.

        Args:
            X: features (n, p).

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        scores = self._scores(self.input(X))
        home = backend_of(scores)
        if self.multilabel_:
            return home.sigmoid(scores)
        if scores.shape[1] == 1:
            p = home.sigmoid(scores)
            return home.xp.concat([1 - p, p], axis=1)
        return ops.softmax(Tensor(scores), axis=1).data

    def predict_log_proba(self, X: Any) -> Array:
        """log of `predict_proba`, (n, k), for features X (n, p).

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        scores = self._scores(self.input(X))
        if scores.shape[1] == 1 or self.multilabel_:
            probabilities = self.predict_proba(X)
            return backend_of(probabilities).xp.log(probabilities)
        return ops.log_softmax(Tensor(scores), axis=1).data

    def predict(self, X: Any) -> Array:
        """The likeliest label (n,) of each row of X (n, p); or zeros and ones (n, k).

        Labels come back in the library of X, texts in host memory.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        X = self.input(X)
        scores = self._scores(X)
        xp = backend_of(scores).xp
        if self.multilabel_:
            return xp.astype(scores > 0, xp.int64)
        where = (
            xp.astype(scores[:, 0] > 0, xp.int64)
            if scores.shape[1] == 1
            else xp.argmax(scores, axis=1)
        )
        classes = self.classes_
        texts = checks.host(classes).dtype.kind in "OUS"
        if not texts and (backend_of(classes) is not backend_of(X) or classes.device != X.device):
            classes = checks.moved(classes, X, keep_dtype=True)
        return taken(classes, where)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of samples that are predicted rightly, of several labels all of them.

        Args:
            X: features (n, p).
            y: labels (n,), or (n, k).
            sample_weight: (n,), how much each sample counts.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        predicted, wanted = checks.host(self.predict(X)), checks.host(y)
        right = predicted == wanted.reshape(predicted.shape)
        right = right.all(axis=1) if right.ndim == 2 else right
        weights = None if sample_weight is None else checks.host(sample_weight)
        return float(np.average(right, weights=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _places(scores: np.ndarray) -> np.ndarray:
    """The place of the largest score of each row; of one score, whether it is positive."""
    return (scores[:, 0] > 0).astype(np.int64) if scores.shape[1] == 1 else scores.argmax(axis=1)

"""What every model has: parameters by name, checked input, and what scikit-learn asks of it.

scikit-learn is never imported by fitting or predicting.  Where it is installed and asks
(`__sklearn_tags__`), or was imported already (its error and warning classes), it is answered in its
own types.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from typing import Any, ClassVar, Self

import numpy as np

from ..backends import Array, Backend, backend_of
from . import checks


class NotFittedError(ValueError, AttributeError):
    """A model was asked for something that only `fit` can give it."""


class ConvergenceWarning(UserWarning):
    """Fitting stopped before its stopping rule was met; the message says how far it was."""


class DataConversionWarning(UserWarning):
    """The input was given in another form than it is used in."""


def of_sklearn(kind: type) -> type:
    """A class of ours that is also scikit-learn's class of that name, where that is in use.

    Whoever writes `except sklearn.exceptions.NotFittedError` has imported it.
    """
    theirs = getattr(sys.modules.get("sklearn.exceptions"), kind.__name__, None)
    return kind if theirs is None else type(kind.__name__, (kind, theirs), {})


def warn(message: str, kind: type = ConvergenceWarning) -> None:
    """A warning that points at the caller of `fit`."""
    warnings.warn(message, of_sklearn(kind), stacklevel=4)


class Estimator:
    """A model with parameters: what its constructor takes, kept unchanged under the same names."""

    kind: ClassVar[str | None] = None  # "regressor", "classifier", or None for a transformer
    n_features_in_: int
    feature_names_in_: np.ndarray

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name; `deep` is there for scikit-learn's sake."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Self:
        """Change some of the constructor's arguments, given by name in `params`; returns the model.

        Raises:
            ValueError: there is no argument of that name.
        """
        names = self._names()
        for name in params:
            if name not in names:
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {type(self).__name__}; "
                    f"valid parameters are {', '.join(names)}"
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if repr(value) != repr(defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def require(self, **allowed: tuple[Any, ...]) -> None:
        """Refuse parameters that are none of what is allowed.

        Args:
            allowed: by parameter, the values it may have.

        Raises:
            ValueError: one of them is another; the message lists what is allowed.
        """
        for name, values in allowed.items():
            value = getattr(self, name)
            if not any(value is v or (isinstance(value, str) and value == v) for v in values):
                raise ValueError(
                    f"{type(self).__name__}: {name} must be one of "
                    f"{', '.join(map(repr, values))}, got {value!r}"
                )

    def require_number(self, **least: float) -> None:
        """Refuse parameters that are no numbers, or too small.

        Args:
            least: by parameter, the smallest number it may be.

        Raises:
            ValueError: one of them is no number, or smaller.
        """
        for name, low in least.items():
            value = getattr(self, name)
            if not (isinstance(value, int | float | np.number) and value >= low):
                raise ValueError(
                    f"{type(self).__name__}: {name} must be a number of at least {low:g}, "
                    f"got {value!r}"
                )

    # ---- input ----

    def fit_input(self, X: Any) -> Array:
        """The features to learn from, (n, p) in floating point; number and names are remembered.

        Args:
            X: an array of any library, a tensor, a list or a data frame, (n, p).

        Raises:
            TypeError: X is a sparse matrix, or holds what is no number.
            ValueError: X is complex or not a matrix, has no rows or no columns, or is not finite.
        """
        name = type(self).__name__
        names = checks.names_of(X)
        array = checks.features(X, name)
        self.n_features_in_ = array.shape[1]
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return array

    def input(self, X: Any) -> Array:
        """Features for a fitted model, (n, p), in floating point.

        Args:
            X: as in `fit_input`.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: they are not as many features as in `fit`, or have other names.
        """
        name = type(self).__name__
        if not hasattr(self, "n_features_in_"):
            raise of_sklearn(NotFittedError)(
                f"this {name} instance is not fitted yet: call fit with appropriate arguments first"
            )
        names = checks.names_of(X)
        array = checks.features(X, name)
        if array.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {array.shape[1]} features, but {name} is expecting "
                f"{self.n_features_in_} features as input; X has shape {tuple(array.shape)}"
            )
        fitted = getattr(self, "feature_names_in_", None)
        if names is not None and fitted is not None and list(names) != list(fitted):
            raise ValueError(
                f"{name}: the feature names should match those that were passed during fit; "
                f"fit {list(fitted)}, now {list(names)}"
            )
        return array

    # ---- what scikit-learn asks ----

    def __sklearn_tags__(self) -> Any:
        """This model's properties as scikit-learn's `Tags`; only scikit-learn calls this."""
        from sklearn.utils import ClassifierTags, RegressorTags, Tags, TargetTags, TransformerTags

        learns = self.kind in ("regressor", "classifier")
        return Tags(
            estimator_type=self.kind if learns else None,
            target_tags=TargetTags(required=learns, multi_output=self.kind == "regressor"),
            transformer_tags=None if learns else TransformerTags(),
            classifier_tags=ClassifierTags() if self.kind == "classifier" else None,
            regressor_tags=RegressorTags() if self.kind == "regressor" else None,
        )


class Regressor(Estimator):
    """A model of numbers, linear in its features: prediction and score.

    Attributes:
        coef_: (p,), or (k, p) for targets of shape (n, k).
        intercept_: a float, or an array (k,); 0.0 where none was learnt.
    """

    kind = "regressor"
    coef_: Array
    intercept_: Any

    def fit_targets(self, y: Any, X: Array) -> tuple[Array, bool]:
        """The targets as (n, k) beside X, and whether they were given as (n,).

        Args:
            y: targets (n,) or (n, k).
            X: features (n, p), as `fit_input` gave them.

        Raises:
            ValueError: y has other rows than X, more axes, or is not finite.
        """
        y = checks.numbers(y, X, type(self).__name__)
        flat = y.ndim == 1
        return (backend_of(y).xp.expand_dims(y, axis=1) if flat else y), flat

    def keep(self, coef: Array, intercept: Array | None, flat: bool) -> None:
        """Show what was learnt in the form that the targets had.

        Args:
            coef: (k, p).
            intercept: (k,), or None.
            flat: whether the targets were (n,).
        """
        self.coef_ = coef[0, :] if flat else coef
        if intercept is None:
            self.intercept_ = 0.0
        else:
            self.intercept_ = float(intercept[0]) if flat else intercept

    def predict(self, X: Any) -> Array:
        """X w + b, the numbers that are expected: (n,), or (n, k) for several targets.

        Args:
            X: features (n, p).

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        X = self.input(X)
        xp = backend_of(X).xp
        coef, intercept = beside(X, self.coef_), self.intercept_
        if not isinstance(intercept, float):
            intercept = beside(X, intercept)
        return X @ (coef if coef.ndim == 1 else xp.matrix_transpose(coef)) + intercept

    def score(self, X: Any, y: Any) -> float:
        """R² = 1 - Σ (y - ŷ)² / Σ (y - ȳ)², the mean over the targets where there are several.

        Args:
            X: features (n, p), of which ŷ is predicted.
            y: targets (n,) or (n, k).

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from, or y not X.
        """
        predicted = self.predict(X)
        xp = backend_of(predicted).xp
        y = checks.numbers(y, predicted, type(self).__name__)
        if y.ndim != predicted.ndim:
            y = xp.reshape(y, predicted.shape)
        left = xp.sum((y - predicted) ** 2, axis=0)
        whole = xp.sum((y - xp.mean(y, axis=0)) ** 2, axis=0)
        # A constant target has nothing to explain: 1 where it is met, else 0.
        constant = whole == 0
        r2 = 1 - left / xp.where(constant, xp.ones_like(whole), whole)
        r2 = xp.where(constant, xp.astype(left == 0, r2.dtype), r2)
        return float(xp.mean(r2))


class Classifier(Estimator):
    """A model of classes, linear in its features: scores, labels and accuracy.

    Attributes:
        classes_: the labels, sorted.
        coef_: (1, p) for two classes, otherwise (k, p).
        intercept_: (1,) or (k,).
    """

    kind = "classifier"
    classes_: Array
    coef_: Array
    intercept_: Array

    def fit_labels(self, y: Any, X: Array) -> Array:
        """The place of each label in `classes_`, (n,) int64 beside X; `classes_` is set.

        Args:
            y: labels (n,): integers, booleans, strings, or floats that are whole numbers.
            X: features (n, p), as `fit_input` gave them.

        Raises:
            ValueError: y has other rows than X, one class only, or holds no labels.
        """
        codes, self.classes_, column = checks.labels(y, X, type(self).__name__)
        if column:
            warn(
                "A column-vector y was passed when a 1d array was expected. Please change the "
                f"shape of y to (n_samples,), for example using ravel(); {type(self).__name__} "
                "did so",
                DataConversionWarning,
            )
        return codes

    def decision_function(self, X: Any) -> Array:
        """X w + b: (n,) for two classes, positive for the second; otherwise (n, k).

        Args:
            X: features (n, p).

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        X = self.input(X)
        xp = backend_of(X).xp
        scores = X @ xp.matrix_transpose(beside(X, self.coef_)) + beside(X, self.intercept_)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Array:
        """The likeliest label (n,) of each row of features X (n, p), in the labels' own library.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        scores = self.decision_function(X)
        xp = backend_of(scores).xp
        where = xp.astype(scores > 0, xp.int64) if scores.ndim == 1 else xp.argmax(scores, axis=1)
        return taken(self.classes_, where)

    def score(self, X: Any, y: Any) -> float:
        """The share of labels y (n,) that are predicted rightly from features X (n, p).

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X does not fit what was learnt from.
        """
        predicted = checks.host(self.predict(X))
        y = checks.host(y)
        return float(np.mean(predicted == y.reshape(predicted.shape)))


def beside(X: Array, learnt: Array) -> Array:
    """What was learnt, in X's library, dtype and device: data may come from elsewhere later on."""
    home: Backend = backend_of(X)
    if backend_of(learnt) is home and learnt.device == X.device:
        return learnt if learnt.dtype == X.dtype else home.xp.astype(learnt, X.dtype)
    return checks.moved(learnt, X)


def taken(classes: Array, where: Array) -> Array:
    """classes[where], in the library of the classes: labels come back as they were given."""
    home = backend_of(classes)
    if backend_of(where) is not home or where.device != classes.device:
        where = checks.moved(where, classes, keep_dtype=True)
    return home.xp.take(classes, home.positions(where), axis=0)

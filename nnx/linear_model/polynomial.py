"""Products of features, for polynomial regression by a linear model."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement
from typing import Any, Self

import numpy as np

from ..backends import Array, backend_of
from .estimator import Estimator


class PolynomialFeatures(Estimator):
    """All products of at most `degree` features; of one feature x: 1, x, x², ... (Liu 1.8).

        powers = PolynomialFeatures(3)
        model = LinearRegression(fit_intercept=False).fit(powers.fit_transform(X), y)

    The order is scikit-learn's: by degree, and within a degree 00, 01, 02, 11, 12, 22 for three
    features.

    Args:
        degree: the highest degree, or (lowest, highest).
        interaction_only: no powers of a feature, only products of different ones.
        include_bias: begin with a feature that is 1, the empty product.

    Attributes:
        powers_: the exponent of each feature in each product, (products, p).
        n_output_features_: how many products there are.

    Raises (in fit):
        ValueError: the degrees are not whole numbers with 0 <= lowest <= highest.
    """

    powers_: np.ndarray
    n_output_features_: int

    def __init__(
        self,
        degree: int | tuple[int, int] = 2,
        *,
        interaction_only: bool = False,
        include_bias: bool = True,
    ) -> None:
        self.degree = degree
        self.interaction_only = interaction_only
        self.include_bias = include_bias

    def fit(self, X: Any, y: Any = None) -> Self:
        """Find the products for the features of X (n, p); y is not used.

        Raises:
            ValueError: the degrees are not whole numbers with 0 <= lowest <= highest, or nothing is
                left.
            TypeError: X is sparse, or holds what is no number.
        """
        X = self.fit_input(X)
        low, high = self.degree if isinstance(self.degree, tuple | list) else (0, self.degree)
        if not all(isinstance(d, int | np.integer) for d in (low, high)) or not 0 <= low <= high:
            raise ValueError(
                "PolynomialFeatures: degree must be a whole number of at least 0, or a pair of "
                f"them in rising order, got {self.degree!r}"
            )
        choose = combinations if self.interaction_only else combinations_with_replacement
        p = X.shape[1]
        chosen = [c for d in range(max(low, 1), high + 1) for c in choose(range(p), d)]
        if self.include_bias:
            chosen.insert(0, ())
        if not chosen:
            raise ValueError(
                "PolynomialFeatures: nothing is left: degree 0 without the feature that is 1"
            )
        self.powers_ = np.asarray([np.bincount(c, minlength=p) for c in map(_ints, chosen)])
        self.n_output_features_ = len(chosen)
        return self

    def transform(self, X: Any) -> Array:
        """The products for each row of X (n, p): (n, products), in X's library and dtype.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X has not as many features as in `fit`.
        """
        X = self.input(X)
        xp = backend_of(X).xp
        one = xp.ones((X.shape[0],), dtype=X.dtype, device=X.device)
        made: dict[tuple[int, ...], Array] = {(): one}
        columns = []
        for row in self.powers_:
            factors = tuple(int(j) for j in np.repeat(np.arange(len(row)), row))
            columns.append(self._product(factors, X, made))
        return xp.stack(columns, axis=1)

    def _product(self, factors: tuple[int, ...], X: Array, made: dict[Any, Array]) -> Array:
        """A product, from the one that has its last factor less, each made once."""
        if factors not in made:
            last = X[:, factors[-1]]
            made[factors] = (
                last if len(factors) == 1 else self._product(factors[:-1], X, made) * last
            )
        return made[factors]

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit(X).transform(X)`, (n, products) for X (n, p); y is not used.

        Raises:
            ValueError: as `fit`.
            TypeError: as `fit`.
        """
        return self.fit(X, y).transform(X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names as scikit-learn writes them, (products,): "1", "x0", "x0^2", "x0 x1".

        Args:
            input_features: p names to make them of; None: those of the data frame, or x0, x1, ...

        Raises:
            ValueError: there are not p names.
        """
        if input_features is None:
            input_features = getattr(
                self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)]
            )
        if len(input_features) != self.n_features_in_:
            raise ValueError(
                "PolynomialFeatures: input_features should have length equal to the number of "
                f"features, {self.n_features_in_}, got {len(input_features)}"
            )
        names = []
        for row in self.powers_:
            parts = [
                str(input_features[j]) + (f"^{row[j]}" if row[j] > 1 else "")
                for j in np.flatnonzero(row)
            ]
            names.append(" ".join(parts) or "1")
        return np.asarray(names, dtype=object)


def _ints(values: tuple[int, ...]) -> np.ndarray:
    return np.asarray(values, dtype=np.intp)

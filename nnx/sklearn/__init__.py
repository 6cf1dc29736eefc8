"""Networks with scikit-learn's conventions: `NNClassifier` and `NNRegressor`.

    model = nnx.sklearn.NNClassifier(random_state=0).fit(X, y)
    model.predict(X), model.predict_proba(X), model.score(X, y)

By default a network of dense layers with the arguments and defaults of scikit-learn's
`MLPClassifier`; any module of nnx through `module=`.  They work in pipelines, searches, `clone` and
`check_estimator`, and need scikit-learn for none of it.  `X` may be an array of any library that
nnx knows, a tensor, a list or a data frame; what a model returns lives where `X` does.
"""

from ..linear_model import ConvergenceWarning, NotFittedError
from .classifier import NNClassifier
from .regressor import NNRegressor

__all__ = ["ConvergenceWarning", "NNClassifier", "NNRegressor", "NotFittedError"]

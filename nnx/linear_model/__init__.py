"""Linear models with scikit-learn's conventions, written against the array API.

    model = nnx.linear_model.Ridge(alpha=0.1).fit(X, y)
    model.coef_, model.intercept_, model.predict(X), model.score(X, y)

`X` may be an array of any library that nnx knows, a tensor, a list or a data frame; what a model
returns lives where `X` does.  Constructors only keep their arguments, `fit` returns the model, and
what was learnt ends in an underscore; so the models work in scikit-learn's pipelines, searches and
`check_estimator`, and need scikit-learn for none of it.

| model | minimises |
| --- | --- |
| `LinearRegression` | 1/(2n) |y - Xw - b|² |
| `Ridge` | |y - Xw - b|² + α |w|² |
| `Lasso`, `ElasticNet` | 1/(2n) |y - Xw - b|² + α (ρ |w|₁ + (1-ρ)/2 |w|²) |
| `LogisticRegression`, `SoftmaxRegression` | C Σ cross-entropy + ½ |w|² |
| `MarginClassifier` | 1/n Σ margin loss + α/2 |w|² |
| `Perceptron` | counts mistakes until there are none |

Sources: Liu, chapters 1 to 3; Wang, 1.1; Xu, chapter 1.
"""

from .estimator import ConvergenceWarning, Estimator, NotFittedError
from .lasso import ElasticNet, Lasso
from .least_squares import LinearRegression, Ridge
from .logistic import LogisticRegression, SoftmaxRegression
from .margin import MarginClassifier
from .perceptron import Perceptron
from .polynomial import PolynomialFeatures

__all__ = [
    "ConvergenceWarning",
    "ElasticNet",
    "Estimator",
    "Lasso",
    "LinearRegression",
    "LogisticRegression",
    "MarginClassifier",
    "NotFittedError",
    "Perceptron",
    "PolynomialFeatures",
    "Ridge",
    "SoftmaxRegression",
]

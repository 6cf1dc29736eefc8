"""scikit-learn's own checks of an estimator, and the numbers of scikit-learn's linear models."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from nnx import linear_model as lm

sk = pytest.importorskip("sklearn.linear_model")
sets = pytest.importorskip("sklearn.datasets")

FEW = {"max_iter": 20}  # passes of the solvers that take a step for each sample
MODELS = [
    lm.LinearRegression(),
    lm.LinearRegression(solver="gd"),
    lm.LinearRegression(solver="sgd", **FEW),
    lm.LinearRegression(solver="minibatch", **FEW),
    lm.Ridge(),
    lm.Ridge(solver="gd"),
    lm.Lasso(),
    lm.ElasticNet(),
    lm.PolynomialFeatures(),
    lm.Perceptron(max_iter=100),
    lm.Perceptron(order="first"),
    lm.Perceptron(order="random", **FEW),
    lm.LogisticRegression(),
    lm.LogisticRegression(solver="lbfgs"),
    lm.LogisticRegression(solver="gd"),
    lm.LogisticRegression(solver="sgd", **FEW),
    lm.SoftmaxRegression(),
    lm.SoftmaxRegression(solver="lbfgs"),
    lm.SoftmaxRegression(solver="minibatch", **FEW),
    lm.MarginClassifier(),
    lm.MarginClassifier(loss="hinge"),
    lm.MarginClassifier(loss="logistic", solver="sgd", **FEW),
]


@pytest.mark.ci
@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_check_estimator(model):
    """All of scikit-learn's checks, none expected to fail."""
    from sklearn.utils.estimator_checks import check_estimator

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "does not inherit from BaseEstimator", convergence
        results = check_estimator(model, on_skip=None, on_fail=None)
    assert len(results) > 40
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed


def near_singular(gap, n=200, p=10):
    """A column that is another one but for `gap`, and one that is nearly a sum of three."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    X[:, 1] = X[:, 0] + gap * rng.standard_normal(n)
    X[:, 5] = X[:, 2:5].sum(axis=1) + gap * rng.standard_normal(n)
    return X, X @ rng.standard_normal(p) + 0.1 * rng.standard_normal(n) + 3


def wide():
    rng = np.random.default_rng(1)
    return rng.standard_normal((30, 60)), rng.standard_normal(30)


def several():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((50, 4))
    return X, X @ rng.standard_normal((4, 3)) + [1.0, 2.0, 3.0] + rng.standard_normal((50, 3))


REGRESSION = {
    "diabetes": lambda: sets.load_diabetes(return_X_y=True),
    "gap 1e-2": lambda: near_singular(1e-2),
    "gap 1e-5": lambda: near_singular(1e-5),
    "gap 1e-8": lambda: near_singular(1e-8),
    "gap 0": lambda: near_singular(0.0),
    "wide": wide,
    "several targets": several,
}


def equal(ours, theirs, tolerance):
    for name in ("coef_", "intercept_"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert np.shape(a) == np.shape(b), name
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max()))


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("name", REGRESSION)
def test_least_squares(name, intercept):
    X, y = REGRESSION[name]()
    theirs = sk.LinearRegression(fit_intercept=intercept).fit(X, y)
    ours = lm.LinearRegression(fit_intercept=intercept).fit(X, y)
    equal(ours, theirs, 1e-8)
    assert ours.rank_ == theirs.rank_
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), rel=1e-12)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("name", REGRESSION)
def test_ridge(name, alpha):
    X, y = REGRESSION[name]()
    equal(lm.Ridge(alpha).fit(X, y), sk.Ridge(alpha, solver="svd").fit(X, y), 1e-8)
    if alpha >= 1:  # with less, the product XᵀX of scikit-learn's own choice has lost the digits
        equal(lm.Ridge(alpha).fit(X, y), sk.Ridge(alpha).fit(X, y), 1e-8)


def test_ridge_with_a_penalty_for_each_target():
    X, y = several()
    equal(lm.Ridge([0.1, 1.0, 10.0]).fit(X, y), sk.Ridge([0.1, 1.0, 10.0]).fit(X, y), 1e-10)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("alpha", [1e-3, 0.03, 1.0])
@pytest.mark.parametrize("name", ["diabetes", "gap 1e-2", "wide", "several targets"])
def test_lasso_and_elastic_net(name, alpha, ratio):
    X, y = REGRESSION[name]()
    theirs = sk.ElasticNet(alpha, l1_ratio=ratio, tol=1e-14, max_iter=1_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last digits of so small a tol are not always reached
        theirs.fit(X, y)
    ours = (lm.Lasso(alpha) if ratio == 1 else lm.ElasticNet(alpha, l1_ratio=ratio)).fit(X, y)
    equal(ours, theirs, 1e-6)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    assert (ours.coef_ == 0).any() or alpha < 1 or name == "several targets" or ratio < 1


@pytest.mark.parametrize("gap", [1e-4, 1e-6, 1e-9, 0.0])
@pytest.mark.parametrize("alpha", [1e-3, 0.03])
def test_the_lasso_of_nearly_parallel_columns_meets_the_conditions_of_the_minimum(alpha, gap):
    """scikit-learn's sweeps do not get there in a million; what a minimum is can be checked."""
    X, y = near_singular(gap)
    model = lm.Lasso(alpha).fit(X, y)
    n = len(y)
    residual = y - model.predict(X)
    pull = (X - X.mean(0)).T @ residual / n
    on = model.coef_ != 0
    np.testing.assert_allclose(pull[on], alpha * np.sign(model.coef_[on]), rtol=1e-8)
    assert (np.abs(pull[~on]) <= alpha * (1 + 1e-8)).all()
    theirs = sk.Lasso(alpha, tol=1e-14, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(X, y)

    def objective(m):
        return ((y - m.predict(X)) ** 2).sum() / (2 * n) + alpha * np.abs(m.coef_).sum()

    assert objective(model) <= objective(theirs) + 1e-14


def cancer():
    return sets.load_breast_cancer(return_X_y=True)


def scaled_cancer():
    X, y = cancer()
    return (X - X.mean(0)) / X.std(0), y


def near_singular_classes():
    X, y = near_singular(1e-5)
    return X, y > 3


CLASSES = {
    "cancer": cancer,
    "cancer, scaled": scaled_cancer,
    "iris": lambda: sets.load_iris(return_X_y=True),
    "near-singular": near_singular_classes,
}


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize(
    "name, solver",
    # Of features in their own units, 1e10 apart, L-BFGS says that it has not arrived.
    [(n, s) for n in CLASSES for s in ("newton", "lbfgs") if (n, s) != ("cancer", "lbfgs")],
)
def test_logistic_regression(name, solver, C):
    X, y = CLASSES[name]()
    theirs = sk.LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(X, y)
    ours = lm.LogisticRegression(C=C, solver=solver, max_iter=5000).fit(X, y)
    equal(ours, theirs, 1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_lbfgs_says_that_it_has_not_arrived():
    X, y = cancer()
    with pytest.warns(lm.ConvergenceWarning, match="after 50 steps the gradient's largest"):
        lm.LogisticRegression(C=100.0, solver="lbfgs", max_iter=50).fit(X, y)


def test_without_a_penalty():
    X, y = near_singular_classes()
    flip = np.random.default_rng(0).random(len(y)) < 0.2  # no plane separates these
    y = y ^ flip
    X = np.delete(X, [1, 5], axis=1)
    theirs = sk.LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(X, y)
    equal(lm.LogisticRegression(C=float("inf")).fit(X, y), theirs, 1e-6)


def test_softmax_regression_of_two_classes_is_logistic_regression_at_twice_its_c():
    X, y = scaled_cancer()
    one = lm.LogisticRegression(C=2.0).fit(X, y)
    two = lm.SoftmaxRegression(C=1.0).fit(X, y)
    assert two.coef_.shape == (2, X.shape[1])
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X), atol=1e-9)
    np.testing.assert_allclose(two.coef_[1] - two.coef_[0], one.coef_[0], atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"degree": 3}, {"degree": (2, 3)}, {"degree": 0},
                                     {"interaction_only": True, "degree": 3},
                                     {"include_bias": False}])  # fmt: skip
def test_polynomial_features(options):
    theirs = pytest.importorskip("sklearn.preprocessing").PolynomialFeatures(**options)
    X = np.random.default_rng(0).standard_normal((7, 3))
    ours = lm.PolynomialFeatures(**options)
    np.testing.assert_allclose(ours.fit_transform(X), theirs.fit_transform(X), rtol=1e-13)
    np.testing.assert_array_equal(ours.powers_, theirs.powers_)
    np.testing.assert_array_equal(ours.get_feature_names_out(), theirs.get_feature_names_out())


def test_in_a_pipeline_and_a_search():
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = cancer()
    pipe = make_pipeline(StandardScaler(), lm.LogisticRegression())
    search = GridSearchCV(pipe, {"logisticregression__C": [0.01, 1.0]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.96
    assert clone(lm.Ridge(alpha=3.0)).alpha == 3.0

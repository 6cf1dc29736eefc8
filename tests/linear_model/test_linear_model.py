"""Linear models: the texts' numbers, descent and its stops, and the same answers everywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import nnx
from nnx import linear_model as lm

# Liu 1.7: kilometres, weekday, minutes.
COMMUTE = np.asarray([[2.7, 1], [4.1, 1], [1.0, 0], [5.2, 1], [2.8, 0]])
MINUTES = np.asarray([25.0, 33, 15, 45, 22])
BEST = [6.08613445378149, 6.53361344537816, 2.11274509803922]

# Liu 5, exercises I.6 to I.10.
POINTS = np.asarray(
    [
        [-0.5, -1, 0.5, -0.2, -0.8, -0.15, -1, 0],
        [0.25, -0.1, 0, -0.3, 0, -0.5, 0, -0.25],
        [-0.8, -0.1, 0.25, 0.2, -0.8, 0.05, -1, 0.25],
        [-1, -1, 0.1, 0, -1, -0.25, -1, 0.1],
    ]
).T
SIGNS = np.asarray([1, 1, -1, -1, 1, -1, 1, -1])


# ---- the texts ----


def test_commuting_in_closed_form():
    """Liu 1.7; b is the weight of a feature of ones there."""
    X = np.concatenate([COMMUTE, np.ones((5, 1))], axis=1)
    model = lm.LinearRegression(fit_intercept=False).fit(X, MINUTES)
    # The text's order is distance, weekday, b: it solves the same normal equations.
    other = lm.LinearRegression().fit(COMMUTE, MINUTES)
    np.testing.assert_allclose([*other.coef_, other.intercept_], model.coef_, rtol=1e-12)
    np.testing.assert_allclose(
        model.predict(X),
        [25.8396358543418, 34.9866946778712, 12.6197478991597, 42.1736694677872, 24.3802521008403],
        rtol=1e-12,
    )
    np.testing.assert_allclose(sorted(model.coef_), sorted(BEST), rtol=1e-12)


def test_commuting_by_descent():
    model = lm.LinearRegression(solver="gd", tol=1e-13, max_iter=100_000).fit(COMMUTE, MINUTES)
    exact = lm.LinearRegression().fit(COMMUTE, MINUTES)
    np.testing.assert_allclose(model.coef_, exact.coef_, rtol=1e-10)
    assert model.intercept_ == pytest.approx(exact.intercept_, rel=1e-10)


def test_ridge_with_the_means_of_the_texts():
    """Liu 1.9: (XᵀX/n + λ)⁻¹ Xᵀy/n is α = n λ; Wang's penalty λ |w|² is α = 2 n λ."""
    X, n, lam = np.concatenate([COMMUTE, np.ones((5, 1))], axis=1), 5, 0.1
    liu = np.linalg.solve(X.T @ X / n + lam * np.eye(3), X.T @ MINUTES / n)
    model = lm.Ridge(alpha=n * lam, fit_intercept=False).fit(X, MINUTES)
    np.testing.assert_allclose(model.coef_, liu, rtol=1e-12)
    wang = lm.Ridge(alpha=2 * n * lam, fit_intercept=False).fit(X, MINUTES).coef_
    slope = X.T @ (X @ wang - MINUTES) / n + 2 * lam * wang  # of 1/(2n) |y - Xw|² + λ |w|²
    np.testing.assert_allclose(slope, 0, atol=1e-12)


@pytest.mark.parametrize(
    "options, answer",
    [
        ({"solver": "gd", "eta0": 0.5, "max_iter": 25}, [-0.527, 1.220, -1.047, -0.445]),  # I.6
        ({"solver": "sgd", "eta0": 0.1, "max_iter": 10}, [-0.469, 0.890, -0.799, -0.449]),  # I.7
    ],
)
def test_exercises_by_descent(options, answer):
    model = lm.MarginClassifier(
        loss="squared_hinge",
        alpha=0.0,
        fit_intercept=False,
        learning_rate="constant",
        sampling="in_order",
        stop=None,
        keep_path=True,
        **options,
    ).fit(POINTS, SIGNS)
    np.testing.assert_allclose(model.coef_[0], answer, atol=5e-4)
    assert model.path_.shape == (model.t_ + 1, 4)
    np.testing.assert_array_equal(model.path_[0], 0)
    np.testing.assert_array_equal(model.path_[-1], model.coef_[0])


def test_exercise_of_the_perceptron():
    """Liu 5 I.10: once through the samples in order."""
    model = lm.Perceptron(eta0=1.0, fit_intercept=False, max_iter=1, keep_path=True)
    model.fit(POINTS, SIGNS)
    np.testing.assert_allclose(model.path_[-1], [-0.35, 0.75, -0.85, -0.75], atol=1e-12)


# ---- the perceptron ----

GATES = np.asarray([[0.0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize("order", ["cyclic", "first", "random"])
@pytest.mark.parametrize("outputs", [[0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0]])
def test_the_perceptron_learns_what_a_line_separates(outputs, order):
    model = lm.Perceptron(order=order, random_state=0).fit(GATES, outputs)
    assert model.separated_ and model.score(GATES, outputs) == 1.0
    assert model.predict(GATES).tolist() == outputs


def test_the_perceptron_says_that_xor_is_not_separated():
    model = lm.Perceptron(max_iter=100)
    with pytest.warns(lm.ConvergenceWarning, match="after 100 passes [1-4] of 4 samples"):
        model.fit(GATES, [0, 1, 1, 0])
    assert not model.separated_ and model.n_iter_ == 100


@pytest.mark.parametrize("order", ["cyclic", "first"])
def test_the_updates_are_those_of_one_sample_after_the_other(order):
    """Written out: the first mistake moves w; "first" starts again, "cyclic" goes on."""
    rng = np.random.default_rng(3)
    X = rng.uniform(-1, 1, (60, 3))
    side = 2 * X[:, 0] - 0.9 * X[:, 1] + X[:, 2] - 0.2
    X, side = X[np.abs(side) > 0.1], side[np.abs(side) > 0.1]
    t = np.sign(side)
    A = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    w = np.zeros(4)
    path = [w]
    k, clean = 0, 0
    while clean < len(A):
        if t[k] * (w @ A[k]) <= 0:
            w = w + 0.3 * t[k] * A[k]
            path.append(w)
            k, clean = (0, 0) if order == "first" else ((k + 1) % len(A), 0)
        else:
            k, clean = (k + 1) % len(A), clean + 1
    model = lm.Perceptron(eta0=0.3, order=order, keep_path=True).fit(X, t)
    np.testing.assert_allclose(model.path_, path, atol=1e-13)
    assert model.t_ == len(path) - 1 > 10


def test_many_classes_one_against_the_rest():
    rng = np.random.default_rng(0)
    centres = np.asarray([[0, 5.0], [5, -3], [-5, -3]])
    X = np.concatenate([c + rng.standard_normal((30, 2)) for c in centres])
    y = np.repeat(["red", "green", "blue"], 30)
    for model in (lm.Perceptron(), lm.MarginClassifier(tol=0.01), lm.SoftmaxRegression()):
        model.fit(X, y)
        assert model.coef_.shape == (3, 2) and model.intercept_.shape == (3,)
        assert model.classes_.tolist() == ["blue", "green", "red"]
        assert model.score(X, y) > 0.98
        assert set(model.predict(X)) == {"red", "green", "blue"}


# ---- descent ----


@pytest.mark.parametrize(
    "rate, sizes",
    [
        ("constant", [0.06, 0.06, 0.06, 0.06]),
        ("inverse_sqrt", 0.06 / np.sqrt([1, 2, 3, 4])),
        ("inverse", 0.06 / np.asarray([1, 2, 3, 4])),
        ([0.05, 0.02, 0.01], [0.05, 0.02, 0.01, 0.01]),
    ],
)
def test_step_sizes(rate, sizes):
    model = lm.LinearRegression(
        solver="gd", eta0=0.06, learning_rate=rate, stop=None, max_iter=4, keep_path=True
    ).fit(COMMUTE, MINUTES)
    A = np.concatenate([COMMUTE, np.ones((5, 1))], axis=1)
    w = np.zeros(3)
    for t, eta in enumerate(sizes):
        np.testing.assert_allclose(model.path_[t], w, atol=1e-12)
        w = w - eta * A.T @ (A @ w - MINUTES) / 5
    np.testing.assert_allclose(model.path_[4], w, atol=1e-12)


@pytest.mark.parametrize("sampling", ["shuffled", "with_replacement", "in_order"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_sampling(sampling, size):
    """Which samples a step used can be read off its length: each has a gradient of its own."""
    X, y = np.eye(6), np.arange(1.0, 7)
    model = lm.LinearRegression(
        solver="minibatch", fit_intercept=False, batch_size=size, sampling=sampling, eta0=1e-9,
        learning_rate="constant", stop=None, max_iter=50, random_state=0, keep_path=True,
    ).fit(X, y)  # fmt: skip
    steps = np.diff(model.path_, axis=0) * size / 1e-9  # (steps, 6): counts times y
    counts = np.round(steps / y).astype(int)
    assert (counts.sum(axis=1) == size).all() and model.t_ == 50 * 6 // size
    passes = counts.reshape(50, -1, 6).sum(axis=1)
    assert (passes == 1).all() == (sampling != "with_replacement")
    orders = {tuple(map(tuple, p)) for p in counts.reshape(50, -1, 6)}
    assert (len(orders) == 1) == (sampling == "in_order")


def test_stopping_on_the_step_or_on_the_gradient():
    """Liu 2.2.1 stops where |ΔW| < 0.02: in stochastic descent far from the minimum."""
    options = {"solver": "minibatch", "eta0": 0.06, "batch_size": 2, "random_state": 0}
    early = lm.LinearRegression(stop="step", tol=0.02, keep_path=True, **options)
    early.fit(COMMUTE, MINUTES)
    steps = np.linalg.norm(np.diff(early.path_, axis=0), axis=1)
    assert steps[-1] < 0.02 and (steps[:-1] >= 0.02).all()
    exact = lm.LinearRegression().fit(COMMUTE, MINUTES)
    assert abs(early.coef_ - exact.coef_).max() > 0.1
    late = lm.LinearRegression(solver="gd", stop="gradient", tol=1e-3, max_iter=10_000)
    late.fit(COMMUTE, MINUTES)
    A = np.concatenate([COMMUTE, np.ones((5, 1))], axis=1)
    w = np.asarray([*late.coef_, late.intercept_])
    assert np.linalg.norm(A.T @ (A @ w - MINUTES) / 5) <= 1e-3
    with pytest.warns(lm.ConvergenceWarning, match=r"after 3 passes \(3 steps\) the gradient"):
        lm.LinearRegression(solver="gd", max_iter=3).fit(COMMUTE, MINUTES)


def test_steps_that_are_too_long_are_named():
    model = lm.LinearRegression(solver="gd", eta0=10.0)
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match="the steps are too long"),
    ):
        model.fit(COMMUTE, MINUTES)


def test_starting_somewhere():
    model = lm.LinearRegression(solver="gd", stop=None, max_iter=1, eta0=0.0, keep_path=True)
    model.fit(COMMUTE, MINUTES, coef_init=[1.0, 2.0], intercept_init=3.0)
    np.testing.assert_array_equal(model.path_, [[1, 2, 3], [1, 2, 3]])
    with pytest.raises(ValueError, match=r"coef_init must have 2 elements \(1 x 2\)"):
        model.fit(COMMUTE, MINUTES, coef_init=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="belong to descent"):
        lm.LinearRegression().fit(COMMUTE, MINUTES, coef_init=[1.0, 2.0])


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_a_margin_step_is_the_gradient_of_the_loss(loss):
    """One step against the tape's gradient of the same loss."""
    rng = np.random.default_rng(0)
    X, t = rng.standard_normal((20, 3)), np.where(rng.random(20) < 0.5, -1.0, 1.0)
    model = lm.MarginClassifier(
        loss=loss, alpha=0.3, eta0=1.0, learning_rate="constant", max_iter=1, stop=None
    )
    start, b = rng.standard_normal(3), 0.2
    model.fit(X, t, coef_init=start, intercept_init=b)
    w = nnx.Tensor(start, requires_grad=True)
    score = nnx.Tensor(X) @ w + b
    F = nnx.functional
    value = (
        F.soft_margin_loss(score, nnx.Tensor(t))
        if loss == "logistic"
        else F.hinge_loss(score, nnx.Tensor(t), squared=loss == "squared_hinge")
    ) + 0.15 * (w * w).sum()
    value.backward()
    np.testing.assert_allclose(model.coef_[0], start - w.grad, rtol=1e-12)


def test_logistic_descent_reaches_the_minimum():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 3))
    y = (X @ [1.0, -2, 0.5] + rng.standard_normal(80) > 0).astype(int)
    exact = lm.LogisticRegression(C=0.5).fit(X, y)
    model = lm.LogisticRegression(C=0.5, solver="gd", tol=1e-9, max_iter=20_000).fit(X, y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-6)
    path = lm.LogisticRegression(C=0.5, keep_path=True).fit(X, y)
    assert path.path_.shape == (path.t_ + 1, 4)
    np.testing.assert_allclose(path.path_[-1], [*exact.coef_[0], exact.intercept_[0]], rtol=1e-12)


def test_separable_classes_without_a_penalty_have_no_minimum():
    with pytest.warns(lm.ConvergenceWarning, match="a plane separates have no minimum"):
        lm.LogisticRegression(C=float("inf"), solver="newton", max_iter=8).fit(GATES, [0, 0, 0, 1])


# ---- every array library ----

KINDS = [
    lm.LinearRegression(),
    lm.LinearRegression(solver="gd", max_iter=3000),
    lm.LinearRegression(solver="minibatch", stop=None, max_iter=20, random_state=0, batch_size=4),
    lm.Ridge(2.0),
    lm.Lasso(0.05),
    lm.ElasticNet(0.05),
    lm.Perceptron(),
    lm.LogisticRegression(),
    lm.LogisticRegression(solver="lbfgs"),
    lm.SoftmaxRegression(),
    lm.MarginClassifier(alpha=0.1),
]


@pytest.fixture
def decompositions(backend, monkeypatch):
    """CuPy's decompositions are cuSOLVER's and need a device: in host memory NumPy makes them."""
    if backend.kind == "cupy-on-cpu":
        for name in ("svd", "svdvals", "qr", "eigh"):

            def by_numpy(x, name=name, **options):
                found = getattr(np.linalg, name)(backend.to_numpy(x), **options)
                if name == "svdvals":
                    return backend.asarray(found)
                return tuple(backend.asarray(part) for part in found)

            monkeypatch.setattr(backend.xp.linalg, name, by_numpy)


@pytest.mark.parametrize("model", KINDS, ids=repr)
@pytest.mark.usefixtures("decompositions")
def test_the_same_answers_on_every_library(backend, model):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((24, 3))
    scores = X @ [2.0, -1.0, 0.3] + 0.5
    X = X + np.sign(scores)[:, None] * [0.2, -0.1, 0.03]  # a gap between the classes
    targets = scores if model.kind == "regressor" else (scores > 0).astype(int)
    model.fit(X, targets)  # on NumPy, in float64
    other = type(model)(**model.get_params())
    there, y = backend.asarray(X), backend.asarray(targets)
    kept = backend.to_numpy(there).copy()
    single = not backend.float64
    if single and hasattr(other, "tol"):
        other.tol = 1e-4 if getattr(other, "solver", "") == "gd" else other.tol
    other.fit(there, y)
    for value in (other.coef_, other.predict(there)):
        assert type(value) is type(there)
    assert other.coef_.dtype == there.dtype
    tolerance = 2e-3 if single else 1e-8
    np.testing.assert_allclose(backend.to_numpy(other.coef_), model.coef_, atol=tolerance)
    np.testing.assert_allclose(
        backend.to_numpy(other.predict(there)), model.predict(X), atol=tolerance
    )
    assert other.score(there, y) == pytest.approx(model.score(X, targets), abs=tolerance)
    np.testing.assert_array_equal(backend.to_numpy(there), kept)
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(
            backend.to_numpy(other.predict_proba(there)), model.predict_proba(X), atol=tolerance
        )


def test_polynomials_on_every_library(backend):
    X = np.random.default_rng(0).standard_normal((4, 2)).astype("f4")
    products = lm.PolynomialFeatures(2).fit_transform(backend.asarray(X))
    a, b = X.T
    np.testing.assert_allclose(
        backend.to_numpy(products), np.stack([a * 0 + 1, a, b, a * a, a * b, b * b], 1), rtol=1e-6
    )


def test_float32_stays_float32_and_tensors_are_taken():
    X, y = nnx.tensor(COMMUTE.astype("f4")), nnx.tensor(MINUTES.astype("f4"))
    for model in (lm.LinearRegression(), lm.Ridge(), lm.Lasso(0.1)):
        model.fit(X, y)
        assert model.coef_.dtype == np.float32 and model.predict(X).dtype == np.float32
    with pytest.warns(lm.ConvergenceWarning):
        model = lm.MarginClassifier(max_iter=2).fit(X, nnx.tensor([1, 1, -1, 1, -1]))
    assert model.coef_.dtype == np.float32


# ---- manners ----


def test_parameters_are_kept_as_given_and_checked_in_fit():
    model = lm.Ridge(alpha=-1.0)
    assert model.get_params()["alpha"] == -1.0 and repr(model) == "Ridge(alpha=-1.0)"
    with pytest.raises(ValueError, match="alpha must be a number of at least 0"):
        model.fit(COMMUTE, MINUTES)
    with pytest.raises(ValueError, match="Invalid parameter 'beta' for estimator Ridge"):
        model.set_params(beta=1)
    with pytest.raises(ValueError, match=r"solver must be one of 'svd', 'gd', .* got 'newton'"):
        lm.LinearRegression(solver="newton").fit(COMMUTE, MINUTES)
    with pytest.raises(ValueError, match="C must be above 0"):
        lm.LogisticRegression(C=0).fit(COMMUTE, [0, 1, 0, 1, 0])


def test_errors_say_the_rule_and_the_shapes():
    model = lm.LinearRegression()
    with pytest.raises(lm.NotFittedError, match="LinearRegression instance is not fitted yet"):
        model.predict(COMMUTE)
    model.fit(COMMUTE, MINUTES)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 2 .* \(4, 3\)"):
        model.predict(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[5, 4\]"):
        model.fit(COMMUTE, MINUTES[:4])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(COMMUTE * np.nan, MINUTES)
    with pytest.raises(ValueError, match="only one class: 1"):
        lm.Perceptron().fit(COMMUTE, [1] * 5)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        lm.LogisticRegression().fit(COMMUTE, MINUTES + 0.5)


def test_a_data_frames_names_are_remembered():
    class Frame:
        """As much of a data frame as is looked at."""

        def __init__(self, values, columns):
            self.values, self.columns = values, columns

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.values, dtype)

    model = lm.LinearRegression().fit(Frame(COMMUTE, ["km", "weekday"]), MINUTES)
    assert model.feature_names_in_.tolist() == ["km", "weekday"]
    with pytest.raises(ValueError, match=r"should match .* fit \['km', 'weekday'\], now"):
        model.predict(Frame(COMMUTE, ["weekday", "km"]))


def test_nothing_imports_scikit_learn():
    code = (
        "import sys, numpy as np; from nnx import linear_model as lm\n"
        "lm.LogisticRegression().fit(np.eye(4), [0, 1, 0, 1]).predict(np.eye(4))\n"
        "assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

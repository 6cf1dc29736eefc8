"""Networks among scikit-learn's tools: its checks, its searches, its numbers; and without it."""

from __future__ import annotations

import importlib.util
import os
import pickle
import subprocess
import sys
import warnings
from itertools import pairwise

import numpy as np
import pytest

import nnx
from nnx import nn
from nnx.sklearn import NNClassifier, NNRegressor

FEW = {"max_iter": 30, "random_state": 0}


def blobs(n=90, p=4, k=3, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    centres = 3 * rng.standard_normal((k, p))
    return (centres[y] + rng.standard_normal((n, p))).astype(dtype), y


def plane(n=80, p=3, k=1, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    y = X @ rng.standard_normal((p, k)) + 0.1 * rng.standard_normal((n, k))
    return X, y[:, 0] if k == 1 else y


@pytest.fixture(autouse=True)
def few_epochs():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "NN.*after max_iter")
        yield


def named(*names):
    def make(features, classes):
        sizes = [features, *names, classes]
        return nn.Sequential(*[nn.Linear(a, b) for a, b in pairwise(sizes)])

    return make


# ---- scikit-learn's own checks ----


@pytest.mark.ci
@pytest.mark.parametrize("model", [NNClassifier(), NNRegressor()], ids=repr)
def test_check_estimator(model):
    """All of scikit-learn's checks, none expected to fail."""
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = checks.check_estimator(model, on_skip=None, on_fail=None)
    assert len(results) > 50
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed
    skipped = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "skipped"}
    skipped.pop("check_array_api_input", None)  # the next test runs it
    if importlib.util.find_spec("pandas") is None:  # its frames: scikit-learn says so itself
        skipped = {check: why for check, why in skipped.items() if "pandas" not in why}
    assert not skipped


ARRAY_CHECKS = """
import warnings
warnings.simplefilter("ignore")
from sklearn.utils import estimator_checks as checks
from nnx.sklearn import NNClassifier, NNRegressor
for kind in (NNClassifier, NNRegressor):
    for library, device, dtype in (
        ("numpy", None, None),
        ("array_api_strict", "device1", "float32"),
        ("torch", "cpu", "float64"),
        ("torch", "cpu", "float32"),
    ):
        try:
            __import__(library)
        except ImportError:
            continue
        name = kind.__name__
        checks.check_array_api_input(name, kind(max_iter=5), library, device, dtype)
        print(name, library)
"""


@pytest.mark.ci
def test_scikit_learn_s_checks_of_array_libraries():
    pytest.importorskip("sklearn")
    pytest.importorskip("array_api_strict")
    done = subprocess.run(
        [sys.executable, "-c", ARRAY_CHECKS],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "NNRegressor array_api_strict" in done.stdout


@pytest.mark.ci
@pytest.mark.parametrize("name", ["digits", "wine", "breast_cancer"])
def test_as_accurate_as_scikit_learn_s(name):
    """In five folds of scaled features: within 0.02 of MLPClassifier."""
    datasets = pytest.importorskip("sklearn.datasets")
    from sklearn.model_selection import cross_val_score
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "digits":
        X, y = X[:900], y[:900]
    ours, theirs = (
        cross_val_score(make_pipeline(StandardScaler(), kind(random_state=0, max_iter=60)), X, y)
        for kind in (NNClassifier, _quiet(MLPClassifier))
    )
    assert abs(ours.mean() - theirs.mean()) <= 0.02


def _quiet(kind):
    from sklearn.exceptions import ConvergenceWarning

    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    return kind


def test_pipelines_searches_and_clones():
    pytest.importorskip("sklearn")
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = blobs()
    fast = NNClassifier(learning_rate_init=0.02, **FEW)
    pipe = make_pipeline(StandardScaler(), fast)
    grid = {"nnclassifier__hidden_layer_sizes": [(4,), (16, 8)]}
    search = GridSearchCV(pipe, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.8 and search.predict(X).shape == (90,)
    modules = {"module": [named(4), nn.Sequential(nn.Linear(4, 3))]}
    search = GridSearchCV(fast, modules, cv=2).fit(X, y, sample_weight=np.ones(90))
    assert search.best_score_ > 0.5
    model = clone(NNClassifier(module=nn.Linear(4, 3), alpha=0.5))
    assert model.alpha == 0.5 and isinstance(model.module, nn.Linear)


@pytest.mark.ci
def test_searches_in_several_processes():
    pytest.importorskip("sklearn")
    from scipy.stats import loguniform
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

    X, y = blobs()
    model = NNClassifier(learning_rate_init=0.02, **FEW)
    grid = {"hidden_layer_sizes": [(4,), (16, 8)], "module": [None, named(5)]}
    one, two = (GridSearchCV(model, grid, cv=3, n_jobs=n).fit(X, y) for n in (1, 2))
    scores = [search.cv_results_["mean_test_score"] for search in (one, two)]
    np.testing.assert_array_equal(*scores)
    assert two.best_score_ > 0.8
    spread = {"alpha": loguniform(1e-5, 1)}
    search = RandomizedSearchCV(NNRegressor(**FEW), spread, n_iter=3, cv=2, n_jobs=2)
    assert np.all(np.isfinite(search.fit(*plane()).cv_results_["mean_test_score"]))


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_the_numbers_of_scikit_learn_s_network(kind):
    """From the same weights, in full batches: the same losses, and the same predictions."""
    networks = pytest.importorskip("sklearn.neural_network")
    X, y = plane(k=2) if kind == "numbers" else blobs()
    y = (X[:, :2] > 0).astype(int) if kind == "labels" else y
    own, other = (
        (NNRegressor, networks.MLPRegressor)
        if kind == "numbers"
        else (NNClassifier, networks.MLPClassifier)
    )
    options = {"alpha": 0.1, "learning_rate_init": 0.1}
    options |= {"hidden_layer_sizes": (5,), "activation": "tanh", "random_state": 0}
    theirs = other(solver="sgd", momentum=0.0, **options)
    first = {} if kind == "numbers" else {"classes": np.unique(y)}
    theirs.partial_fit(X, y, **first)
    outputs = theirs.n_outputs_
    module = nn.Sequential(nn.Linear(X.shape[1], 5), nn.Tanh(), nn.Linear(5, outputs))
    for layer, w, b in zip(module[::2], theirs.coefs_, theirs.intercepts_, strict=True):
        layer.weight.data, layer.bias.data = np.array(w.T), np.array(b)
    ours = own(module=module, solver=lambda p: nnx.optim.SGD(p, lr=0.1), alpha=0.1)
    for _ in range(20):
        theirs.partial_fit(X, y)
        ours.partial_fit(X, y, **first)
    if kind != "numbers":  # scikit-learn shows the mean over the targets, and minimises the sum
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_[1:], rtol=1e-9)
    method = "predict" if kind == "numbers" else "predict_proba"
    np.testing.assert_allclose(getattr(ours, method)(X), getattr(theirs, method)(X), rtol=1e-9)


# ---- what needs scikit-learn for nothing ----


def test_it_learns_without_scikit_learn():
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import numpy as np, nnx\n"
        "X = np.random.default_rng(0).standard_normal((60, 2)); y = X[:, 0] > 0\n"
        "m = nnx.sklearn.NNClassifier(learning_rate_init=0.05, max_iter=100, tol=0, "
        "n_iter_no_change=100, random_state=0).fit(X, y)\n"
        "assert m.score(X, y) > 0.9, m.score(X, y)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_the_answer_lives_where_the_input_lives(backend, kind):
    X, y = plane(k=2) if kind == "numbers" else blobs(dtype="float32")
    y = (X[:, :2] > 0).astype("int64") if kind == "labels" else y
    x, t = backend.asarray(X, "float32"), backend.asarray(y)
    make = NNRegressor if kind == "numbers" else NNClassifier
    model = make((6,), max_iter=4, random_state=0, early_stopping=kind == "classes").fit(x, t)
    like = NNRegressor if kind == "numbers" else NNClassifier
    plain = like((6,), max_iter=4, random_state=0, early_stopping=kind == "classes").fit(
        X.astype("float32"), y
    )
    methods = (
        ["predict"] if kind == "numbers" else ["predict", "predict_proba", "decision_function"]
    )
    for method in methods:
        found = getattr(model, method)(x)
        assert type(found) is type(x) and found.device == x.device
        assert method == "predict" or found.dtype == x.dtype
        wanted = getattr(plain, method)(X.astype("float32"))
        np.testing.assert_allclose(backend.to_numpy(found), wanted, rtol=1e-4, atol=1e-5)
        elsewhere = getattr(plain, method)(x)  # learnt on NumPy, asked from here; and back
        assert type(elsewhere) is type(x) and elsewhere.device == x.device
        assert isinstance(getattr(model, method)(X), np.ndarray)


def test_learning_goes_on_with_samples_from_elsewhere(backend):
    X, y = blobs()
    model = NNClassifier(max_iter=1, random_state=0).partial_fit(X, y, [0, 1, 2])
    model.partial_fit(backend.asarray(X, "float32"), backend.asarray(y))
    assert isinstance(model.predict(X), np.ndarray) and model.n_iter_ == 2
    numbers = NNRegressor(max_iter=1).partial_fit(backend.asarray(X, "float32"), X[:, :2])
    numbers.partial_fit(X, backend.asarray(X[:, :2], "float32"), np.ones(90))
    assert numbers.predict(X).shape == (90, 2)


def test_weights_count_as_repetitions():
    X, y = blobs(40)
    w = np.random.default_rng(1).integers(0, 4, 40)
    for model, t in ((NNClassifier(**FEW), y), (NNRegressor(**FEW), X[:, :2])):
        weighted = model.fit(X, t, sample_weight=w)
        one = np.asarray(getattr(weighted, "predict_proba", weighted.predict)(X))
        repeated = model.fit(np.repeat(X, w, axis=0), np.repeat(t, w, axis=0))
        two = getattr(repeated, "predict_proba", repeated.predict)(X)
        np.testing.assert_allclose(one, two, rtol=1e-8)


def test_class_weights():
    X, y = blobs(60, k=2)
    X = X + np.random.default_rng(2).standard_normal(X.shape) * 4
    few = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:4]]
    shares = [
        np.mean(NNClassifier(class_weight=c, **FEW).fit(X[few], y[few]).predict(X) == 1)
        for c in (None, "balanced", {1: 1000.0})
    ]
    assert shares[0] < shares[1] < shares[2]
    own = NNClassifier(**FEW).fit(X, y, sample_weight=np.where(y == 1, 3.0, 1.0))
    same = NNClassifier(class_weight={1: 3.0}, **FEW).fit(X, y)
    np.testing.assert_array_equal(own.predict_proba(X), same.predict_proba(X))
    for wrong, why in (({7: 1.0}, "none of"), ("heavy", "must be None, 'balanced'")):
        with pytest.raises(ValueError, match=why):
            NNClassifier(class_weight=wrong).fit(X, y)


def test_partial_fit_is_an_epoch():
    X, y = blobs(250)
    whole = NNClassifier(max_iter=3, random_state=0).fit(X, y)
    parts = NNClassifier(random_state=0)
    for _ in range(3):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(whole.predict_proba(X), parts.predict_proba(X))
    parts.partial_fit(X[:5], np.zeros(5, int))  # classes that are not in a part are still there
    assert parts.predict_proba(X).shape == (250, 3)
    for y_wrong, classes, why in (
        ([7] * 5, None, "new labels"),
        ([0] * 5, [0, 1], "at the first call"),
    ):
        with pytest.raises(ValueError, match=why):
            parts.partial_fit(X[:5], y_wrong, classes)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        NNClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="mean nothing to it"):
        NNClassifier(early_stopping=True).partial_fit(X, y, [0, 1, 2])
    regressor = NNRegressor(random_state=0).partial_fit(*plane()).partial_fit(*plane())
    assert regressor.n_iter_ == 2
    with pytest.raises(ValueError, match="y has 2 targets, before it had 1"):
        regressor.partial_fit(*plane(k=2))


def test_early_stopping_keeps_the_best():
    X, y = blobs(200)
    y = np.where(np.random.default_rng(3).random(200) < 0.3, 0, y)
    model = NNClassifier(
        (64,), early_stopping=True, max_iter=300, learning_rate_init=0.02, random_state=0
    ).fit(X, y)
    scores = model.validation_scores_
    assert model.n_iter_ == len(scores) < 300
    assert model.best_validation_score_ == max(scores)
    last = scores.index(max(scores))
    assert len(scores) - last > model.n_iter_no_change
    again = NNClassifier(
        (64,), early_stopping=True, max_iter=last + 1, learning_rate_init=0.02, random_state=0
    ).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


def test_the_same_seed_gives_the_same_network():
    X, y = blobs()
    one, two, three = (
        NNClassifier(max_iter=3, random_state=s).fit(X, y).predict_proba(X)
        for s in (3, nnx.random.Generator(3), 4)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, three)
    state = np.random.RandomState(1)
    first, second = (NNClassifier(max_iter=3, random_state=state).fit(X, y) for _ in range(2))
    assert not np.array_equal(first.predict_proba(X), second.predict_proba(X))
    before = nnx.random.default_generator().state()
    NNClassifier(max_iter=1, random_state=0).fit(X, y)
    assert nnx.random.default_generator().state() == before
    free = [NNClassifier(max_iter=1).fit(X, y).predict_proba(X) for _ in range(2)]
    assert not np.array_equal(*free)


def test_pickles_go_on():
    X, y = blobs()
    model = NNClassifier(max_iter=3, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    model.partial_fit(X, y)
    again.partial_fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), again.predict_proba(X))


def test_several_labels_and_several_targets():
    X, _ = blobs(120)
    y = (X[:, :3] > 0).astype(int)
    model = NNClassifier(max_iter=200, learning_rate_init=0.02, random_state=0).fit(X, y)
    assert model.predict(X).shape == y.shape and model.score(X, y) > 0.9
    p = model.predict_proba(X)
    assert p.shape == y.shape and np.all((p > 0.5) == model.predict(X))
    with pytest.raises(ValueError, match="multiclass-multioutput"):
        NNClassifier().fit(X, y + np.arange(3))
    X, y = plane(k=2)
    model = NNRegressor(max_iter=300, learning_rate_init=0.02, random_state=0).fit(X, y)
    assert model.predict(X).shape == y.shape and model.score(X, y) > 0.9
    column = NNRegressor(max_iter=2, random_state=0).fit(X, y[:, :1])
    assert column.predict(X).shape == (80, 1)


def test_features_of_any_scale():
    """The network sees them standardized, whatever their units; a module sees what it is given."""
    X, y = blobs()
    X[:, 3] = 7.0  # does not vary
    units = np.asarray([1e-3, 1.0, 1e4, 1.0]), np.asarray([5.0, -1e3, 0.0, 0.0])
    one, two = (NNClassifier(max_iter=5, random_state=0).fit(x, y).predict_proba(x)
                for x in (X, X * units[0] + units[1]))  # fmt: skip
    np.testing.assert_allclose(one, two, rtol=1e-5)
    plain = NNClassifier(max_iter=5, random_state=0, standardize=False).fit(X, y)
    assert plain.mean_ is None and not np.allclose(plain.predict_proba(X), one)
    assert NNClassifier(module=nn.Linear(4, 3), max_iter=1).fit(X, y).mean_ is None
    w = np.r_[np.zeros(45), np.ones(45)]
    np.testing.assert_allclose(
        NNClassifier(max_iter=1).fit(X, y, w).mean_, X[45:].mean(axis=0), rtol=1e-12
    )


def test_labels_come_back_as_they_were_given():
    X, y = blobs()
    names = np.asarray(["a", "bb", "ccc"])[y]
    model = NNClassifier(learning_rate_init=0.02, **FEW).fit(X, names)
    assert model.classes_.tolist() == ["a", "bb", "ccc"] and model.score(X, names) > 0.9
    two = NNClassifier(learning_rate_init=0.02, **FEW).fit(X, y == 1)
    assert two.predict(X).dtype == bool and two.decision_function(X).shape == (90,)
    p = two.predict_proba(X)
    np.testing.assert_allclose(two.decision_function(X), np.log(p[:, 1] / p[:, 0]), rtol=1e-6)
    np.testing.assert_allclose(two.predict_log_proba(X), np.log(p), rtol=1e-9, atol=1e-12)


def test_any_module():
    X, y = blobs(p=16)
    image = nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(16, 3),
    )  # fmt: skip
    before = {name: np.array(a) for name, a in image.state_dict().items()}
    model = NNClassifier(module=image, learning_rate_init=0.02, **FEW).fit(X, y)
    assert model.score(X, y) > 0.8 and model.module_ is not image
    assert all(np.array_equal(before[name], a) for name, a in image.state_dict().items())
    np.testing.assert_allclose(model.predict_proba(X)[:5], model.predict_proba(X[:5]), rtol=1e-9)
    one = NNClassifier(module=named(1), **FEW)  # one score for two classes
    one.set_params(module=lambda features, classes: nn.Linear(features, 1)).fit(X, y > 0)
    assert one.predict_proba(X).shape == (90, 2)
    for module, why in (
        (nn.Sequential(nn.Linear(16, 3), nn.Softmax()), "leave Softmax out at its end"),
        (nn.Linear(16, 2), "must give 3 scores, one for each class; it gave 2"),
        (nn.Linear(16, 1), "must give 3 scores"),
        (nn.Unflatten(1, (4, 4)), r"must give \(n, outputs\).*it gave \(90, 4, 4\)|no parameters"),
    ):
        with pytest.raises(ValueError, match=why):
            NNClassifier(module=module, **FEW).fit(X, y)
    with pytest.raises(TypeError, match="it made int"):
        NNClassifier(module=lambda a, b: 3).fit(X, y)
    with pytest.raises(ValueError, match="must give 1 numbers"):
        NNRegressor(module=nn.Linear(16, 2), **FEW).fit(X, X[:, 0])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"activation": "swish"}, "activation must be one of"),
        ({"solver": "newton"}, "solver must be 'adam', 'sgd' or a function"),
        ({"alpha": -1}, "alpha must be a number of at least 0"),
        ({"batch_size": 0}, "batch_size must be 'auto' or at least 1"),
        ({"learning_rate_init": 0}, "learning_rate_init must be a number above 0"),
        ({"max_iter": 0}, "max_iter must be a number of at least 1"),
        ({"hidden_layer_sizes": (4, 0)}, "whole numbers above 0"),
        ({"hidden_layer_sizes": 2.5}, "whole numbers above 0"),
        ({"validation_fraction": 1.0, "early_stopping": True}, "below 1"),
        ({"random_state": "x"}, "random_state must be"),
    ],
)
def test_arguments_that_make_no_sense(options, why):
    X, y = blobs()
    with pytest.raises(ValueError, match=why):
        NNClassifier(**options).fit(X, y)


def test_warm_start_goes_on():
    X, y = blobs()
    model = NNClassifier(max_iter=2, warm_start=True, random_state=0).fit(X, y)
    first = model.module_
    model.fit(X, y)
    assert model.module_ is first and model.n_iter_ == 4
    with pytest.raises(ValueError, match="warm_start needs the classes"):
        model.fit(X, y + 5)


def test_weights_of_samples_that_make_no_sense():
    X, y = blobs()
    for wrong, why in (
        (-np.ones(90), "at least 0"),
        (np.zeros(90), "not all of them zero"),
        (np.ones(89), "inconsistent numbers of samples"),
        (np.full(90, np.nan), "NaN"),
    ):
        with pytest.raises(ValueError, match=why):
            NNClassifier().fit(X, y, sample_weight=wrong)

"""Metrics: the definition over all examples at once, whatever the batches and the library."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import nnx
from nnx import metrics
from nnx.backends import backend_of

N, C = 23, 7
BATCHES = [slice(0, 10), slice(10, 20), slice(20, 23)]  # uneven, as in every epoch


def rng():
    return np.random.default_rng(5)


def logits():
    z = rng().standard_normal((N, C)).astype(np.float32)
    return np.round(z, 0)  # rounded, so that there are ties


def classes():
    return rng().integers(0, C, N)


def fed(metric, backend, output, target):
    for part in BATCHES:
        metric.update(backend.tensor(output[part]), backend.asarray(target[part]))
    return metric.compute()


def test_accuracy(backend):
    z, t = logits(), classes()
    right = [int(np.argmax(row)) == k for row, k in zip(z, t, strict=True)]
    assert fed(metrics.Accuracy(), backend, z, t) == sum(right) / N
    assert 0 < sum(right) < N


def test_accuracy_ignores_what_it_is_told_to(backend):
    z, t = logits(), classes()
    t[::3] = -100
    right = [int(np.argmax(row)) == k for row, k in zip(z, t, strict=True) if k != -100]
    value = fed(metrics.Accuracy(ignore_index=-100), backend, z, t)
    assert value == sum(right) / len(right)


def test_accuracy_counts_every_position(backend):
    z = rng().standard_normal((N, C, 2)).astype(np.float32)
    t = rng().integers(0, C, (N, 2))
    assert fed(metrics.Accuracy(), backend, z, t) == np.mean(np.argmax(z, axis=1) == t)


@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_binary_accuracy(backend, shape):
    z = rng().standard_normal(shape).astype(np.float32)
    t = rng().integers(0, 2, shape)
    expected = np.mean((z > 0) == (t == 1))
    assert fed(metrics.BinaryAccuracy(), backend, z, t) == pytest.approx(expected)
    assert fed(metrics.BinaryAccuracy(), backend, z, t.astype(np.float32)) == pytest.approx(
        expected
    )
    p = 1 / (1 + np.exp(-z))
    assert fed(metrics.BinaryAccuracy(0.5), backend, p, t) == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 3, C, C + 1])
def test_top_k(backend, k):
    z, t = logits(), classes()
    order = np.argsort(-z, axis=1, kind="stable")  # of equals, the first class first
    right = [label in row[:k] for row, label in zip(order, t, strict=True)]
    assert fed(metrics.TopK(k), backend, z, t) == pytest.approx(np.mean(right))


def test_top_1_is_accuracy(backend):
    z, t = logits(), classes()
    assert fed(metrics.TopK(1), backend, z, t) == fed(metrics.Accuracy(), backend, z, t)


def test_nan_is_never_a_right_answer(backend):
    z, t = np.full((N, C), np.nan, np.float32), classes()
    assert fed(metrics.TopK(3), backend, z, t) == 0.0


def test_mse_and_mae(backend):
    y = rng().standard_normal((N, 3)).astype(np.float32)
    t = y + rng().standard_normal((N, 3)).astype(np.float32) ** 2
    d = (y - t).astype(np.float64)
    assert fed(metrics.MSE(), backend, y, t) == pytest.approx(np.mean(d**2), rel=1e-6)
    assert fed(metrics.MAE(), backend, y, t) == pytest.approx(np.mean(np.abs(d)), rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_r2(backend, offset):
    """Also where the mean is large against the spread, which the textbook formula cannot do."""
    t = (rng().standard_normal((N, 2)) + offset).astype(np.float32)
    y = t + 0.3 * rng().standard_normal((N, 2)).astype(np.float32)
    t64, y64 = t.astype(np.float64), y.astype(np.float64)
    expected = np.mean(1 - ((t64 - y64) ** 2).sum(0) / ((t64 - t64.mean(0)) ** 2).sum(0))
    value = fed(metrics.R2(), backend, y, t)
    assert value == pytest.approx(expected, abs=1e-6 if offset == 0 else 1e-3)
    assert expected < 0.95


def test_r2_of_equal_targets_is_one_only_for_the_exact_answer(backend):
    t = np.ones((N, 2), np.float32)
    y = t.copy()
    assert fed(metrics.R2(), backend, y, t) == 1.0
    y[4, 1] = 2
    assert fed(metrics.R2(), backend, y, t) == 0.5


def test_r2_agrees_with_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    t, y = rng().standard_normal((2, N, 3))
    metric = metrics.R2()
    metric.update(y, t)
    assert metric.compute() == pytest.approx(sklearn.r2_score(t, y), rel=1e-12)


def test_a_mean_weighs_batches_by_their_size(backend):
    mean = metrics.Mean()
    for value, size in ((1.0, 10), (2.0, 10), (6.0, 3)):
        mean.take(backend.asarray(np.float32(value)), size)
    assert mean.compute() == pytest.approx((10 + 20 + 18) / 23)


@pytest.mark.parametrize(
    ("values", "expected"), [((np.inf, 1.0), np.inf), ((np.inf, -np.inf), np.nan)]
)
def test_a_mean_of_what_is_not_finite(values, expected):
    mean = metrics.Mean()
    for value in values:
        mean.take(np.asarray(value), 2)
    np.testing.assert_equal(mean.compute(), expected)


def test_numbers_are_read_once_for_many_batches(backend, monkeypatch):
    reads = []

    class Spy:
        def __init__(self, *arrays):
            self.real = backend_of(*arrays)
            self.xp = self.real.xp

        def to_numpy(self, x):
            reads.append(tuple(x.shape))
            return self.real.to_numpy(x)

    monkeypatch.setattr("nnx.metrics.metric.backend_of", Spy)
    metric = metrics.MAE()
    fed(metric, backend, logits(), logits()[::-1])
    assert reads == [(len(BATCHES),)]


@pytest.mark.parametrize(
    "name", ["accuracy", "binary_accuracy", "top2", "mse", "mae", "r2", "loss"]
)
def test_state_in_the_middle_goes_through_a_file(name, tmp_path):
    from nnx.io import load_state, save_state

    def new():
        return metrics.Mean() if name == "loss" else metrics.get(name)

    def feed(metric, part):
        if name == "loss":
            metric.take(np.float32(part.start / 3), part.stop - part.start)
        elif name in ("accuracy", "top2"):
            metric.update(logits()[part], classes()[part])
        elif name == "binary_accuracy":
            metric.update(logits()[part], (logits()[::-1][part] > 0).astype("f4"))
        else:
            metric.update(logits()[part], logits()[::-1][part])

    whole, first, second = new(), new(), new()
    for part in BATCHES:
        feed(whole, part)
    feed(first, BATCHES[0])
    save_state(tmp_path / "a", first.state_dict())
    second.load_state_dict(load_state(tmp_path / "a")[0])
    for part in BATCHES[1:]:
        feed(second, part)
    assert second.compute() == whole.compute()
    assert math.isfinite(whole.compute())


def test_reset_forgets(backend):
    metric = metrics.Accuracy()
    first = fed(metric, backend, logits(), classes())
    metric.reset()
    assert math.isnan(metric.compute())
    assert fed(metric, backend, logits(), classes()) == first


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: metrics.AUC(average="micro"),
            'AUC: average must be "macro" or "weighted", got .mic',
        ),
        (lambda: metrics.F1(average="sum"), "F1: average must be .*macro.* or None, got 'sum'"),
        (lambda: metrics.TopK(0), "TopK: k must be at least 1, got 0"),
        (
            lambda: metrics.AUC().update(np.zeros((3, 2), "f4"), np.zeros((3, 2), int)),
            r"target \(N,\); output has shape \(3, 2\), target \(3, 2\)",
        ),
    ],
)
def test_options_and_shapes_that_mean_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_names_and_how_they_are_shown():
    assert metrics.get("top5").k == 5
    assert metrics.get("accuracy").show(0.97777) == "97.78%"
    assert metrics.get("mse").show(0.00123456) == "0.001235"
    assert json.dumps(metrics.get("mae").state_dict())
    with pytest.raises(ValueError, match="there is no metric 'acuracy'; there are accuracy"):
        metrics.get("acuracy")


@pytest.mark.parametrize(
    ("metric", "output", "target"),
    [
        ("accuracy", (4, 3), (3,)),
        ("accuracy", (4, 3), (4, 3)),
        ("accuracy", (4, 1), (3,)),
        ("binary_accuracy", (4, 1), (4,)),
        ("top2", (4, 3), (4, 1)),
        ("mse", (4, 1), (4,)),
        ("r2", (4, 1), (4,)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(metric, output, target):
    """(4, 1) against (4,) would broadcast to (4, 4) and give a wrong number silently."""
    with pytest.raises(ValueError) as error:
        metrics.get(metric).update(np.zeros(output, np.float32), np.zeros(target, np.int64))
    assert str(output) in str(error.value) and str(target) in str(error.value)


@pytest.mark.parametrize("dtype", ["f4", "i8", "i1"])
@pytest.mark.parametrize("name", ["accuracy", "binary_accuracy"])
@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_two_classes_by_a_single_score(backend, name, shape, dtype):
    """Targets of ±1 and of 0 and 1 are the same classes."""
    scores = np.asarray([2.0, -2.0, 3.0, -1.0], "f4").reshape(shape)
    for low in (-1, 0):
        metric = metrics.get(name)
        right = np.asarray([1, low, 1, low], dtype).reshape(shape)
        metric.update(backend.asarray(scores), backend.asarray(right))
        assert metric.compute() == 1.0
        wrong = np.asarray([low, low, low, 1], dtype).reshape(shape)
        metric.update(backend.asarray(scores), backend.asarray(wrong))
        assert metric.compute() == 5 / 8


def test_a_single_column_against_flat_class_indices():
    metric = metrics.get("accuracy")
    metric.update(np.asarray([[2.0], [-2.0], [3.0]], "f4"), np.asarray([1, 0, 0]))
    assert metric.compute() == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "targets, shown",
    [([0.0, 0.5, 1.0], "0, 0.5, 1"), ([-1.0, 0.0, 1.0], "-1, 0, 1"), ([1.0, 2.0, 1.0], "1, 2")],
)
def test_targets_of_two_classes_are_looked_at(targets, shown):
    for name in ("accuracy", "binary_accuracy"):
        with pytest.raises(ValueError, match=f"must be 0 and 1, or -1 and 1; there are {shown}"):
            metrics.get(name).update(np.zeros(3, "f4"), np.asarray(targets, "f4"))


def test_one_hot_targets_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"one-hot\) become class indices.*BinaryAccuracy"):
        metrics.get("accuracy").update(np.zeros((3, 2), "f4"), np.eye(3, 2, dtype="f4"))


def test_what_is_no_metric_is_refused():
    class Share(nnx.metrics.Metric):
        name = "share"

    layer = nnx.nn.Linear(2, 1)
    parts = (layer, nnx.nn.MSELoss(), nnx.optim.SGD(layer.parameters()))
    for wrong, what in [([len], "built-in function len"), ([Share], "the class Share"), ([3], "3")]:
        with pytest.raises(TypeError, match=rf"must be a name or a nnx\.metrics\.Metric.*{what}"):
            nnx.Trainer(*parts, metrics=wrong)
    for wrong in ("accuracy", {"share": Share()}):
        with pytest.raises(TypeError, match="metrics must be a list of metrics and names, got"):
            nnx.Trainer(*parts, metrics=wrong)

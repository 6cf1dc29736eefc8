"""Precision, recall, F1, AUC and the confusion matrix: equal to scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import metrics

sk = pytest.importorskip("sklearn.metrics")
KINDS = {
    "precision": (metrics.Precision, sk.precision_score),
    "recall": (metrics.Recall, sk.recall_score),
    "f1": (metrics.F1, sk.f1_score),
}


def drawn(n, classes, seed=0):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes - 1, n)  # the last class never occurs
    logits = rng.standard_normal((n, classes)).astype(np.float32)
    logits[:, -1] -= 9  # and is never predicted
    logits[np.arange(n), target] += 1
    return logits, target


def fed(metric, on, output, target, size=7):
    for k in range(0, len(target), size):
        metric.update(on.asarray(output[k : k + size]), on.asarray(target[k : k + size]))
    return metric


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("kind", KINDS)
def test_several_classes(backend, kind, average):
    make, theirs = KINDS[kind]
    logits, target = drawn(40, 5)
    metric = fed(make(average), backend, logits, target)
    expected = theirs(target, logits.argmax(1), average=average, zero_division=0)
    assert metric.compute() == pytest.approx(expected, abs=1e-12)
    each = theirs(target, logits.argmax(1), average=None, labels=range(5), zero_division=0)
    np.testing.assert_allclose(metric.per_class(), each, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_two_classes(backend, kind):
    make, theirs = KINDS[kind]
    rng = np.random.default_rng(1)
    score, target = rng.standard_normal(50).astype(np.float32), rng.integers(0, 2, 50)
    expected = theirs(target, score > 0.25)
    for output, right in ((score, target), (score[:, None], 2 * target - 1)):
        metric = fed(make(threshold=0.25), backend, output, right)
        assert metric.compute() == pytest.approx(expected, abs=1e-12)
    labels = fed(make("binary"), backend, (score > 0.25).astype(np.int64), target)
    assert labels.compute() == pytest.approx(expected, abs=1e-12)


def test_the_matrix(backend):
    logits, target = drawn(40, 4)
    expected = sk.confusion_matrix(target, logits.argmax(1), labels=range(4))
    for output in (logits, logits.argmax(1)):
        metric = fed(metrics.ConfusionMatrix(classes=4), backend, output, target)
        np.testing.assert_array_equal(metric.compute(), expected)
        assert metric.compute().dtype == np.int64
    grown = fed(metrics.ConfusionMatrix(), backend, target, target, size=1)
    np.testing.assert_array_equal(grown.compute(), np.diag(np.bincount(target)))
    ignoring = fed(metrics.ConfusionMatrix(ignore_index=1), backend, logits, target)
    np.testing.assert_array_equal(ignoring.compute(), expected * [[1], [0], [1], [1]])
    with pytest.raises(ValueError, match=r"1 of 2 targets or predictions are outside 0 \.\. 3"):
        fed(metrics.Recall(), backend, logits[:2], np.array([0, 4])).compute()
    with pytest.raises(ValueError, match=r"output has shape \(2, 4\), target \(3,\)"):
        metrics.F1().update(backend.asarray(logits[:2]), backend.asarray(target[:3]))


def test_auc(backend):
    rng = np.random.default_rng(2)
    score = rng.integers(0, 9, 60).astype(np.float32)  # with ties
    target = rng.integers(0, 2, 60)
    expected = sk.roc_auc_score(target, score)
    for right in (target, 2 * target - 1):
        assert fed(metrics.AUC(), backend, score, right).compute() == pytest.approx(expected)
    pair = np.stack([np.zeros_like(score), score], axis=1)
    assert fed(metrics.AUC(), backend, pair, target).compute() == pytest.approx(expected)
    logits, target = drawn(60, 4)
    logits = logits[:, :3]
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    for average in ("macro", "weighted"):
        expected = sk.roc_auc_score(target, p, multi_class="ovr", average=average)
        metric = fed(metrics.AUC(average), backend, logits, target)
        assert metric.compute() == pytest.approx(expected)
    assert np.isnan(fed(metrics.AUC(), backend, score[:3], np.ones(3, np.int64)).compute())


@pytest.mark.parametrize("make", [metrics.F1, metrics.AUC, metrics.ConfusionMatrix])
def test_state_and_merging(make, tmp_path):
    logits, target = drawn(40, 4)
    on = nnx.get_backend("numpy")
    whole = fed(make(), on, logits, target % 3)
    first, second = (fed(make(), on, logits[k], target[k] % 3) for k in (slice(20), slice(20, 40)))
    nnx.io.save_state(tmp_path / "a", first.state_dict())
    resumed = make()
    resumed.load_state_dict(nnx.io.load_state(tmp_path / "a")[0])
    resumed.merge(second.state_dict())
    np.testing.assert_equal(resumed.compute(), whole.compute())


def test_a_trainer_measures_them_by_name():
    logits, target = drawn(40, 3)
    model = nnx.nn.Linear(3, 3)
    trainer = nnx.Trainer(
        model,
        nnx.nn.CrossEntropyLoss(),
        nnx.optim.SGD(model.parameters(), lr=0.1),
        metrics=["precision", "recall", "f1", "auc"],
        progress=False,
    )
    row = trainer.fit((logits, target), (logits, target), epochs=1).rows[-1]
    guess = trainer.predict(logits).data.argmax(1)
    assert row["val_f1"] == pytest.approx(sk.f1_score(target, guess, average="macro"))
    with pytest.raises(ValueError, match="ConfusionMatrix gives no number"):
        nnx.Trainer(model, None, trainer.optimizer, metrics=[metrics.ConfusionMatrix()])


@pytest.mark.parametrize("kind", ["mse", "mae", "r2"])
def test_narrow_numbers_neither_overflow_nor_wrap_around(kind):
    y, t = np.full(3000, 200), np.arange(3000) % 150
    expected = metrics.get(kind)
    expected.update(y.astype(np.float64), t.astype(np.float64))
    for dtype in ("float16", "uint8", "int64"):
        metric = metrics.get(kind)
        metric.update(y.astype(dtype), t.astype(dtype))
        assert metric.compute() == pytest.approx(expected.compute(), rel=1e-5), dtype

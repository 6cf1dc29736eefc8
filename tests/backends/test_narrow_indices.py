"""Where a pointer has 32 bits, as in WebAssembly, NumPy takes no wider index.

Such a NumPy is made here: what finds places gives int32, and what takes them refuses more, in
NumPy's words.  Everything that indexes is then run on it.
"""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import linear_model, metrics, nn, ops, optim
from nnx.backends import kernels, override
from nnx.backends.numpy import NumpyBackend
from nnx.data import ArrayDataset, DataLoader, class_weights, random_split
from nnx.plots.mistakes import confusion

FINDS = ("argsort", "argmax", "argmin", "searchsorted", "nonzero", "flatnonzero")
TAKES = {"take": 1, "take_along_axis": 1, "repeat": 1, "put_along_axis": 1, "bincount": 0}


@pytest.fixture(params=["fast", "portable"])
def narrow(monkeypatch, request):
    """NumPy with an intp of 32 bits."""

    def finding(function):
        def found(*args, **kwargs):
            places = function(*args, **kwargs)
            several = isinstance(places, tuple)
            small = [np.asarray(p).astype(np.int32) for p in (places if several else [places])]
            return tuple(small) if several else small[0]

        return found

    def taking(function, place):
        def taken(*args, **kwargs):
            index = args[place] if len(args) > place else kwargs.get("indices", 0)
            kind = getattr(index, "dtype", np.dtype(np.int32))
            if not np.can_cast(kind, np.int32):
                raise TypeError(
                    f"Cannot cast array data from {kind!r} to dtype('int32') according to the "
                    "rule 'safe'"
                )
            return function(*args, **kwargs)

        return taken

    with (
        kernels(request.param),
        override(
            np.ndarray, nnx.get_backend("numpy") if request.param == "portable" else NumpyBackend()
        ),
    ):
        monkeypatch.setattr(np, "intp", np.int32)
        for name in FINDS:
            monkeypatch.setattr(np, name, finding(getattr(np, name)))
        for name, place in TAKES.items():
            monkeypatch.setattr(np, name, taking(getattr(np, name), place))
        monkeypatch.setattr(np, "bincount", finding(np.bincount))
        yield


def test_wide_indices_are_refused_there(narrow):
    with pytest.raises(TypeError, match="rule 'safe'"):
        np.take(np.ones(3), np.asarray([0, 1]))


def test_a_shuffled_epoch(narrow):
    x, y = np.arange(40.0, dtype="f4").reshape(20, 2), np.arange(20)
    part, _ = random_split(ArrayDataset(x, y), [15, 5], seed=1)
    for data in (ArrayDataset(x, y), part):
        loader = DataLoader(data, batch_size=4, shuffle=True)
        seen = np.concatenate([b.numpy() for _, b in loader])
        assert len(set(seen.tolist())) == len(data) and sorted(seen.tolist()) != seen.tolist()


def test_operations_that_index(narrow):
    x = nnx.tensor(np.arange(24.0, dtype="f4").reshape(2, 3, 4), requires_grad=True)
    wide = np.asarray([1, 0, 1])
    total = (
        x[wide - 2].sum()
        + x[:, wide].sum()
        + x[wide, wide].sum()
        + x[1, wide].sum()
        + x[[0, 1]].sum()
    )
    total = total + ops.take(x, nnx.tensor(wide), axis=2).sum() + ops.take(x, [], axis=0).sum()
    total = total + ops.take_along_axis(x, np.zeros((2, 3, 2), int), axis=2).sum()
    total = total + ops.scatter(x, np.ones((2, 3, 1), int), 5.0).sum()
    total = total + ops.scatter_add(x, np.ones((2, 3, 1), int), 5.0).sum()
    total = total + ops.sort(x, axis=1, descending=True).sum() + ops.topk(x, 2)[0].sum()
    total = total + ops.repeat(x, [1, 2, 0], axis=1).sum() + ops.interpolate(x, 7).sum()
    total = total + ops.interpolate(x, 7, mode="linear").sum()
    total = total + ops.pad(x, ((0, 0), (1, 1), (2, 2)), mode="reflect").sum()
    total = total + ops.max(x, axis=1).sum() + ops.cumulative_prod(x, axis=0).sum()
    total.backward()
    assert x.grad.dtype == np.float32
    images = nnx.tensor(np.random.default_rng(0).standard_normal((2, 1, 6, 6)), "float32")
    ops.max_pool2d(images.requires_grad_(), 2).sum().backward()
    assert ops.max_pool2d(images, 3, 1, return_indices=True)[1].shape == (2, 1, 4, 4)
    assert ops.unique_all(x.detach()).counts.shape == (24,) and ops.isin(x, x).all()
    assert ops.one_hot(wide, 2).tolist() == [[0, 1], [1, 0], [0, 1]]


def test_an_index_that_32_bits_do_not_hold(narrow):
    with pytest.raises(IndexError, match="index 4294967297 is out of range"):
        ops.take(nnx.ones(3), np.asarray([2**32 + 1]))


def test_layers_and_losses_that_index(narrow):
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 3))
    adam = optim.Adam(model.parameters(), lr=0.1)
    words, classes = np.asarray([[1, 2, 1], [9, 0, 3]]), np.asarray([2, 0])
    for _ in range(3):
        adam.zero_grad()
        logits = model(nnx.tensor(words))
        loss = ops.cross_entropy(logits, classes) + ops.cross_entropy(
            logits, classes, ignore_index=0
        )
        loss = loss + ops.multi_margin_loss(logits, classes)
        loss.backward()
        adam.step()
    table = nnx.ones((10, 4)).requires_grad_()
    for mode in ("sum", "mean", "max"):
        ops.embedding_bag(table, words, mode=mode).sum().backward()
        ops.embedding_bag(table, words.ravel(), np.asarray([0, 2]), mode=mode).sum().backward()
    many = nnx.tensor(np.zeros((2, 300), "f4"), requires_grad=True)
    ops.cross_entropy(many, classes).backward()
    lstm = nn.LSTM(2, 3, batch_first=True, bidirectional=True)
    lstm(nnx.ones((2, 4, 2)), lengths=np.asarray([4, 2]))[0].sum().backward()


def test_models_and_metrics_that_index(narrow):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 3)), rng.integers(0, 3, 40)
    by_batches = linear_model.LogisticRegression(
        solver="minibatch", batch_size=8, max_iter=5, tol=10.0
    )
    for model in (
        linear_model.LogisticRegression(),
        by_batches,
        linear_model.Perceptron(order="random"),
    ):
        target = np.sign(x[:, 0]) if isinstance(model, linear_model.Perceptron) else y
        assert len(model.fit(x, target).predict(x)) == 40
    assert linear_model.PolynomialFeatures(2).fit(x).transform(x).shape == (40, 10)
    assert class_weights(y).shape == (3,)
    assert confusion(y, y[::-1], 3).sum() == 40
    accuracy, table = metrics.Accuracy(), metrics.ConfusionMatrix()
    for metric in (accuracy, table):
        metric.update(nnx.tensor(rng.standard_normal((40, 3)), "float32"), nnx.tensor(y))
        metric.compute()

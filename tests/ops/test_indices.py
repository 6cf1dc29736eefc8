"""Indices and labels of every integer dtype: what is computed with them must not overflow in it.

Axes are longer than 8 bits count, with and without a sign, and so are the products of two lengths.
"""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import data, metrics, nn, ops

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]
RNG = np.random.default_rng(12)
X = RNG.standard_normal((300, 7)).astype("float32")
ROWS = [0, 3, 100, 127, 3]
NEGATIVE = [-1, 5, -128, -3, 127]  # row -1 is 299: what 8 bits make of that is 255, or 44


def chosen(dtype):
    """Indices of 300 rows, and the same as NumPy's int64."""
    some = ROWS if dtype.startswith("u") else NEGATIVE
    wide = [255] if dtype == "uint8" else [] if dtype == "int8" else [299, 256]
    host = np.asarray(some + wide, dtype)
    return host, host.astype(np.int64)


def gradient(backend, function, x=X):
    """What a function gives, and the gradient of its sum weighted by 1, 2, 3, ..."""
    t = backend.tensor(x, requires_grad=True)
    y = function(t)
    weights = np.arange(1, y.size + 1, dtype="float32").reshape(y.shape)
    (y * backend.tensor(weights)).sum().backward()
    return backend.to_numpy(y), backend.to_numpy(t.grad)


# name -> (function, the same on NumPy's arrays, x)
READ = {
    "take rows": (lambda x, i: ops.take(x, i, axis=0), lambda x, i: x[i], X),
    "take columns": (lambda x, i: ops.take(x, i, axis=1), lambda x, i: x[:, i], X.T),
    "take_along_axis": (
        lambda x, i: ops.take_along_axis(x, i[:, None], axis=0),
        lambda x, i: x[i],
        X[:, :1],
    ),
    "along the last axis": (
        lambda x, i: ops.take_along_axis(x, ops.broadcast_to(i, (7, i.shape[0]))),
        lambda x, i: x[:, i],
        X.T,
    ),
    "x[i]": (*[lambda x, i: x[i]] * 2, X),
    "x[:, i]": (*[lambda x, i: x[:, i]] * 2, X.T),
    "x[i, 2]": (*[lambda x, i: x[i, 2]] * 2, X),
}
PAIRS = {
    "x[i, j]": (lambda x, i, j: x[i, j], ()),
    "x[i, :, j]": (lambda x, i, j: x[i, :, j], (2,)),
    "x[i[:, None], j]": (lambda x, i, j: x[i[:, None], j], ()),
}


def compare(backend, ours, theirs, x, *indices):
    """Values, and the gradient: where NumPy reads a number, its weight is added."""
    x = np.ascontiguousarray(x)
    y, g = gradient(backend, lambda t: ours(t, *map(backend.tensor, indices)), x)
    read = theirs(np.arange(x.size).reshape(x.shape), *(i.astype(np.int64) for i in indices))
    np.testing.assert_array_equal(y, x.reshape(-1)[read])
    by_hand = np.bincount(read.reshape(-1), np.arange(1, read.size + 1), x.size)
    np.testing.assert_array_equal(g.reshape(-1), by_hand)  # sums of small integers are exact


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", READ)
def test_reading_by_index(backend, name, dtype):
    ours, theirs, x = READ[name]
    compare(backend, ours, theirs, x, chosen(dtype)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_reading_by_two_indices(backend, name, dtype):
    """Products of two lengths that 16 bits do not hold: 33,000 with a sign, 69,000 without."""
    function, between = PAIRS[name]
    rows, _ = chosen(dtype)
    columns = {"int16": 110, "uint16": 230}.get(dtype, 7)
    x = np.arange(300.0 * columns * 2 ** len(between), dtype="float32")
    x = x.reshape(300, *between, columns)
    compare(backend, function, function, x, rows, np.fmod(rows, columns))


@pytest.mark.parametrize("dtype", DTYPES)
def test_embedding(backend, dtype):
    host = np.asarray([[0, 3, 100], [127, 3, 126]], dtype)
    y, g = gradient(backend, lambda w: ops.embedding(w, backend.tensor(host)))
    np.testing.assert_array_equal(y, X[host.astype(int)])
    _, wide = gradient(backend, lambda w: ops.embedding(w, backend.tensor(host.astype("int64"))))
    np.testing.assert_array_equal(g, wide)
    if not dtype.startswith("u") and backend.backend.checks_values:
        with pytest.raises(IndexError, match="from 0 to 299"):
            ops.embedding(backend.tensor(X), backend.tensor(np.asarray([-1], dtype)))


LABELS = np.asarray([0, 3, 100, 127, 99, 3, 64])
LOGITS = X.T.copy()  # (7, 300): more classes than 8 bits count


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ignore_index": 3},
        {"ignore_index": 3, "weight": True},
        {"weight": True, "label_smoothing": 0.1},
        {"ignore_index": 3, "reduction": "none"},
        {"p": 2, "weight": True},
    ],
    ids=str,
)
def test_labels(backend, options, dtype):
    options = dict(options)
    if options.pop("weight", False):
        options["weight"] = backend.asarray(np.linspace(0.5, 2, 300, dtype="float32"))
    losses = [ops.multi_margin_loss] if "p" in options else [ops.cross_entropy]
    losses += [ops.nll_loss] * (not {"p", "label_smoothing"} & set(options))
    for loss in losses:
        y, g = gradient(
            backend, lambda z, f=loss: f(z, backend.tensor(LABELS.astype(dtype)), **options), LOGITS
        )
        wanted, wanted_g = gradient(
            backend, lambda z, f=loss: f(z, backend.tensor(LABELS), **options), LOGITS
        )
        np.testing.assert_array_equal(y, wanted)
        np.testing.assert_array_equal(g, wanted_g)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if not d.startswith("u")])
@pytest.mark.parametrize("loss", [ops.cross_entropy, ops.nll_loss, ops.multi_margin_loss])
def test_a_negative_label_is_no_class(backend, loss, dtype):
    """As a number without a sign, -1 of 8 bits is 255, which these 300 classes have."""
    if not backend.backend.checks_values:
        pytest.skip("values on this device are not looked at")
    labels = LABELS.astype(dtype)
    labels[2] = -1
    with pytest.raises(IndexError, match="target -1 is not one of the 300 classes"):
        loss(backend.tensor(LOGITS), backend.tensor(labels))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_the_usual_number_to_ignore(backend, dtype):
    labels = LABELS.astype(dtype)
    labels[[1, 4]] = -100
    y, g = gradient(backend, lambda z: ops.cross_entropy(z, backend.tensor(labels)), LOGITS)
    kept = [0, 2, 3, 5, 6]
    wanted, some = gradient(
        backend, lambda z: ops.cross_entropy(z, backend.tensor(LABELS[kept])), LOGITS[kept]
    )
    np.testing.assert_allclose(y, wanted, rtol=1e-6)
    np.testing.assert_allclose(g[kept], some, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(g[[1, 4]], 0)


def test_an_index_that_64_bits_with_a_sign_do_not_hold(backend):
    if not backend.backend.checks_values:
        pytest.skip("values on this device are not looked at")
    huge = backend.tensor(np.asarray([2**64 - 1, 0], "uint64"))
    for read in (
        lambda x: x[huge],
        lambda x: ops.take(x, huge, axis=0),
        lambda x: ops.embedding(x, huge),
        lambda x: ops.cross_entropy(x[:2], huge),
        lambda x: ops.one_hot(huge, 5),
    ):
        with pytest.raises(IndexError, match="18446744073709551615 is out of range"):
            read(backend.tensor(X))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_hot_and_its_one_rule(backend, dtype):
    labels = np.asarray([[0, 100], [127, 3]], dtype)
    y = ops.one_hot(backend.tensor(labels), 300)
    np.testing.assert_array_equal(backend.to_numpy(y), data.one_hot(labels, 300))
    assert data.one_hot(labels, 300).sum() == 4
    if not backend.backend.checks_values:
        pytest.skip("values on this device are not looked at")
    outside = [100] if dtype.startswith("u") else [100, -1]
    for wrong in outside:
        bad = np.asarray([1, wrong], dtype)
        message = rf"one_hot: labels must be from 0 to 99, there is a {wrong}; shape \(2,\)"
        with pytest.raises(ValueError, match=message):
            ops.one_hot(backend.tensor(bad), 100)
        with pytest.raises(ValueError, match=message):
            data.one_hot(bad, 100)


def test_one_hot_takes_integers_only():
    for labels in ([0.0, 1.0], [True, False]):
        with pytest.raises(TypeError, match="one_hot: labels must be integers, got"):
            ops.one_hot(labels, 3)
        with pytest.raises(TypeError, match="one_hot: labels must be integers, got"):
            data.one_hot(labels, 3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_assigning_by_index(backend, dtype):
    if backend.kind.startswith("strict"):
        pytest.skip("the standard has no assignment by index")
    host, wide = chosen(dtype)
    t = backend.tensor(X)
    t[backend.tensor(host)] = 5.0
    expected = X.copy()
    expected[wide] = 5.0
    np.testing.assert_array_equal(backend.to_numpy(t), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_given_narrow_indices(backend, dtype):
    host, wide = chosen(dtype)
    host, wide = host[wide >= 0], wide[wide >= 0]
    values = backend.asarray(np.ones((len(host), 200), "float32"))
    out = backend.backend.index_add(values, backend.asarray(host), 300)
    np.testing.assert_array_equal(
        backend.to_numpy(out)[:, 0], np.bincount(wide, minlength=300).astype("f4")
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_metrics(backend, dtype):
    labels = backend.tensor(LABELS.astype(dtype))
    sure = np.zeros((7, 300), "float32")
    sure[np.arange(7), LABELS] = 1
    sure[0] = -sure[0]
    for metric in (metrics.Accuracy(), metrics.TopK(1), metrics.Accuracy(ignore_index=-100)):
        metric.update(backend.tensor(sure), labels)
        assert metric.compute() == pytest.approx(6 / 7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_of_a_subset(dtype):
    chosen_rows = np.asarray([0, 100, 127], dtype)
    loader = data.DataLoader(data.Subset(data.ArrayDataset(X), chosen_rows), batch_size=3)
    ((batch,),) = list(loader)
    np.testing.assert_array_equal(batch.numpy(), X[chosen_rows.astype(int)])

    class Sampler:
        def __len__(self):
            return 3

        def order(self, generator):
            return chosen_rows

    ((batch,),) = list(data.DataLoader(X, batch_size=3, sampler=Sampler()))
    np.testing.assert_array_equal(batch.numpy(), X[chosen_rows.astype(int)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_lengths_of_sequences(backend, dtype):
    x = backend.tensor(RNG.standard_normal((5, 3, 2)).astype("float32"))
    layer = nn.GRU(2, 3)
    y, h = layer(x, lengths=backend.tensor(np.asarray([5, 1, 3], dtype)))
    expected, h_expected = layer(x, lengths=[5, 1, 3])
    np.testing.assert_array_equal(backend.to_numpy(y.detach()), backend.to_numpy(expected.detach()))
    np.testing.assert_array_equal(
        backend.to_numpy(h.detach()), backend.to_numpy(h_expected.detach())
    )


@pytest.mark.parametrize(
    "shape, read, indices",
    [
        ((2, 3), ops.take, np.zeros(0)),
        ((0, 3), ops.take, np.asarray([0, 2, 0])),
        ((0, 3), ops.take_along_axis, np.zeros((0, 2))),
        ((2, 0), ops.take_along_axis, np.zeros((2, 0))),
        ((3, 0), ops.embedding, np.asarray([1, 1])),
        ((3, 2), ops.embedding, np.zeros((0, 4))),
    ],
)
def test_the_gradient_of_reading_nothing(backend, shape, read, indices):
    x = backend.tensor(np.ones(shape, "f4"), requires_grad=True)
    axis = () if read is ops.embedding else (1,)
    read(x, backend.tensor(indices.astype("i8")), *axis).sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(x.grad), np.zeros(shape))


def test_a_mask_is_not_a_list_of_indices():
    for function in (ops.take, ops.take_along_axis):
        with pytest.raises(IndexError, match="indices must be integers, not bool"):
            function(nnx.tensor([1.0, 2.0]), [True, False], axis=0)


@pytest.mark.parametrize("backend", ["numpy", "strict-device1"], indirect=True)
@pytest.mark.parametrize("index, wrong", [(-3, -4), (2, 3)])
def test_the_ends_of_an_axis(backend, index, wrong):
    x = backend.tensor(np.asarray([5, 6, 7], "f4"))
    for beside in ([0], [-1], []):
        got = ops.take(x, backend.asarray(np.asarray([index, *beside])))
        assert float(backend.to_numpy(got.data)[0]) == (5 if index < 0 else 7)
        with pytest.raises(IndexError, match=f"index {wrong} is out of range for an axis of len"):
            ops.take(x, backend.asarray(np.asarray([*beside, wrong])))

"""Running sums, sorting, searching, sets: as PyTorch's or NumPy's, and the edges."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from pytorch import assert_same

import nnx
from nnx import ops

RNG = np.random.default_rng(11)
X = RNG.standard_normal((3, 5, 2))
TIES = RNG.integers(-2, 3, (4, 6)).astype("float64")


# ---- running ----


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (1, 3), (0, 4)])
def test_cumulative_prod_at_zeros(backend, zeros):
    torch = pytest.importorskip("torch")
    x = X.copy()
    x[:, list(zeros)] = 0
    x[0, :, 1] = X[0, :, 1]
    ours, theirs = partial(ops.cumulative_prod, axis=1), partial(torch.cumprod, dim=1)
    assert_same(backend, ours, theirs, x)
    assert_same(backend, ours, theirs, x, dtype="float32")


def test_logcumsumexp_as_pytorch(backend):
    torch = pytest.importorskip("torch")
    for x in (X * 30, [[1.0, 1000.0, -math.inf, -900.0]]):
        ours, theirs = partial(ops.logcumsumexp, axis=-1), partial(torch.logcumsumexp, dim=-1)
        assert_same(backend, ours, theirs, x, rtol=1e-5 if not backend.float64 else 1e-9)


def test_no_gradient_where_there_is_no_sum_yet(backend):
    """As in `logsumexp`: of nothing but -inf, where PyTorch has NaN."""
    x = backend.tensor(np.asarray([-math.inf, -math.inf, 0.0, 0.0], "f4"), requires_grad=True)
    y = ops.logcumsumexp(x)
    np.testing.assert_allclose(backend.to_numpy(y), [-math.inf, -math.inf, 0, math.log(2)])
    y.backward(backend.asarray(np.ones(4, "f4")))
    np.testing.assert_allclose(backend.to_numpy(x.grad), [0, 0, 1.5, 0.5], rtol=1e-6)


def test_logcumsumexp_of_infinite_numbers(backend):
    x = backend.tensor(np.asarray([1.0, math.inf, 2.0, math.nan, 0.0], "f4"))
    y = backend.to_numpy(ops.logcumsumexp(x))
    np.testing.assert_array_equal(y[:3], [1, math.inf, math.inf])
    assert np.isnan(y[3:]).all()


def test_nothing_runs(backend):
    x = backend.tensor(np.zeros((2, 0), "f4"), requires_grad=True)
    for name in ("cumulative_sum", "cumulative_prod", "logcumsumexp", "sort"):
        y = getattr(ops, name)(x, axis=1)
        assert y.shape == (2, 0)
        y.sum().backward()
    assert ops.cumulative_prod(x, axis=1, include_initial=True).shape == (2, 1)


def test_diff_as_numpy(backend):
    before, after = X[:, :1], X[:, :2]
    for given in ({}, {"n": 0}, {"n": 3}, {"axis": 0}):
        options = {"axis": 1} | given
        y = ops.diff(nnx.Tensor(X), **options)
        np.testing.assert_array_equal(y.numpy(), np.diff(X, **options))
    around = {"prepend": before, "append": after}
    np.testing.assert_array_equal(
        ops.diff(nnx.Tensor(X), axis=1, **around).numpy(), np.diff(X, axis=1, **around)
    )
    np.testing.assert_array_equal(ops.diff(nnx.Tensor(X), n=0, prepend=before).numpy(), X)
    p = TIES > 0
    y = ops.diff(backend.tensor(p), n=2)
    np.testing.assert_array_equal(backend.to_numpy(y), np.diff(p, n=2))
    assert ops.diff(backend.tensor(p), n=9).shape == (4, 0)


def test_which_axis():
    x = nnx.ones((2, 2))
    for name in ("cumulative_sum", "cumulative_prod", "logcumsumexp"):
        with pytest.raises(ValueError, match=rf"{name}: axis must be given for shape \(2, 2\)"):
            getattr(ops, name)(x)
        with pytest.raises(ValueError, match=f"{name}: axis 2 is out of range"):
            getattr(ops, name)(x, axis=2)
    assert ops.cumulative_sum(nnx.tensor([1, 2]), dtype="float32").tolist() == [1.0, 3.0]
    assert ops.cumulative_prod(nnx.tensor([2, 3])).tolist() == [2, 6]
    with pytest.raises(ValueError, match="n must not be negative"):
        ops.diff(x, n=-1)


# ---- sorting and searching ----


@pytest.mark.parametrize("descending", [False, True])
def test_sort_as_pytorch(backend, descending):
    torch = pytest.importorskip("torch")

    def theirs(x):
        return torch.sort(x, dim=1, descending=descending, stable=True)[0]

    ours = partial(ops.sort, axis=1, descending=descending)
    assert_same(backend, ours, theirs, X)
    assert_same(backend, ours, theirs, TIES)  # of equal values the gradients keep their order
    wrong = np.asarray([[3.0, math.nan, -math.inf, 1.0, math.nan, math.inf]], "f4")
    y = ops.sort(backend.tensor(wrong), descending=descending)
    expected = torch.sort(torch.tensor(wrong), descending=descending)[0]
    np.testing.assert_array_equal(backend.to_numpy(y), expected.numpy())


def test_topk_as_pytorch(backend):
    torch = pytest.importorskip("torch")
    for largest in (True, False):
        for k in (0, 1, 3, 5):
            assert_same(
                backend,
                lambda x, k=k, b=largest: ops.topk(x, k, axis=1, largest=b)[0],
                lambda x, k=k, b=largest: torch.topk(x, k, dim=1, largest=b)[0],
                X,
            )
    values, places = ops.topk(backend.tensor(np.asarray([1, 3, 3, 0, 3, 1])), 4)
    assert backend.to_numpy(values).tolist() == [3, 3, 3, 1]
    assert backend.to_numpy(places).tolist() == [1, 2, 4, 0]  # the first of equals first
    assert not places.requires_grad
    with pytest.raises(ValueError, match=r"topk: k = 7 of the 6 values along axis -1; shape \(6,"):
        ops.topk(nnx.ones(6), 7)


def test_searchsorted_as_numpy(backend):
    rising = np.sort(TIES.ravel())
    wanted = np.asarray([[-9.0, -2.0, 0.5], [2.0, 9.0, 1.0]])
    for side in ("left", "right"):
        y = ops.searchsorted(backend.tensor(rising, "f4"), backend.tensor(wanted, "f4"), side=side)
        np.testing.assert_array_equal(
            backend.to_numpy(y), np.searchsorted(rising, wanted, side=side)
        )
    assert int(ops.searchsorted(backend.tensor([1.0, 2.0], "f4"), 1.5)) == 1
    order = np.argsort(TIES[0])
    y = ops.searchsorted(backend.tensor(TIES[0], "f4"), 0.0, sorter=backend.tensor(order))
    assert int(y) == np.searchsorted(TIES[0], 0, sorter=order)
    with pytest.raises(ValueError, match=r"x1 must be \(n,\)"):
        ops.searchsorted(nnx.ones((2, 2)), 1.0)
    with pytest.raises(ValueError, match="side"):
        ops.searchsorted(nnx.ones(2), 1.0, side="both")


# ---- sets ----


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_unique_as_numpy(backend, dtype):
    for a in (TIES, TIES[:0], TIES[0, 0]):
        a = np.asarray(a).astype(dtype)
        x = backend.tensor(a)
        values, indices, inverse, counts = map(backend.to_numpy, ops.unique_all(x))
        expected = np.unique_all(a)
        np.testing.assert_array_equal(values, expected.values)
        np.testing.assert_array_equal(indices, expected.indices)
        np.testing.assert_array_equal(inverse, expected.inverse_indices)
        np.testing.assert_array_equal(counts, expected.counts)
        assert values.dtype == a.dtype and inverse.shape == a.shape
        np.testing.assert_array_equal(backend.to_numpy(ops.unique_values(x)), values)
        np.testing.assert_array_equal(backend.to_numpy(ops.unique_counts(x).counts), counts)
        again = ops.unique_inverse(x).inverse_indices
        np.testing.assert_array_equal(backend.to_numpy(again), inverse)


def test_every_nan_is_one_of_its_own(backend):
    x = backend.tensor(np.asarray([math.nan, 1.0, math.nan, 1.0], "f4"))
    values, counts = map(backend.to_numpy, ops.unique_counts(x))
    assert values[0] == 1 and np.isnan(values[1:]).all() and counts.tolist() == [2, 1, 1]


def test_isin_as_numpy(backend):
    some = np.asarray([[1.0, 2.0], [-2.0, 9.0]])
    for invert in (False, True):
        for a, b in ((TIES, some), (TIES, some[:0]), (TIES[:0], some)):
            y = ops.isin(backend.tensor(a, "f4"), backend.tensor(b, "f4"), invert=invert)
            np.testing.assert_array_equal(backend.to_numpy(y), np.isin(a, b, invert=invert))
        assert bool(ops.isin(backend.tensor(TIES, "f4"), 7, invert=invert).all()) is invert
        assert bool(ops.isin(2, backend.tensor(TIES, "f4"), invert=invert)) is not invert
    nan = backend.tensor(np.asarray([math.nan, 1.0], "f4"))
    assert backend.to_numpy(ops.isin(nan, nan)).tolist() == [False, True]
    with pytest.raises(TypeError, match="isin needs at least one Tensor"):
        ops.isin(1, 2)


def test_nonzero_and_how_many(backend):
    x = backend.tensor(TIES)
    for index, expected in zip(ops.nonzero(x), np.nonzero(TIES), strict=True):
        np.testing.assert_array_equal(backend.to_numpy(index), expected)
    for axis in (None, 0, (0, 1)):
        for keepdims in (False, True):
            y = ops.count_nonzero(x, axis=axis, keepdims=keepdims)
            expected = np.count_nonzero(TIES, axis=axis, keepdims=keepdims)
            np.testing.assert_array_equal(backend.to_numpy(y), expected)
    assert int(ops.count_nonzero(backend.tensor(TIES > 0))) == (TIES > 0).sum()
    with pytest.raises(ValueError, match="nonzero: x must have an axis"):
        ops.nonzero(nnx.tensor(1.0))

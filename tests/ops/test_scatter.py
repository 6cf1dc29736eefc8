"""Numbers put where indices or a mask say, triangles, and grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pytorch import assert_same

import nnx
from nnx import ops

RNG = np.random.default_rng(5)
X = RNG.standard_normal((3, 4, 2))
AT = np.stack([RNG.permutation(4)[:3] for _ in range(6)]).reshape(3, 2, 3).transpose(0, 2, 1)
TWICE = RNG.integers(0, 4, (3, 7, 2))


def test_as_pytorch(backend):
    torch = pytest.importorskip("torch")
    one, many = RNG.standard_normal(AT.shape), RNG.standard_normal(TWICE.shape)
    for name, at, values in (("scatter", AT, one), ("scatter_add", TWICE, many)):
        ours, theirs = getattr(ops, name), getattr(torch, name)
        index, there = backend.tensor(at), torch.tensor(np.ascontiguousarray(at))
        assert_same(
            backend,
            lambda x, v, f=ours, i=index: f(x, i, v, axis=1),
            lambda x, v, f=theirs, i=there: f(x, 1, i, v),
            X,
            values,
        )
    mask = X[:, :1] > 0
    assert_same(
        backend,
        lambda x: ops.masked_fill(x, backend.tensor(mask), -1.5),
        lambda x: x.masked_fill(torch.tensor(mask), -1.5),
        X,
    )


def test_the_last_of_those_that_name_a_place_stays(backend):
    x = backend.tensor(np.zeros(4, "f4"), requires_grad=True)
    v = backend.tensor(np.asarray([1.0, 2.0, 3.0, 4.0], "f4"), requires_grad=True)
    y = ops.scatter(x, backend.tensor([2, 0, -2, 2]), v)
    assert backend.to_numpy(y).tolist() == [2, 0, 4, 0]
    y.backward(backend.asarray(np.asarray([10.0, 20.0, 30.0, 40.0], "f4")))
    assert backend.to_numpy(x.grad).tolist() == [0, 20, 0, 40]
    assert backend.to_numpy(v.grad).tolist() == [0, 10, 0, 30]


def test_naively_with_numbers_and_integers(backend):
    a = np.arange(24).reshape(3, 4, 2)
    for add in (False, True):
        expected = a.copy()
        for i, k, j in np.ndindex(TWICE.shape):
            place = (i, TWICE[i, k, j], j)
            expected[place] = expected[place] + 5 if add else 5
        function = ops.scatter_add if add else ops.scatter
        y = function(backend.tensor(a), backend.tensor(TWICE), 5, axis=1)
        np.testing.assert_array_equal(backend.to_numpy(y), expected)
        nothing = function(backend.tensor(a), backend.tensor(TWICE[:, :0]), 5, axis=1)
        np.testing.assert_array_equal(backend.to_numpy(nothing), a)
        empty = function(backend.tensor(a[:0]), backend.tensor(TWICE[:0]), 5, axis=1)
        assert empty.shape == (0, 4, 2)


def test_what_was_infinite_is_gone(backend):
    x = backend.tensor(np.asarray([math.inf, math.nan, 1.0], "f4"), requires_grad=True)
    y = ops.masked_fill(x, backend.tensor([True, True, False]), 0)
    assert backend.to_numpy(y).tolist() == [0, 0, 1]
    y = ops.scatter(y, backend.tensor([2]), backend.tensor(np.asarray([7.0], "f4")))
    assert backend.to_numpy(y).tolist() == [0, 0, 7]
    y.sum().backward()
    assert backend.to_numpy(x.grad).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: ops.scatter(x, [[0]], 1.0), ValueError, r"axis -1, x \(2, 3\), indices \(1, 1"),
        (lambda x: ops.scatter(x, [[0], [1]], nnx.ones((2, 2))), ValueError, r"values \(2, 2\)"),
        (lambda x: ops.scatter_add(x, [[3], [0]], 1.0), IndexError, "index 3 is out of range"),
        (lambda x: ops.scatter(x, [[0.5], [0.0]], 1.0), IndexError, "indices must be integers"),
        (
            lambda x: ops.scatter(x, [[0], [1]], nnx.ones((2, 1), "float64")),
            TypeError,
            "float32, not float64",
        ),
        (lambda x: ops.masked_fill(x, [True], nnx.ones(1)), ValueError, "no axes"),
        (lambda x: ops.masked_fill(x, [True] * 2, 1.0), ValueError, r"shapes \(2,\), .*\(2, 3\)"),
        (lambda x: ops.masked_fill(x, [1], 1.0), TypeError, "bool"),
        (lambda x: ops.masked_fill(x.astype("int64"), [True], 1.5), TypeError, "cannot hold"),
        (lambda x: ops.tril(x[0]), ValueError, r"tril: x must have two axes.*\(3,\)"),
        (lambda x: ops.meshgrid(x), ValueError, r"vectors are wanted; shapes \(2, 3\)"),
        (lambda x: ops.meshgrid(x[0], indexing="yx"), ValueError, "indexing"),
        (lambda x: ops.broadcast_arrays(x, x[0, :2]), ValueError, "cannot be broadcast"),
        (lambda x: ops.broadcast_shapes((2, 3), (2,)), ValueError, "cannot be broadcast"),
    ],
)
def test_what_cannot_be_is_said(call, error, words):
    with pytest.raises(error, match=words):
        call(nnx.ones((2, 3)))


def test_triangles(backend):
    x = np.full((2, 3, 4), math.inf, "f4")
    for k in range(-4, 6):
        for name in ("tril", "triu"):
            y = getattr(ops, name)(backend.tensor(x), k)
            np.testing.assert_array_equal(backend.to_numpy(y), getattr(np, name)(x, k))


def test_grids_as_numpy(backend):
    vectors = [np.arange(3.0), np.arange(2.0), np.arange(4.0)]
    for n in range(4):
        for indexing in ("xy", "ij"):
            ours = ops.meshgrid(*map(backend.tensor, vectors[:n]), indexing=indexing)
            theirs = np.meshgrid(*vectors[:n], indexing=indexing)
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(backend.to_numpy(a), b)


def test_broadcasting_by_name(backend):
    a, b = ops.broadcast_arrays(backend.tensor(X), backend.tensor(X[0, :1]))
    assert a.shape == b.shape == (3, 4, 2) and ops.broadcast_arrays() == ()
    assert ops.broadcast_shapes((3, 1), (4,), ()) == (3, 4) and ops.broadcast_shapes() == ()

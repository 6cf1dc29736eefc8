"""Reductions: axes, ties, empty axes, and numbers that are hard to add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pytorch import assert_same

import nnx
from nnx import ops

X = np.random.default_rng(2).standard_normal((2, 3, 4))
AXES = [None, 0, -1, (0, 2), (1,), ()]


def by_torch(name, axis, keepdims):
    torch = pytest.importorskip("torch")
    if axis is None:
        axis = (0, 1, 2)
    renamed = {"max": "amax", "min": "amin"}
    if name == "prod":
        return lambda x: _prod(x, axis, keepdims)
    if name in ("var", "std"):
        f = getattr(torch, name)
        return lambda x: f(x, dim=axis, correction=1, keepdim=keepdims)
    f = getattr(torch, renamed.get(name, name))
    return lambda x: f(x, dim=axis, keepdim=keepdims)


def _prod(x, axis, keepdims):
    for k in sorted((a % 3 for a in np.atleast_1d(axis)), reverse=True):
        x = x.prod(dim=int(k), keepdim=keepdims)
    return x


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "var", "std", "logsumexp"])
def test_equals_pytorch(backend, name):
    more = {"correction": 1} if name in ("var", "std") else {}
    for axis in AXES:
        if axis == ():  # to PyTorch an empty tuple is all axes: see the next test
            continue
        for keepdims in (False, True):
            assert_same(
                backend,
                lambda x, a=axis, k=keepdims: getattr(ops, name)(x, axis=a, keepdims=k, **more),
                by_torch(name, axis, keepdims),
                X,
            )


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "logsumexp"])
def test_no_axes_is_no_reduction(backend, name):
    x = backend.tensor(X.astype("float32"), requires_grad=True)
    y = getattr(ops, name)(x, axis=())
    np.testing.assert_allclose(backend.to_numpy(y), X.astype("float32"), rtol=1e-5, atol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(backend.to_numpy(x.grad), np.ones_like(X), rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from(["sum", "mean", "max", "min", "prod", "var"]))
def test_any_axes(data, name):
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=3))
    axis = data.draw(st.none() | hnp.valid_tuple_axes(len(shape)) | st.integers(-len(shape), -1))
    keepdims = data.draw(st.booleans())
    x = np.random.default_rng(0).standard_normal(shape)
    t = nnx.Tensor(x, requires_grad=True)
    y = getattr(ops, name)(t, axis=axis, keepdims=keepdims)
    expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-14)
    y.sum().backward()
    assert t.grad.shape == shape


@pytest.mark.parametrize("name", ["max", "min"])
def test_ties_as_in_pytorch(backend, name):
    """Over one axis to the first (`torch.max(x, dim)`); over all, or a tuple, shared evenly."""
    torch = pytest.importorskip("torch")
    x = np.asarray([[1.0, 3.0, 3.0, -2.0], [3.0, 3.0, -2.0, -2.0], [0.0, 0.0, 0.0, 0.0]])
    ours, theirs = getattr(ops, name), getattr(torch, name)
    for axis in (0, 1):
        assert_same(
            backend, lambda t, a=axis: ours(t, axis=a), lambda t, a=axis: theirs(t, dim=a).values, x
        )
    assert_same(backend, ours, theirs, x)
    shared = getattr(torch, "a" + name)
    assert_same(backend, lambda t: ours(t, axis=(1,)), lambda t: shared(t, dim=(1,)), x)


def test_nan_is_the_largest_and_gets_the_gradient(backend):
    for axis in (None, 0):
        x = backend.tensor(np.asarray([1.0, np.nan, 2.0], "float32"), requires_grad=True)
        y = ops.max(x, axis=axis)
        assert np.isnan(backend.to_numpy(y.detach()))
        y.backward()
        np.testing.assert_array_equal(backend.to_numpy(x.grad), [0, 1, 0])


def test_zeros_in_a_product(backend):
    torch = pytest.importorskip("torch")
    x = np.asarray([[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0]])
    assert_same(backend, lambda t: ops.prod(t, axis=1), lambda t: torch.prod(t, dim=1), x)
    assert_same(backend, ops.prod, torch.prod, x)


def test_the_deviation_of_equal_numbers_has_no_gradient(backend):
    torch = pytest.importorskip("torch")
    x = np.asarray([[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
    assert_same(
        backend,
        lambda t: ops.std(t, axis=1, correction=1),
        lambda t: torch.std(t, dim=1, correction=1),
        x,
    )


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_logsumexp_of_large_numbers(backend, size):
    x = backend.tensor(np.asarray([size, size - 1, 0.0], "float32"), requires_grad=True)
    y = ops.logsumexp(x)
    expected = max(size, 0) + math.log(sum(math.exp(v - max(size, 0)) for v in [size, size - 1, 0]))
    assert float(y.detach()) == pytest.approx(expected, rel=1e-6)
    y.backward()
    assert float(np.sum(backend.to_numpy(x.grad))) == pytest.approx(1.0)


def test_logsumexp_of_infinities(backend):
    x = np.asarray([[-math.inf, 0.0], [-math.inf, -math.inf], [math.inf, 0.0]], "float32")
    t = backend.tensor(x[:2], requires_grad=True)
    y = ops.logsumexp(t, axis=1)
    np.testing.assert_array_equal(backend.to_numpy(y), [0, -math.inf])
    y.sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(t.grad), [[0, 1], [0, 0]])
    assert float(ops.logsumexp(backend.tensor(x[2]))) == math.inf


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cumulative_sum(backend, axis):
    torch = pytest.importorskip("torch")
    assert_same(
        backend, lambda x: ops.cumulative_sum(x, axis=axis), lambda x: torch.cumsum(x, axis), X
    )
    y = ops.cumulative_sum(backend.tensor(X), axis=axis, include_initial=True)
    expected = np.cumulative_sum(X, axis=axis, include_initial=True)
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-5, atol=1e-6)


def test_counting(backend):
    mask = backend.tensor(X) > 0
    assert int(mask.sum()) == (X > 0).sum() and bool(mask.any()) and not bool(mask.all())
    np.testing.assert_array_equal(backend.to_numpy(mask.sum(axis=1)), (X > 0).sum(axis=1))
    np.testing.assert_array_equal(backend.to_numpy(mask.all(axis=(0, 1))), (X > 0).all(axis=(0, 1)))


def test_float32_is_added_up_in_float32_or_better():
    x = np.full(100_000, 0.1, "f4")
    assert float(ops.sum(nnx.Tensor(x))) == pytest.approx(10_000, rel=1e-6)


def test_errors():
    x = nnx.tensor(X)
    with pytest.raises(ValueError, match=r"sum: axis 3 is out of range.*\(2, 3, 4\)"):
        x.sum(axis=3)
    with pytest.raises(ValueError, match="names an axis twice"):
        x.mean(axis=(0, -3))
    with pytest.raises(ValueError, match=r"max: there is none of no values.*\(0, 2\)"):
        nnx.zeros((0, 2)).max(axis=0)
    with pytest.raises(ValueError, match=r"argmin: there is none of no values.*\(0, 2\)"):
        nnx.zeros((0, 2)).argmin(axis=0)
    with pytest.raises(ValueError, match=r"argmax: there is none of no values.*\(0, 2\)"):
        nnx.zeros((0, 2)).argmax()
    assert nnx.zeros((0, 2)).argmax(axis=1).shape == (0,)
    with pytest.raises(ValueError, match=r"norm: there is none of no values.*\(0, 2\)"):
        ops.norm(nnx.zeros((0, 2)), np.inf, axis=0)
    with pytest.raises(ValueError, match=r"var: needs more than correction=2 values, got 2"):
        x.var(axis=0, correction=2)
    with pytest.raises(ValueError, match="axis must be given"):
        ops.cumulative_sum(x)


@pytest.mark.parametrize("backend", ["numpy", "jit", "portable"], indirect=True)
def test_mean_of_half_precision(backend):
    """Neither the sum nor the count of 70,000 ones is a number that float16 has."""
    half = backend.tensor(np.ones((2, 70000), "f2")).mean(axis=1)
    np.testing.assert_array_equal(backend.to_numpy(half), np.ones(2, "f2"))


def test_logsumexp_of_nothing(backend):
    """log 0; and there is nothing to have a gradient."""
    for shape, axis in (((2, 0), 1), ((0,), None), ((2, 0, 3), (0, 1)), ((0, 3), 1)):
        x = backend.tensor(np.zeros(shape, "f4"), requires_grad=True)
        y = ops.logsumexp(x, axis=axis)
        assert (backend.to_numpy(y) == -math.inf).all()
        y.sum().backward()
        assert tuple(x.grad.shape) == shape

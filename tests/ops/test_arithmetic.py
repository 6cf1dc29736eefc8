"""Arithmetic: broadcasting in both directions, numbers beside tensors, powers and ties."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from gradients import check_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pytorch import assert_same

import nnx
from nnx import ops

SHAPES = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((), (2, 2))]
NAMES = ["add", "subtract", "multiply", "divide", "pow", "maximum", "minimum", "logaddexp"]


@pytest.mark.parametrize("a, b", SHAPES)
def test_equals_pytorch(backend, a, b):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.5, 2, a), rng.uniform(0.5, 2, b)
    for name in NAMES:
        assert_same(backend, getattr(ops, name), getattr(torch, name), x, y)


@settings(max_examples=60, deadline=None)
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0),
    name=st.sampled_from(NAMES),
)
def test_any_shapes_broadcast_both_ways(shapes, name):
    rng = np.random.default_rng(1)
    a, b = (rng.uniform(0.5, 2, s).astype("f4") for s in shapes.input_shapes)
    x, y = nnx.Tensor(a, requires_grad=True), nnx.Tensor(b, requires_grad=True)
    z = getattr(ops, name)(x, y)
    expected = {"pow": np.power}.get(name, getattr(np, name, None))(a, b)
    assert z.shape == shapes.result_shape
    np.testing.assert_allclose(z.data, expected, rtol=1e-5)
    z.sum().backward()
    assert x.grad.shape == a.shape and y.grad.shape == b.shape
    assert x.grad.dtype == y.grad.dtype == np.float32
    if min(a.size, b.size) and name != "maximum" and name != "minimum":
        check_gradients(getattr(ops, name), a, b, directions=1)


def test_numbers_on_either_side(backend):
    x = backend.tensor(np.asarray([1.0, 2.0], "float32"), requires_grad=True)
    for got, want in [
        (x + 1, [2, 3]),
        (1 - x, [0, -1]),
        (2 * x, [2, 4]),
        (2 / x, [2, 1]),
        (x**2, [1, 4]),
        (3.0**x, [3, 9]),
        (ops.maximum(1.5, x), [1.5, 2]),
        (ops.minimum(x, 1.5), [1, 1.5]),
        (x + True, [2, 3]),
        (x * np.float64(2), [2, 4]),
        (x * np.int64(2), [2, 4]),
    ]:
        np.testing.assert_allclose(backend.to_numpy(got.detach()), want, rtol=1e-6)
        assert got.dtype == x.dtype
        x.grad = None
        got.sum().backward()
        assert x.grad.dtype == x.dtype


def test_integers(backend):
    n = nnx.Tensor(backend.asarray(np.asarray([6, -4])))
    for y, want in [(n + n, [12, -8]), (n * 2, [12, -8]), (3 - n, [-3, 7]), (n**2, [36, 16])]:
        assert backend.to_numpy(y).dtype == np.int64
        np.testing.assert_array_equal(backend.to_numpy(y), want)
    for y, want in [(n / 4.0, [1.5, -1]), (n * 0.5, [3, -2]), (n / n, [1, 1]), (n / 4, [1.5, -1])]:
        assert backend.to_numpy(y).dtype == np.float32, "as in PyTorch, not float64 as in NumPy"
        np.testing.assert_array_equal(backend.to_numpy(y), want)


def test_ties_share_the_gradient(backend):
    torch = pytest.importorskip("torch")
    a, b = [1.0, 2.0, -1.0], [1.0, 1.0, -1.0]
    assert_same(backend, ops.maximum, torch.maximum, a, b)
    assert_same(backend, ops.minimum, torch.minimum, a, b)


def test_nan_wins(backend):
    a = backend.tensor(np.asarray([np.nan, 1.0], "float32"))
    b = backend.tensor(np.asarray([0.0, np.nan], "float32"))
    assert np.isnan(backend.to_numpy(ops.maximum(a, b))).all()
    assert np.isnan(backend.to_numpy(ops.minimum(a, b))).all()


def test_logarithms_of_sums(backend):
    """Of any size, where the digits of the smaller one are lost in the sum, and at infinity."""
    a = np.asarray([1e30, 2000.0, -2000.0, 88.0, -np.inf, -np.inf, np.inf, np.inf], "float32")
    b = np.asarray([1.0, 1990.0, -1990.0, 0.0, -np.inf, 0.5, 0.5, np.inf], "float32")
    x, y = backend.tensor(a, requires_grad=True), backend.tensor(b, requires_grad=True)
    z = ops.logaddexp(x, y)
    z.backward(ops.ones_like(z).data)
    value, for_a, for_b = (backend.to_numpy(v) for v in (z, x.grad, y.grad))
    small = 1 / (1 + np.exp(10.0))
    expected = [1e30, 2000, -1990, 88, -np.inf, 0.5, np.inf, np.inf]
    np.testing.assert_allclose(value, np.asarray(expected, "float32"), rtol=1e-6)
    np.testing.assert_allclose(for_a, [1, 1 - small, small, 1, 0.5, 0, 1, 0.5], rtol=1e-6)
    np.testing.assert_allclose(for_b, [0, small, 1 - small, np.exp(-88), 0.5, 1, 0, 0.5], rtol=1e-5)
    assert value.dtype == for_a.dtype == np.float32
    for wrong in ((backend.tensor([1, 2]), 3), (backend.tensor([1]), backend.tensor([2]))):
        with pytest.raises(TypeError, match="logaddexp: one operand at least must be of a float"):
            ops.logaddexp(*wrong)
    assert ops.logaddexp(backend.tensor([1, 2]), 0.5).dtype == x.dtype


# 0**0, 0**2, (-2)**3, 0**-1, (-2)**0.5, and exponents that are numbers.
BASES, EXPONENTS = [0.0, 0.0, -2.0, 0.0, -2.0, 2.0], [0.0, 2.0, 3.0, -1.0, 0.5, -1.5]


def test_powers_at_the_edges(backend):
    torch = pytest.importorskip("torch")
    assert_same(backend, ops.pow, torch.pow, BASES, EXPONENTS)
    for n in (0, 1, 2, 3, 0.5, -1, 2.0, 0.0):
        assert_same(backend, lambda x, n=n: x**n, lambda x, n=n: x**n, [0.0, 2.0, 0.5])
        assert_same(backend, lambda x, n=n: n**x, lambda x, n=n: n**x, [0.5, 2.0, 1.0])
    assert_same(backend, lambda x: x**3, lambda x: x**3, [-2.0, -0.5])
    assert_same(backend, lambda x: 0.0**x, lambda x: 0.0**x, [0.0, 1.0])


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_broadcast(backend, name):
    a, b = backend.tensor(np.ones((2, 3), "f4")), backend.tensor(np.ones((2, 4), "f4"))
    cls = {"pow": "power"}.get(name, name)
    with pytest.raises(ValueError, match=rf"{cls}: .*\[3, 4\]; shapes \(2, 3\), \(2, 4\)"):
        getattr(ops, name)(a, b)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
@pytest.mark.parametrize("other", ["x", None, {1.0}, object()])
def test_what_is_no_operand(name, other):
    with pytest.raises(TypeError, match="must be tensors or numbers"):
        getattr(operator, name)(nnx.tensor([1.0]), other)

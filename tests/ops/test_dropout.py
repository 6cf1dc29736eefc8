"""Dropout: what is kept, its scale, its gradient, and the same mask everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import check_gradients

import nnx
from nnx import ops
from nnx.random import Generator


def test_kept_values_are_scaled_and_the_gradient_has_the_same_mask(backend):
    x = np.random.default_rng(0).uniform(1, 2, (40, 50)).astype("float32")
    tensor = nnx.Tensor(backend.strided(x), requires_grad=True)
    y = ops.dropout(tensor, p=0.25, generator=Generator(3))
    values = backend.to_numpy(y)
    kept = values != 0
    np.testing.assert_allclose(values, np.where(kept, x / 0.75, 0), rtol=1e-6)
    assert 0.7 < kept.mean() < 0.8  # 2,000 draws: 0.75 with a standard error of 0.01
    g = np.random.default_rng(1).standard_normal(x.shape).astype("float32")
    y.backward(backend.asarray(g))
    np.testing.assert_allclose(
        backend.to_numpy(tensor.grad), np.where(kept, g / 0.75, 0), rtol=1e-6
    )
    assert tensor.grad.dtype == tensor.dtype and y.dtype == tensor.dtype
    np.testing.assert_array_equal(backend.to_numpy(tensor), x)


def test_the_mask_is_the_same_on_every_backend(backend):
    ones = np.ones((7, 9), "float32")
    here = ops.dropout(backend.tensor(ones), generator=Generator(11))
    numpy = Generator(11).bernoulli(0.5, (7, 9), like=np.zeros(1))
    np.testing.assert_array_equal(backend.to_numpy(here) != 0, np.asarray(numpy))


def test_gradient(backend):
    backend.skip_without_float64()
    x = np.random.default_rng(2).standard_normal((5, 6))
    check_gradients(lambda t: ops.dropout(t, 0.4, generator=Generator(5)), x, wrap=backend.asarray)


def test_ends_of_the_range(backend):
    x = backend.tensor(np.ones((3, 4), "float32"), requires_grad=True)
    assert ops.dropout(x, p=0.0) is x
    assert ops.dropout(x, p=0.9, training=False) is x
    y = ops.dropout(x, p=1.0)
    y.sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(y), 0)
    np.testing.assert_array_equal(backend.to_numpy(x.grad), 0)


def test_draws_follow_the_shared_generator():
    x = nnx.Tensor(np.ones(64, "f4"))
    nnx.manual_seed(4)
    first, second = ops.dropout(x).numpy(), ops.dropout(x).numpy()
    nnx.manual_seed(4)
    np.testing.assert_array_equal(ops.dropout(x).numpy(), first)
    assert (first != second).any()


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_probability_outside_its_range(p):
    with pytest.raises(TypeError, match="dropout: x must be of a floating-point dtype, not int"):
        ops.dropout(nnx.tensor([1, 2]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        ops.dropout(nnx.Tensor(np.ones(2, "f4")), p)

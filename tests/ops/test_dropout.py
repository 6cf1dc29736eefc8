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


CHANNELS = [
    *[("dropout1d", (3, 4, 5), 2), ("dropout1d", (4, 5), 1), ("dropout2d", (3, 4, 2, 3), 2)],
    *[("dropout3d", (3, 4, 2, 3, 2), 2), ("dropout3d", (4, 2, 3, 2), 1)],
    ("feature_alpha_dropout", (3, 4, 2, 3), 2),
]


@pytest.mark.parametrize("name, shape, maps", CHANNELS)
def test_whole_channels_are_dropped(backend, name, shape, maps):
    host = np.random.default_rng(0).uniform(1, 2, shape).astype("f4")
    x = backend.tensor(host, requires_grad=True)
    y = getattr(ops, name)(x, 0.5, generator=Generator(5))
    y.sum().backward()
    scale = backend.to_numpy(x.grad).reshape(*shape[:maps], -1)  # y is linear in x
    one = scale[..., :1]
    np.testing.assert_array_equal(scale, np.broadcast_to(one, scale.shape))
    assert len(np.unique(one)) == 2 and one.min() == 0
    assert getattr(ops, name)(x, 0.5, training=False) is x
    check_gradients(lambda t: getattr(ops, name)(t, 0.5, generator=Generator(5)), host.astype("f8"))


def test_alpha_dropout_keeps_mean_and_variance(backend):
    host = np.random.default_rng(0).standard_normal((200, 500)).astype("f4")
    x = backend.tensor(host, requires_grad=True)
    y = ops.alpha_dropout(x, 0.3, generator=Generator(2))
    values = backend.to_numpy(y.detach())
    assert abs(values.mean()) < 0.02 and abs(values.std() - 1) < 0.02
    # Klambauer et al. 2017: a (x m + v (1 - m)) + b
    v = -1.0507009873554805 * 1.6732632423543772
    a = (0.7 * (1 + 0.3 * v * v)) ** -0.5
    kept = np.asarray(Generator(2).bernoulli(0.7, host.shape, like=np.zeros(1)))
    expected = a * np.where(kept, host, v) - a * v * 0.3
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    y.sum().backward()
    np.testing.assert_allclose(backend.to_numpy(x.grad), a * kept, rtol=1e-6)
    whole = ops.alpha_dropout(x, 1.0)
    np.testing.assert_array_equal(backend.to_numpy(whole), 0)  # as PyTorch has it
    check_gradients(
        lambda t: ops.alpha_dropout(t, 0.4, generator=Generator(5)), host[:3, :4].astype("f8")
    )


@pytest.mark.parametrize(
    "name, shape, forms",
    [
        ("dropout1d", (3,), r"\(N, C, L\) or \(C, L\)"),
        ("dropout2d", (4, 3, 2), r"\(N, C, H, W\)"),
        ("dropout3d", (4, 3, 2), r"\(N, C, D, H, W\) or \(C, D, H, W\)"),
        ("feature_alpha_dropout", (4,), r"\(N, C, ...\)"),
    ],
)
def test_channels_need_their_axes(name, shape, forms):
    with pytest.raises(ValueError, match=rf"{name}: x must be {forms}; x has shape"):
        getattr(ops, name)(nnx.Tensor(np.ones(shape, "f4")))
    with pytest.raises(ValueError, match=rf"{name}: p must be between 0 and 1, got 2"):
        getattr(ops, name)(nnx.Tensor(np.ones(shape, "f4")), 2)


@pytest.mark.parametrize("p", [-0.1, 1.1])
def test_a_probability_outside_its_range(p):
    with pytest.raises(TypeError, match="dropout: x must be of a floating-point dtype, not int"):
        ops.dropout(nnx.tensor([1, 2]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        ops.dropout(nnx.Tensor(np.ones(2, "f4")), p)

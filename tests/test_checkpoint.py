"""`nnx.checkpoint`: the same numbers, with less kept."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import nnx
from nnx import nn


def parts():
    nnx.manual_seed(3)
    first = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
    return first, nn.Linear(8, 2)


def results(call, x):
    """Gradients, running statistics and the next random number of a step."""
    first, last = parts()
    x = nnx.tensor(x, requires_grad=True)
    loss = (last(call(first, x)) ** 2).mean()
    loss.backward()
    found = [x.grad, *[p.grad for p in first.parameters()], *[p.grad for p in last.parameters()]]
    return [*found, *first.buffers(), nnx.random.uniform((2,)), loss.data]


def test_a_step_is_the_same_in_every_bit(backend):
    """Dropout draws the same mask, batch norm's statistics move once."""
    x = nnx.tensor(np.random.default_rng(0).standard_normal((6, 4)).astype("float32")).data
    kept = results(lambda part, x: part(x), x)
    again = results(nnx.checkpoint, x)
    for one, other in zip(kept, again, strict=True):
        assert nnx.tensor(one).tolist() == nnx.tensor(other).tolist()


def test_several_inputs_and_outputs_and_a_shared_parameter():
    rng = np.random.default_rng(1)
    a, b, w = (nnx.tensor(rng.standard_normal((3, 3)), requires_grad=True) for _ in range(3))

    def part(a, scale, b):
        return nnx.matmul(a, w) * scale + b, nnx.exp(b) * w

    def gradients(call):
        for t in (a, b, w):
            t.zero_grad()
        y, z = call(part, a, 2.0, b)
        (y * z + z * w).sum().backward()
        return [t.grad for t in (a, b, w)]

    plain = gradients(lambda f, *args: f(*args))
    known = gradients(lambda f, *args: nnx.checkpoint(f, *args, parameters=[w]))
    told_of_none = gradients(nnx.checkpoint)
    for one, two, three in zip(plain, known, told_of_none, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-14)
        np.testing.assert_allclose(one, three, rtol=1e-14)


def test_gradcheck_through_it():
    layer = nn.Sequential(nn.Linear(3, 4, dtype="float64"), nn.Tanh())
    x = nnx.tensor(np.random.default_rng(2).standard_normal((2, 3)), requires_grad=True)

    def twice(x):
        return nnx.checkpoint(layer, nnx.checkpoint(nnx.sin, x))

    assert nnx.gradcheck(twice, x, parameters=layer.parameters())


def test_the_inside_is_not_kept():
    """Of ten layers, what lives between forward and backward is the input."""

    def living():
        gc.collect()
        return sum(issubclass(type(o), nnx.Function) for o in gc.get_objects())

    layers = nn.Sequential(*[nn.Tanh() for _ in range(10)])
    x = nnx.tensor(np.ones((4, 4)), requires_grad=True)
    before = living()
    y = layers(x)
    assert living() - before == 10
    y = nnx.checkpoint(layers, x)
    assert living() - before == 1
    y.sum().backward()


def test_autocast_is_as_it_was():
    layer = nn.Linear(16, 16)
    x = nnx.tensor(np.random.default_rng(3).standard_normal((8, 16)).astype("float32"))

    def gradient(call):
        layer.zero_grad()
        with nnx.autocast("float16"):
            y = call(layer, x)
        y.sum().backward()
        return layer.weight.grad

    assert np.array_equal(gradient(lambda f, x: f(x)), gradient(nnx.checkpoint))


def test_nothing_to_differentiate_and_no_tensor():
    with nnx.no_grad():
        assert not nnx.checkpoint(nn.Linear(2, 2), nnx.tensor(np.ones((1, 2), "f4"))).requires_grad
    with pytest.raises(TypeError, match="no input is a tensor, and no parameter is known"):
        nnx.checkpoint(lambda x: x, 3)

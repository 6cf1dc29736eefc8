"""gradcheck finds wrong backwards, also those that a sum of outputs hides, and tells where."""

from __future__ import annotations

import numpy as np
import pytest

import nnx
from nnx import nn, ops
from nnx.gradcheck import GradientError

X = np.random.default_rng(0).standard_normal((3, 4))


class Wrong(nnx.Function):
    """y = a b, with a mistake in the gradient of one operand."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, a, b):
        self.a, self.b = a, b
        return a * b

    def backward(self, g):
        return g * self.b, g * self.a * self.factor


class TwiceSoftmax(nnx.Function):
    """A softmax whose gradient is twice too large, which summing the output cannot see."""

    def forward(self, x):
        self.y = self.backend.softmax(x, 1)
        return self.y

    def backward(self, g):
        return 2 * self.backend.softmax_backward(g, self.y, 1)


def test_right_gradients_pass(backend):
    backend.skip_without_float64()
    a, b = backend.tensor(X), backend.tensor(X[::-1].copy())
    assert nnx.gradcheck(lambda a, b: Wrong(1.0)(a, b), a, b)
    assert nnx.gradcheck(ops.softmax, a)


def test_a_wrong_gradient_names_the_input():
    with pytest.raises(GradientError) as caught:
        nnx.gradcheck(lambda a, b: Wrong(1.01)(a, b), X, X)
    lines = str(caught.value).splitlines()
    numbers = [line.rpartition(": backward ")[2].split(", differences ") for line in lines[1:]]
    assert float(numbers[0][0]) == pytest.approx(float(numbers[0][1]), rel=1e-6)
    assert float(numbers[1][0]) == pytest.approx(1.01 * float(numbers[1][1]), rel=1e-6)


def test_a_mistake_that_cancels_in_the_sum_is_seen():
    with pytest.raises(AssertionError, match="finite differences"):
        nnx.gradcheck(lambda x: TwiceSoftmax()(x), X)


def test_a_small_mistake_is_within_a_large_tolerance():
    assert nnx.gradcheck(lambda a, b: Wrong(1.01)(a, b), X, X, tolerance=0.1)


def test_several_outputs_and_unused_ones():
    assert nnx.gradcheck(lambda x: ops.split(x, 2, axis=1), X)
    assert nnx.gradcheck(lambda x: ops.split(x, 2, axis=1)[0], X)


def test_parameters_are_checked_and_put_back():
    layer = nn.Linear(4, 2)
    for p in layer.parameters():
        p.data = p.data.astype(np.float64)
    before = [p.data.copy() for p in layer.parameters()]
    layer.weight.grad = marker = np.full((2, 4), 7.0)
    assert nnx.gradcheck(layer, X, parameters=layer.parameters())
    assert layer.weight.grad is marker and layer.bias.grad is None
    for p, data in zip(layer.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, data)
    scale = nnx.Tensor(X.copy(), requires_grad=True)
    with pytest.raises(GradientError, match=r"parameter 0 of shape \(3, 4\)"):
        nnx.gradcheck(lambda x: Wrong(3.0)(x, scale).sum(), X, parameters=[scale])


def test_float32_is_refused():
    with pytest.raises(TypeError, match="input 1 must be float64, not float32"):
        nnx.gradcheck(ops.add, X, X.astype("f4"))


def test_an_output_off_the_tape_is_refused():
    with pytest.raises(AssertionError, match="depends on what is checked"):
        nnx.gradcheck(lambda x: x.detach(), X)

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


# ---- PyTorch's form, and what a failure says ----


def test_pytorchs_form():
    assert nnx.gradcheck(ops.multiply, (X, X[::-1].copy()))
    assert nnx.gradcheck(ops.softmax, (X,)) and nnx.gradcheck(ops.softmax, [X])
    with pytest.raises(GradientError, match="input 1"):
        nnx.gradcheck(lambda a, b: Wrong(1.01)(a, b), (X, X))


def test_other_things_are_passed_on():
    index = nnx.tensor(np.asarray([2, 0]))
    assert nnx.gradcheck(lambda x, i, n: ops.take(x, i, axis=n), (X, index, 1))
    with pytest.raises(GradientError, match="most wrong in input 2 is element"):
        nnx.gradcheck(lambda n, a, b: Wrong(3.0)(a, b), (1, X, X))
    with pytest.raises(TypeError, match=r"no float64 array .* int, Tensor"):
        nnx.gradcheck(lambda n, i: i, (1, index))


class WrongAt(nnx.Function):
    """y = x, with a gradient that is wrong in one element."""

    def __init__(self, at, by):
        self.at, self.by = at, by

    def forward(self, x):
        return x * 1.0

    def backward(self, g):
        g = g * 1.0
        g[self.at] += self.by
        return g


@pytest.mark.parametrize("at", [(0, 0), (2, 3), (1, 2)])
def test_the_element_is_named_with_both_numbers(at):
    with pytest.raises(GradientError) as caught:
        nnx.gradcheck(lambda a, b: a + WrongAt(at, 0.25)(b), X, X)
    line = str(caught.value).splitlines()[-1]
    place, _, numbers = line.strip().partition(": backward ")
    assert place == f"most wrong in input 1 is element {at}"
    one, other = map(float, numbers.split(", differences "))
    assert one - other == pytest.approx(0.25, abs=1e-6)


def test_a_wrong_element_of_a_parameter_is_named_and_the_parameter_put_back():
    scale = nnx.Tensor(X.copy(), requires_grad=True)
    before = scale.data
    with pytest.raises(GradientError, match=r"most wrong in parameter 0 is element \(1, 1\)"):
        nnx.gradcheck(lambda x: x * WrongAt((1, 1), 2.0)(scale), X, parameters=[scale])
    assert scale.data is before and scale.grad is None


# ---- element by element ----


def test_numerical_gradient(backend):
    """Saito 4.1, on f = x0² + x1², and a function of a matrix."""
    backend.skip_without_float64()
    point = backend.asarray([3.0, 4.0])
    found = nnx.numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, point)
    assert type(found) is type(point)
    np.testing.assert_allclose(backend.to_numpy(found), [6, 8], rtol=1e-9)
    x = backend.tensor(X)
    weights = backend.tensor(np.arange(12.0).reshape(3, 4))
    found = nnx.numerical_gradient(lambda x: (weights * x * x).sum(), x)
    np.testing.assert_allclose(backend.to_numpy(found), 2 * np.arange(12.0).reshape(3, 4) * X,
                               rtol=1e-8, atol=1e-8)  # fmt: skip
    np.testing.assert_array_equal(backend.to_numpy(x), X)


def test_numerical_gradient_of_float32_takes_a_longer_step():
    x = np.asarray([0.5, -3.0, 0.0], "f4")
    found = nnx.numerical_gradient(lambda x: float(np.sum(x * x)), x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 2 * x, rtol=1e-3, atol=1e-3)
    coarse = nnx.numerical_gradient(lambda x: x[0] ** 3, np.asarray([1.0]), eps=0.1)
    np.testing.assert_allclose(coarse, 3 + 0.1**2, rtol=1e-12)


def test_numerical_gradient_says_what_it_needs():
    with pytest.raises(TypeError, match="must be in floating point, its dtype is int64"):
        nnx.numerical_gradient(lambda x: x.sum(), np.asarray([3, 4]))
    with pytest.raises(ValueError, match=r"must return one number, .* \(2,\)"):
        nnx.numerical_gradient(lambda x: x * x, np.asarray([3.0, 4.0]))


def test_jacobian(backend):
    backend.skip_without_float64()
    a = backend.tensor(X)
    x = backend.tensor([1.0, -2.0, 0.5, 3.0])
    np.testing.assert_allclose(backend.to_numpy(nnx.jacobian(lambda x: a @ x, x)), X, rtol=1e-12)
    y = backend.to_numpy(ops.softmax(x))
    found = backend.to_numpy(nnx.jacobian(ops.softmax, x))
    np.testing.assert_allclose(found, np.diag(y) - np.outer(y, y), atol=1e-12)
    by_a, by_x = nnx.jacobian(lambda a, x: a @ x, (a, x))
    assert tuple(by_a.shape) == (3, 3, 4)
    expected = np.einsum("ij,k->ijk", np.eye(3), backend.to_numpy(x))
    np.testing.assert_allclose(backend.to_numpy(by_a), expected, atol=1e-12)
    np.testing.assert_allclose(backend.to_numpy(by_x), X, rtol=1e-12)


def test_jacobian_equals_pytorchs_and_leaves_parameters_alone():
    torch = pytest.importorskip("torch")

    def ours(x, y):
        return (x * y).sum(axis=0), ops.tanh(x)

    def theirs(x, y):
        return (x * y).sum(0), torch.tanh(x)

    here = nnx.jacobian(ours, (X, X[::-1].copy()))
    there = torch.autograd.functional.jacobian(
        theirs, (torch.tensor(X), torch.tensor(X[::-1].copy()))
    )
    for a, b in zip(here, there, strict=True):
        for one, other in zip(a, b, strict=True):
            np.testing.assert_allclose(one, other.numpy(), atol=1e-14)
    layer = nn.Linear(4, 2)
    nnx.jacobian(layer, X.astype("f4"))
    assert layer.weight.grad is None

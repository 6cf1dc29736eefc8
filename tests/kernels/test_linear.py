"""kernels/linear.cu against the portable linear and ReLU."""

from __future__ import annotations

import numpy as np
import pytest

SIZES = [1, 31, 32, 33, 255, 257, 1000]


@pytest.mark.kernels("relu")
@pytest.mark.parametrize("n", SIZES)
def test_relu(cuda, real, n):
    x = np.random.default_rng(0).standard_normal(n).astype(real)
    x[-5:] = np.array([0, np.nan, np.inf, -np.inf, -0.0])[-n:]
    cuda.agree(lambda b, x: b.relu(x), x)


@pytest.mark.kernels("relu_backward")
@pytest.mark.parametrize("n", SIZES)
def test_relu_backward(cuda, real, n):
    """The gradient passes where y > 0, even an infinite one is stopped elsewhere."""
    rng = np.random.default_rng(0)
    gy, y = rng.standard_normal(n).astype(real), rng.standard_normal(n).astype(real)
    gy[0], y[0], y[-1] = np.inf, -1, 0
    (gx,) = cuda.agree(lambda b, gy, y: b.relu_backward(gy, y), gy, y)
    assert gx[0] == 0 and gx[-1] == 0


SHAPES = [(1, 1), (3, 31), (32, 2), (5, 33), (40, 10)]


def dense_layer(shape, real):
    """x, weight and bias of small integers, so that the product is exact in any order."""
    rng = np.random.default_rng(0)
    parts = (rng.integers(-8, 9, s) for s in ((shape[0], 3), (shape[1], 3), shape[1:]))
    return [a.astype(real) for a in parts]


@pytest.mark.kernels("add_bias")
@pytest.mark.parametrize("shape", SHAPES)
def test_linear(cuda, real, shape):
    x, weight, bias = dense_layer(shape, real)
    cuda.agree(lambda b, *given: b.linear(*given), x, weight, bias)
    cuda.agree(lambda b, x, w: b.linear(x, w, None), x, weight)


@pytest.mark.kernels("add_bias_relu")
@pytest.mark.parametrize("shape", SHAPES)
def test_linear_relu(cuda, real, shape):
    """NaN stays NaN, and the bias counts before the gate."""
    x, weight, bias = dense_layer(shape, real)
    x[0, 0] = np.nan
    (y,) = cuda.agree(lambda b, *given: b.linear_relu(*given), x, weight, bias)
    assert np.isnan(y[0]).all() and (y[1:] >= 0).all()
    cuda.agree(lambda b, x, w: b.linear_relu(x, w, None), x, weight)


@pytest.mark.kernels("relu_backward_sums")
@pytest.mark.parametrize("shape", [(1, 1), (7, 31), (8, 33), (40, 70), (9, 64)])
def test_linear_relu_backward(cuda, real, shape):
    """The gate and the bias gradient in one pass; of small integers, sums are exact."""
    x, weight, _ = dense_layer(shape, real)
    rng = np.random.default_rng(1)
    gy, y = rng.integers(-8, 9, shape).astype(real), rng.integers(-1, 2, shape).astype(real)
    all_three = (True, True, True)
    cuda.agree(lambda b, *given: b.linear_relu_backward(*given, all_three), gy, y, x, weight)
    cuda.agree(
        lambda b, *given: b.linear_relu_backward(*given, (False, True, False)), gy, y, x, weight
    )
    cuda.agree(lambda b, *given: b.linear_backward(*given, all_three), gy, x, weight)


@pytest.mark.kernels("column_sums")
@pytest.mark.parametrize("rows, hidden, both", [(1, 1, False), (9, 11, True), (40, 33, True)])
def test_biases_of_a_recurrent_layer(cuda, real, rows, hidden, both):
    """Through the layer, whose twin adds up over time and batch at once."""
    rng = np.random.default_rng(0)
    directions = 1 + both
    x = rng.standard_normal((3, rows, 2)).astype(real)
    parts = [
        rng.standard_normal(s).astype(real)
        for _ in range(directions)
        for s in ((hidden, 2), (hidden, hidden), (hidden,), (hidden,))
    ]

    def body(b, x, *parts):
        weights = [parts[4 * s : 4 * s + 4] for s in range(directions)]
        y, h_n, saved = b.rnn(x, None, weights, None, "tanh")
        return y, h_n, b.rnn_backward(y, h_n, saved, True)

    rtol = {"float32": 1e-5, "float64": 1e-13}[real]
    cuda.agree(body, x, *parts, rtol=rtol, layouts=("contiguous",))  # products are the library's


@pytest.mark.in_half("relu", "relu_backward", "add_bias", "add_bias_relu")
@pytest.mark.in_half("relu_backward_sums", "column_sums")
@pytest.mark.parametrize("shape", [(1, 1), (9, 33), (40, 70)])
def test_in_half(cuda, shape):
    """Sums of columns beyond 2048, where float16 has even numbers only, are rounded once."""
    rng = np.random.default_rng(0)
    gy, y = rng.integers(1, 1000, shape), rng.integers(-1, 2, shape)
    gy, y = gy.astype("float16"), y.astype("float16")
    cuda.agree(lambda b, gy, y: (b.relu(y - gy), b.relu_backward(gy, y)), gy, y)
    x, weight, bias = dense_layer(shape, "float16")
    bias = bias + np.float16(1 / 3)
    cuda.agree(lambda b, *a: (b.linear(*a), b.linear_relu(*a)), x, weight, bias)
    last = (False, False, True)
    cuda.agree(lambda b, *a: b.linear_relu_backward(*a, last)[2], gy, y, x, weight)
    cuda.agree(lambda b, *a: b.linear_backward(*a, last)[2], gy, x, weight)


def test_nothing_to_do(cuda, real):
    empty = np.empty((0, 3), real)
    cuda.agree(lambda b, x: (b.relu(x), b.relu_backward(x, x)), empty)
    ones = np.ones((2, 3), real), np.ones(2, real)
    cuda.agree(lambda b, *given: (b.linear(*given), b.linear_relu(*given)), empty, *ones)
    assert not cuda.launched


def test_other_dtypes_use_the_twin(cuda):
    x = np.arange(-3, 4)
    cuda.agree(lambda b, x: (b.relu(x), b.relu_backward(x, x)), x)
    cuda.agree(
        lambda b, x: (b.linear(x, x, x[0]), b.linear_relu(x, x, x[0])), np.arange(4).reshape(2, 2)
    )
    assert not cuda.launched

"""Activations and softmax: PyTorch's values and gradients, kinks, and numbers of any size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pytorch import assert_same

import nnx
from nnx import ops

X = np.concatenate([np.linspace(-6, 7, 27), [0.0, 1.0, -1.0, 6.0]]).reshape(1, 31)
CASES = {
    "relu": [{}],
    "leaky_relu": [{}, {"negative_slope": 0.3}],
    "elu": [{}, {"alpha": 0.6}],
    "selu": [{}],
    "celu": [{}, {"alpha": 0.5}],
    "sigmoid": [{}],
    "logsigmoid": [{}],
    "softplus": [{}, {"beta": 2.5}],
    "silu": [{}],
    "gelu": [{}, {"approximate": "tanh"}],
    "mish": [{}],
    "softsign": [{}],
    "hardtanh": [{}, {"min_val": -2.0, "max_val": 0.5}],
    "relu6": [{}],
    "tanhshrink": [{}],
    "hardsigmoid": [{}],
    "hardswish": [{}],
    "hardshrink": [{}, {"lambd": 1.0}],
    "softshrink": [{}, {"lambd": 1.0}],
    "threshold": [{"threshold": 1.0, "value": 0.5}, {"threshold": -0.5, "value": -2.0}],
}
OUR_NAMES = {"logsigmoid": "log_sigmoid"}
# what the derivative becomes far from 0: 1 and 0, where nothing else stands here
SLOPE_FAR_RIGHT = {"selu": 1.0507009873554805}
SLOPE_FAR_RIGHT |= dict.fromkeys(
    ["sigmoid", "log_sigmoid", "hardtanh", "relu6", "softsign", "tanh"], 0
)
SLOPE_FAR_RIGHT["erf"] = 0
SLOPE_FAR_LEFT = {"leaky_relu": 0.01, "log_sigmoid": 1.0}
SLOPE_FAR_RIGHT["hardsigmoid"] = 0
SLOPE_FAR_LEFT |= dict.fromkeys(["tanhshrink", "hardshrink", "softshrink"], 1.0)
MORE = {"threshold": (1.0, 0.5)}  # arguments without a default
ALL = sorted({OUR_NAMES.get(name, name) for name in CASES} | {"tanh", "erf"})


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(backend, name):
    F = pytest.importorskip("torch").nn.functional
    ours = getattr(ops, OUR_NAMES.get(name, name))
    # PyTorch's softplus turns into the line x above a threshold: there it is off by 2e-9.
    more = {"threshold": 100.0} if name == "softplus" else {}
    for keywords in CASES[name]:
        for dtype in ("float64", "float32"):
            assert_same(
                backend,
                lambda x, k=keywords: ours(x, **k),
                lambda x, k=keywords: getattr(F, name)(x, **k, **more),
                X,
                dtype=dtype if backend.float64 else "float32",
                rtol=1e-7 if name == "hardsigmoid" else None,  # PyTorch's 1/6 is a float32
            )


@pytest.mark.parametrize("name", ALL)
def test_numbers_of_any_size(backend, name):
    """No NaN, no overflow warning (warnings are errors here), value and gradient."""
    x = np.asarray([-1e30, -1e4, -200.0, -90.0, 0.0, 90.0, 200.0, 1e4, 1e30], "float32")
    if name in ("gelu", "mish", "silu"):
        x = x[1:-1]  # x² must be a number
    t = backend.tensor(x, requires_grad=True)
    y = getattr(ops, name)(t, *MORE.get(name, ()))
    y.sum().backward()
    value, gradient = backend.to_numpy(y), backend.to_numpy(t.grad)
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    assert value.dtype == gradient.dtype == np.float32
    far = [SLOPE_FAR_LEFT.get(name, 0.0), SLOPE_FAR_RIGHT.get(name, 1.0)]
    np.testing.assert_allclose(gradient[[0, -1]], np.asarray(far, "float32"), rtol=3e-7, atol=1e-30)


@pytest.mark.parametrize("name", ALL)
def test_nan_stays_nan(backend, name):
    x = backend.tensor(np.asarray([np.nan, 1.0], "float32"))
    y = getattr(ops, name)(x, *MORE.get(name, ()))
    assert math.isnan(backend.to_numpy(y)[0])


@pytest.mark.parametrize("name", ALL)
def test_a_scalar(backend, name):
    x = backend.tensor(np.asarray(0.75, "float32"), requires_grad=True)
    row = backend.tensor(np.asarray([0.75], "float32"), requires_grad=True)
    y, z = (getattr(ops, name)(t, *MORE.get(name, ())) for t in (x, row))
    y.backward()
    z.sum().backward()
    assert y.shape == () and float(y.detach()) == pytest.approx(z.tolist()[0], rel=1e-6)
    assert float(x.grad) == pytest.approx(float(row.grad[0]), rel=1e-6)


def test_sigmoid_keeps_its_digits_far_out(backend):
    x = np.asarray([-80.0, -40.0, -10.0], "float32")
    y = backend.to_numpy(ops.sigmoid(backend.tensor(x)))
    np.testing.assert_allclose(y, [1 / (1 + math.exp(-v)) for v in x], rtol=2e-6)


@pytest.mark.parametrize("size", [1, 5000])
@pytest.mark.parametrize("name, width", [("elu", 1.0), ("celu", 0.5), ("selu", 1.0)])
def test_the_gradient_of_elu_keeps_its_digits_far_below(backend, name, width, size):
    """e^(x / width) in units in the last place, where y itself has become -1."""
    host = np.linspace(-18, -6, size).astype("f4")
    x = nnx.Tensor(backend.asarray(host), requires_grad=True)
    y = ops.celu(x, 0.5) if name == "celu" else getattr(ops, name)(x)
    y.sum().backward()
    factor = 1.6732632423543772 * 1.0507009873554805 if name == "selu" else 1.0
    exact = factor * np.exp(host.astype("f8") / width)
    np.testing.assert_allclose(backend.to_numpy(x.grad), exact, rtol=5e-6)


@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-15), ("float32", 6e-7)])
def test_erf_is_accurate(backend, dtype, rtol):
    if dtype == "float64":
        backend.skip_without_float64()
    tiny = 1e-300 if dtype == "float64" else 1e-30
    x = np.concatenate([np.linspace(-6.5, 6.5, 2001), np.geomspace(tiny, 1, 50)]).astype(dtype)
    exact = np.asarray([math.erf(v) for v in x.tolist()])
    y = backend.to_numpy(ops.erf(backend.tensor(x)))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, exact, rtol=rtol, atol=0)


@pytest.mark.parametrize("operation", [ops.softmax, ops.log_softmax])
def test_softmax_along_an_axis_of_nothing(backend, operation):
    for shape, axis in (((2, 0), -1), ((0,), 0), ((2, 0, 3), 1), ((2, 0, 3), 0)):
        x = backend.tensor(np.zeros(shape, "f4"), requires_grad=True)
        y = operation(x, axis)
        assert y.shape == shape
        y.sum().backward()
        assert tuple(x.grad.shape) == shape


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin", "glu"])
def test_softmax_equals_pytorch(backend, name):
    F = pytest.importorskip("torch").nn.functional
    x = 5 * np.random.default_rng(3).standard_normal((4, 4, 6))
    for axis in (0, 1, -1):
        for dtype in ("float64", "float32"):
            assert_same(
                backend,
                lambda t, a=axis: getattr(ops, name)(t, axis=a),
                lambda t, a=axis: getattr(F, name)(t, dim=a),
                x,
                dtype=dtype if backend.float64 else "float32",
            )


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_softmax_of_large_numbers(backend, size):
    x = np.asarray([[size, 0.0, -size], [size, size, size]], "float32")
    for operation in (ops.softmax, ops.log_softmax):
        t = backend.tensor(x, requires_grad=True)
        y = operation(t)
        y.backward(backend.asarray(np.asarray([[1, 2, 3], [4, 5, 6]], "float32")))
        assert np.isfinite(backend.to_numpy(y)).all()
        assert np.isfinite(backend.to_numpy(t.grad)).all()
    rows = backend.to_numpy(ops.softmax(backend.tensor(x)).sum(axis=1))
    np.testing.assert_allclose(rows, [1, 1], rtol=1e-6)


def test_softmax_over_masked_scores(backend):
    x = backend.tensor(np.asarray([[0.0, -np.inf, 0.0]], "float32"), requires_grad=True)
    y = ops.softmax(x)
    np.testing.assert_array_equal(backend.to_numpy(y), [[0.5, 0, 0.5]])
    y.backward(backend.asarray(np.asarray([[1, 2, 3]], "float32")))
    np.testing.assert_array_equal(backend.to_numpy(x.grad), [[-0.5, 0, 0.5]])


def test_an_infinite_gradient_at_a_closed_relu_is_zero(backend):
    x = backend.tensor(np.asarray([-1.0, 0.0, 1.0], "float32"), requires_grad=True)
    ops.relu(x).backward(backend.asarray(np.full(3, np.inf, "float32")))
    np.testing.assert_array_equal(backend.to_numpy(x.grad), [0, 0, np.inf])


def test_errors():
    x = nnx.tensor([[1.0, 2.0]])
    with pytest.raises(ValueError, match="softmax: axis 2 is out of range"):
        ops.softmax(x, axis=2)
    with pytest.raises(ValueError, match='"none" or "tanh", not \'erf\''):
        ops.gelu(x, approximate="erf")
    with pytest.raises(ValueError, match=r"glu: the axis must have two halves; axis 0 .* \(1, 2\)"):
        ops.glu(x, axis=0)
    with pytest.raises(ValueError, match="softshrink: lambd must not be negative, got -1"):
        ops.softshrink(x, -1)
    with pytest.raises(ValueError, match="rrelu: lower must not be above upper"):
        ops.rrelu(x, 0.5, 0.25)
    with pytest.raises(TypeError, match=r"softmax: .*int64"):
        ops.softmax(nnx.tensor([1, 2]))


def test_softsign_reaches_its_ends(backend):
    x = backend.tensor(np.asarray([-np.inf, -3, 0, 1, np.inf, np.nan], "f4"), requires_grad=True)
    y = ops.softsign(x)
    np.testing.assert_array_equal(
        backend.to_numpy(y.data), np.float32([-1, -0.75, 0, 0.5, 1, np.nan])
    )
    y.backward(backend.xp.ones_like(y.data))
    expected = np.float32([0, 1 / 16, 1, 0.25, 0, np.nan])
    np.testing.assert_array_equal(backend.to_numpy(x.grad), expected)


def test_hardswish_of_infinities(backend):
    """-inf times 0 is not NaN here."""
    x = backend.tensor(np.asarray([-np.inf, np.inf], "f4"), requires_grad=True)
    y = ops.hardswish(x)
    y.backward(backend.xp.ones_like(y.data))
    np.testing.assert_array_equal(backend.to_numpy(y), [0, np.inf])
    np.testing.assert_array_equal(backend.to_numpy(x.grad), [0, 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanhshrink_keeps_its_digits_near_0(backend, dtype):
    """x - tanh x = x³/3 - 2 x⁵/15 + ..., of which a difference of the two leaves little."""
    if dtype == "float64":
        backend.skip_without_float64()
    x = np.geomspace(1e-4, 3, 50)
    x = np.concatenate([x, -x, [0.0]]).astype(dtype)
    y = backend.to_numpy(ops.tanhshrink(backend.tensor(x)))
    wide = x.astype(np.float64)
    e2 = np.expm1(2 * wide)  # tanh = e2 / (e2 + 2)
    series = wide**3 * (1 / 3 - 2 / 15 * wide**2 + 17 / 315 * wide**4)
    exact = np.where(np.abs(wide) < 3e-3, series, wide - e2 / (e2 + 2))
    np.testing.assert_allclose(y, exact, rtol=5e-7 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rrelu_draws_a_slope_for_each_number(backend, dtype):
    if dtype == "float64":
        backend.skip_without_float64()
    host = np.random.default_rng(0).standard_normal((50, 40)).astype(dtype)
    x = backend.tensor(host, requires_grad=True)
    nnx.manual_seed(1)
    y = ops.rrelu(x, 0.2, 0.6, training=True)
    slopes = backend.to_numpy(y.detach()) / host
    below = slopes[host < 0]
    np.testing.assert_allclose(slopes[host > 0], 1)
    assert 0.2 - 1e-6 <= below.min() < 0.21 and 0.59 < below.max() <= 0.6 + 1e-6
    assert abs(below.mean() - 0.4) < 0.02  # a standard error of 0.004
    y.backward(backend.asarray(np.ones_like(host)))
    np.testing.assert_allclose(backend.to_numpy(x.grad), slopes, rtol=1e-5)
    assert x.grad.dtype == x.dtype
    resting = ops.rrelu(x, 0.2, 0.6)
    np.testing.assert_allclose(
        backend.to_numpy(resting), np.where(host > 0, host, 0.4 * host), rtol=1e-6
    )

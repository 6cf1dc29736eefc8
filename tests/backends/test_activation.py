"""Activation kernels against their portable twins, at sizes that are compiled where numba is there,
and at small ones."""

import numpy as np
import pytest

from nnx.backends import Backend
from nnx.backends.cpu import blocks

TWIN = Backend(np, "numpy")
SHAPES = [(3, 5), (41, 129), (4, 20, 64), (2, 5000), (5000, 1), (300, 17)]

# kernel, what follows x in the call
OF_X = [
    ("tanh", ()),
    ("sigmoid", ()),
    ("softplus", ()),
    ("erf", ()),
    ("silu", (True,)),
    ("silu", (False,)),
    ("leaky_relu", (0.01, True)),
    ("leaky_relu", (0.3, False)),
    ("leaky_relu", (1.5, True)),
    ("hardtanh", (-1.0, 1.0)),
    ("hardtanh", (0.0, 6.0)),
    ("elu", (1.0, 1.0, 1.0, True)),
    ("elu", (0.6, 1.3, 0.5, True)),
    ("elu", (0.6, 1.3, 0.5, False)),
    ("gelu", ("none", True)),
    ("gelu", ("none", False)),
    ("gelu", ("tanh", True)),
    ("gelu", ("tanh", False)),
    ("softmax", (-1,)),
    ("log_softmax", (-1,)),
    ("softmax", (0,)),
    ("log_softmax", (0,)),
]
OF_G_AND_Y = [
    ("tanh_backward", ()),
    ("sigmoid_backward", ()),
    ("hardtanh_backward", (0.0, 0.5)),
    ("softmax_backward", (-1,)),
    ("log_softmax_backward", (-1,)),
    ("softmax_backward", (0,)),
    ("log_softmax_backward", (0,)),
]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that what is tested here takes several, and the last is no whole one."""
    monkeypatch.setattr(blocks, "BLOCK", 1500)


def agree(backend, name, arrays, rest, place):
    """To some units in the last place of 1 and of the input: x (1 + tanh x) cancels so many."""
    size = max(1.0, float(np.abs(arrays[0]).max()))
    expected = getattr(TWIN, name)(*arrays, *rest)
    actual = getattr(backend.backend, name)(*[place(a) for a in arrays], *rest)
    if not isinstance(expected, tuple):
        expected, actual = (expected,), (actual,)
    for e, a in zip(expected, actual, strict=True):
        assert (e is None) == (a is None)
        if e is not None:
            assert str(a.dtype).endswith(str(e.dtype)) and tuple(a.shape) == e.shape
            tolerance = 2e-6 if e.dtype == "float32" else 1e-13
            np.testing.assert_allclose(
                backend.to_numpy(a), e, rtol=5 * tolerance, atol=tolerance * size, err_msg=name
            )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("strided", [False, True])
def test_agrees_with_its_twin(backend, shape, dtype, strided):
    if dtype == "float64":
        backend.skip_without_float64()
    rng = np.random.default_rng(0)
    place = backend.strided if strided else backend.asarray
    x = (3 * rng.standard_normal(shape)).astype(dtype)
    for name, rest in OF_X:
        agree(backend, name, [x], rest, place)
    g = rng.standard_normal(shape).astype(dtype)
    y = (rng.random(shape) / shape[-1]).astype(dtype)
    for name, rest in OF_G_AND_Y:
        agree(backend, name, [g, y], rest, place)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("width", [3, 130])
def test_rows_with_what_is_no_number(backend, width):
    """NaN, or two infinities, make their own row NaN; -inf alone is a probability of 0."""
    x = np.random.default_rng(0).standard_normal((60, width)).astype("float32")
    x[1, 1], x[2, 2], x[3, 0], x[4, -1] = np.nan, np.inf, -np.inf, np.nan
    for name in ("softmax", "log_softmax"):
        y = backend.to_numpy(getattr(backend.backend, name)(backend.asarray(x), -1))
        assert np.isnan(y[[1, 2, 4]]).any(axis=1).all()
        assert not np.isnan(y[[0, 3, *range(5, 60)]]).any()
        assert y[3, 0] == (0 if name == "softmax" else -np.inf)
    np.testing.assert_allclose(np.exp(y[5:]).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("width", [3, 130])
def test_the_largest_of_a_row_is_found_wherever_it_stands(backend, width):
    """Otherwise e^200 overflows."""
    rows = np.arange(1500)
    x = np.zeros((1500, width), "float32")
    x[rows, rows % width] = 200
    for name in ("softmax", "log_softmax"):
        y = getattr(backend.backend, name)(backend.asarray(x), -1)
        np.testing.assert_allclose(backend.to_numpy(y), getattr(TWIN, name)(x, -1), atol=1e-6)
    losses, gradient = backend.backend.softmax_cross_entropy(
        backend.asarray(x), backend.asarray(rows % width)
    )
    for array in (losses, gradient):
        np.testing.assert_allclose(backend.to_numpy(array), 0, atol=1e-6)


@pytest.mark.parametrize("rise", [0.0, 60.0, 300.0, -300.0])
@pytest.mark.parametrize("fall", [0.0, 3.0, 90.0, 1e5])
def test_rows_far_from_one_another(backend, rise, fall):
    """However far one row lies below another, each has the digits that it has alone."""
    x = np.random.default_rng(0).standard_normal((700, 17)).astype("float32") + np.float32(rise)
    x[::7] -= np.float32(fall)
    exact = x - x.max(axis=1, keepdims=True).astype("float64")
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    y = backend.to_numpy(backend.backend.log_softmax(backend.asarray(x), -1))
    np.testing.assert_allclose(y, exact, rtol=2e-7, atol=1e-6)
    y = backend.to_numpy(backend.backend.softmax(backend.asarray(x), -1))
    np.testing.assert_allclose(y, np.exp(exact), rtol=2e-6)

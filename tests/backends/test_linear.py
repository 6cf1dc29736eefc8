"""Dense kernels and softmax cross-entropy against their portable twins, at sizes that are compiled
where numba is there, and at odd ones."""

import numpy as np
import pytest

from nnx.backends import Backend

TWIN = Backend(np, "numpy")
RNG = np.random.default_rng(0)
SHAPES = [(40, 50, 33), (3, 4, 5), (70, 1, 40), (1, 30, 1100), (0, 3, 4)]  # N, D, O


def close(backend, actual, expected):
    for a, e in zip(actual, expected, strict=True):
        assert (a is None) == (e is None)
        if e is not None:
            assert str(a.dtype).endswith(str(e.dtype)) and tuple(a.shape) == e.shape
            np.testing.assert_allclose(backend.to_numpy(a), e, rtol=2e-5, atol=2e-5)


def normal(*shape, dtype="float32"):
    return RNG.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("n, d, o", SHAPES)
@pytest.mark.parametrize("strided", [False, True])
def test_linear_and_relu(backend, n, d, o, strided):
    place = backend.strided if strided else backend.asarray
    x, w, b, g = normal(n, d), normal(o, d), normal(o), normal(n, o)
    kernels = backend.backend
    for bias in (b, None):
        given = [place(x), place(w), None if bias is None else place(bias)]
        for name in ("linear", "linear_relu"):
            y = getattr(TWIN, name)(x, w, bias)
            close(backend, [getattr(kernels, name)(*given)], [y])
            assert (y >= 0).all() or name == "linear"
    gy, py = place(g), place(y)
    for needs in [
        (True, True, True),
        (False, True, True),
        (True, False, False),
        (False, True, False),
    ]:
        close(
            backend,
            kernels.linear_backward(gy, place(x), place(w), needs),
            TWIN.linear_backward(g, x, w, needs),
        )
        close(
            backend,
            kernels.linear_relu_backward(gy, py, place(x), place(w), needs),
            TWIN.linear_relu_backward(g, y, x, w, needs),
        )
    close(backend, [kernels.relu(gy)], [np.maximum(g, 0)])
    close(backend, [kernels.relu_backward(gy, py)], [np.where(y > 0, g, 0)])
    np.testing.assert_array_equal(backend.to_numpy(gy), g)
    np.testing.assert_array_equal(backend.to_numpy(py), y)


@pytest.mark.parametrize("n", [8, 2000])
def test_relu_of_odd_numbers(backend, n):
    """NaN stays; an infinite gradient at a closed gate gives 0; relu'(0) = 0."""
    x = np.resize(np.asarray([np.nan, -np.inf, np.inf, -1, 0, 2, -0.0, 1], "f4"), n)
    g = np.resize(np.asarray([1, np.inf, 1, -np.inf, np.inf, 3, 1, np.inf], "f4"), n)
    y = backend.backend.relu(backend.asarray(x))
    expected = np.resize(np.asarray([np.nan, 0, np.inf, 0, 0, 2, 0, 1], "f4"), n)
    np.testing.assert_array_equal(backend.to_numpy(y), expected)
    # In a fused layer: x W^T + b with W = 0 leaves b.
    zero, ones = np.zeros((x.size, 1), "f4"), np.zeros((2, 1), "f4")
    y = backend.backend.linear_relu(*[backend.asarray(a) for a in (ones, zero, x)])
    np.testing.assert_array_equal(backend.to_numpy(y), np.stack([expected] * 2))
    y = expected.copy()
    y[np.isnan(y)] = 0
    gx = backend.backend.relu_backward(backend.asarray(g), backend.asarray(y))
    np.testing.assert_array_equal(backend.to_numpy(gx), np.where(y > 0, g, 0))
    _, _, gb = backend.backend.linear_relu_backward(
        *[backend.asarray(a) for a in (g[None], y[None], ones[:1], zero)], (False, False, True)
    )
    np.testing.assert_array_equal(backend.to_numpy(gb), np.where(y > 0, g, 0))


@pytest.mark.parametrize("n, classes", [(300, 10), (3, 4), (1, 1), (40, 39), (40, 41), (9, 500)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("index", ["int64", "int32", "uint8"])
def test_softmax_cross_entropy(backend, n, classes, dtype, index):
    if dtype == "float64":
        backend.skip_without_float64()
    z = normal(n, classes, dtype=dtype) * 5
    t = RNG.integers(0, min(classes, 256), n).astype(index)
    places = (backend.asarray, backend.strided)
    for place in places:
        given = place(z), place(t)
        close(
            backend,
            backend.backend.softmax_cross_entropy(*given),
            TWIN.softmax_cross_entropy(z, t),
        )
        np.testing.assert_array_equal(backend.to_numpy(given[0]), z)
        np.testing.assert_array_equal(backend.to_numpy(given[1]), t)


@pytest.mark.parametrize("n", [6, 600])
def test_softmax_cross_entropy_of_extreme_logits_and_ignored_rows(backend, n):
    """1e4 overflows nothing; a target of -1 gives loss 0 and gradient 0; NaN stays in its row."""
    rows = [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [0.0, 0.0, 0.0], [np.nan, 0.0, 1.0]]
    z, t = np.resize(np.asarray(rows, "f4"), (n, 3)), np.resize(np.asarray([0, 0, 2, 1]), n)
    losses, gradient = (
        backend.to_numpy(a)
        for a in backend.backend.softmax_cross_entropy(backend.asarray(z), backend.asarray(t))
    )
    np.testing.assert_allclose(losses[:3], [0, 2e4, np.log(3)], rtol=1e-6)
    np.testing.assert_allclose(
        gradient[:3], [[0, 0, 0], [-1, 1, 0], [1 / 3, 1 / 3, -2 / 3]], atol=1e-6
    )
    assert np.isnan(losses[3]) and np.isnan(gradient[3]).all()
    t[1] = -1
    losses, gradient = (
        backend.to_numpy(a)
        for a in backend.backend.softmax_cross_entropy(backend.asarray(z), backend.asarray(t))
    )
    assert losses[1] == 0 and (gradient[1] == 0).all() and losses[2] > 1

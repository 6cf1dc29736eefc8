"""Slices, and gradients put back at them, against NumPy's own indexing."""

import numpy as np
import pytest

SHAPE = (5, 4, 6)
EVERY = slice(None)
KEYS = [
    (EVERY, EVERY, EVERY),
    (2, EVERY, EVERY),
    (EVERY, 3, 0),
    (slice(1, 4), slice(None, None, 2), EVERY),
    (slice(None, None, -1), EVERY, slice(4, 0, -2)),
    (None, EVERY, 1, slice(3, 1)),
    (EVERY, None, slice(-3, None), slice(-100, 100, 3), None),
    (0, 0, 0),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_slice(backend, key):
    x = np.arange(np.prod(SHAPE), dtype="float32").reshape(SHAPE)
    given = backend.asarray(x)
    y = backend.backend.slice(given, key)
    np.testing.assert_array_equal(backend.to_numpy(y), x[key])


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_slice_backward(backend, key):
    expected = np.zeros(SHAPE, "float32")
    g = np.random.default_rng(0).standard_normal(expected[key].shape).astype("float32")
    expected[key] = g
    given = backend.asarray(g)
    out = backend.backend.slice_backward(given, key, SHAPE)
    np.testing.assert_array_equal(backend.to_numpy(out), expected)
    np.testing.assert_array_equal(backend.to_numpy(given), g)

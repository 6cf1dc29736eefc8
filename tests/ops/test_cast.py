"""astype: values, and the gradient cast back."""

import numpy as np
import pytest
from gradients import check_gradients

from nnx import ops


def test_gradients_are_cast_back(backend):
    backend.skip_without_float64()
    x = backend.tensor(np.asarray([1.5, -2.0], "float32"), requires_grad=True)
    y = ops.astype(x, "float64")
    assert y.dtype == backend.backend.dtype("float64")
    (y * y).sum().backward()
    assert x.grad.dtype == x.dtype
    np.testing.assert_array_equal(backend.to_numpy(x.grad), [3, -4])


def test_gradient(backend):
    backend.skip_without_float64()
    x = np.asarray([1.5, -2.0, 0.25])
    half = "float32"  # its rounding is coarser than a small step: take a large one
    check_gradients(
        lambda t: ops.astype(ops.astype(t, half), "float64") * t,
        x,
        eps=0.25,
        tol=1e-5,
        wrap=backend.asarray,
    )


def test_integers_end_the_tape(backend):
    x = backend.tensor(np.asarray([1.5, -2.0], "float32"), requires_grad=True)
    y = x.astype("int64")
    assert not y.requires_grad
    np.testing.assert_array_equal(backend.to_numpy(y), [1, -2])


def test_the_same_dtype_is_the_same_tensor(backend):
    x = backend.tensor(np.ones(2, "float32"))
    assert x.astype("float32") is x and x.astype(np.float32) is x


def test_an_unknown_dtype(backend):
    with pytest.raises((AttributeError, TypeError)):
        backend.tensor(np.ones(2, "float32")).astype("float31")

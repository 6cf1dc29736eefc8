"""tanh and sigmoid of whole registers, in units in the last place of float32."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from nnx.backends.jit.codegen import vectors as v
from nnx.backends.jit.codegen.compiling import compiled
from nnx.backends.jit.codegen.places import address_of


@compiled
def tanh_of(x, y):
    for j in range(0, x.size, v.LANES):
        v.store(address_of(y), j, v.tanh(v.load(address_of(x), j)))


@compiled
def sigmoid_of(x, y):
    for j in range(0, x.size, v.LANES):
        v.store(address_of(y), j, v.sigmoid(v.load(address_of(x), j)))


def sigmoid(x):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


FUNCTIONS = {"tanh": (tanh_of, np.tanh, 2.6), "sigmoid": (sigmoid_of, sigmoid, 2.5)}


def every_size():
    """A million float32 of both signs, evenly spread over the exponents of all finite ones."""
    bits = np.arange(0, 0x7F800000, 4099, dtype=np.int64).astype("uint32")
    x = np.concatenate([bits, bits + np.uint32(2**31)]).view("float32")
    near = np.linspace(-20, 20, 400_000, dtype="float32")
    x = np.concatenate([x, near])
    return x[: x.size // 16 * 16]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors(name):
    compiled_one, definition, bound = FUNCTIONS[name]
    x = every_size()
    y = np.empty_like(x)
    compiled_one(x, y)
    exact = definition(x.astype("float64"))
    normal = np.abs(exact) >= np.finfo("float32").tiny  # below, 0 will do
    unit = np.spacing(np.abs(exact).astype("float32")).astype("float64")
    error = np.where(normal, np.abs(y - exact) / unit, 0)
    assert error.max() <= bound, (error.max(), x[error.argmax()])
    assert np.abs(y[~normal] - exact[~normal]).max() < np.finfo("float32").tiny
    assert y.min() >= (-1 if name == "tanh" else 0) and y.max() <= 1


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_ends_are_reached(name):
    compiled_one, definition, _ = FUNCTIONS[name]
    far = [-np.inf, -1e30, -1e4, -110, -0.0, 0.0, 17.5, 1e4, 1e30, np.inf, np.nan]
    x = np.zeros(16, "float32")
    x[: len(far)] = far
    y = np.empty_like(x)
    compiled_one(x, y)
    np.testing.assert_array_equal(y, definition(x.astype("float64")).astype("float32"))

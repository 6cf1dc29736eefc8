"""The elementary functions of compiled loops, in units in the last place of float32."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("numba")

from nnx.backends import Backend
from nnx.backends.jit.codegen import elementary
from nnx.backends.jit.codegen.compiling import fused

TWIN = Backend(np, "numpy")


@fused
def evaluate(function, x, y):
    for i in range(x.size):
        y[i] = function(x[i])


def softplus(x):
    return np.logaddexp(0, x)


# name: the definition in float64, where it is looked at, units in the last place
FUNCTIONS = {
    "exp": (np.exp, (-87.0, 88.7), 1.1),
    "exp_below": (np.exp, (-80.0, 0.0), 1.1),
    "expm1_below": (np.expm1, (-200.0, 0.0), 1.5),
    "log1p_to_one": (np.log1p, (0.0, 1.0), 2.0),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), (-87.0, 100.0), 2.6),
    "softplus": (softplus, (-87.0, 100.0), 3.0),
    "tanh": (np.tanh, (-20.0, 20.0), 3.0),
    "erf": (TWIN.erf, (-6.0, 6.0), 6.0),
}


def numbers(low, high):
    """Evenly and logarithmically spaced ones from low to high, with both ends and 0."""
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-30, math.log10(max(abs(low), high)), 200_000)
    signed = np.concatenate([np.linspace(low, high, 400_000), size, -size, [0.0]])
    return signed[(signed >= low) & (signed <= high)].astype("float32")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_errors(name):
    definition, ends, bound = FUNCTIONS[name]
    x = numbers(*ends)
    y = np.empty_like(x)
    evaluate(getattr(elementary, name), x, y)
    exact = definition(x.astype("float64"))
    unit = np.spacing(np.abs(exact).astype("float32")).astype("float64")
    error = np.abs(y - exact) / unit
    assert error.max() <= bound, (error.max(), x[error.argmax()])


@pytest.mark.parametrize(
    "name", sorted(FUNCTIONS.keys() - {"exp_below", "expm1_below", "log1p_to_one"})
)
def test_extremes(name):
    """Infinities, zeros, NaN, and what float32 rounds to 0 or infinity."""
    x = np.array([-np.inf, -1e30, -150, -0.0, 0.0, 150, 1e30, np.inf, np.nan], "float32")
    y = np.empty_like(x)
    evaluate(getattr(elementary, name), x, y)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = FUNCTIONS[name][0](x.astype("float64")).astype("float32")
    np.testing.assert_array_equal(y, expected)


def test_exp_of_the_smallest_numbers():
    """Below the smallest normal number results lose digits, but are not cut off."""
    x = np.linspace(-103.2, -87.4, 1000, dtype="float32")
    y = np.empty_like(x)
    evaluate(elementary.exp, x, y)
    smallest = np.float64(np.finfo("float32").smallest_subnormal)
    assert np.abs(y - np.exp(x.astype("float64"))).max() <= smallest
    assert (y > 0).all()

"""Digits far from 0: activations and variances in float32 against float64, by relative error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnx import ops

X = np.concatenate([-np.geomspace(1e-3, 70, 120)[::-1], np.geomspace(1e-3, 70, 120)])
X = X.astype("float32")
WIDE = X.astype("float64")
SIGMOID = np.exp(-np.logaddexp(0, -WIDE))


def by_tanh(x):
    """x sigmoid(2u), and its derivative: GELU's shorter formula."""
    root = math.sqrt(2 / math.pi)
    z = 2 * root * (x + 0.044715 * x**3)
    s, other = np.exp(-np.logaddexp(0, -z)), np.exp(-np.logaddexp(0, z))
    return x * s, s + x * s * other * 2 * root * (1 + 3 * 0.044715 * x * x)


NEGATIVE = np.minimum(WIDE, 0)
# name -> (operation, value, derivative), and how many float32 roundings the error may be
CASES = {
    "elu": (ops.elu, np.where(WIDE > 0, WIDE, np.expm1(NEGATIVE)), np.exp(NEGATIVE), 60),
    "celu": (
        lambda x: ops.celu(x, 2.0),
        np.where(WIDE > 0, WIDE, 2 * np.expm1(NEGATIVE / 2)),
        np.exp(NEGATIVE / 2),
        60,
    ),
    "gelu by tanh": (lambda x: ops.gelu(x, approximate="tanh"), *by_tanh(WIDE), 400),
    "silu": (ops.silu, WIDE * SIGMOID, SIGMOID * (1 + WIDE * np.exp(-np.logaddexp(0, WIDE))), 60),
    "softplus": (ops.softplus, np.logaddexp(0, WIDE), SIGMOID, 20),
    "log_sigmoid": (ops.log_sigmoid, -np.logaddexp(0, -WIDE), np.exp(-np.logaddexp(0, WIDE)), 20),
    "expm1": (ops.expm1, np.expm1(WIDE), None, 20),
}


@pytest.mark.parametrize("many", [1, 40], ids=["few", "many"])  # some kernels are for many
@pytest.mark.parametrize("name", CASES)
def test_activations_keep_their_digits(backend, name, many):
    function, value, slope, roundings = CASES[name]
    x = backend.tensor(np.tile(X, many), requires_grad=True)
    y = function(x)
    y.sum().backward()
    limit = roundings * 2.0**-24
    for actual, exact in ((backend.to_numpy(y.detach()), value), (backend.to_numpy(x.grad), slope)):
        if exact is None:
            continue
        exact = np.tile(exact, many)
        turning = 1e-2 if name in ("silu", "gelu by tanh") and exact is not value else 0
        error = np.abs(actual.astype("float64") - exact)
        ok = error <= limit * np.maximum(np.abs(exact), turning * (np.abs(exact) > 1e-3)) + 1e-36
        assert ok.all(), (np.tile(X, many)[~ok][:5], actual[~ok][:5], exact[~ok][:5])


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e4, -1e5])
def test_variance_of_numbers_far_from_0(backend, mean):
    x = (mean + np.random.default_rng(3).standard_normal((1000, 3))).astype("float32")
    exact = x.astype("float64").var(axis=0)
    for axis, a in ((0, x), (1, np.ascontiguousarray(x.T))):
        y = backend.to_numpy(ops.var(backend.tensor(a), axis=axis))
        np.testing.assert_allclose(y, exact, rtol=5e-6)
        y = backend.to_numpy(ops.std(backend.tensor(a), axis=axis))
        np.testing.assert_allclose(y, np.sqrt(exact), rtol=5e-6)

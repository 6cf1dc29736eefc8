"""Functions of one number: values and gradients as PyTorch's, also at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from pytorch import assert_same

import nnx
from nnx import ops

X = np.asarray([[-3.0, -1.0, -0.5, 0.0], [1e-3, 0.5, 1.0, 4.0]])
POSITIVE = np.asarray([[1e-6, 0.25, 1.0], [2.0, 9.0, 1e6]])
DOMAIN = {"log": POSITIVE, "log1p": POSITIVE, "sqrt": POSITIVE, "reciprocal": POSITIVE}
NAMES = ["exp", "expm1", "log", "log1p", "sqrt", "square", "reciprocal", "abs", "sign", "tanh"]


@pytest.mark.parametrize("name", [*NAMES, "sin", "cos"])
def test_equals_pytorch(backend, name):
    torch = pytest.importorskip("torch")
    x = DOMAIN.get(name, X)
    assert_same(backend, getattr(ops, name), getattr(torch, name), x)
    assert_same(backend, getattr(ops, name), getattr(torch, name), x, dtype="float32")


@pytest.mark.parametrize(
    "name, x", [("sqrt", 0.0), ("log", 0.0), ("reciprocal", 0.0), ("abs", 0.0)]
)
def test_edges_are_pytorchs(backend, name, x):
    torch = pytest.importorskip("torch")
    assert_same(backend, getattr(ops, name), getattr(torch, name), [x, 1.0])


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "tanh", "sin", "reciprocal", "mean", "var"])
def test_integers_are_refused_not_promoted(backend, name):
    with pytest.raises(TypeError, match=rf"{name}: .*int64.*astype\(\"float32\"\)"):
        getattr(ops, name)(nnx.Tensor(backend.asarray(np.asarray([1, 4]))))


@pytest.mark.parametrize("name", ["abs", "square", "sign", "negative"])
def test_integers_stay_integers(backend, name):
    y = getattr(ops, name)(nnx.Tensor(backend.asarray(np.asarray([-3, 2]))))
    host = backend.to_numpy(y)
    assert host.dtype == np.int64
    np.testing.assert_array_equal(host, getattr(np, name)(np.asarray([-3, 2])))

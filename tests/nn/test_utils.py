"""Clipping gradients, and parameters as a vector, against PyTorch."""

import math

import numpy as np
import pytest

from nnx import nn
from nnx.nn.utils import (
    clip_grad_norm_,
    clip_grad_value_,
    parameters_to_vector,
    vector_to_parameters,
)

SHAPES = [(3, 4), (), (5,), (0, 2)]


def gradients(scale=1.0):
    rng = np.random.default_rng(0)
    return [np.asarray(scale * rng.standard_normal(s), "float32") for s in SHAPES]


def parameters(backend, grads):
    ps = [nn.Parameter(backend.asarray(np.zeros(s, "float32"))) for s in SHAPES]
    for p, g in zip(ps, grads, strict=True):
        p.grad = None if g is None else backend.asarray(g)
    return ps


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clip_grad_norm_is_pytorchs(backend, norm_type, max_norm):
    torch = pytest.importorskip("torch")
    grads = gradients()
    theirs = [torch.nn.Parameter(torch.zeros(s)) for s in SHAPES]
    for p, g in zip(theirs, grads, strict=True):
        p.grad = torch.tensor(g)
    some = [p for p in theirs if p.numel()]  # PyTorch has no largest of nothing
    expected = torch.nn.utils.clip_grad_norm_(some, max_norm, norm_type)
    ps = parameters(backend, grads)
    given = [p.grad for p in ps]
    norm = clip_grad_norm_(ps, max_norm, norm_type)
    assert norm.shape == () and norm.dtype == ps[0].dtype
    np.testing.assert_allclose(float(norm), expected.item(), rtol=1e-6)
    for p, q, g, before in zip(ps, theirs, given, grads, strict=True):
        assert p.grad.dtype == p.dtype
        np.testing.assert_allclose(backend.to_numpy(p.grad), q.grad.numpy(), rtol=1e-6)
        np.testing.assert_array_equal(backend.to_numpy(g), before)  # other holders see no change


def test_parameters_without_a_gradient_are_left_out(backend):
    grads = gradients()
    ps = parameters(backend, [grads[0], None, None, None])
    norm = clip_grad_norm_(ps, 0.1)
    np.testing.assert_allclose(float(norm), np.linalg.norm(grads[0]), rtol=1e-6)
    assert ps[1].grad is None
    clip_grad_value_(ps, 0.1)
    assert float(clip_grad_norm_(ps[1:], 0.1)) == 0.0
    one = clip_grad_norm_(ps[0], 1e9)  # a single tensor
    np.testing.assert_allclose(float(one), np.linalg.norm(backend.to_numpy(ps[0].grad)), rtol=1e-6)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
@pytest.mark.parametrize("norm_type", [2.0, math.inf])
def test_error_if_nonfinite(backend, bad, norm_type):
    grads = gradients()
    grads[2][1] = bad
    ps = parameters(backend, grads)
    with pytest.raises(FloatingPointError, match=rf"norm is {bad}"):
        clip_grad_norm_(ps, 1.0, norm_type, error_if_nonfinite=True)
    for p, g in zip(ps, grads, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(p.grad), g)


def test_clip_grad_value(backend):
    grads = gradients()
    ps = parameters(backend, grads)
    clip_grad_value_(ps, 0.3)
    for p, g in zip(ps, grads, strict=True):
        clipped = np.clip(g, np.float32(-0.3), np.float32(0.3))
        np.testing.assert_array_equal(backend.to_numpy(p.grad), clipped)
    with pytest.raises(ValueError, match=r"must not be negative, got -1"):
        clip_grad_value_(ps, -1)


def test_clipped_gradients_of_scalars_are_arrays():
    p = nn.Parameter(np.asarray(1.5))
    for clip in (nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_):
        p.grad = np.asarray(3.0)
        clip([p], 0.5)
        assert type(p.grad) is np.ndarray


def test_norm_type_must_be_positive(backend):
    with pytest.raises(ValueError, match="norm_type must be positive, got 0"):
        clip_grad_norm_(parameters(backend, gradients()), 1.0, 0)


def test_vector_and_back(backend):
    grads = gradients()
    ps = [nn.Parameter(backend.asarray(g)) for g in grads]
    vector = parameters_to_vector(ps)
    expected = np.concatenate([g.reshape(-1) for g in grads])
    np.testing.assert_array_equal(backend.to_numpy(vector), expected)
    assert vector.creator is None

    vector_to_parameters(vector * 2, ps)
    for p, g in zip(ps, grads, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(p), 2 * g)
    with pytest.raises(ValueError, match=r"shape \(17,\), but the parameters have 18 elements"):
        vector_to_parameters(vector[:-1], ps)
    with pytest.raises(ValueError, match="there are no parameters"):
        parameters_to_vector([])

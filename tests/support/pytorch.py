"""The same function in PyTorch: values and gradients must agree."""

from __future__ import annotations

import numpy as np
import pytest

import nnx

TOLERANCE = {"float32": 3e-6, "float64": 1e-11}


def assert_same(backend, ours, theirs, *arrays, dtype=None, rtol=None, cotangent=None):
    """Assert that `ours` on nnx tensors and `theirs` on torch tensors agree in what they return
    and in all gradients, for a random cotangent, in `dtype` (float64 where the library has it).

    The inputs are strided, and shown not to be written to.
    """
    torch = pytest.importorskip("torch")
    if dtype is None:
        dtype = "float64" if backend.float64 else "float32"
    hosts = [np.asarray(a, dtype) for a in arrays]
    xs = [nnx.Tensor(backend.strided(a), requires_grad=True) for a in hosts]
    ts = [torch.tensor(a, requires_grad=True) for a in hosts]
    with np.errstate(all="ignore"):  # infinities are compared too
        ys, us = _listed(ours(*xs)), _listed(theirs(*ts))
        assert len(ys) == len(us)
        rng = np.random.default_rng(0)
        total_y = total_u = None
        for y, u in zip(ys, us, strict=True):
            assert y.shape == tuple(u.shape) and nnx.backends.dtype_name(y.dtype) == dtype
            _close(backend.to_numpy(y), u.detach().numpy(), dtype, rtol)
            g = rng.uniform(0.5, 2, y.shape) if cotangent is None else np.full(y.shape, cotangent)
            g = g.astype(dtype)
            part_y, part_u = (y * nnx.Tensor(backend.asarray(g))).sum(), (u * torch.tensor(g)).sum()
            total_y = part_y if total_y is None else total_y + part_y
            total_u = part_u if total_u is None else total_u + part_u
        total_y.backward()
        total_u.backward()
    for x, t, host in zip(xs, ts, hosts, strict=True):
        assert x.grad.dtype == x.dtype
        wanted = np.zeros_like(host) if t.grad is None else t.grad.numpy()
        _close(backend.to_numpy(x.grad), wanted, dtype, rtol)
        np.testing.assert_array_equal(backend.to_numpy(x), host)


def _listed(ys):
    return list(ys) if isinstance(ys, tuple | list) else [ys]


def _close(actual, expected, dtype, rtol):
    rtol = rtol or TOLERANCE[dtype]
    finite = np.abs(expected[np.isfinite(expected)])
    atol = rtol * float(finite.max(initial=0))
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)

"""Finite differences along random directions, in float64."""

from __future__ import annotations

import numpy as np

import nnx


def check_gradients(function, *arrays, eps=1e-6, tol=1e-6, seed=0, directions=2, wrap=None):
    """Assert that a function's backward agrees with its forward.

    With random directions v (inputs) and u (outputs), u.(J v) from central differences must
    equal (J^T u).v from backward.  A random u matters: u = 1, which is what summing the output
    amounts to, is blind to mistakes that cancel (softmax has J^T 1 = 0).

    `wrap` makes the library's array from a NumPy float64 array; NumPy itself by default.
    """
    rng = np.random.default_rng(seed)
    wrap = wrap or np.array
    host = [np.asarray(a, dtype=np.float64) for a in arrays]

    def tensors(step, vs):
        return [nnx.Tensor(wrap(x + step * v), True) for x, v in zip(host, vs, strict=True)]

    def values(ys):
        return [np.array(nnx.backends.backend_of(y.data).to_numpy(y.data)) for y in ys]

    def run(xs):
        ys = function(*xs)
        return list(ys) if isinstance(ys, tuple | list) else [ys]

    for _ in range(directions):
        vs = [rng.standard_normal(x.shape) for x in host]
        xs = tensors(0.0, vs)
        ys = run(xs)
        us = [rng.standard_normal(y.shape) for y in ys]
        seen = None  # one scalar, so that several outputs are walked in one backward
        for y, u in zip(ys, us, strict=True):
            part = (y * nnx.Tensor(wrap(u))).sum()
            seen = part if seen is None else seen + part
        seen.backward()
        exact = 0.0
        for x, v in zip(xs, vs, strict=True):
            assert x.grad is not None, "an input got no gradient"
            assert tuple(x.grad.shape) == v.shape
            exact += float(np.sum(values([nnx.Tensor(x.grad)])[0] * v))
        high, low = values(run(tensors(+eps, vs))), values(run(tensors(-eps, vs)))
        numeric = sum(
            float(np.sum(u * (h - g) / (2 * eps))) for u, h, g in zip(us, high, low, strict=True)
        )
        assert abs(numeric - exact) <= tol * max(1.0, abs(exact)), (numeric, exact)

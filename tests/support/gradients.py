"""`nnx.gradcheck`, on arrays of any library under test, and strict about missing gradients."""

from __future__ import annotations

import numpy as np

import nnx


def check_gradients(function, *arrays, eps=1e-6, tol=1e-6, seed=0, directions=2, wrap=None):
    """Assert that a function's backward agrees with its forward in every input.

    `wrap` makes the library's array from a NumPy float64 array; NumPy itself by default.
    """
    wrap = wrap or np.array
    inputs = [nnx.Tensor(wrap(np.asarray(a, dtype=np.float64)), True) for a in arrays]
    nnx.gradcheck(function, *inputs, eps=eps, tolerance=tol, seed=seed, directions=directions)
    outputs = function(*inputs)
    for y in outputs if isinstance(outputs, tuple | list) else [outputs]:
        if y.requires_grad:
            y.backward(nnx.backends.backend_of(y.data).xp.ones_like(y.data), retain_graph=True)
    for k, (x, a) in enumerate(zip(inputs, arrays, strict=True)):
        assert x.grad is not None, f"input {k} got no gradient"
        assert tuple(x.grad.shape) == np.shape(a)

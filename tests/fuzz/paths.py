"""The code paths a case can be run on."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from nnx.backends import Backend, get_backend, kernels, override, use_backend
from nnx.backends.numpy import NumpyBackend

PATHS = ("numpy", "numba", "portable", "check", "strict")


def why_not(path: str) -> str | None:
    """Why a path cannot be taken here; None where it can."""
    needed = {"numba": "numba", "strict": "array_api_strict"}.get(path)
    if needed and importlib.util.find_spec(needed) is None:
        return f"{needed} is not installed"
    return None


@contextmanager
def taking(path: str) -> Iterator[Backend]:
    """Compute on NumPy's arrays (strict: array_api_strict's) by one path, inside a `with`.

    `check` compares the kernels that are installed: numba's, or NumPy's where NNX_JIT=0.
    """
    if path == "numpy":
        with override(np.ndarray, NumpyBackend()) as backend:
            yield backend
    elif path == "numba":
        from nnx.backends.jit import JitBackend

        with override(np.ndarray, JitBackend()) as backend:
            yield backend
    elif path in ("portable", "check"):
        with kernels(path), use_backend("numpy") as backend:
            yield backend
    elif path == "strict":
        with use_backend(get_backend("array_api_strict")) as backend:
            yield backend
    else:
        raise ValueError(f"there is no path {path!r}: {', '.join(PATHS)}")

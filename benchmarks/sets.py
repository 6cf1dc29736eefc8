"""The sets of kernels that benchmarks of single layers run on, and PyTorch beside them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest

from nnx.backends import Backend, jit_enabled, override
from nnx.backends.jit import JitBackend
from nnx.backends.numpy import NumpyBackend

KERNELS: dict[str, Callable[[], Backend]] = {
    "portable": lambda: Backend(np, "numpy"),
    "numpy": NumpyBackend,
    "jit": JitBackend,
}
LIBRARIES = [*KERNELS, "torch"]


def computing_with(library: str) -> AbstractContextManager[Any]:
    """nnx computes with these kernels inside a `with` block; nothing changes for PyTorch."""
    if library == "jit" and not jit_enabled():
        pytest.skip("numba is not installed, or NNX_JIT=0")
    return override(np.ndarray, KERNELS[library]()) if library in KERNELS else nullcontext()

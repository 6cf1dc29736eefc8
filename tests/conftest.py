"""The `backend` fixture: one test body, every array library and every code path.

| parameter            | arrays              | kernels                                             |
| -------------------- | ------------------- | --------------------------------------------------- |
| numpy                | NumPy               | tuned NumPy                                         |
| jit                  | NumPy               | numba (skipped where numba is not installed)        |
| portable             | NumPy               | the portable twins                                  |
| readonly             | NumPy, not writable | as installed                                        |
| strict               | array_api_strict    | portable                                            |
| strict-device1       | the same, on its fake second device                                       |
| strict-no-float64    | the same, on its fake device without float64                              |
| torch                | torch tensors       | portable (skipped where torch is not installed)     |
| cuda-on-cpu          | NumPy               | CUDA, run by the harness (`cuda_cpu`; needs g++)    |
| cupy                 | CuPy                | CUDA (marker `gpu`; skipped where no GPU answers)   |
"""

from __future__ import annotations

import importlib.util
import signal

import numpy as np
import pytest
from cuda_cpu import why_unavailable
from cuda_cpu.available import skip_or_fail
from cuda_cpu.under_test import cuda_backend

import nnx
from nnx.backends import Backend, get_backend, override, unavailable, use_backend
from nnx.backends import kernels as kernel_mode
from nnx.backends.numpy import NumpyBackend


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and so would every test of it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


BACKENDS = [
    "numpy",
    "jit",
    "portable",
    "readonly",
    "strict",
    "strict-device1",
    "strict-no-float64",
    "torch",
    "cuda-on-cpu",
    pytest.param("cupy", marks=pytest.mark.gpu),
]


class On:
    """One backend under test: how arrays get there and back."""

    def __init__(self, kind: str, backend: Backend) -> None:
        self.kind, self.backend, self.xp = kind, backend, backend.xp
        self.float64 = kind != "strict-no-float64"

    def asarray(self, x, dtype=None):
        """A NumPy array (or nested lists) as an array of the library under test."""
        x = np.asarray(x, dtype=dtype)
        if x.dtype == np.float64 and not self.float64:
            x = x.astype(np.float32)
        array = self.backend.from_numpy(x)
        if self.kind == "readonly":
            array = np.array(array)
            array.flags.writeable = False
        return array

    def strided(self, x, dtype=None):
        """The same values in an array that is not contiguous, where the library has such."""
        x = np.asarray(x, dtype=dtype)
        if x.ndim == 0:
            return self.asarray(x)
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        wide[..., ::2] = x
        return self.asarray(wide)[..., ::2]

    def tensor(self, x, dtype=None, requires_grad=False):
        return nnx.Tensor(self.asarray(x, dtype), requires_grad)

    def to_numpy(self, x):
        return np.array(self.backend.to_numpy(x.data if isinstance(x, nnx.Tensor) else x))

    def skip_without_float64(self):
        if not self.float64:
            pytest.skip("this device has no float64")


@pytest.fixture(params=BACKENDS)
def backend(request):
    """`On`: the library under test, active, with its code path chosen."""
    kind = request.param
    if kind == "portable":
        with kernel_mode("portable"), use_backend("numpy") as active:
            yield On(kind, active)
    elif kind == "numpy":
        with override(np.ndarray, NumpyBackend()) as active:
            yield On(kind, active)
    elif kind == "jit":
        if importlib.util.find_spec("numba") is None:
            pytest.skip("numba is not installed")
        from nnx.backends.jit import JitBackend

        with override(np.ndarray, JitBackend()) as active:
            yield On(kind, active)
    elif kind == "readonly":
        with use_backend("numpy") as active:
            yield On(kind, active)
    elif kind == "cuda-on-cpu":
        skip_or_fail(why_unavailable(), "NNX_REQUIRE_HARNESS")
        with override(np.ndarray, cuda_backend("fast")) as active:
            yield On(kind, active)
    elif kind == "cupy":
        skip_or_fail(unavailable("cupy"), "NNX_REQUIRE_GPU")
        with use_backend("cupy") as active:
            yield On(kind, active)
    else:
        library = "torch" if kind == "torch" else "array_api_strict"
        pytest.importorskip(library)
        device = {"strict-device1": ":device1", "strict-no-float64": ":no_float64"}.get(kind, "")
        with use_backend(get_backend(library + device)) as active:
            yield On(kind, active)

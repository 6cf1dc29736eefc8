"""The `backend` fixture: one test body, every array library and every code path.

| parameter            | arrays              | kernels                                             |
| -------------------- | ------------------- | --------------------------------------------------- |
| numpy                | NumPy               | tuned NumPy                                         |
| jit                  | NumPy               | numba (where it is installed)                       |
| portable             | NumPy               | the portable twins                                  |
| readonly             | NumPy, not writable | as installed                                        |
| strict-device1       | array_api_strict, on its fake second device: what leaves the device fails |
| strict-no-float64    | array_api_strict, on its fake device without float64                      |
| torch                | torch tensors       | portable (where torch is installed)                 |
| cuda-on-cpu          | NumPy               | CUDA, run by the harness (`cuda_cpu`; needs g++)    |
| cupy-on-cpu          | CuPy, in host memory | CUDA, run by the harness (`cupy_on_cpu`)           |
| cupy                 | CuPy                | CUDA (marker `gpu`; where a GPU answers)            |

A parameter whose library is not here is not collected; the last lines of a run say so, one for each
library.  `NNX_REQUIRE_HARNESS=1` and `NNX_REQUIRE_GPU=1` collect it all the same, to fail.

Those on NumPy arrays are `watched`: a kernel that writes into what it is given fails the test.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
from collections import Counter
from collections.abc import Generator
from typing import Any

# Before NumPy and PyTorch read it: several processes with a thread for each core in each wait for
# each other, and take many times as long.  nnx's own threads do not wait so, and two show what
# threads could break.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NNX_NUM_THREADS", "2")

import cupy_on_cpu
import numpy as np
import pytest
from _pytest.runner import runtestprotocol
from cuda_cpu import why_unavailable
from cuda_cpu.available import skip_or_fail
from cuda_cpu.under_test import cuda_backend
from watched import watched

import nnx
from nnx.backends import Backend, get_backend, override, unavailable, use_backend
from nnx.backends import kernels as kernel_mode
from nnx.backends.cpu import thresholds
from nnx.backends.jit import thresholds as jit_thresholds
from nnx.backends.numpy import NumpyBackend

pytest_plugins = ["tiers"]


def pytest_configure() -> None:
    """A shell's background job ignores Ctrl-C, and `nohup` a hang-up; so would every test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) is signal.SIG_IGN:
        signal.signal(hang_up, signal.SIG_DFL)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Tens of thousands of tests stay until the end: the search for rubbish need not walk them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Where several processes run the tests, one message tells of a test that passed, or that its
    set-up took long; pytest-xdist's six took both sides a millisecond, of tens of thousands."""
    if not hasattr(item.config, "workerinput"):
        return None
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    failed = any(report.failed for report in reports)
    for report in reports:
        if failed or report.when == "call" or not report.passed or report.duration > 0.1:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


def not_installed(library: str) -> str | None:
    found = importlib.util.find_spec(library) is not None
    return None if found else f"{library} is not installed"


def required(variable: str, reason: str | None) -> str | None:
    """Why a parameter is left out; None also where the variable asks for a failure instead."""
    return None if os.environ.get(variable) == "1" else reason


# Why a parameter is not collected; None where it is.
BACKENDS: dict[str, str | None] = {
    "numpy": None,
    "jit": not_installed("numba"),
    "portable": None,
    "readonly": None,
    "strict-device1": not_installed("array_api_strict"),
    "strict-no-float64": not_installed("array_api_strict"),
    "torch": not_installed("torch"),
    "cuda-on-cpu": required("NNX_REQUIRE_HARNESS", why_unavailable()),
    "cupy-on-cpu": cupy_on_cpu.why_unavailable(),
    "cupy": required("NNX_REQUIRE_GPU", unavailable("cupy")),
}
if os.environ.get("NNX_KERNELS") == "check":  # the others choose their kernels themselves
    others = BACKENDS.keys() - {"readonly"}
    BACKENDS |= dict.fromkeys(others, "NNX_KERNELS=check is about the kernels as installed")
MARKS = {"cupy": [pytest.mark.gpu]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what is not here where a test names it: as a parameter, or the fixture."""
    from tiers import backend_of  # pytest reads it as a plugin first

    missing = {"on_cupy"} if BACKENDS["cupy-on-cpu"] else set()
    items[:] = [
        item
        for item in items
        if BACKENDS.get(backend_of(item)) is None
        and not missing & set(getattr(item, "fixturenames", ()))
    ]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each library that is not here, in place of one for each test."""
    skipped: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if reason.startswith("could not import"):
            reason = f"{reason.split(chr(39))[1].partition('.')[0]} is not installed"
        skipped[reason] += 1
    left_out: dict[str, list[str]] = {}
    for name, reason in BACKENDS.items():
        if reason:
            left_out.setdefault(reason, []).append(name)
    for reason in sorted({*skipped, *left_out}):
        parts = []
        if reason in left_out:
            parts.append(f"nothing was collected for {' and '.join(left_out[reason])}")
        if skipped[reason]:
            parts.append(f"{skipped[reason]} tests skipped")
        terminalreporter.write_line(f"{reason}: {'; '.join(parts)}")


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


def nothing_is_small(monkeypatch):
    """Tests' small images meet the code that is tuned for large ones; `readonly` takes what is
    installed, and so the ways for small ones."""
    monkeypatch.setattr(thresholds, "COLUMN_BYTES", 0)
    monkeypatch.setattr(thresholds, "COLUMN_NUMBERS", 0)
    monkeypatch.setattr(thresholds, "POOL", 0)
    monkeypatch.setattr(jit_thresholds, "POOL", 0)


@pytest.fixture(autouse=True)
def from_seed_0():
    """Every test draws what it draws alone, whichever ran before it in this process."""
    nnx.manual_seed(0)


@pytest.fixture
def on_cupy():
    """`On` CuPy's arrays in host memory, for tests that count what a device would be asked."""
    with cupy_on_cpu.installed() as made, override(made.modules.array, made) as active:
        yield On("cupy-on-cpu", active)


@pytest.fixture(
    params=[pytest.param(n, marks=MARKS.get(n, [])) for n, why in BACKENDS.items() if why is None]
)
def backend(request, monkeypatch):
    """`On`: the library under test, active, with its code path chosen."""
    kind = request.param
    if kind in ("numpy", "jit"):
        nothing_is_small(monkeypatch)
    if kind == "portable":
        with kernel_mode("portable"), override(np.ndarray, watched(get_backend("numpy"))) as active:
            yield On(kind, active)
    elif kind == "numpy":
        with override(np.ndarray, watched(NumpyBackend())) as active:
            yield On(kind, active)
    elif kind == "jit":
        from nnx.backends.jit import JitBackend

        with override(np.ndarray, watched(JitBackend(), locked=False)) as active:
            yield On(kind, active)
    elif kind == "readonly":
        with override(np.ndarray, watched(get_backend("numpy"))) as active:
            yield On(kind, active)
    elif kind == "cuda-on-cpu":
        skip_or_fail(why_unavailable(), "NNX_REQUIRE_HARNESS")
        with override(np.ndarray, watched(cuda_backend("fast"), locked=False)) as active:
            yield On(kind, active)
    elif kind == "cupy-on-cpu":
        yield request.getfixturevalue("on_cupy")
    elif kind == "cupy":
        skip_or_fail(unavailable("cupy"), "NNX_REQUIRE_GPU")
        with use_backend("cupy") as active:
            yield On(kind, active)
    else:
        library = "torch" if kind == "torch" else "array_api_strict"
        device = {"strict-device1": ":device1", "strict-no-float64": ":no_float64"}.get(kind, "")
        with use_backend(get_backend(library + device)) as active:
            yield On(kind, active)

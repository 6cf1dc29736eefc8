"""`nnx doctor`: is everything here that nnx needs, and does it compute right?

A list of findings, each with its remedy, and one verdict.  Useful without a GPU too: then the
CPU's code paths are examined, and what a GPU would need is said.
"""

from __future__ import annotations

import ctypes
import importlib.metadata as metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from .. import nn
from ..backends import active_backend, flush, unavailable
from ..parallel import launch
from ..tensor import Tensor
from .parity import parity

__all__ = ["NOTE", "OK", "WRONG", "Finding", "examine", "verdict"]

OK, NOTE, WRONG = "ok", "note", "wrong"

CUPY_WHEELS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Args:
        what: its name.
        state: OK, NOTE (worth knowing) or WRONG (to be mended).
        detail: what was found.
        remedy: what to do, where there is something.
    """

    what: str
    state: str
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything; a check that itself breaks is a finding, not a crash."""
    findings: list[Finding] = []
    for check in (_python, _variables, _blas, _numba, _cupy_wheels, _device, _kernels):
        try:
            findings.extend(check())
        except Exception as error:
            findings.append(_broken(check, error))
    for check in (_gradients, _parity, _mpi):
        started = time.perf_counter()
        try:
            for finding in check():
                seconds = time.perf_counter() - started
                detail = f"{finding.detail} ({seconds:.1f} s)"
                findings.append(Finding(finding.what, finding.state, detail, finding.remedy))
        except Exception as error:
            findings.append(_broken(check, error))
    return findings


def verdict(findings: list[Finding]) -> str:
    """The one line to remember of some findings."""
    wrong = [f for f in findings if f.state == WRONG]
    if wrong:
        return f"{len(wrong)} of {len(findings)} checks failed; first: {wrong[0].what}"
    if unavailable("cupy") is None:
        return f"all {len(findings)} checks passed; the GPU is ready: NNX_BACKEND=cupy"
    return f"all {len(findings)} checks passed on the CPU; there is no GPU to use here"


def _broken(check: Callable[[], Iterator[Finding]], error: Exception) -> Finding:
    return Finding(check.__name__.strip("_"), WRONG, f"{type(error).__name__}: {error}")


def _python() -> Iterator[Finding]:
    detail = (
        f"Python {platform.python_version()}, NumPy {np.__version__}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    )
    yield Finding("versions", OK, detail)


def _variables() -> Iterator[Finding]:
    found = [f"{n}={value}" for n, value in sorted(os.environ.items()) if n.startswith("NNX_")]
    yield Finding("settings", OK, ", ".join(found) or "no NNX_ variable is set")
    yield Finding("arithmetic", OK, flush.described())
    if os.environ.get("OPENBLAS_CORETYPE"):
        yield Finding(
            "OPENBLAS_CORETYPE",
            NOTE,
            "forces an older processor's matrix product, which can halve its speed",
            "unset OPENBLAS_CORETYPE",
        )


def _blas() -> Iterator[Finding]:
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))  # so that the library is loaded
    for pool in threadpool_info():
        if pool.get("user_api") == "blas":
            architecture = pool.get("architecture", "unknown")
            detail = f"{pool['internal_api']} {pool['version']} for {architecture}, "
            yield Finding("matrix products", OK, f"{detail}{pool['num_threads']} threads")
            return
    yield Finding("matrix products", NOTE, "no BLAS library that threadpoolctl knows")


def _numba() -> Iterator[Finding]:
    if find_spec("numba") is None:
        yield Finding("numba", NOTE, "not installed: tuned NumPy computes", "pip install numba")
    elif os.environ.get("NNX_JIT") == "0":
        yield Finding("numba", NOTE, "installed, but NNX_JIT=0 keeps it out", "unset NNX_JIT")
    else:
        yield Finding("numba", OK, f"{metadata.version('numba')}, in use")


def _mpi() -> Iterator[Finding]:
    """Whether several processes could train one model: is all there, and do two of them add up?"""
    try:
        sum_, size, library, starter = launch.two_ranks()
    except launch.CannotLaunch as error:
        what, _, remedy = str(error).partition(": ")
        yield Finding("MPI", NOTE, f"{what}: training in one process only", remedy)
        return
    except (OSError, subprocess.SubprocessError) as error:
        yield Finding("MPI", WRONG, f"two processes did not start: {error}")
        return
    detail = f"{library}, started by {starter}"
    if size == 1:
        yield Finding(
            "MPI",
            WRONG,
            f"mpiexec and mpi4py do not match, each process believes that it is alone: {detail}",
            "install the mpi4py that was built for this mpiexec",
        )
    elif sum_ != 3.0:
        yield Finding("MPI", WRONG, f"two processes added 1 and 2 to {sum_}: {detail}")
    else:
        yield Finding("MPI", OK, f"two processes add up: {detail}")


def _driver_cuda() -> int | None:
    """The CUDA version the NVIDIA driver supports, as 12040 for 12.4; None without a driver."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
    except OSError:
        return None
    version = ctypes.c_int()
    return version.value if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 else None


def _cupy_wheels() -> Iterator[Finding]:
    installed = []
    for name in CUPY_WHEELS:
        try:
            installed.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    cuda = _driver_cuda()
    wanted = None if cuda is None else "cupy-cuda13x" if cuda >= 13000 else "cupy-cuda12x"
    driver = "" if cuda is None else f"CUDA {cuda // 1000}"
    if len(installed) > 1:
        names = " ".join(n for n, _ in installed)
        yield Finding(
            "CuPy wheels",
            WRONG,
            f"{len(installed)} at once, which overwrite each other: {names}",
            f"pip uninstall {names}, then pip install {wanted or 'one of them'}",
        )
    elif not installed:
        state = NOTE
        detail = "none installed"
        if cuda is not None:
            detail += f", though a driver for {driver} is here"
        wheel = wanted or "cupy-cuda12x"
        yield Finding("CuPy wheels", state, detail, f"pip install {wheel} for a GPU")
    else:
        name, version = installed[0]
        if wanted is not None and name.startswith("cupy-cuda") and name > wanted:
            yield Finding(
                "CuPy wheels",
                WRONG,
                f"{name} {version} needs a newer driver: this one supports {driver}",
                f"pip uninstall {name}, then pip install {wanted}",
            )
        else:
            yield Finding("CuPy wheels", OK, f"{name} {version}")


def _device() -> Iterator[Finding]:
    cuda = _driver_cuda()
    if cuda is None:
        yield Finding("NVIDIA driver", NOTE, "none found: nnx computes on the CPU")
    else:
        yield Finding("NVIDIA driver", OK, f"for CUDA {cuda // 1000}.{cuda % 1000 // 10}")
    reason = unavailable("cupy")
    if reason is not None:
        state = NOTE if cuda is None or find_spec("cupy") is None else WRONG
        yield Finding("GPU", state, reason)
        return
    from ..backends.cupy import describe_device

    yield Finding("GPU", OK, describe_device())


def _kernels() -> Iterator[Finding]:
    from ..backends.cuda.sources import kernel_folder

    files = sorted(kernel_folder().glob("*.cu"))
    if unavailable("cupy") is not None:
        yield Finding("CUDA kernels", OK, f"{len(files)} files found; compiled where a GPU answers")
        return
    from ..backends.cuda.launcher import REGISTRY
    from ..backends.cupy import CupyBackend

    started, modules, count = time.perf_counter(), CupyBackend().modules, 0
    for kernel in REGISTRY.values():
        for real, constants in kernel.variants():
            modules.function(kernel, real, constants)
            count += 1
    seconds = time.perf_counter() - started
    yield Finding("CUDA kernels", OK, f"{count} variants compiled in {seconds:.1f} s")


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def _gradients() -> Iterator[Finding]:
    """Finite differences of a small network's loss along one random direction, in float64."""
    home = active_backend()
    loss, model = nn.CrossEntropyLoss(), _network().to(dtype="float64")
    rng = np.random.default_rng(0)
    x = Tensor(home.from_numpy(rng.standard_normal((5, 8))))
    t = Tensor(home.from_numpy(rng.integers(0, 4, 5)))
    parameters = list(model.parameters())
    start = [np.array(home.to_numpy(p.data)) for p in parameters]
    directions = [rng.standard_normal(p.shape) for p in parameters]

    def at(step: float) -> float:
        for p, s, v in zip(parameters, start, directions, strict=True):
            p.data = home.from_numpy(s + step * v)
        return float(loss(model(x), t).item())

    at(0.0)
    loss(model(x), t).backward()
    exact = sum(
        float(np.sum(home.to_numpy(p.grad) * v))
        for p, v in zip(parameters, directions, strict=True)
    )
    numeric = (at(1e-6) - at(-1e-6)) / 2e-6
    error = abs(exact - numeric) / max(abs(exact), 1.0)
    state = OK if error < 1e-6 else WRONG
    remedy = "" if state == OK else "run the tests (python -m pytest) and report what fails"
    yield Finding(f"gradients on {home.name}", state, f"relative error {error:.0e}", remedy)


def _parity() -> Iterator[Finding]:
    """The CPU against the GPU where there is one, else against the portable code."""
    rng = np.random.default_rng(1)
    batch = (rng.standard_normal((5, 8)).astype("float32"), rng.integers(0, 4, 5))
    report = parity(_network(), batch, nn.CrossEntropyLoss())
    state = OK if report.ok else WRONG
    largest = max(row.error for row in report.rows)
    detail = f"{len(report.rows)} tensors, largest error {largest:.0e}"
    if report.first is not None:
        detail = f"differs first in {report.first.layer}: {report.first.tensor}"
    yield Finding(f"parity of {' and '.join(report.backends)}", state, detail)

"""`nnx info`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from inspect import getmembers, isfunction

import click

from ..backends import active_backend, jit_enabled, kernel_mode, unavailable
from ..version import __version__
from .terminal import say, table

BACKENDS = ("numpy", "cupy", "torch", "array_api_strict")


@click.command()
@click.option("--kernels", "kernel_table", is_flag=True, help="Which file answers each kernel.")
def command(kernel_table: bool) -> None:
    """Show versions and backends: what is used, what there is, and why something is missing.

    With --kernels: every kernel, and for each backend the file whose code answers it first.
    """
    if kernel_table:
        _show_kernels()
        return
    try:
        active, reason = active_backend().name, ""
    except ValueError as error:
        active, reason = os.environ.get("NNX_BACKEND", ""), str(error)
    table(["", ""], _versions())
    rows = []
    for name in BACKENDS:
        missing = unavailable(name)
        state = "active" if active.partition(":")[0] == name and not reason else "there"
        rows.append((name, "missing" if missing else state, missing or _with(name)))
    table(["backend", "", ""], rows)
    say(f"kernels: {kernel_mode()}  (NNX_KERNELS=fast|portable|check)")
    say(f"data:    {_data()}")
    if reason:
        raise click.ClickException(f"NNX_BACKEND={active}: {reason}")


def _show_kernels() -> None:
    """A row for each kernel, a column for each backend; "" where the portable code answers."""
    from ..backends.cuda import CudaBackend
    from ..backends.jit import JitBackend
    from ..backends.numpy import NumpyBackend
    from ..backends.portable import PortableKernels

    columns = {"NumPy": NumpyBackend, "numba": JitBackend, "CuPy": CudaBackend}
    members = getmembers(PortableKernels, isfunction)
    kernels = sorted((home_of(PortableKernels, n), n) for n, _ in members if n[0] != "_")
    rows = []
    for portable, name in kernels:
        homes = [home_of(kind, name) for kind in columns.values()]
        rows.append((name, portable, *("" if home == portable else home for home in homes)))
    table(["kernel", "portable", *columns], rows)


def home_of(kind: type, name: str) -> str:
    """The file of `backends/` that the code of a kernel stands in, for one class of backend."""
    module = str(getattr(kind, name).__module__)
    return module.partition(".backends.")[2].replace(".", "/") + ".py"


def _versions() -> Iterator[tuple[str, str]]:
    yield "nnx", __version__
    yield "Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    yield "NumPy", f"{version('numpy')}, {_blas()}"
    yield "numba", _numba()
    yield "matplotlib", _installed("matplotlib") or "not installed: no pictures (extra plot)"


def _blas() -> str:
    """The library under NumPy's matrix products, and what it found out about the processor."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            kind = pool.get("architecture", "unknown architecture")
            return (
                f"{pool['internal_api']} {pool['version']} ({kind}), {pool['num_threads']} threads"
            )
    return "BLAS unknown"


def _numba() -> str:
    installed = _installed("numba")
    if installed is None:
        return "not installed: kernels in NumPy (pip install numba for faster ones)"
    if not jit_enabled():
        return f"{installed}, kept out by NNX_JIT={os.environ.get('NNX_JIT')}"
    return f"{installed}, compiles kernels"


def _installed(name: str) -> str | None:
    if find_spec(name) is None:
        return None
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"


def _with(name: str) -> str:
    """What a backend that is there computes with."""
    if name == "numpy":
        return "numba kernels" if jit_enabled() else "NumPy kernels"
    if name == "cupy":
        return "CUDA kernels"
    return f"portable kernels, {_installed(name)}"


def _data() -> str:
    from ..datasets import cache_folder

    root = os.environ.get("NNX_DATA")
    first = f"NNX_DATA={root}" if root else "NNX_DATA is not set"
    return f"{first}; cache {cache_folder()}"

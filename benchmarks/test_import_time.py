"""`import nnx` against `import numpy`: at most twice the time.

    python -m pytest benchmarks/test_import_time.py --benchmark-only -s

Each is imported in a process of its own, in turn; the first of each warms the disk's cache and
writes the compiled modules to a folder of the benchmark's.  Where nobody may write them beside the
source (PYTHONDONTWRITEBYTECODE), Python would compile nnx again each time, but not NumPy, whose
were installed.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

import pytest

ROUNDS = 15
TIMED = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def seconds(module: str) -> float:
    command = [sys.executable, "-c", TIMED.format(module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(autouse=True)
def compiled_modules(tmp_path, monkeypatch):
    """A folder where Python keeps what it compiled."""
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path))
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)


def test_import_time(benchmark):
    times = {"numpy": [], "nnx": []}
    for _ in range(ROUNDS + 1):
        for module, taken in times.items():
            taken.append(seconds(module))
    numpy, nnx = (statistics.median(taken[1:]) for taken in times.values())
    benchmark.extra_info["ratio"] = nnx / numpy
    benchmark.pedantic(seconds, args=["nnx"], rounds=3)
    print(f"\nimport numpy {1e3 * numpy:.0f} ms, import nnx {1e3 * nnx:.0f} ms: {nnx / numpy:.2f}")

"""The `cuda` fixture: one test body, on the CPU harness and on a GPU where one answers.

| parameter | arrays | kernels                                                                |
| --------- | ------ | ---------------------------------------------------------------------- |
| check     | NumPy  | compiled by g++, every access watched, in three orders of the threads   |
| gpu       | CuPy   | compiled by NVRTC (marker `gpu`; collected where a GPU answers)         |

The kernels without the watching are what the `cuda-on-cpu` backend of `tests/conftest.py` runs, on
which every test of every operation and layer is repeated.

A test marked `kernels("im2col", ...)` says that it holds these kernels to their portable twins
(with `cuda.agree`), and fails if it did not.  `test_registry.py` demands such a test of every
kernel; and one marked `in_half(...)`, on float16 arrays, of every kernel that stores them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
from cuda_cpu import why_unavailable
from cuda_cpu.available import skip_or_fail
from cuda_cpu.under_test import CudaUnderTest

from nnx.backends import unavailable

PASSED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "kernels(*names): this test holds these CUDA kernels to their portable twins"
    )
    config.addinivalue_line(
        "markers", "in_half(*names): this test holds these kernels, on float16, to their twins"
    )


GPU_HERE = unavailable("cupy") is None or os.environ.get("NNX_REQUIRE_GPU") == "1"


@pytest.fixture(params=["check", *[pytest.param("gpu", marks=pytest.mark.gpu)] * GPU_HERE])
def cuda(request: pytest.FixtureRequest) -> Iterator[CudaUnderTest]:
    if request.param == "gpu":
        skip_or_fail(unavailable("cupy"), "NNX_REQUIRE_GPU")
    else:
        skip_or_fail(why_unavailable(), "NNX_REQUIRE_HARNESS")
    under_test = CudaUnderTest(request.param)
    yield under_test
    if request.node.stash.get(PASSED, False):
        for mark, held in (
            ("kernels", under_test.held_to_twin),
            ("in_half", under_test.held_in_half),
        ):
            claimed = {n for m in request.node.iter_markers(mark) for n in m.args}
            claims_kept(mark, claimed, held)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Remember whether the test itself passed, for the fixture's last word."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


def claims_kept(mark: str, claimed: set[str], held: set[str]) -> None:
    """Fail a test that says of a kernel what it has not shown."""
    missing = claimed - held
    if missing:
        pytest.fail(f"marked {mark}({', '.join(sorted(missing))}), but never held to a twin")


@pytest.fixture(name="claims_kept")
def _claims_kept() -> Callable[[str, set[str], set[str]], None]:
    return claims_kept


@pytest.fixture(params=["float32", "float64"])
def real(request: pytest.FixtureRequest) -> str:
    """What REAL is."""
    return request.param

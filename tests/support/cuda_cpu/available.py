"""When a missing tool is a skip, and when a failure.

| variable                | with 1, these fail instead of being skipped                    |
| ----------------------- | -------------------------------------------------------------- |
| `NNX_REQUIRE_HARNESS`   | tests that need g++ (the CPU harness) or NVRTC                  |
| `NNX_REQUIRE_GPU`       | tests that need a CUDA device that answers                      |
"""

from __future__ import annotations

import os

import pytest


def skip_or_fail(reason: str | None, variable: str) -> None:
    """Do nothing where `reason` is None; else skip, or fail if `variable` is 1."""
    if reason is None:
        return
    if os.environ.get(variable) == "1":
        pytest.fail(f"{reason} ({variable}=1)", pytrace=False)
    pytest.skip(reason)

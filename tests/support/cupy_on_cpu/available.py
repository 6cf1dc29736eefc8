"""Whether CuPy can be run without a GPU here."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

from cuda_cpu import why_unavailable as no_harness


@cache
def why_unavailable() -> str | None:
    """Why it cannot, or None if it can; CuPy itself is not imported."""
    if find_spec("cupy") is None:
        return "CuPy is not installed; pip install cupy-cuda12x"
    return no_harness()

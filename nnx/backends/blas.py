"""The BLAS libraries of this process, whose threads are asked for and set."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def libraries() -> list[Any]:
    """BLAS, as threadpoolctl controls it; more than one where other packages bring their own."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)

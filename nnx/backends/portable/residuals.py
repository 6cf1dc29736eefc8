"""What passes from a forward kernel to its backward kernel."""

from __future__ import annotations

from typing import Any


class Residuals(tuple[Any, ...]):
    """What a forward kernel keeps for its backward kernel: private to the backend that made it."""

    __slots__ = ()

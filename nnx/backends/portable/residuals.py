"""What passes from a forward kernel to its backward kernel."""

from __future__ import annotations


class Residuals(tuple):
    """What a forward kernel keeps for its backward kernel: private to the backend that made it."""

    __slots__ = ()

"""What all losses share."""

from __future__ import annotations

from typing import Any

from ...backends import active_backend
from ...tensor import Tensor
from ..module import Module


class Loss(Module):
    """What all losses share: how they are reduced, and how they are shown."""

    shown: tuple[str, ...] = ()

    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def weight_buffer(self, name: str, weight: Any) -> None:
        """Keep a weight as the buffer `name`: an array, a tensor, a list, or None for no weight."""
        if isinstance(weight, Tensor):
            weight = weight.data
        elif weight is not None and not hasattr(weight, "dtype"):
            weight = active_backend().asarray(weight)
        self.register_buffer(name, weight)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in (*self.shown, "reduction"))

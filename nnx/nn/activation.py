"""Activation functions as modules; the formulas are in `nnx.ops.activation`."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .module import Module


class ReLU(Module):
    """max(x, 0), elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)

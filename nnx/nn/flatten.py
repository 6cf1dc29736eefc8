"""Layers that arrange or pass on, and learn nothing."""

from __future__ import annotations

import math
from typing import Any

from .. import ops
from ..ops._operands import as_tensor
from ..tensor import Tensor
from .module import Module


class Identity(Module):
    """x itself, whatever it is: a place holder, where a layer was taken out of a model.

    It takes any arguments, as in PyTorch, and does nothing with them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """Join the axes start_dim to end_dim of x into one: (N, C, H, W) -> (N, C·H·W) by default.

    Both ends are included, and negative ones count from the end.

    Raises:
        ValueError: x, when the layer is called, has no such axes.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor("Flatten", x)
        shape = x.shape
        first = self.start_dim + len(shape) * (self.start_dim < 0)
        last = self.end_dim + len(shape) * (self.end_dim < 0)
        if not 0 <= first <= last < len(shape):
            raise ValueError(
                f"Flatten: start_dim {self.start_dim} to end_dim {self.end_dim} are no axes of an "
                f"input of shape {shape}"
            )
        size = math.prod(shape[first : last + 1])
        return ops.reshape(x, (*shape[:first], size, *shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split one axis: Unflatten(1, (C, H, W)) undoes Flatten, (N, C·H·W) -> (N, C, H, W).

    Args:
        dim: the axis of x; negative ones count from the end.
        unflattened_size: what becomes of it; one size may be -1, for what the others leave.

    Raises:
        ValueError: x, when the layer is called, has no such axis, or one of another length.
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor("Unflatten", x)
        shape = x.shape
        axis = self.dim + len(shape) * (self.dim < 0)
        sizes = self.unflattened_size
        if 0 <= axis < len(shape):
            known = math.prod(n for n in sizes if n != -1)
            if sizes.count(-1) == 1 and known and shape[axis] % known == 0:
                sizes = tuple(shape[axis] // known if n == -1 else n for n in sizes)
            if math.prod(sizes) == shape[axis] and -1 not in sizes:
                return ops.reshape(x, (*shape[:axis], *sizes, *shape[axis + 1 :]))
        raise ValueError(
            f"Unflatten: axis {self.dim} of an input of shape {shape} cannot be split into "
            f"{self.unflattened_size}"
        )

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"

"""Sums and means, which everything ends in, and their way back."""

from __future__ import annotations

from typing import Any

from ...typing import Array


class ReduceKernels:
    """The derivations are in `nnx.ops.reduce`.  `axes` count from the front, each once."""

    xp: Any

    def sum_over(self, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        """The sum of x over some axes, which stay, with length 1, if keepdims."""
        return self.xp.sum(x, axis=axes, keepdims=keepdims)

    def mean_over(self, x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        """The mean of x over some axes, which stay, with length 1, if keepdims."""
        return self.xp.mean(x, axis=axes, keepdims=keepdims)

    def stretch(self, g: Array, shape: tuple[int, ...]) -> Array:
        """g, which has the same axes, repeated along those of length 1 to this shape."""
        return self.xp.broadcast_to(g, shape)

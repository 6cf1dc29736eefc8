"""Dense layers and the activations next to them."""

from __future__ import annotations

from typing import Any

from ...typing import Array


class LinearKernels:
    """`linear`, `relu`, and the two in one; the derivations are in `nnx.ops`."""

    xp: Any

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """y = x W^T + b: x (N, D), weight (O, D), bias (O,) -> (N, O)."""
        y = x @ self.xp.matrix_transpose(weight)
        return y if bias is None else y + bias

    def linear_backward(
        self, gy: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool]
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of x (N, D), weight (O, D) and bias (O,) that are needed; None for the
        others.

        Args:
            gy: the gradient of y (N, O).
            x, weight: what `linear` was given.
            needs: which of the three are wanted.
        """
        gx = gy @ weight if needs[0] else None  # (N, O) x (O, D) -> (N, D)
        gw = self.xp.matrix_transpose(gy) @ x if needs[1] else None  # (O, N) x (N, D) -> (O, D)
        gb = self.xp.sum(gy, axis=0) if needs[2] else None
        return gx, gw, gb

    def relu(self, x: Array) -> Array:
        """max(x, 0), elementwise; NaN stays NaN."""
        return self.xp.maximum(x, self.xp.zeros_like(x))

    def relu_backward(self, gy: Array, y: Array) -> Array:
        """gy where the output y was positive, 0 elsewhere, elementwise: relu'(0) = 0."""
        return self.xp.where(y > 0, gy, self.xp.zeros_like(gy))

    def linear_relu(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """max(x W^T + b, 0): x (N, D), weight W (O, D), bias b (O,) or None -> (N, O)."""
        return self.relu(self.linear(x, weight, bias))

    def linear_relu_backward(
        self, gy: Array, y: Array, x: Array, weight: Array, needs: tuple[bool, bool, bool]
    ) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients of x (N, D), weight (O, D) and bias (O,) that are needed; None for the
        others.

        Args:
            gy: the gradient of y (N, O).
            y: what `linear_relu` gave.
            x, weight: what it was given.
            needs: which of the three are wanted.
        """
        return self.linear_backward(self.relu_backward(gy, y), x, weight, needs)

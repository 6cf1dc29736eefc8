"""Matrix products and the dense layer."""

from __future__ import annotations

from typing import Any

from ..autograd import Binary, Function
from ..backends import Array
from ..tensor import Tensor
from ._broadcast import broadcast_shape, same_dtype, sum_to


class Linear(Function):
    """y = x W^T + b, row by row.

    Forward.  x (N, D), W (O, D), b (O,) -> y (N, O); leading axes of x are rows like any other.

    Backward.  With G = dL/dy, from y[n, o] = sum_d x[n, d] W[o, d] + b[o]:

        dL/dx = G W            (N, O) x (O, D) -> (N, D)
        dL/dW = G^T x          (O, N) x (N, D) -> (O, D)
        dL/db = sum_n G[n]     (O,)
    """

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        xp = self.backend.xp
        self.x_shape = x.shape
        if x.ndim != 2:
            x = xp.reshape(x, (-1, x.shape[-1]))
        if self.needs[1]:
            self.x = x
        if self.needs[0]:
            self.weight = weight
        y = self.backend.linear(x, weight, bias)
        return y if len(self.x_shape) == 2 else xp.reshape(y, (*self.x_shape[:-1], -1))

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        xp = self.backend.xp
        if g.ndim != 2:
            g = xp.reshape(g, (-1, g.shape[-1]))
        x = self.x if self.needs[1] else None
        weight = self.weight if self.needs[0] else None
        needs = (self.needs[0], self.needs[1], len(self.needs) > 2 and self.needs[2])
        gx, gw, gb = self.backend.linear_backward(g, x, weight, needs)
        if gx is not None and gx.shape != self.x_shape:
            gx = xp.reshape(gx, self.x_shape)
        return (gx, gw, gb)[: len(self.needs)]


class MatMul(Binary):
    """y = a b, for stacks of matrices.

    Backward.  y[i, k] = sum_j a[i, j] b[j, k] gives da = G b^T and db = a^T G; the axes of the
    stack that were broadcast are summed.  A vector is a matrix of one row (left) or column
    (right) whose axis is dropped from y.
    """

    def forward(self, a: Array, b: Array) -> Array:
        self.shapes = a.shape, b.shape
        self.a = a if self.needs[1] else None
        self.b = b if self.needs[0] else None
        return a @ b

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        a_shape, b_shape = self.shapes
        if len(a_shape) == 1:
            g = xp.expand_dims(g, axis=-2 if len(b_shape) > 1 else -1)
        if len(b_shape) == 1:
            g = xp.expand_dims(g, axis=-1)
        ga = gb = None
        if self.needs[0]:
            b = self.b if len(b_shape) > 1 else xp.reshape(self.b, (-1, 1))
            ga = g @ xp.matrix_transpose(b)
            ga = sum_to(xp, ga, a_shape if len(a_shape) > 1 else (1, *a_shape))
            ga = xp.reshape(ga, a_shape)
        if self.needs[1]:
            a = self.a if len(a_shape) > 1 else xp.reshape(self.a, (1, -1))
            gb = xp.matrix_transpose(a) @ g
            gb = sum_to(xp, gb, b_shape if len(b_shape) > 1 else (*b_shape, 1))
            gb = xp.reshape(gb, b_shape)
        return ga, gb

    def align(self, a: Any, b: Any) -> tuple[Any, Any]:
        return same_dtype(self.backend, "matmul", a, b)

    def fit(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.backend.xp.astype(gradient, dtype)  # the other operand's dtype was wider

    def explain(self, a: Array, b: Array) -> None:
        try:
            broadcast_shape("", a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise ValueError(
                "matmul: the axes before the last two must broadcast; "
                f"a has shape {tuple(a.shape)}, b {tuple(b.shape)}"
            ) from None


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product: (..., I, J) x (..., J, K) -> (..., I, K), stacks broadcast.

    Raises:
        ValueError: a scalar operand, or inner sizes that differ.
    """
    if not hasattr(a, "shape") or not hasattr(b, "shape"):
        raise TypeError(f"matmul: both operands must be tensors, got {a!r} and {b!r}")
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            "matmul: the last axis of a must equal the last but one of b; "
            f"a has shape {tuple(a.shape)}, b {tuple(b.shape)}"
        )
    return MatMul()(a, b)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The dense layer x W^T + b (Xu 3.2).

    x (..., D), weight (O, D), bias (O,) or None -> (..., O)

    Raises:
        ValueError: shapes that do not fit; the message gives all of them.
    """
    w = weight.data.shape
    if len(w) != 2 or x.data.ndim < 1 or x.data.shape[-1] != w[1]:
        raise ValueError(
            "linear: x must be (..., D) and weight (O, D); "
            f"x has shape {x.shape}, weight {weight.shape}"
        )
    if bias is None:
        return Linear()(x, weight)
    if bias.data.shape != w[:1]:
        raise ValueError(
            f"linear: bias must have shape ({w[0]},), one per row of weight; bias has shape "
            f"{bias.shape}, weight {weight.shape}"
        )
    return Linear()(x, weight, bias)

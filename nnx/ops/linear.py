"""Matrix products and the dense layer."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Node
from ..backends import Array
from ..tensor import Tensor
from ._broadcast import broadcast_shape, same_dtype, sum_to
from ._function import Binary, Function
from ._operands import as_tensor, operands, require_one_dtype
from .arithmetic import multiply
from .array.autocast import in_float32_inside, in_low_precision
from .array.shape import expand_dims, reshape

Needs = tuple[bool, bool, bool]


class Linear(Function):
    """y = x W^T + b, row by row.

    Forward.  x (N, D), W (O, D), b (O,) -> y (N, O).  Several leading axes are one of rows.

    Backward.  With G = dL/dy, from y[n, o] = sum_d x[n, d] W[o, d] + b[o]:

        dL/dx = G W            (N, O) x (O, D) -> (N, D)
        dL/dW = G^T x          (O, N) x (N, D) -> (O, D)
        dL/db = sum_n G[n]     (O,)
    """

    def forward(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        shape = x.shape
        if len(shape) == 2:
            self.leading = None
            return self.of_rows(x, weight, bias)
        self.leading, xp = shape[:-1], self.backend.xp
        rows = xp.reshape(x, (math.prod(shape[:-1]), shape[-1]))
        return xp.reshape(self.of_rows(rows, weight, bias), (*shape[:-1], weight.shape[0]))

    def of_rows(self, x: Array, weight: Array, bias: Array | None) -> Array:
        """x (N, D) -> y (N, O)."""
        self.keep(x, weight)
        return self.backend.linear(x, weight, bias)

    def multiply_adds(self, x: Array, weight: Array, bias: Array | None = None) -> tuple[int, int]:
        return self.of_product(math.prod(x.shape) * weight.shape[0])

    def keep(self, x: Array, weight: Array) -> None:
        self.x = x if self.needs_input_grad[1] else None
        self.weight = weight if self.needs_input_grad[0] else None

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        needs: Any = self.needs_input_grad
        if self.leading is not None:
            g = self.backend.xp.reshape(g, (math.prod(self.leading), g.shape[-1]))
        gx, gw, gb = self.gradients(g, (*needs, False) if len(needs) == 2 else needs)
        if self.leading is not None and gx is not None:
            gx = self.backend.xp.reshape(gx, (*self.leading, gx.shape[-1]))
        return (gx, gw) if len(needs) == 2 else (gx, gw, gb)

    def gradients(self, g: Array, needs: Needs) -> tuple[Array | None, ...]:
        """The gradients of x, weight and bias."""
        return self.backend.linear_backward(g, self.x, self.weight, needs)


class LinearReLU(Linear):
    """y = max(x W^T + b, 0) in one step: what lies between the two is never kept.

    Backward.  The gradient passes where y > 0, as the derivative of ReLU at 0 is 0; behind that
    it is the dense layer's.
    """

    def of_rows(self, x: Array, weight: Array, bias: Array | None) -> Array:
        self.keep(x, weight)
        self.y = self.backend.linear_relu(x, weight, bias)
        return self.y

    def gradients(self, g: Array, needs: Needs) -> tuple[Array | None, ...]:
        return self.backend.linear_relu_backward(g, self.y, self.x, self.weight, needs)


class MatMul(Binary):
    """y = a b, for stacks of matrices.

    Backward.  y[i, k] = sum_j a[i, j] b[j, k] gives da = G b^T and db = a^T G; the axes of the
    stack that were broadcast are summed.  A vector is a matrix of one row (left) or column
    (right) whose axis is dropped from y.
    """

    def forward(self, a: Array, b: Array) -> Array:
        self.shapes = a.shape, b.shape
        self.a = a if self.needs_input_grad[1] else None
        self.b = b if self.needs_input_grad[0] else None
        return a @ b

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        a_shape, b_shape = self.shapes
        if len(a_shape) == 1:
            g = xp.expand_dims(g, axis=-2 if len(b_shape) > 1 else -1)
        if len(b_shape) == 1:
            g = xp.expand_dims(g, axis=-1)
        ga = gb = None
        if self.needs_input_grad[0]:
            b = self.b if len(b_shape) > 1 else xp.reshape(self.b, (-1, 1))
            ga = g @ xp.matrix_transpose(b)
            ga = sum_to(xp, ga, a_shape if len(a_shape) > 1 else (1, *a_shape))
            ga = xp.reshape(ga, a_shape)
        if self.needs_input_grad[1]:
            a = self.a if len(a_shape) > 1 else xp.reshape(self.a, (1, -1))
            gb = xp.matrix_transpose(a) @ g
            gb = sum_to(xp, gb, b_shape if len(b_shape) > 1 else (*b_shape, 1))
            gb = xp.reshape(gb, b_shape)
        return ga, gb

    def multiply_adds(self, a: Array, b: Array) -> tuple[int, int]:
        stack = broadcast_shape("matmul", a.shape[:-2], b.shape[:-2])
        rows = a.shape[-2] if len(a.shape) > 1 else 1
        columns = b.shape[-1] if len(b.shape) > 1 else 1
        return self.of_product(math.prod(stack) * rows * a.shape[-1] * columns)

    def align(self, a: Any, b: Any) -> tuple[Any, Any]:
        return same_dtype(self.backend, "matmul", a, b)

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return self.backend.xp.astype(gradient, dtype)  # the other operand's dtype was wider

    def explain(self, a: Array, b: Array) -> None:
        try:
            broadcast_shape("", a.shape[:-2], b.shape[:-2])
        except ValueError:
            raise ValueError(
                "matmul: the axes before the last two must broadcast; "
                f"a has shape {tuple(a.shape)}, b {tuple(b.shape)}"
            ) from None


@in_low_precision
def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product a b: (..., I, J) x (..., J, K) -> (..., I, K), stacks broadcast.

    Raises:
        ValueError: a scalar operand, or inner sizes that differ.
    """
    a = as_tensor("matmul", a, b if isinstance(b, Node) else None)
    b = as_tensor("matmul", b, a)
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            "matmul: the last axis of a must equal the last but one of b; "
            f"a has shape {tuple(a.shape)}, b {tuple(b.shape)}"
        )
    return MatMul()(a, b)


@in_low_precision
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The dense layer x W^T + b (Xu 3.2).

    x (..., D), weight (O, D), bias (O,) or None -> (..., O); leading axes are rows like any other.

    Raises:
        ValueError: shapes that do not fit; the message gives all of them.
        TypeError: dtypes that differ.
    """
    return _by_rows("linear", Linear(), x, weight, bias)


@in_low_precision
def linear_relu(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`relu(linear(x, weight, bias))`, computed as one operation.

    Raises:
        ValueError: as `linear`.
        TypeError: as `linear`.
    """
    return _by_rows("linear_relu", LinearReLU(), x, weight, bias)


def _by_rows(name: str, layer: Linear, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, weight, bias = operands(name, x, weight, bias)
    shape, w = x.data.shape, weight.data.shape
    if len(w) != 2 or not shape or shape[-1] != w[1]:
        raise ValueError(
            f"{name}: x must be (..., D) and weight (O, D); "
            f"x has shape {x.shape}, weight {weight.shape}"
        )
    if bias is not None and bias.data.shape != w[:1]:
        raise ValueError(
            f"{name}: bias must have shape ({w[0]},), one per row of weight; bias has shape "
            f"{bias.shape}, weight {weight.shape}"
        )
    return layer(x, weight) if bias is None else layer(x, weight, bias)


@in_float32_inside
def bilinear(x1: Tensor, x2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """y_o = x1ᵀ W_o x2 + b_o: x1 (..., I), x2 (..., J) -> (..., O).

    That is a dense layer of the products x1_i x2_j of all pairs, (..., I J), with the weights
    (O, I J); the chain rule through the two gives the gradients

        dx1_i = Σ_o Σ_j g_o W_oij x2_j    dx2_j = Σ_o Σ_i g_o W_oij x1_i    dW_oij = Σ g_o x1_i x2_j

    Args:
        x1, x2: with the same leading axes.
        weight: W (O, I, J).
        bias: b (O,), or None.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: dtypes that differ.
    """
    x1, weight, bias = operands("bilinear", x1, weight, bias)
    x2 = as_tensor("bilinear", x2, x1)
    require_one_dtype("bilinear", x1=x1, x2=x2, weight=weight)
    rule = None
    if weight.ndim != 3:
        rule = "weight must be (O, I, J)"
    elif not (x1.ndim and x2.ndim) or (x1.shape[-1], x2.shape[-1]) != weight.shape[1:]:
        rule = "x1 must be (..., I) and x2 (..., J)"
    elif x1.shape[:-1] != x2.shape[:-1]:
        rule = "x1 and x2 must have the same leading axes"
    elif bias is not None and bias.shape != weight.shape[:1]:
        rule = f"bias must be (O,), and has shape {bias.shape}"
    if rule is not None:
        raise ValueError(
            f"bilinear: {rule}; x1 has shape {x1.shape}, x2 {x2.shape}, weight {weight.shape}"
        )
    o, i, j = weight.shape
    pairs = multiply(expand_dims(x1, axis=-1), expand_dims(x2, axis=-2))  # (..., I, J)
    return linear(reshape(pairs, (*x1.shape[:-1], i * j)), reshape(weight, (o, i * j)), bias)

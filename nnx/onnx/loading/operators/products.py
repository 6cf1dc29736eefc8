"""Products of matrices."""

from __future__ import annotations

from .... import ops
from ....tensor import Tensor
from ..node import Node, is_float, operator, xp_of


@operator("MatMul")
def matmul(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return ops.matmul(a, b)


@operator("Gemm")
def gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """α A B + β C, either transposed; a layer's is α = β = 1 with B transposed."""
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    plain = alpha == beta == 1 and not node.get("transA", 0) and node.get("transB", 0)
    if plain and is_float(a) and (c is None or c.shape == (b.shape[0],)):
        return ops.linear(a, b, c)
    a = ops.matrix_transpose(a) if node.get("transA", 0) else a
    b = ops.matrix_transpose(b) if node.get("transB", 0) else b
    y = ops.matmul(a, b)
    y = y if alpha == 1 else y * alpha
    if c is None:
        return y
    return y + (c if beta == 1 else c * beta)


@operator("Einsum")
def einsum(node: Node, *xs: Tensor) -> Tensor:
    equation = node.get("equation")
    return ops.einsum(equation, *xs)


@operator("Det")
def det(node: Node, x: Tensor) -> Tensor:
    own = getattr(getattr(ops, "linalg", None), "det", None) or getattr(ops, "det", None)
    if own is not None:
        return own(x)
    return Tensor(xp_of(x).asarray(xp_of(x).linalg.det(x.data)))

"""Systems of linear equations, inverses and powers."""

from __future__ import annotations

import operator
from typing import Any

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._broadcast import broadcast_shape, fit_broadcast, same_dtype
from .._function import Binary, Unary
from .._operands import as_tensor, require_one_dtype
from ..array.shape import broadcast_to, expand_dims, squeeze
from ..linear import matmul
from ..select import where
from .matrices import compute, matrices


class Solve(Binary):
    """Y = A⁻¹ B, the solution of A Y = B:  (..., M, M), (..., M, K) -> (..., M, K).

    Differentiate A Y = B: dA Y + A dY = dB, so dY = A⁻¹ (dB - dA Y).  With G = dL/dY,

        dL = <G, A⁻¹ dB> - <G, A⁻¹ dA Y> = <H, dB> - <H Yᵀ, dA>,   H = A⁻ᵀ G

    and so dL/dB = H, the solution of Aᵀ H = G, and dL/dA = -H Yᵀ.
    """

    def forward(self, a: Array, b: Array) -> Array:
        y = compute("solve", self.backend.xp.linalg.solve, a, b)
        if True in self.needs_input_grad:
            self.a, self.y = a, y
        return y

    def backward(self, g: Array) -> tuple[Array | None, Array | None]:
        xp = self.backend.xp
        h = compute("solve, backward", xp.linalg.solve, xp.matrix_transpose(self.a), g)
        for_a, for_b = self.needs_input_grad
        ga = -h @ xp.matrix_transpose(self.y) if for_a else None
        return ga, h if for_b else None

    def align(self, a: Any, b: Any) -> tuple[Any, Any]:
        return same_dtype(self.backend, "solve", a, b)

    def unbroadcast(self, gradient: Array, shape: tuple[int, ...], dtype: Any) -> Array:
        return fit_broadcast(self.backend.xp, gradient, shape, dtype)


class Inv(Unary):
    """Y = X⁻¹.  From X Y = I: dX Y + X dY = 0, so dY = -Y dX Y, and with G = dL/dY

    dL = -<G, Y dX Y> = -<Yᵀ G Yᵀ, dX>:   dL/dX = -Yᵀ G Yᵀ.
    """

    def forward(self, x: Array) -> Array:
        self.y = compute("inv", self.backend.xp.linalg.inv, x)
        return self.y

    def backward(self, g: Array) -> Array:
        back = self.backend.xp.matrix_transpose(self.y)
        return -(back @ g @ back)


def solve(x1: Tensor, x2: Tensor) -> Tensor:
    """The solution y of x1 y = x2: x1 (..., M, M) and x2 (..., M, K), or (M,) -> (..., M, K).

    The stacks are broadcast.  A vector x2 (M,) is one right side for all matrices, and the result
    (..., M).

    Raises:
        ValueError: x1 is not square, or x2 has other rows.
        TypeError: integers.
        numpy.linalg.LinAlgError: a matrix is singular, and the library sees it.
    """
    x1 = matrices("solve", x1, square=True)
    x2 = as_tensor("solve", x2, x1)
    require_one_dtype("solve", x2=x2)
    alone = x2.ndim == 1
    m = x1.shape[-1]
    if x2.ndim == 0 or x2.shape[-1 if alone else -2] != m:
        raise ValueError(
            f"solve: x2 must be (..., {m}, K) or ({m},); x1 has shape {x1.shape}, x2 {x2.shape}"
        )
    if alone:
        x2 = expand_dims(x2, -1)
    stack = broadcast_shape("solve", x1.shape[:-2], x2.shape[:-2])
    if x2.shape[:-2] != stack:  # not every library broadcasts both
        x2 = broadcast_to(x2, (*stack, *x2.shape[-2:]))
    if x1.shape[:-2] != stack:
        x1 = broadcast_to(x1, (*stack, m, m))
    y = Solve()(x1, x2)
    return squeeze(y, -1) if alone else y


def inv(x: Tensor) -> Tensor:
    """The inverse of each square matrix of x (..., M, M); `solve` is quicker and more precise where
    it is multiplied with something.

    Raises:
        ValueError: x is not square.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: a matrix is singular, and the library sees it.
    """
    return Inv()(matrices("inv", x, square=True))


def matrix_power(x: Tensor, n: int) -> Tensor:
    """Each square matrix of x (..., M, M) multiplied with itself n times, by squaring.

    Args:
        n: 0 gives the identity, and a negative n powers of the inverse.

    Raises:
        ValueError: x is not square.
        TypeError: x is of integers, or n is no integer.
        numpy.linalg.LinAlgError: n is negative and a matrix singular, and the library sees it.
    """
    x = matrices("matrix_power", x, square=True)
    left = operator.index(n)
    if left == 0:
        xp, m = backend_of(x.data).xp, x.shape[-1]
        one = xp.eye(m, dtype=x.dtype, device=x.device)
        never = xp.zeros((m, m), dtype=xp.bool, device=x.device)
        return where(Tensor(never), x, Tensor(one))
    if left < 0:
        x, left = inv(x), -left
    y: Tensor | None = None
    while True:
        if left % 2:
            y = x if y is None else matmul(y, x)
        left //= 2
        if not left:
            assert y is not None
            return y
        x = matmul(x, x)

"""Determinants, and their logarithms."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...backends import Array
from ...tensor import Tensor
from .._function import Several, Unary
from .matrices import compute, matrices


class Det(Unary):
    """y = det X.  By Laplace's rule y = Σ_j x_ij c_ij for any row i, with the cofactors c_ij, in
    which x_ij does not occur; so dX = g C.

    For an invertible X that is g y X⁻ᵀ, but C exists for every X: with the singular values
    X = U S Vᵀ, as cofactors of products are products of cofactors, and those of an orthogonal
    matrix Q are det(Q) Q,

        C = det(U) det(V) U S' Vᵀ,   s'_i = the product of the other singular values.
    """

    def forward(self, x: Array) -> Array:
        if self.needs_input_grad[0]:
            self.x = x
        return self.backend.xp.linalg.det(x)

    def backward(self, g: Array) -> Array:
        xp = self.backend.xp
        u, s, vh = compute("det, backward", xp.linalg.svd, self.x)
        sign = xp.linalg.det(u) * xp.linalg.det(vh)
        cofactors = (u * others(xp, s)[..., None, :]) @ vh
        return (g * sign)[..., None, None] * cofactors


def others(xp: Any, s: Array) -> Array:
    """For each of the numbers along the last axis the product of the others."""
    one = xp.ones((*s.shape[:-1], 1), dtype=s.dtype, device=s.device)
    n = s.shape[-1]
    if n == 0:
        return s
    before = xp.cumulative_prod(xp.concat([one, s[..., : n - 1]], axis=-1), axis=-1)
    behind = xp.concat([one, xp.flip(s[..., 1:], axis=-1)], axis=-1)
    return before * xp.flip(xp.cumulative_prod(behind, axis=-1), axis=-1)


class Slogdet(Several):
    """sign and log|det X|:  the sign is flat, and d log|det X| = dy / y with `Det`: dX = g X⁻ᵀ."""

    takes_none = True

    def forward(self, x: Array) -> tuple[Array, Array]:
        sign, log = self.backend.xp.linalg.slogdet(x)
        if self.needs_input_grad[0]:
            self.x = x
        return self.backend.xp.asarray(sign), self.backend.xp.asarray(log)

    def backward(self, _: Array | None, g: Array | None) -> Array:
        xp = self.backend.xp
        if g is None:
            return xp.zeros_like(self.x)
        inverse = compute("slogdet, backward", xp.linalg.inv, self.x)
        return g[..., None, None] * xp.matrix_transpose(inverse)


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


def det(x: Tensor) -> Tensor:
    """The determinant of each square matrix: x (..., M, M) -> (...).

    Its gradient is that of the polynomial it is, for singular matrices too.

    Raises:
        ValueError: x is not square.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: in backward, of numbers that are not finite.
    """
    return Det()(matrices("det", x, square=True))


def slogdet(x: Tensor) -> SlogdetResult:
    """The sign (-1, 0 or 1) and the logarithm of the size of each determinant, without overflow:
    x (..., M, M) -> (...) and (...).

    Raises:
        ValueError: x is not square.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: in backward, where a matrix is singular.
    """
    return SlogdetResult(*Slogdet()(matrices("slogdet", x, square=True)))

"""Triangular factors: Cholesky's, and QR."""

from __future__ import annotations

from typing import NamedTuple

from ...backends import Array
from ...tensor import Tensor
from .._function import Several, Unary
from ..array.shape import matrix_transpose
from .matrices import compute, matrices


class Cholesky(Unary):
    """L with X = L Lᵀ, lower triangular, its diagonal positive (Murray 2016).

    Differentiate: dX = dL Lᵀ + L dLᵀ.  With P = L⁻¹ dL, which is lower triangular,
    L⁻¹ dX L⁻ᵀ = P + Pᵀ, so P = Φ(L⁻¹ dX L⁻ᵀ), where Φ takes the lower triangle and half of the
    diagonal.  So dL = L Φ(L⁻¹ dX L⁻ᵀ), and as <A, Φ(B)> = <Φ(A), B> for the triangle's mask,

        dL = <G, L P> = <Φ(Lᵀ G), L⁻¹ dX L⁻ᵀ>:   dL/dX = L⁻ᵀ Φ(Lᵀ G) L⁻¹,

    made symmetric, as every change of X is: the mean of it and its transpose.
    """

    def forward(self, x: Array) -> Array:
        self.y = compute("cholesky", self.backend.xp.linalg.cholesky, x)
        return self.y

    def backward(self, g: Array) -> Array:
        xp, up = self.backend.xp, self.backend.xp.matrix_transpose(self.y)
        inner = up @ g
        phi = (xp.tril(inner) + xp.tril(inner, k=-1)) * 0.5
        left = compute("cholesky, backward", xp.linalg.solve, up, phi)
        both = compute("cholesky, backward", xp.linalg.solve, up, xp.matrix_transpose(left))
        return (both + xp.matrix_transpose(both)) * 0.5


class QR(Several):
    """X = Q R with QᵀQ = I and R upper triangular.

    Square R (M >= N).  dX = dQ R + Q dR.  With C = Qᵀ dX R⁻¹ = Qᵀ dQ + dR R⁻¹, where Qᵀ dQ is
    skew and dR R⁻¹ upper triangular, Qᵀ dQ is the lower triangle of C minus its transpose.  Turned
    round, with G_Q and G_R the gradients (Walter and Lehmann 2013; Seeger et al. 2017),

        M = R G_Rᵀ - G_Qᵀ Q,   dX = (G_Q + Q sym(M)) R⁻ᵀ,

    where sym copies M's lower triangle to the upper one.

    Wide (M < N).  X = [X1 X2], R = [R1 R2]: Q and R1 are those of X1, and R2 = Qᵀ X2.  So X2 gets
    Q G_R2, and Q besides its own gradient X2 G_R2ᵀ.
    """

    takes_none = True

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def forward(self, x: Array) -> tuple[Array, Array]:
        m, n = x.shape[-2:]
        if self.needs_input_grad[0] and self.mode == "complete" and m > n:
            raise ValueError(
                f"qr: with mode 'complete' the last {m - n} columns of Q are any that are "
                f"orthogonal to the others, and have no gradient; x has shape {tuple(x.shape)}; "
                "use mode='reduced'"
            )
        q, r = compute("qr", self.backend.xp.linalg.qr, x, mode=self.mode)
        if self.needs_input_grad[0]:
            self.x, self.q, self.r = x, q, r
        return q, r

    def backward(self, gq: Array | None, gr: Array | None) -> Array:
        xp, x, q, r = self.backend.xp, self.x, self.q, self.r
        gq = xp.zeros_like(q) if gq is None else gq
        gr = xp.zeros_like(r) if gr is None else gr
        m, n = x.shape[-2:]
        if m >= n:
            return self.square(q, r, gq, gr)
        rest, g_rest = x[..., m:], gr[..., m:]
        gq = gq + rest @ xp.matrix_transpose(g_rest)
        first = self.square(q, r[..., :m], gq, gr[..., :m])
        return xp.concat([first, q @ g_rest], axis=-1)

    def square(self, q: Array, r: Array, gq: Array, gr: Array) -> Array:
        xp = self.backend.xp
        t = xp.matrix_transpose
        m = r @ t(gr) - t(gq) @ q
        inner = gq + q @ (xp.tril(m) + t(xp.tril(m, k=-1)))
        return t(compute("qr, backward", xp.linalg.solve, r, t(inner)))


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


def cholesky(x: Tensor, upper: bool = False) -> Tensor:
    """The lower triangular L with x = L Lᵀ, of symmetric, positive definite x (..., M, M).

    The gradient is symmetric too: only such changes of x are meant.

    Args:
        upper: whether to return Lᵀ, with which x = U ᵀU.

    Raises:
        ValueError: x is not square.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: a matrix is not positive definite, and the library sees it.
    """
    y = Cholesky()(matrices("cholesky", x, square=True))
    return matrix_transpose(y) if upper else y


def qr(x: Tensor, mode: str = "reduced") -> QRResult:
    """x (..., M, N) as the product of Q, whose columns are orthonormal, and an upper triangular R.

    Args:
        mode: "reduced": Q (..., M, K) and R (..., K, N) with K = min(M, N); "complete": K = M,
            which has a gradient only where M <= N.

    Raises:
        ValueError: x has fewer than two axes, another mode, or no gradient that is wanted.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: in backward, where the first min(M, N) columns are not
            independent.
    """
    if mode not in ("reduced", "complete"):
        raise ValueError(f'qr: mode must be "reduced" or "complete", got {mode!r}')
    return QRResult(*QR(mode)(matrices("qr", x)))

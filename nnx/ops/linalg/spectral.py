"""Eigenvalues of symmetric matrices, singular values, and what is made of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...backends import Array, backend_of
from ...tensor import Tensor
from .._function import Several, Unary
from .._operands import as_array
from .matrices import compute, matrices


def over_gaps(xp: Any, skew: Array, s: Array) -> Array:
    """skew[i, j] / (s[j] - s[i]), and 0 on the diagonal."""
    gaps = s[..., None, :] - s[..., :, None]
    return skew / (gaps + xp.eye(s.shape[-1], dtype=s.dtype, device=s.device))


class Eigh(Several):
    """X = V diag(w) Vᵀ for a symmetric X, with the eigenvalues w rising.

    Differentiate: dX V + X dV = dV diag(w) + V diag(dw).  Multiply by Vᵀ from the left, with
    C = Vᵀ dV, which is skew as VᵀV = I:  Vᵀ dX V = C diag(w) - diag(w) C + diag(dw).  On the
    diagonal, dw_i = (Vᵀ dX V)_ii; elsewhere C_ij = (Vᵀ dX V)_ij / (w_j - w_i).  So

        dL/dX = V (diag(g_w) + (Vᵀ G_V) / (w_j - w_i)) Vᵀ,

    made symmetric.  Where two eigenvalues are equal, any turn of their vectors is as good: the
    vectors have no gradient, and what asks for it gets NaN or inf; the values have one.
    """

    takes_none = True

    def forward(self, x: Array) -> tuple[Array, Array]:
        w, v = compute("eigh", self.backend.xp.linalg.eigh, x)
        self.w, self.v = w, v
        return w, v

    def backward(self, gw: Array | None, gv: Array | None) -> Array:
        xp, v = self.backend.xp, self.v
        t = xp.matrix_transpose
        inner = xp.zeros_like(v)
        if gv is not None:
            turned = t(v) @ gv
            inner = over_gaps(xp, (turned - t(turned)) * 0.5, self.w)
        y = v @ inner @ t(v)
        if gw is not None:
            y = y + (v * gw[..., None, :]) @ t(v)
        return (y + t(y)) * 0.5


class Eigvalsh(Unary):
    """The eigenvalues alone: dX = V diag(g) Vᵀ, by `Eigh`."""

    def forward(self, x: Array) -> Array:
        linalg = self.backend.xp.linalg
        if not self.needs_input_grad[0]:
            return compute("eigvalsh", linalg.eigvalsh, x)
        w, self.v = compute("eigvalsh", linalg.eigh, x)
        return w

    def backward(self, g: Array) -> Array:
        return (self.v * g[..., None, :]) @ self.backend.xp.matrix_transpose(self.v)


class SVD(Several):
    """X = U diag(s) Vᵀ with UᵀU = VᵀV = I and s falling, none negative.

    Differentiate, and multiply by Uᵀ and V:  Uᵀ dX V = A S + dS - S B, with A = Uᵀ dU and
    B = Vᵀ dV skew.  The diagonal says ds_i = (Uᵀ dX V)_ii; the rest, with its transpose, gives A
    and B by the gaps E_ij = s_j² - s_i².  What dU has outside of U's columns is
    (I - U Uᵀ) dX V S⁻¹, and so with V.  Turned round (Townsend 2016),

        dX = U [ (skew(Uᵀ G_U) / E) S + S (skew(Vᵀ G_V) / E) + diag(g_s) ] Vᵀ
             + (I - U Uᵀ) G_U S⁻¹ Vᵀ + U S⁻¹ G_Vᵀ (I - V Vᵀ),   skew(Z) = Z - Zᵀ.

    Equal singular values: as equal eigenvalues in `Eigh`.
    """

    takes_none = True

    def __init__(self, full: bool) -> None:
        self.full = full

    def forward(self, x: Array) -> tuple[Array, Array, Array]:
        m, n = x.shape[-2:]
        if self.full and m != n and self.needs_input_grad[0]:
            raise ValueError(
                "svd: the vectors that full_matrices=True adds are any that are orthogonal to the "
                f"others, and have no gradient; x has shape {tuple(x.shape)}; use "
                "full_matrices=False, or svdvals"
            )
        u, s, vh = compute("svd", self.backend.xp.linalg.svd, x, full_matrices=self.full)
        self.u, self.s, self.vh = u, s, vh
        return u, s, vh

    def backward(self, gu: Array | None, gs: Array | None, gvh: Array | None) -> Array:
        xp, u, s, vh = self.backend.xp, self.u, self.s, self.vh
        t, k = xp.matrix_transpose, self.s.shape[-1]
        row, column = s[..., None, :], s[..., :, None]
        inner = xp.zeros((*s.shape, k), dtype=s.dtype, device=s.device)
        if gu is not None:
            turned = t(u) @ gu
            inner = inner + over_gaps(xp, turned - t(turned), s * s) * row
        if gvh is not None:
            turned = vh @ t(gvh)
            inner = inner + over_gaps(xp, turned - t(turned), s * s) * column
        y = u @ inner @ vh
        if gs is not None:
            y = y + (u * gs[..., None, :]) @ vh
        if gu is not None and u.shape[-2] > k:
            away = gu - u @ (t(u) @ gu)
            y = y + (away / row) @ vh
        if gvh is not None and vh.shape[-1] > k:
            away = gvh - (gvh @ t(vh)) @ vh
            y = y + u @ (away / column)
        return y


class Svdvals(Unary):
    """The singular values alone: dX = U diag(g) Vᵀ, by `SVD`."""

    def forward(self, x: Array) -> Array:
        linalg = self.backend.xp.linalg
        if not self.needs_input_grad[0]:
            return compute("svdvals", linalg.svdvals, x)
        self.u, s, self.vh = compute("svdvals", linalg.svd, x, full_matrices=False)
        return s

    def backward(self, g: Array) -> Array:
        return (self.u * g[..., None, :]) @ self.vh


class Pinv(Unary):
    """Y = X⁺ = V diag(1/s) Uᵀ, over the singular values that are not (nearly) 0: (N, M) of (M, N).

    While the rank stays the same (Golub and Pereyra 1973)

        dY = -Y dX Y + Y Yᵀ dXᵀ (I - X Y) + (I - Y X) dXᵀ Yᵀ Y,

    where X Y and Y X are symmetric.  With G = dL/dY each term is turned round:

        dL/dX = -Yᵀ G Yᵀ + (I - X Y) Gᵀ Y Yᵀ + Yᵀ Y Gᵀ (I - Y X).
    """

    def __init__(self, rtol: Any) -> None:
        self.rtol = rtol

    def forward(self, x: Array) -> Array:
        xp = self.backend.xp
        u, s, vh = compute("pinv", xp.linalg.svd, x, full_matrices=False)
        kept = counts(xp, s, x.shape, self.rtol)
        one = xp.ones_like(s)
        shares = xp.where(kept, one / xp.where(kept, s, one), xp.zeros_like(s))
        y = xp.matrix_transpose((u * shares[..., None, :]) @ vh)
        if self.needs_input_grad[0]:
            self.x, self.y = x, y
        return y

    def backward(self, g: Array) -> Array:
        x, y, t = self.x, self.y, self.backend.xp.matrix_transpose
        first = t(g) @ y @ t(y)
        second = t(y) @ y @ t(g)
        return first - x @ (y @ first) + second - (second @ y) @ x - t(y) @ g @ t(y)


def counts(xp: Any, s: Array, shape: tuple[int, ...], rtol: Any) -> Array:
    """Which singular values are more than rounding: booleans, in the shape of s."""
    if hasattr(rtol, "shape"):
        rtol = xp.astype(rtol, s.dtype)[..., None]
    if rtol is None:
        rtol = max(shape[-2:]) * float(xp.finfo(s.dtype).eps)
    if s.shape[-1] == 0:
        return s > 0
    return s > rtol * s[..., :1]


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def eigh(x: Tensor) -> EighResult:
    """The eigenvalues of symmetric x (..., M, M), rising: (..., M), and the eigenvectors, in the
    columns of (..., M, M).

    The gradient is symmetric too.  The sign of a vector is the library's choice, and so is the turn
    of those whose eigenvalues are equal: a loss must not depend on them.  Where two are equal, the
    gradient by way of the vectors is NaN or inf, as in PyTorch; that by way of the values is right.

    Raises:
        ValueError: x is not square.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: no solution was found, as of numbers that are not finite.
    """
    return EighResult(*Eigh()(matrices("eigh", x, square=True)))


def eigvalsh(x: Tensor) -> Tensor:
    """The eigenvalues of symmetric x (..., M, M), rising: (..., M); their gradient is symmetric.

    Raises:
        ValueError: x is not square.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: no solution was found, as of numbers that are not finite.
    """
    return Eigvalsh()(matrices("eigvalsh", x, square=True))


def svd(x: Tensor, full_matrices: bool = True) -> SVDResult:
    """x (..., M, N) as U diag(S) Vh, with orthonormal columns of U and rows of Vh, and S falling.

    The signs of the vectors are the library's choice; a loss must not depend on them.

    Args:
        full_matrices: U (..., M, M) and Vh (..., N, N), as the standard has it; False: (..., M, K)
            and (..., K, N), with K = min(M, N).  S is (..., K).

    Raises:
        ValueError: x has fewer than two axes; or full_matrices, M is not N and a gradient is
            wanted.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: no solution was found, as of numbers that are not finite.
    """
    return SVDResult(*SVD(full_matrices)(matrices("svd", x)))


def svdvals(x: Tensor) -> Tensor:
    """The singular values of x (..., M, N), falling: (..., min(M, N)).

    Raises:
        ValueError: x has fewer than two axes.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: no solution was found, as of numbers that are not finite.
    """
    return Svdvals()(matrices("svdvals", x))


def pinv(x: Tensor, rtol: Any = None) -> Tensor:
    """The pseudo-inverse of x (..., M, N), by its singular values: (..., N, M).

    Args:
        rtol: singular values of at most rtol times the largest count as 0: a number, or one for
            each matrix (...); None: max(M, N) times the dtype's precision.

    Raises:
        ValueError: x has fewer than two axes.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: no solution was found, as of numbers that are not finite.
    """
    x = matrices("pinv", x)
    return Pinv(_limit("pinv", rtol, x))(x)


def _limit(name: str, rtol: Any, x: Tensor) -> Any:
    """rtol as a number, or as an array beside x."""
    return rtol if rtol is None or isinstance(rtol, int | float) else as_array(name, rtol, x)


def matrix_rank(x: Tensor, rtol: Any = None) -> Tensor:
    """How many singular values of x (..., M, N) are not (nearly) 0: int64 (...); no gradient.

    Args:
        rtol: as in `pinv`.

    Raises:
        ValueError: x has fewer than two axes.
        TypeError: x is of integers.
        numpy.linalg.LinAlgError: no solution was found, as of numbers that are not finite.
    """
    x = matrices("matrix_rank", x)
    xp = backend_of(x.data).xp
    s = compute("matrix_rank", xp.linalg.svdvals, x.data)
    kept = xp.astype(counts(xp, s, x.shape, _limit("matrix_rank", rtol, x)), xp.int64)
    return Tensor(xp.asarray(xp.sum(kept, axis=-1)))

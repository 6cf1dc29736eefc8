"""matmul, linear, tensordot, vecdot, einsum and norms against NumPy and PyTorch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch import assert_same

import nnx
from nnx import ops

RNG = np.random.default_rng(6)


def draw(*shape):
    return RNG.standard_normal(shape)


MATMUL = [
    ((3, 4), (4, 5)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((4,), (4,)),
    ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (6, 4, 5)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 5)),
    ((1, 4), (4, 1)),
    ((0, 4), (4, 5)),
    ((3, 0), (0, 5)),
]


@pytest.mark.parametrize("a, b", MATMUL)
def test_matmul(backend, a, b):
    torch = pytest.importorskip("torch")
    assert_same(backend, ops.matmul, torch.matmul, draw(*a), draw(*b))


def test_linear(backend):
    F = pytest.importorskip("torch").nn.functional
    for shape in [(3, 4), (4,), (2, 3, 4), (0, 4)]:
        assert_same(backend, ops.linear, F.linear, draw(*shape), draw(5, 4), draw(5))
        assert_same(backend, ops.linear, F.linear, draw(*shape), draw(5, 4))


TENSORDOT = [
    ((3, 4), (4, 5), 1),
    ((2, 3, 4), (3, 4, 5), 2),
    ((2, 3), (4, 5), 0),
    ((2, 3, 4), (4, 6, 2), ((0, -1), (2, 0))),
    ((2, 3, 4), (3,), ((1,), (0,))),
]


@pytest.mark.parametrize("a, b, axes", TENSORDOT)
def test_tensordot(backend, a, b, axes):
    torch = pytest.importorskip("torch")
    assert_same(
        backend,
        lambda x, y: ops.tensordot(x, y, axes=axes),
        lambda x, y: torch.tensordot(x, y, dims=axes),
        draw(*a),
        draw(*b),
    )


def test_vecdot(backend):
    torch = pytest.importorskip("torch")
    for a, b, axis in [((3, 4), (3, 4), -1), ((2, 3, 4), (3, 1), -2), ((2, 1, 4), (5, 4), -1)]:
        assert_same(
            backend,
            lambda x, y, k=axis: ops.vecdot(x, y, axis=k),
            lambda x, y, k=axis: torch.linalg.vecdot(x, y, dim=k),
            draw(*a),
            draw(*b),
        )


EINSUM = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("ij,kj->ki", (3, 4), (5, 4)),
    ("ij,jk", (3, 4), (4, 5)),
    ("ba,ca", (3, 4), (5, 4)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (6, 4, 5)),
    ("i...,i...->...", (3, 2, 4), (3, 4)),
    ("...,...", (2, 3), (3,)),
    ("ij,ij->", (3, 4), (3, 4)),
    ("ij,ij->ij", (3, 4), (3, 4)),
    ("i,j->ij", (3,), (4,)),
    ("ij->ji", (3, 4)),
    ("ij->", (3, 4)),
    ("ijk->k", (2, 3, 4)),
    ("i->i", (3,)),
    ("ij,j,jk->ik", (3, 4), (4,), (4, 5)),
    ("a,b,c->cab", (2,), (3,), (4,)),
    ("ij,kl->i", (3, 4), (2, 5)),
    (" ij , jk -> ik ", (3, 4), (4, 5)),
    (",i->i", (), (3,)),
]


@pytest.mark.parametrize("subscripts, shapes", [(s, shapes) for s, *shapes in EINSUM])
def test_einsum(backend, subscripts, shapes):
    torch = pytest.importorskip("torch")
    assert_same(
        backend,
        lambda *xs: ops.einsum(subscripts, *xs),
        lambda *xs: torch.einsum(subscripts, *xs),
        *[draw(*shape) for shape in shapes],
    )


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_einsum(data):
    """Random subscripts of two operands, against NumPy."""
    letters = st.lists(st.sampled_from("abcde"), unique=True, max_size=4)
    left, right = data.draw(letters), data.draw(letters)
    out = data.draw(st.lists(st.sampled_from(sorted({*left, *right}) or ["a"]), unique=True))
    if not {*left, *right}:
        out = []
    subscripts = f"{''.join(left)},{''.join(right)}->{''.join(out)}"
    length = dict(zip("abcde", (2, 3, 1, 4, 2), strict=True))
    a, b = (np.random.default_rng(0).standard_normal([length[c] for c in s]) for s in (left, right))
    ours = ops.einsum(subscripts, nnx.Tensor(a), nnx.Tensor(b))
    np.testing.assert_allclose(ours.data, np.einsum(subscripts, a, b), rtol=1e-9, atol=1e-12)


NORMS = [2, 1, 3, 0.5, 1.5, 0, math.inf, -math.inf]


@pytest.mark.parametrize("p", NORMS)
def test_norm(backend, p):
    torch = pytest.importorskip("torch")
    x = np.asarray([[1.0, -2.0, 2.0, 0.5], [3.0, 0.1, -3.0, 3.0]])
    for axis, keepdims in [(None, False), (1, False), (0, True)]:
        if p == 0:  # no gradient in PyTorch: zero here, so compare the values
            ours = ops.norm(backend.tensor(x), 0, axis, keepdims)
            theirs = torch.linalg.vector_norm(torch.tensor(x), 0, dim=axis, keepdim=keepdims)
            np.testing.assert_array_equal(backend.to_numpy(ours), theirs.numpy())
            continue
        assert_same(
            backend,
            lambda t, a=axis, k=keepdims: ops.norm(t, p, axis=a, keepdims=k),
            lambda t, a=axis, k=keepdims: torch.linalg.vector_norm(t, p, dim=a, keepdim=k),
            x,
        )


@pytest.mark.parametrize("p", [2, 1, 3, math.inf, 1.5])
def test_norm_at_zero_has_no_gradient(backend, p):
    torch = pytest.importorskip("torch")
    assert_same(
        backend,
        lambda t: ops.norm(t, p, axis=1),
        lambda t: torch.linalg.vector_norm(t, p, dim=1),
        [[0.0, 0.0], [0.0, 2.0]],
    )


def test_two_dtypes(backend):
    backend.skip_without_float64()
    a = backend.tensor(draw(3, 4).astype("float32"), requires_grad=True)
    b = backend.tensor(draw(4, 5), requires_grad=True)
    for y in (ops.tensordot(a, b, 1), ops.einsum("ij,jk", a, b)):
        a.grad = b.grad = None
        y.sum().backward()
        assert y.dtype == b.dtype and a.grad.dtype == a.dtype and b.grad.dtype == b.dtype


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda a, b: ops.matmul(a, a), r"a has shape \(3, 4\), b \(3, 4\)"),
        (lambda a, b: ops.matmul(a, a[0, 0]), r"matmul.*\(3, 4\), b \(\)"),
        (lambda a, b: ops.matmul(nnx.zeros((2, 3, 4)), nnx.zeros((3, 4, 5))), r"\(2, 3, 4\)"),
        (lambda a, b: ops.linear(a, b), r"x must be \(\.\.\., D\).*\(3, 4\), weight \(4, 5\)"),
        (lambda a, b: ops.linear(a, a, b[0]), r"bias must have shape \(3,\).*\(5,\)"),
        (lambda a, b: ops.tensordot(a, b, 2), r"lengths.*\(3, 4\) and \(4, 5\)"),
        (lambda a, b: ops.tensordot(a, b, 3), r"axes=3 needs that many axes"),
        (lambda a, b: ops.tensordot(a, b, ((1,), (1,))), r"\[4\] and \[5\]"),
        (lambda a, b: ops.vecdot(a, b), r"length 4 in a but 5 in b"),
        (lambda a, b: ops.vecdot(a, a, axis=0), "axis must be negative"),
        (lambda a, b: ops.einsum("ij,jk->ik", a), "2 operands are written but 1 are given"),
        (lambda a, b: ops.einsum("ij,ik->jk", a, b), r"axis i has length 3 .* 4 in another"),
        (lambda a, b: ops.einsum("ii->i", a), r"index i stands for axes of lengths 3 and 4"),
        (lambda a, b: ops.einsum("ij->ijk", a), r"the output names \['k'\]"),
        (lambda a, b: ops.einsum("i->i", a), r"'i' does not name the axes of shape \(3, 4\)"),
        (lambda a, b: ops.einsum("i1->i", a), "something else than letters"),
        (lambda a, b: ops.einsum("ij->ii", a), "an index stands twice in the output 'ii'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(nnx.zeros((3, 4)), nnx.zeros((4, 5)))


# ---- diagonals ----

SQUARES = np.random.default_rng(3).standard_normal((2, 4, 4))


@pytest.mark.parametrize(
    "subscripts, shapes",
    [
        ("ii->", [(4, 4)]),
        ("ii->i", [(4, 4)]),
        ("ii", [(4, 4)]),
        ("...ii->...i", [(2, 3, 4, 4)]),
        ("...ii->...", [(2, 4, 4)]),
        ("iii->i", [(3, 3, 3)]),
        ("iijj->ij", [(2, 2, 3, 3)]),
        ("ijij->", [(2, 3, 2, 3)]),
        ("iij,jk->ik", [(2, 2, 3), (3, 4)]),
        ("ij,jj->i", [(2, 3), (3, 3)]),
        ("ii,jj->ij", [(2, 2), (3, 3)]),
        ("i...i->...", [(3, 2, 3)]),
    ],
)
def test_einsum_of_an_index_twice(backend, subscripts, shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype("f4") for shape in shapes]
    found = ops.einsum(subscripts, *[backend.tensor(a) for a in arrays])
    np.testing.assert_allclose(
        backend.to_numpy(found), np.einsum(subscripts, *arrays), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("offset", [-4, -3, -1, 0, 1, 2, 5, 6])
@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (2, 0), (-1, -3)])
def test_diagonal_and_trace(backend, offset, axes):
    x = np.random.default_rng(1).standard_normal((3, 5, 4)).astype("f4")
    t = backend.strided(x)
    found = ops.diagonal(nnx.Tensor(t), offset, *axes)
    np.testing.assert_array_equal(backend.to_numpy(found), np.diagonal(x, offset, *axes))
    found = ops.trace(nnx.Tensor(t), offset, *axes)
    np.testing.assert_allclose(
        backend.to_numpy(found), np.trace(x, offset, *axes), rtol=1e-5, atol=1e-6
    )


def test_the_gradient_of_a_trace_is_the_identity():
    """d tr(AB)/dA = Bᵀ, and d tr(A)/dA = 1 on the diagonal."""
    a = nnx.tensor(SQUARES[0], requires_grad=True)
    ops.trace(a).backward()
    np.testing.assert_array_equal(a.grad, np.eye(4))
    a.grad = None
    ops.trace(a @ nnx.tensor(SQUARES[1])).backward()
    np.testing.assert_allclose(a.grad, SQUARES[1].T, rtol=1e-12)


def test_diagonal_errors():
    with pytest.raises(ValueError, match=r"two axes at least; its shape is \(3,\)"):
        ops.diagonal(nnx.tensor(np.ones(3)))
    with pytest.raises(ValueError, match="axis1 and axis2 must differ; 1 and -1"):
        ops.diagonal(nnx.tensor(np.ones((2, 3))), 0, 1, -1)


def test_einsum_with_the_operand_first():
    x = nnx.tensor([[1.0, 2.0]])
    with pytest.raises(TypeError, match=r'subscripts come first, as in "ij,jk->ik"; got Tensor'):
        ops.einsum(x, "ij->ji")

"""Linear algebra: finite differences, PyTorch's values and gradients, and the edges."""

from __future__ import annotations

import inspect
import math
from functools import partial

import numpy as np
import pytest
from gradients import check_gradients
from pytorch import assert_same

import nnx
from nnx import linalg, ops

RNG = np.random.default_rng(7)
SQUARE = RNG.standard_normal((2, 4, 4)) + 2 * np.eye(4)
TALL, WIDE = RNG.standard_normal((2, 5, 3)), RNG.standard_normal((2, 3, 5))
RIGHT, VECTOR = RNG.standard_normal((2, 4, 3)), RNG.standard_normal(4)
LOW = TALL[0] @ RNG.standard_normal((3, 4))  # (5, 4) of rank 3


def symmetric(x):
    return (x + ops.matrix_transpose(x)) * 0.5


def definite(x):
    return ops.matmul(x, ops.matrix_transpose(x)) + ops.astype(nnx.Tensor(_eye(x)), x.dtype)


def _eye(x):
    xp = nnx.backends.backend_of(x.data).xp
    return xp.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def up_to_signs(u, vh):
    """U and V enter together, so that the library's choice of signs drops out."""
    return ops.einsum("...ik,...kj->...kij", u, vh)


CASES = {
    "solve": [
        (linalg.solve, [SQUARE, RIGHT]),
        (linalg.solve, [SQUARE, VECTOR]),
        (linalg.solve, [SQUARE[0], RIGHT]),
        (linalg.solve, [SQUARE, RIGHT[:1]]),
    ],
    "inv": [(linalg.inv, [SQUARE])],
    "matrix_power": [(partial(linalg.matrix_power, n=n), [SQUARE]) for n in (-3, -1, 1, 2, 5)],
    "det": [(linalg.det, [SQUARE]), (linalg.det, [SQUARE[0, :1, :1]])],
    "slogdet": [(lambda x: linalg.slogdet(x)[1], [SQUARE])],
    "cholesky": [
        (lambda x: linalg.cholesky(definite(x)), [SQUARE]),
        (lambda x: linalg.cholesky(definite(x), upper=True), [SQUARE[0]]),
    ],
    "qr": [
        (linalg.qr, [TALL]),
        (linalg.qr, [WIDE]),
        (lambda x: linalg.qr(x, mode="complete"), [WIDE]),
        (lambda x: linalg.qr(x)[1], [SQUARE]),
    ],
    "eigh": [
        (lambda x: linalg.eigh(symmetric(x))[0], [SQUARE]),
        (lambda x: linalg.eigh(symmetric(x))[1] ** 2, [SQUARE]),
    ],
    "eigvalsh": [(lambda x: linalg.eigvalsh(symmetric(x)), [SQUARE])],
    "svd": [
        (lambda x: linalg.svd(x, full_matrices=False)[1], [TALL]),
        (lambda x: up_to_signs(*linalg.svd(x, full_matrices=False)[::2]), [TALL]),
        (lambda x: up_to_signs(*linalg.svd(x, full_matrices=False)[::2]), [WIDE]),
        (lambda x: up_to_signs(*linalg.svd(x)[::2]), [SQUARE]),
    ],
    "svdvals": [(linalg.svdvals, [TALL]), (linalg.svdvals, [WIDE])],
    "pinv": [(linalg.pinv, [TALL]), (linalg.pinv, [WIDE]), (linalg.pinv, [SQUARE])],
    "matrix_norm": [
        (partial(linalg.matrix_norm, ord=ord), [TALL])
        for ord in ("fro", None, "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    ],
    "vector_norm": [(partial(linalg.vector_norm, axis=1, ord=3), [TALL])],
    "outer": [(linalg.outer, [VECTOR, TALL[0, 0]])],
    "cross": [(linalg.cross, [TALL, TALL[0, 0]]), (partial(linalg.cross, axis=1), [WIDE, WIDE])],
}
WITHOUT_GRADIENT = {"matrix_rank"}
TABLE = [
    pytest.param(function, arrays, id=f"{name}-{k}")
    for name, cases in CASES.items()
    for k, (function, arrays) in enumerate(cases)
]


@pytest.fixture
def library(backend):
    if backend.kind == "cupy-on-cpu":
        pytest.skip("CuPy's linear algebra needs a GPU")
    return backend


def test_no_operation_is_missing():
    assert set(linalg.__all__) == set(CASES) | WITHOUT_GRADIENT | (
        set(ops.__all__) & set(linalg.__all__)
    )


@pytest.mark.parametrize("function, arrays", TABLE)
def test_gradient(library, function, arrays):
    library.skip_without_float64()
    check_gradients(function, *arrays, wrap=library.asarray, tol=3e-6)


@pytest.mark.parametrize("function, arrays", TABLE)
def test_float32_in_float32_out_and_inputs_untouched(library, function, arrays):
    hosts = [np.asarray(a, "float32") for a in arrays]
    inputs = [library.strided(a) for a in hosts]
    tensors = [nnx.Tensor(x, requires_grad=True) for x in inputs]
    results = function(*tensors)
    for y in results if isinstance(results, tuple) else [results]:
        assert y.dtype == inputs[0].dtype
        y.sum().backward(retain_graph=True)
    for tensor, x, host in zip(tensors, inputs, hosts, strict=True):
        assert tensor.grad.dtype == x.dtype and type(tensor.grad) is type(x)
        np.testing.assert_array_equal(library.to_numpy(x), host)


@pytest.mark.parametrize("name", ["inv", "det", "pinv", "svdvals", "matrix_norm", "eigvalsh"])
def test_as_pytorch(library, name):
    torch = pytest.importorskip("torch")
    x = SQUARE @ SQUARE.swapaxes(1, 2) if name == "eigvalsh" else SQUARE
    assert_same(library, getattr(linalg, name), getattr(torch.linalg, name), x, rtol=2e-4 if not
                library.float64 else 1e-9)  # fmt: skip


def test_distances_as_pytorch(library):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    rtol = 1e-5 if not library.float64 else 1e-11
    for p in (0.0, 1.0, 2.0, 2.5, math.inf):
        ours, theirs = partial(ops.cdist, p=p), partial(torch.cdist, p=p)
        assert_same(library, ours, theirs, TALL, WIDE.swapaxes(1, 2), rtol=rtol)
    assert_same(library, ops.cosine_similarity, F.cosine_similarity, TALL, TALL[:1] + 1, rtol=rtol)
    for p in (1.0, 2.0, 3.0):
        assert_same(
            library, partial(ops.normalize, p=p), partial(F.normalize, p=p), TALL, rtol=rtol
        )


def test_points_that_coincide_and_vectors_of_nothing(library):
    x = library.tensor(np.zeros((2, 3), "f4"), requires_grad=True)
    for y in (ops.cdist(x, x), ops.normalize(x), ops.cosine_similarity(x, x)):
        x.zero_grad()
        assert not library.to_numpy(y).any()
        y.sum().backward()
        assert np.isfinite(library.to_numpy(x.grad)).all()
    near = library.tensor(np.asarray([[1000.0, 0.0], [1000.0, 1e-3]], "f4"))
    np.testing.assert_allclose(library.to_numpy(ops.cdist(near, near))[0, 1], 1e-3, rtol=1e-6)
    assert ops.cdist(nnx.ones((2, 0)), nnx.ones((3, 0))).tolist() == [[0.0] * 3] * 2


# ---- edges ----


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_the_determinant_is_a_polynomial(library, rank):
    """Its gradient, the cofactors, exists where the matrix has no inverse."""
    library.skip_without_float64()
    rng = np.random.default_rng(rank)
    a = rng.standard_normal((4, rank)) @ rng.standard_normal((rank, 4))
    x = library.tensor(a, requires_grad=True)
    linalg.det(x).backward()
    minors = [
        [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(4)]
        for i in range(4)
    ]
    np.testing.assert_allclose(library.to_numpy(x.grad), minors, atol=1e-12)


def test_a_power_of_nothing_is_the_identity(library):
    x = library.tensor(SQUARE.astype("f4"), requires_grad=True)
    y = linalg.matrix_power(x, 0)
    np.testing.assert_array_equal(library.to_numpy(y), np.broadcast_to(np.eye(4), (2, 4, 4)))
    y.sum().backward()
    assert not library.to_numpy(x.grad).any()


def test_pseudo_inverse_and_rank_of_what_is_not_full(library):
    library.skip_without_float64()
    x = library.tensor(LOW, requires_grad=True)
    assert int(linalg.matrix_rank(x)) == 3 and int(linalg.matrix_rank(x, rtol=2.0)) == 0
    np.testing.assert_allclose(
        library.to_numpy(linalg.pinv(x)), np.linalg.pinv(LOW, rtol=1e-12), atol=1e-10
    )
    assert library.to_numpy(linalg.matrix_rank(library.tensor(TALL))).tolist() == [3, 3]
    each = library.tensor(np.asarray([2.0, 0.0]))
    ranks = linalg.matrix_rank(library.tensor(TALL), rtol=each)
    assert library.to_numpy(ranks).tolist() == [0, 3]
    assert not library.to_numpy(linalg.pinv(library.tensor(TALL), rtol=each))[0].any()

    def of_rank_3(a, b):
        return linalg.pinv(ops.matmul(a, b), rtol=1e-10)

    check_gradients(of_rank_3, LOW[:, :3], LOW[:3], wrap=library.asarray, tol=1e-5)


def test_equal_eigenvalues(library):
    """The values have a gradient there, the vectors none, and it is not made up."""
    x = library.tensor(np.eye(3, dtype="f4") * 2, requires_grad=True)
    linalg.eigh(x)[0].sum().backward()
    np.testing.assert_allclose(library.to_numpy(x.grad), np.eye(3), atol=1e-6)
    for function in (linalg.eigh, linalg.svd):
        x.zero_grad()
        parts = function(x)
        with np.errstate(all="ignore"):
            (parts[0] if function is linalg.svd else parts[1]).sum().backward()
        assert not np.isfinite(library.to_numpy(x.grad)).all()


def test_empty_matrices(library):
    none, flat = np.zeros((0, 3, 3), "f4"), np.zeros((2, 0, 0), "f4")
    for x in (none, flat):
        t = library.tensor(x, requires_grad=True)
        for function in (linalg.inv, linalg.det, linalg.eigvalsh, linalg.svdvals):
            function(t).sum().backward()
        assert linalg.matrix_power(t, 3).shape == x.shape
    assert library.to_numpy(linalg.det(library.tensor(flat))).tolist() == [1, 1]


@pytest.mark.parametrize("name", ["inv", "solve", "cholesky"])
def test_singular_matrices_are_said(name):
    x = nnx.zeros((2, 3, 3))
    rest = [nnx.ones(3)] if name == "solve" else []
    with pytest.raises(np.linalg.LinAlgError, match=rf"{name}: .*\(2, 3, 3\)"):
        getattr(linalg, name)(x, *rest)


SAYS = {
    "inv": [(nnx.ones((2, 3)), r"inv: x must be \(..., M, M\); x has shape \(2, 3\)")],
    "svd": [(nnx.ones(3), r"svd: x must be \(..., M, N\); x has shape \(3,\)")],
    "det": [(nnx.ones(3), "det: x must be")],
}


@pytest.mark.parametrize("name, x, words", [(n, *case) for n, cs in SAYS.items() for case in cs])
def test_shapes_that_do_not_fit(name, x, words):
    with pytest.raises(ValueError, match=words):
        getattr(linalg, name)(x)


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda: linalg.solve(nnx.ones((2, 2)), nnx.ones((3, 1))),
            r"\(..., 2, K\) or \(2,\).*3, 1",
        ),
        (lambda: linalg.solve(nnx.ones((2, 2)), nnx.ones(3)), r"x2 \(3,\)"),
        (lambda: linalg.solve(nnx.ones((3, 2, 2)), nnx.ones((2, 2, 1))), "broadcast"),
        (lambda: linalg.qr(nnx.ones((2, 2)), mode="raw"), "mode"),
        (
            lambda: linalg.qr(nnx.ones((3, 2), requires_grad=True), mode="complete"),
            "last 1 columns.*use mode='reduced'",
        ),
        (lambda: linalg.svd(nnx.ones((3, 2), requires_grad=True)), "full_matrices=False"),
        (lambda: linalg.matrix_norm(nnx.ones((3, 2)), 3), "ord must be"),
        (lambda: linalg.outer(nnx.ones((3, 2)), nnx.ones(2)), "vectors are wanted"),
        (lambda: linalg.cross(nnx.ones((3, 2)), nnx.ones(2)), "length 3"),
        (lambda: linalg.cross(nnx.ones((3, 2)), nnx.ones(3), axis=0), "negative"),
        (lambda: ops.cdist(nnx.ones((3, 2)), nnx.ones((3, 3))), "cdist: x1 must be"),
        (lambda: ops.cdist(nnx.ones((3, 2)), nnx.ones((3, 2)), p=-1), "p -1"),
        (lambda: ops.cosine_similarity(nnx.ones(3), nnx.ones(3)), "axis 1 is out of range"),
    ],
)
def test_arguments_that_do_not_fit(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_full_matrices_without_a_gradient(library):
    u, s, vh = linalg.svd(library.tensor(TALL.astype("f4")))
    assert (u.shape, s.shape, vh.shape) == ((2, 5, 5), (2, 3), (2, 3, 3))
    q, r = linalg.qr(library.tensor(TALL.astype("f4")), mode="complete")
    assert (q.shape, r.shape) == ((2, 5, 5), (2, 5, 3))


@pytest.mark.parametrize("name", sorted(set(linalg.__all__) - set(ops.__all__)))
def test_what_is_no_tensor_and_what_is_no_float(name):
    function = getattr(linalg, name)
    others = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    rest = [2 if p.name == "n" else nnx.ones((3, 3)) for p in others[1:]]
    for wrong in (None, "text", {"a": 1}):
        with pytest.raises(TypeError, match="needs a"):
            function(wrong, *rest)
    if name not in ("outer", "cross", "vector_norm"):
        with pytest.raises(TypeError, match=rf"{name}: .*floating-point"):
            function(nnx.ones((3, 3), "int64"), *rest)
    else:
        function([1.0, 2.0, 3.0], *[nnx.ones(3) for _ in rest])

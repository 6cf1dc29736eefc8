"""Products that call cuBLAS directly, on a cuBLAS written in NumPy that takes the same arguments.

What it shows: which matrix goes where, transposed or not, with which leading dimension and
stride.  What it cannot: that the library on a device does the same.
"""

from __future__ import annotations

import numpy as np
import pytest
from cublas_by_definition import Cublas

from nnx.backends.cuda import cublas
from nnx.backends.cuda.cublas import CublasError, Products, layout, load_library

WORKSPACE = (4096, 1 << 20)


@pytest.fixture
def library():
    return Cublas()


@pytest.fixture
def products(library):
    return Products(library.namespace, np, lambda x: x.ctypes.data, WORKSPACE)


def numbers(*shape, dtype="float32"):
    """Small integers: exact in any order."""
    return np.random.default_rng(len(shape)).integers(-5, 6, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "a,b",
    [
        ((2, 3), (3, 4)),
        ((1, 3), (3, 1)),
        ((1, 1), (1, 1)),
        ((5, 1), (1, 4)),
        ((3,), (3, 4)),
        ((2, 3), (3,)),
        ((3,), (3,)),
        ((6, 2, 3), (6, 3, 4)),
        ((2, 3), (6, 3, 4)),
        ((6, 2, 3), (3, 4)),
        ((1, 2, 3), (6, 3, 4)),
        ((2, 5, 2, 3), (5, 3, 4)),
        ((2, 1, 2, 3), (1, 5, 3, 4)),
        ((0, 3), (3, 4)),
        ((2, 0), (0, 4)),
        ((0, 2, 3), (3, 4)),
    ],
)
def test_matmul_is_numpys(products, a, b, dtype):
    x, y = numbers(*a, dtype=dtype), numbers(*b, dtype=dtype)
    got = products.matmul(x, y)
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, np.matmul(x, y))
    assert got.shape == np.matmul(x, y).shape


VIEWS = {
    "transposed": lambda x: np.ascontiguousarray(np.swapaxes(x, -1, -2)).swapaxes(-1, -2),
    "part of wider rows": lambda x: np.concatenate([x, x], axis=-1)[..., : x.shape[-1]],
    "part of longer columns": lambda x: np.concatenate([x, x], axis=-2)[..., : x.shape[-2], :],
    "every second column": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "backwards": lambda x: x[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    "one row repeated": lambda x: np.broadcast_to(x[..., :1, :], x.shape),
}


@pytest.mark.parametrize("stack", [(), (3,)], ids=["alone", "in a stack"])
@pytest.mark.parametrize("of_b", VIEWS)
@pytest.mark.parametrize("of_a", VIEWS)
def test_views_are_read_as_they_lie(products, of_a, of_b, stack):
    x, y = VIEWS[of_a](numbers(*stack, 4, 5)), VIEWS[of_b](numbers(*stack, 5, 3))
    np.testing.assert_array_equal(products.matmul(x, y), np.matmul(x, y))


def test_a_stack_read_backwards_is_copied(products):
    x, y = numbers(3, 4, 5)[::-1], numbers(3, 5, 2)
    np.testing.assert_array_equal(products.matmul(x, y), np.matmul(x, y))


@pytest.mark.parametrize("view", ["transposed", "part of wider rows"])
def test_common_views_are_not_copied(library, products, view):
    x = VIEWS[view](numbers(4, 5))
    products.matmul(x, numbers(5, 3))
    _, arguments = library.calls[-1]
    assert x.ctypes.data in arguments


def test_out_is_written_in_place(products):
    x, y, out = numbers(3, 2, 4), numbers(3, 4, 5), np.empty((3, 2, 5), "float32")
    assert products.matmul(x, y, out=out) is out
    np.testing.assert_array_equal(out, x @ y)
    wide = np.zeros((2, 10), "float32")
    products.matmul(x[0], y[0], out=wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], x[0] @ y[0])
    assert not wide[:, 1::2].any()


@pytest.mark.parametrize(
    "a, b, out",
    [
        ((2, 4), (4, 5), lambda: np.ones((5, 2), "f4").T),  # columns in one piece each
        ((3, 2, 4), (4, 5), lambda: np.ones((3, 2, 9), "f4")[:, :, 2:7]),
        ((3, 2, 4), (4, 5), lambda: np.ones((6, 2, 5), "f4")[::2]),
        ((4,), (4, 5), lambda: np.ones(5, "f4")),
        ((2, 4), (4,), lambda: np.ones(4, "f4")[::2]),
        ((4,), (4,), lambda: np.ones((), "f4")),
    ],
)
def test_an_out_that_cublas_cannot_write_is_filled_afterwards(products, a, b, out):
    """And what stood in it counts for nothing."""
    x, y, out = numbers(*a), numbers(*b), out()
    assert products.matmul(x, y, out=out) is out
    np.testing.assert_array_equal(out, np.matmul(x, y))


def test_out_may_be_part_of_longer_rows(library, products):
    """One direction's gates among both: nothing is copied."""
    x, y, wide = numbers(4, 3), numbers(3, 2), np.zeros((4, 6), "float32")
    out = wide[:, 2:4]
    assert products.matmul(x, y, out=out) is out
    np.testing.assert_array_equal(wide[:, 2:4], x @ y)
    assert not wide[:, :2].any() and not wide[:, 4:].any()
    assert out.ctypes.data in library.calls[-1][1]


@pytest.mark.parametrize("part", [np.s_[:, :], np.s_[:, 1:3], np.s_[:, ::2], np.s_[::-1, :2]])
def test_a_product_is_added(products, part):
    x, y, out = numbers(4, 3), numbers(3, 4), numbers(4, 4) + 0
    x, y = x, y[:, : out[part].shape[1]]
    expected = out.copy()
    expected[part] += x @ y
    products.matmul(x, y, out=out[part], add=True)
    np.testing.assert_array_equal(out, expected)
    products.matmul(x[:, :0], y[:0], out=out[part], add=True)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("out", [np.zeros((2, 4), "float32"), np.zeros((2, 5))])
def test_an_out_that_does_not_fit_is_refused(library, products, out):
    with pytest.raises(ValueError, match=r"has shape \(2, 5\) and dtype float32, but out has"):
        products.matmul(numbers(2, 3), numbers(3, 5), out=out)
    assert "cublasGemmStridedBatchedEx" not in library.names()


def test_float16_is_summed_in_float32_and_rounded_once(products):
    a, b = np.ones((3, 4000), "float16"), np.ones((4000, 2), "float16")
    b[0] = 2048  # to which float16 adds no 1
    y = products.matmul(a, b)
    assert y.dtype == np.float16 and (y == np.float16(6047)).all()
    out = y[:1].copy()
    products.matmul(a[:1], b, out=out, add=True)
    assert (out == np.float16(6048 + 6047)).all()


def test_what_it_refuses(products):
    with pytest.raises(NotImplementedError, match="float32, float64, the same for both; got int64"):
        products.matmul(np.ones((2, 2), "int64"), np.ones((2, 2), "int64"))
    with pytest.raises(NotImplementedError, match="float32 and float64"):
        products.matmul(np.ones((2, 2), "float32"), np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 3\) do not fit"):
        products.matmul(numbers(2, 3), numbers(2, 3))
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\) do not broadcast"):
        products.matmul(numbers(2, 2, 3), numbers(3, 3, 2))


def test_workspace_is_set_after_the_stream(library, products):
    """Setting a stream takes a handle back to the library's own workspace."""
    products.use(77)
    assert library.names() == ["cublasCreate_v2", "cublasSetStream_v2", "cublasSetWorkspace_v2"]
    assert library.calls[1][1][1] == 77
    assert library.calls[2][1][1:] == WORKSPACE
    products.close()
    products.close()
    assert library.names().count("cublasDestroy_v2") == 1


def test_a_refused_call_is_named(library, products):
    library.status = 13
    with pytest.raises(CublasError, match=r"StridedBatchedEx: CUBLAS_STATUS_EXECUTION_FAILED"):
        products.matmul(numbers(2, 2), numbers(2, 2))


def test_tf32_only_where_it_is_asked_for(library):
    for tf32, dtype, compute in (
        (False, "float32", 68),
        (True, "float32", 77),
        (True, "float64", 70),
    ):
        made = Products(library.namespace, np, lambda x: x.ctypes.data, WORKSPACE, tf32=tf32)
        made.matmul(numbers(2, 2, dtype=dtype), numbers(2, 2, dtype=dtype))
        assert library.calls[-1][1][-2] == compute


@pytest.mark.parametrize(
    "shape,steps,expected",
    [
        ((3, 4), (4, 1), (0, 4)),
        ((3, 4), (9, 1), (0, 9)),
        ((3, 4), (1, 3), (1, 3)),
        ((3, 4), (1, 8), (1, 8)),
        ((1, 4), (0, 1), (0, 4)),
        ((3, 1), (1, 0), (0, 1)),
        ((3, 1), (7, 5), (0, 7)),
        ((1, 1), (5, 5), (0, 1)),
        ((1, 4), (9, 2), (1, 2)),
        ((3, 4), (8, 2), None),
        ((2, 4), (8, 2), None),
        ((3, 4), (1, 2), None),
        ((4, 1), (0, 7), None),
        ((3, 4), (-4, 1), None),
        ((3, 4), (0, 1), None),
    ],
)
def test_layout(shape, steps, expected):
    assert layout(shape, steps) == expected


def test_numbers_are_cupys():
    """The enumerations are copied from cuBLAS; CuPy has them too."""
    theirs = pytest.importorskip("cupy_backends.cuda.libs.cublas", exc_type=ImportError)
    from cupy.cuda import runtime

    float32, float64 = cublas.TYPES["float32"], cublas.TYPES["float64"]
    assert float32[:2] == (runtime.CUDA_R_32F, theirs.CUBLAS_COMPUTE_32F)
    assert float64[:2] == (runtime.CUDA_R_64F, theirs.CUBLAS_COMPUTE_64F)
    assert cublas.TF32 == theirs.CUBLAS_COMPUTE_32F_FAST_TF32
    assert (cublas.NO_TRANSPOSE, cublas.TRANSPOSE) == (theirs.CUBLAS_OP_N, theirs.CUBLAS_OP_T)
    assert theirs.CUBLAS_GEMM_DEFAULT == cublas.DEFAULT_ALGORITHM


def test_missing_library_is_named():
    with pytest.raises(CublasError, match=r"libcublas\.so\.9999, cublas64_9999\.dll"):
        load_library((9999,))

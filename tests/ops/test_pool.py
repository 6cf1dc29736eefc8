import itertools
from functools import cache

import numpy as np
import pytest
from gradients import check_gradients
from windows import DILATIONS, KERNELS, PADDINGS, STRIDES, fits, integers, thinned

import nnx
from nnx import ops, reference
from nnx.backends.portable.window import Window

SHAPE = (2, 2, 6, 7)


def legal(kernel, padding, dilation):
    """Padding at most half the kernel."""
    return fits(kernel, padding, dilation) and all(
        max(p) <= k // 2 for p, k in zip(padding, kernel, strict=True)
    )


GRID = [
    (k, s, p, d)
    for k, s, p, d in itertools.product([*KERNELS, (3, 3)], STRIDES, PADDINGS, DILATIONS)
    if legal(k, p, d)
]


@cache
def image():
    """Many ties, every channel its own."""
    return integers(0, *SHAPE, low=-2, high=3)


@cache
def maxima(geometry):
    y, where = reference.max_pool2d(image(), *geometry)
    gy = integers(1, *y.shape)
    return y, where, gy, reference.max_pool2d_backward(gy, where, SHAPE)


# ---- max ----


def test_max_pool_equals_the_definition_over_the_grid(backend):
    assert len(GRID) > 40
    for geometry in thinned(backend, GRID):
        y, where, gy, gx = maxima(geometry)
        x = backend.tensor(image(), requires_grad=True)
        k, s, p, d = geometry
        got, indices = ops.max_pool2d(x, k, s, p, d, return_indices=True)
        np.testing.assert_array_equal(backend.to_numpy(got), y, err_msg=str(geometry))
        np.testing.assert_array_equal(backend.to_numpy(indices), where, err_msg=str(geometry))
        got.backward(backend.asarray(gy))
        np.testing.assert_array_equal(backend.to_numpy(x.grad), gx, err_msg=str(geometry))


def test_the_definition_equals_pytorch_over_the_grid():
    torch = pytest.importorskip("torch")
    for k, s, p, d in GRID:
        if any(a != b for a, b in p):
            continue  # PyTorch's pooling has no asymmetric padding
        x = torch.tensor(image(), requires_grad=True)
        y, where = torch.nn.functional.max_pool2d(
            x, k, s, (p[0][0], p[1][0]), d, return_indices=True
        )
        expected = maxima((k, s, p, d))
        y.backward(torch.tensor(expected[2]))
        for a, e in zip((y.detach(), where, x.grad), (*expected[:2], expected[3]), strict=True):
            np.testing.assert_array_equal(a.numpy(), e)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64"])
def test_padding_is_never_chosen_among_integers(backend, dtype):
    """In float64 the same; -inf as an integer is some number, in int8 often 0."""
    x = np.random.default_rng(0).integers(-100, 0, (2, 3, 5, 5)).astype(dtype)
    x[0, 0] = np.iinfo(dtype).min
    y, places = ops.max_pool2d(backend.tensor(x), 3, 2, 1, return_indices=True)
    wanted, where = ops.max_pool2d(
        backend.tensor(x.astype("float64")), 3, 2, 1, return_indices=True
    )
    np.testing.assert_array_equal(backend.to_numpy(y).astype("float64"), backend.to_numpy(wanted))
    np.testing.assert_array_equal(backend.to_numpy(places), backend.to_numpy(where))
    line = ops.max_pool1d(backend.tensor(x[0]), 3, 2, 1)
    assert dtype != "int8" or int(backend.to_numpy(line).max()) < 0
    if backend.xp is np:
        mask = ops.max_pool2d(np.zeros((1, 1, 4, 4), bool), 3, 2, 1)
        assert mask.dtype == bool and not mask.numpy().any()


def test_ties_go_to_the_first_maximum(backend):
    """ReLU's zeros: the gradient of a window of equal values goes to its first pixel alone."""
    x = backend.tensor(np.zeros((1, 1, 4, 4), "f4"), requires_grad=True)
    ops.max_pool2d(x, 2).backward(backend.asarray(np.ones((1, 1, 2, 2), "f4")))
    np.testing.assert_array_equal(
        backend.to_numpy(x.grad)[0, 0], [[1, 0, 1, 0], [0] * 4, [1, 0, 1, 0], [0] * 4]
    )


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_nan_wins(backend, at):
    values = np.asarray([5.0, 7.0, np.inf, -1.0], "f4")
    values[at] = np.nan
    x = backend.tensor(values.reshape(1, 1, 2, 2), requires_grad=True)
    y, where = ops.max_pool2d(x, 2, return_indices=True)
    assert np.isnan(backend.to_numpy(y)).all() and backend.to_numpy(where).item() == at
    y.backward(backend.asarray(np.full((1, 1, 1, 1), 3, "f4")))
    assert backend.to_numpy(x.grad).reshape(-1).tolist() == [
        3.0 if k == at else 0.0 for k in range(4)
    ]


def test_the_first_of_several_nans_and_infinities(backend):
    nan, inf = np.nan, np.inf
    x = np.asarray([[nan, nan, -inf, -inf], [nan, 1, -inf, -inf]], "f4").reshape(1, 1, 2, 4)
    _, where = ops.max_pool2d(backend.tensor(x), 2, return_indices=True)
    assert backend.to_numpy(where).reshape(-1).tolist() == [0, 2]
    # With padding, -inf in the image still comes before the padding, which is -inf too.
    x = np.full((1, 1, 3, 3), -inf, "f4")
    y, where = ops.max_pool2d(backend.tensor(x), 3, 2, 1, return_indices=True)
    assert (backend.to_numpy(y) == -inf).all()
    assert backend.to_numpy(where).reshape(-1).tolist() == [0, 1, 3, 4]


def test_the_place_is_kept_in_one_byte(backend):
    x = backend.asarray(image())
    _, place = backend.backend.max_pool2d(x, Window((2, 2), (2, 2)))
    assert place.dtype == backend.xp.uint8
    wide = backend.asarray(integers(0, 1, 1, 17, 16))
    y, place = backend.backend.max_pool2d(wide, Window((17, 16)))
    assert place.dtype == backend.xp.int32
    flat = backend.to_numpy(wide).reshape(-1)
    assert backend.to_numpy(place).item() == flat.argmax()
    assert backend.to_numpy(y).item() == flat.max()


CEILED = [
    *itertools.product(
        [(5, 6), (7, 7), (4, 9)],
        [(2, 2, 0), (3, 2, 1), (2, 3, 1), (3, 1, 0), ((2, 3), (3, 2), (1, 0))],
    ),
    # windows larger than the image
    *[((2, 2), (3, 3, 0)), ((1, 5), (2, 2, 0)), ((2, 7), ((3, 4), 2, 0)), ((1, 1), (5, 5, 1))],
]


@pytest.mark.parametrize("size, ksp", CEILED)
def test_ceil_mode_equals_pytorch(backend, size, ksp):
    k, s, p = ksp
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x = integers(0, 2, 2, *size)
    for ours, theirs in (
        (lambda x: ops.max_pool2d(x, k, s, p, ceil_mode=True),
         lambda x: F.max_pool2d(x, k, s, p, ceil_mode=True)),
        (lambda x: ops.avg_pool2d(x, k, s, p, ceil_mode=True),
         lambda x: F.avg_pool2d(x, k, s, p, ceil_mode=True)),
        (lambda x: ops.avg_pool2d(x, k, s, p, ceil_mode=True, count_include_pad=False),
         lambda x: F.avg_pool2d(x, k, s, p, ceil_mode=True, count_include_pad=False)),
    ):  # fmt: skip
        a, e = backend.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, expected = ours(a), theirs(e)
        np.testing.assert_allclose(backend.to_numpy(y), expected.detach().numpy(), rtol=1e-6)
        gy = integers(1, *expected.shape)
        y.backward(backend.asarray(gy))
        expected.backward(torch.tensor(gy))
        np.testing.assert_allclose(backend.to_numpy(a.grad), e.grad.numpy(), rtol=1e-6, atol=1e-6)


def test_a_window_that_does_not_even_begin_in_the_image_is_refused():
    for size, k, s in ((1, 3, 2), (2, 5, 1), (2, 4, 2)):
        for pool in (ops.max_pool2d, ops.avg_pool2d):
            with pytest.raises(ValueError, match="does not fit into the padded image"):
                pool(nnx.tensor(np.zeros((1, 1, size, size), "f4")), k, s, ceil_mode=True)


def test_finite_differences(backend):
    backend.skip_without_float64()
    rng = np.random.default_rng(0)
    x = rng.permutation(2 * 3 * 6 * 7).reshape(2, 3, 6, 7) * 0.1  # no ties: distinct values
    check_gradients(lambda x: ops.max_pool2d(x, 3, 2, 1), x, wrap=backend.asarray)
    check_gradients(lambda x: ops.max_pool2d(x, (2, 3), 1, 1, (2, 1)), x, wrap=backend.asarray)
    check_gradients(lambda x: ops.avg_pool2d(x, 3, 2, ((1, 0), (0, 1))), x, wrap=backend.asarray)
    check_gradients(lambda x: ops.adaptive_avg_pool2d(x, (4, 3)), x, wrap=backend.asarray)
    check_gradients(lambda x: ops.adaptive_max_pool2d(x, (4, 3)), x, wrap=backend.asarray)


def test_windows_that_overlap_or_leave_gaps():
    """A known defect of the textbook's code: its pooling works only where kernel = stride."""
    x = np.random.default_rng(0).permutation(2 * 2 * 7 * 7).reshape(2, 2, 7, 7) * 0.1
    check_gradients(lambda x: ops.max_pool2d(x, 3, 1), x)
    check_gradients(lambda x: ops.max_pool2d(x, 2, 3), x)
    check_gradients(lambda x: ops.avg_pool2d(x, 3, 1), x)


# ---- mean ----


@pytest.mark.parametrize("count_include_pad", [True, False])
def test_avg_pool_equals_the_definition_over_the_grid(backend, count_include_pad):
    x = image()
    for k, s, p, _ in thinned(backend, [g for g in GRID if g[3] == (1, 1)]):
        y = reference.avg_pool2d(x, k, s, p, count_include_pad)
        gy = integers(1, *y.shape)
        gx = reference.avg_pool2d_backward(gy, x.shape, k, s, p, count_include_pad)
        t = backend.tensor(x, requires_grad=True)
        got = ops.avg_pool2d(t, k, s, p, count_include_pad=count_include_pad)
        assert got.dtype == t.dtype
        np.testing.assert_allclose(backend.to_numpy(got), y, rtol=1e-6, atol=1e-6)
        got.backward(backend.asarray(gy))
        np.testing.assert_allclose(backend.to_numpy(t.grad), gx, rtol=1e-6, atol=1e-6)


def test_divisor_override(backend):
    x = backend.tensor(image(), requires_grad=True)
    y = ops.avg_pool2d(x, 3, 2, 1, divisor_override=4)
    expected = reference.avg_pool2d(image(), (3, 3), (2, 2), ((1, 1), (1, 1))) * 9 / 4
    np.testing.assert_allclose(backend.to_numpy(y), expected, rtol=1e-6, atol=1e-6)
    gy = integers(1, *y.shape)
    y.backward(backend.asarray(gy))
    gx = reference.avg_pool2d_backward(gy * 9 / 4, SHAPE, (3, 3), (2, 2), ((1, 1), (1, 1)))
    np.testing.assert_allclose(backend.to_numpy(x.grad), gx, rtol=1e-6, atol=1e-6)


# ---- one dimension, adaptive, global ----


@pytest.mark.parametrize("k, s, p", [(2, 2, 0), (3, 1, 1), (3, 2, 0)])
def test_one_dimension(backend, k, s, p):
    x = integers(0, 2, 3, 9)
    flat, geometry = x[:, :, None], ((1, k), (1, s), ((0, 0), (p, p)))
    t = backend.tensor(x, requires_grad=True)
    y, where = ops.max_pool1d(t, k, s, p, return_indices=True)
    expected, at = reference.max_pool2d(flat, *geometry)
    np.testing.assert_array_equal(backend.to_numpy(y), expected[:, :, 0])
    np.testing.assert_array_equal(backend.to_numpy(where), at[:, :, 0])
    gy = integers(1, *y.shape)
    y.backward(backend.asarray(gy))
    gx = reference.max_pool2d_backward(gy[:, :, None], at, flat.shape)
    np.testing.assert_array_equal(backend.to_numpy(t.grad), gx[:, :, 0])
    mean = ops.avg_pool1d(backend.tensor(x), k, s, p)
    expected = reference.avg_pool2d(flat, *geometry)[:, :, 0]
    np.testing.assert_allclose(backend.to_numpy(mean), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 7), (4, 3), (9, 10)])
def test_adaptive_pools_equal_pytorch(backend, size):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x = np.random.default_rng(0).standard_normal(SHAPE).astype("f4")
    a, e = backend.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = ops.adaptive_avg_pool2d(a, size), F.adaptive_avg_pool2d(e, size)
    np.testing.assert_allclose(backend.to_numpy(y), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    gy = integers(1, *y.shape)
    y.backward(backend.asarray(gy))
    expected.backward(torch.tensor(gy))
    np.testing.assert_allclose(backend.to_numpy(a.grad), e.grad.numpy(), rtol=1e-5, atol=1e-6)

    a, e = backend.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, where = ops.adaptive_max_pool2d(a, size, return_indices=True)
    expected, at = F.adaptive_max_pool2d(e, size, return_indices=True)
    np.testing.assert_array_equal(backend.to_numpy(y), expected.detach().numpy())
    np.testing.assert_array_equal(backend.to_numpy(where), at.numpy())
    y.backward(backend.asarray(gy))
    expected.backward(torch.tensor(gy))
    np.testing.assert_array_equal(backend.to_numpy(a.grad), e.grad.numpy())


def test_global_pools(backend):
    x = backend.tensor(image())
    mean, largest = ops.global_avg_pool2d(x), ops.global_max_pool2d(x)
    np.testing.assert_allclose(
        backend.to_numpy(mean), image().mean((2, 3), keepdims=True), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(backend.to_numpy(largest), image().max((2, 3), keepdims=True))


# ---- errors ----


def t(*shape):
    return nnx.Tensor(np.zeros(shape, "f4"))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ops.max_pool2d(t(5, 5), 2), r"x must be \(N, C, H, W\), or \(C, H, W\) for one"),
        (lambda: ops.max_pool2d(t(1, 3, 5, 5), 6),
         r"a window of \(6, 6\).* does not fit into the padded image of \(5, 5\); "
         r"x has shape \(1, 3, 5, 5\)"),
        (lambda: ops.max_pool2d(t(1, 3, 5, 5), 2, 0), r"stride must be positive, got 0"),
        (lambda: ops.max_pool2d(t(1, 3, 5, 5), 2, padding=2),
         r"padding must be at most half the kernel; padding \(\(2, 2\), .*\(1, 3, 5, 5\)"),
        (lambda: ops.max_pool2d(t(1, 1, 4, 9), 2, 1, 1, 5), r"in the padding altogether"),
        (lambda: ops.max_pool2d(t(1, 3, 5, 5), (2, 2, 2)), r"kernel_size must be an integer or 2"),
        (lambda: ops.avg_pool2d(t(1, 3, 5, 5), 2, divisor_override=0), r"must not be 0"),
        (lambda: ops.max_pool1d(t(1, 3, 5, 5), 2), r"max_pool1d: x must be \(N, C, L\)"),
        (lambda: ops.adaptive_avg_pool2d(t(1, 3, 5, 5), 0), r"output_size must be positive, got 0"),
        (lambda: ops.adaptive_avg_pool2d(t(1, 3, 0, 5), 2), r"must not be empty.*\(1, 3, 0, 5\)"),
    ],
)  # fmt: skip
def test_errors_name_the_rule_and_every_shape(call, message):
    with pytest.raises(ValueError, match=message):
        call()

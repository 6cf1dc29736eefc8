"""Trigonometry, rounding, bits, and inverses: values and gradients as PyTorch's, and the edges."""

from __future__ import annotations

import math
import operator
from functools import partial

import numpy as np
import pytest
from pytorch import assert_same

import nnx
from nnx import ops

ANY = np.asarray([[-30.0, -1.0, -0.5, 0.0], [1e-3, 0.5, 1.0, 4.0]])
INSIDE = np.asarray([-0.999, -0.5, 0.0, 1e-4, 0.25, 0.99])
HALVES = np.asarray([-2.5, -0.5, 0.4, 0.5, 1.5, 2.5, 7.0])
DOMAINS = {
    **dict.fromkeys(["tan", "atan", "sinh", "cosh", "asinh"], ANY),
    **dict.fromkeys(["floor", "ceil", "trunc", "round"], HALVES),
    **dict.fromkeys(["asin", "acos", "atanh", "erfinv"], INSIDE),
    "acosh": [1.01, 1.5, 1e6],
    "log2": [1e-6, 0.5, 8.0, 1e6],
    "log10": [1e-6, 0.5, 1000.0, 1e6],
}
A = np.asarray([[3.0, -4.0, 0.0, 5.5], [-0.25, 1.0, -7.0, 2.0]])
B = np.asarray([2.0, 0.75, -1.5, -2.5])


@pytest.mark.parametrize("name", DOMAINS)
def test_of_one_number_as_pytorch(backend, name):
    torch = pytest.importorskip("torch")
    for dtype, rtol in (("float64", 1e-12), ("float32", 1e-5)):
        if dtype == "float32" or backend.float64:
            theirs = getattr(torch, name)
            assert_same(backend, getattr(ops, name), theirs, DOMAINS[name], dtype=dtype, rtol=rtol)


@pytest.mark.parametrize("name", ["atan2", "hypot", "copysign", "remainder"])
def test_of_two_numbers_as_pytorch(backend, name):
    torch = pytest.importorskip("torch")
    ours, theirs = getattr(ops, name), getattr(torch, name)
    assert_same(backend, ours, theirs, A, B)
    assert_same(backend, ours, theirs, B, A, dtype="float32")


def test_floor_divide_as_pytorch(backend):
    torch = pytest.importorskip("torch")
    assert_same(backend, operator.floordiv, partial(torch.div, rounding_mode="floor"), A, B)


@pytest.mark.parametrize("name", ["asin", "acos", "atanh", "erfinv", "log2", "log10"])
def test_edges_are_pytorchs(backend, name):
    """Infinite slopes, and numbers outside of what the function is defined for."""
    torch = pytest.importorskip("torch")
    x = [1.0, -1.0, 1.5, math.nan, 0.0]
    assert_same(backend, getattr(ops, name), getattr(torch, name), x, rtol=1e-6)


def test_acosh_has_no_slope_where_it_has_no_value(backend):
    x = backend.tensor(np.asarray([1.0, 0.5, -1.0, -1.5], "f4"), requires_grad=True)
    with np.errstate(all="ignore"):
        ops.acosh(x).sum().backward()
    np.testing.assert_array_equal(backend.to_numpy(x.grad), [math.inf] + [math.nan] * 3)


def test_infinity_and_numbers_whose_square_overflows(backend):
    x = backend.tensor(np.asarray([1e30, -1e30, math.inf, -math.inf], "f4"), requires_grad=True)
    ones = backend.asarray(np.ones(4, "f4"))
    for function, slope in ((ops.atan, [0] * 4), (ops.asinh, [1e-30, 1e-30, 0, 0])):
        x.zero_grad()
        function(x).backward(ones)
        np.testing.assert_allclose(backend.to_numpy(x.grad), slope, rtol=1e-6)
    x.zero_grad()
    y = ops.hypot(x, 1e30)
    with np.errstate(invalid="ignore"):
        y.backward(ones)
    np.testing.assert_allclose(backend.to_numpy(y)[:2], [2**0.5 * 1e30] * 2, rtol=1e-6)
    np.testing.assert_allclose(backend.to_numpy(x.grad)[:2], [0.5**0.5, -(0.5**0.5)], rtol=1e-6)
    x.zero_grad()
    with np.errstate(invalid="ignore"):
        ops.atan2(x, 1e30).backward(ones)
    np.testing.assert_allclose(backend.to_numpy(x.grad)[:2], [5e-31] * 2, rtol=1e-6)


def test_no_slope_in_the_origin(backend):
    for function in (ops.atan2, ops.hypot, ops.copysign):
        a, b = (backend.tensor(np.zeros(2, "f4"), requires_grad=True) for _ in "ab")
        function(a, b).sum().backward()
        assert not backend.to_numpy(a.grad).any() and not backend.to_numpy(b.grad).any()


def test_signs_are_read_from_the_bits(backend):
    x = backend.tensor(np.asarray([0.0, -0.0, 2.0, -2.0, math.nan, -math.inf], "f4"))
    host = backend.to_numpy(x)
    np.testing.assert_array_equal(backend.to_numpy(ops.signbit(x)), np.signbit(host))
    y = backend.to_numpy(ops.copysign(3.0, x))
    np.testing.assert_array_equal(y, np.copysign(np.float32(3), host))
    with pytest.raises(TypeError, match="use x < 0"):
        ops.signbit(nnx.tensor([1]))


def test_erfinv_is_the_inverse_to_the_last_digits():
    tiny = 10.0 ** -np.arange(1, 300, 7)
    x = np.concatenate([tiny, -tiny, np.linspace(-0.9, 0.9, 99)])
    y = ops.erfinv(nnx.Tensor(x)).numpy()
    back = np.asarray([math.erf(v) for v in y])
    error = (back - x) / (2 / math.sqrt(math.pi) * np.exp(-y * y))  # in y
    assert np.abs(error / np.spacing(y)).max() < 6
    x = 1 - 10.0 ** -np.arange(1, 16)
    for sign in (1, -1):
        y = sign * ops.erfinv(nnx.Tensor(sign * x)).numpy()
        np.testing.assert_allclose([math.erfc(v) for v in y], 1 - x, rtol=1e-13)


def test_nextafter(backend):
    a = np.asarray([0.0, 1.0, -1.0, math.inf], "f4")
    y = ops.nextafter(backend.tensor(a), backend.tensor(np.asarray([1, 1, 0, 0], "f4")))
    assert backend.to_numpy(y).dtype == np.float32 and not y.requires_grad
    np.testing.assert_array_equal(
        backend.to_numpy(y), np.nextafter(a, np.asarray([1, 1, 0, 0], "f4"))
    )
    up = backend.to_numpy(ops.nextafter(backend.tensor(a), math.inf))
    np.testing.assert_array_equal(up, np.nextafter(a, np.float32(math.inf)))


def test_integers(backend):
    a = np.asarray([[7, -7, 0, 12]], "int64")
    b = np.asarray([[2], [-5]], "int64")
    x, y = backend.tensor(a), backend.tensor(b)
    for ours, theirs in (
        (ops.floor_divide, np.floor_divide),
        (ops.remainder, np.remainder),
        (ops.bitwise_and, np.bitwise_and),
        (ops.bitwise_or, np.bitwise_or),
        (ops.bitwise_xor, np.bitwise_xor),
    ):
        np.testing.assert_array_equal(backend.to_numpy(ours(x, y)), theirs(a, b))
        np.testing.assert_array_equal(backend.to_numpy(ours(x, 3)), theirs(a, 3))
        np.testing.assert_array_equal(backend.to_numpy(ours(9, y)), theirs(9, b))
    for name in ("floor", "ceil", "trunc", "round", "positive"):
        z = getattr(ops, name)(x)
        assert z.dtype == x.dtype
        np.testing.assert_array_equal(backend.to_numpy(z), a)
    np.testing.assert_array_equal(backend.to_numpy(~x), ~a)
    np.testing.assert_array_equal(backend.to_numpy(x << 3), a << 3)
    np.testing.assert_array_equal(backend.to_numpy(x >> 1), a >> 1)
    np.testing.assert_array_equal(backend.to_numpy(1 << abs(y)), 1 << abs(b))


def test_operators_and_their_change_in_place(backend):
    for op, change in (
        (operator.floordiv, operator.ifloordiv),
        (operator.mod, operator.imod),
        (operator.xor, operator.ixor),
        (operator.and_, operator.iand),
        (operator.or_, operator.ior),
        (operator.lshift, operator.ilshift),
        (operator.rshift, operator.irshift),
    ):
        a, b = np.asarray([9, 4, 30]), np.asarray([2, 3, 1])
        x = backend.tensor(a)
        np.testing.assert_array_equal(backend.to_numpy(op(x, backend.tensor(b))), op(a, b))
        np.testing.assert_array_equal(backend.to_numpy(op(5, backend.tensor(b))), op(5, b))
        same = change(x, backend.tensor(b))
        assert same is x
        np.testing.assert_array_equal(backend.to_numpy(x), op(a, b))


def test_booleans_are_bits(backend):
    p, q = np.asarray([True, True, False, False]), np.asarray([True, False, True, False])
    a, b = backend.tensor(p), backend.tensor(q)
    for op in (operator.and_, operator.or_, operator.xor):
        np.testing.assert_array_equal(backend.to_numpy(op(a, b)), op(p, q))
        np.testing.assert_array_equal(backend.to_numpy(op(a, True)), op(p, True))
    np.testing.assert_array_equal(backend.to_numpy(ops.logical_xor(a, b)), p ^ q)
    np.testing.assert_array_equal(backend.to_numpy(~a), ~p)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: nnx.tensor([1.0]) & nnx.tensor([1.0]), "bitwise_and.*float32"),
        (lambda: ~nnx.tensor([1.0]), "bitwise_invert.*integers or booleans.*float32"),
        (lambda: nnx.tensor([True]) << 1, "bitwise_left_shift.*integers, not bool"),
        (lambda: nnx.tensor([1]) << True, "bitwise_left_shift.*True"),
        (lambda: nnx.tensor([1]) & 1.5, "bitwise_and"),
        (lambda: ops.logical_xor(nnx.tensor([1]), True), "logical_xor.*bool"),
        (lambda: ops.atan2(nnx.tensor([1]), nnx.tensor([2])), "atan2.*floating.*int64"),
        (lambda: ops.tan(nnx.tensor([1])), "tan.*floating.*int64"),
    ],
)
def test_kinds_that_do_not_fit(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_shapes_that_do_not_fit():
    for name in ("hypot", "bitwise_xor", "remainder", "nextafter"):
        kind = "int64" if name == "bitwise_xor" else "float32"
        with pytest.raises(ValueError, match=rf"{name}: shapes that cannot be broadcast"):
            getattr(ops, name)(nnx.ones((2, 3), kind), nnx.ones((2, 2), kind))


def test_nan_to_num(backend):
    x = backend.tensor(np.asarray([math.nan, math.inf, -math.inf, 1.5], "f4"), requires_grad=True)
    y = ops.nan_to_num(x, nan=7, neginf=-1)
    np.testing.assert_array_equal(
        backend.to_numpy(y), np.asarray([7, np.finfo("f4").max, -1, 1.5], "f4")
    )
    y.sum().backward()
    assert backend.to_numpy(x.grad).tolist() == [0, 0, 0, 1]


def test_a_position_is_an_integer_without_axes():
    assert list(range(5))[nnx.tensor(3)] == 3
    for wrong in (nnx.tensor([3]), nnx.tensor(3.0), nnx.tensor(True)):
        with pytest.raises(TypeError, match="position"):
            operator.index(wrong)

"""Every operation: finite differences on every backend, and a table that must stay complete."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path

import numpy as np
import pytest
from gradients import check_gradients

import nnx
from nnx import ops

RNG = np.random.default_rng(5)
A = RNG.standard_normal((3, 4))
B = RNG.standard_normal((3, 4))
C = RNG.standard_normal((2, 3, 4))
POSITIVE = RNG.uniform(0.5, 2, (3, 4))
ROW = RNG.standard_normal(4)
APART = np.linspace(-2, 2, 12).reshape(3, 4) + 0.05  # no ties, no zeros
K = RNG.standard_normal((2, 1, 3, 3))
M = RNG.standard_normal((4, 5))


def index(values):
    """Indices of the library the test runs on are made from lists."""
    return np.asarray(values).tolist()


def integers(values, like):
    """Indices as an array beside another tensor."""
    like = nnx.ops.full_like(like, 0)
    xp = nnx.backends.backend_of(like.data).xp
    return xp.asarray(values, dtype=xp.int64, device=like.device)


def M_T(x):
    """(5, 4) -> (4, 5)."""
    return ops.matrix_transpose(x)


# name -> [(function of tensors, arrays), ...]
CASES = {
    "abs": [(ops.abs, [APART])],
    "acos": [(ops.acos, [A / 4])],
    "acosh": [(ops.acosh, [POSITIVE + 1])],
    "asin": [(ops.asin, [A / 4])],
    "asinh": [(ops.asinh, [A])],
    "atan": [(ops.atan, [A])],
    "atan2": [(ops.atan2, [APART, ROW]), (lambda x: ops.atan2(x, -2.0), [APART])],
    "atanh": [(ops.atanh, [A / 4])],
    "cdist": [
        (ops.cdist, [A, B[:2]]),
        (lambda a, b: ops.cdist(a, b, p=3.0), [C, A]),
    ],
    "cosine_similarity": [(ops.cosine_similarity, [A, ROW]), (ops.cosine_similarity, [C, C[::-1]])],
    "normalize": [(ops.normalize, [A]), (lambda x: ops.normalize(x, 3.0, axis=-1), [C])],
    "ceil": [(lambda x: ops.ceil(x) * x, [A])],
    "copysign": [(ops.copysign, [APART, ROW]), (lambda x: ops.copysign(2.0, x) * x, [APART])],
    "cosh": [(ops.cosh, [A])],
    "erfinv": [(ops.erfinv, [A / 4]), (ops.erfinv, [np.tanh(APART)])],
    "floor": [(lambda x: ops.floor(x) * x, [A])],
    "floor_divide": [(lambda x, y: x // y * x, [A, POSITIVE]), (lambda x: 3.0 // x + x, [APART])],
    "hypot": [(ops.hypot, [A, ROW]), (lambda x: ops.hypot(1.0, x), [A])],
    "log10": [(ops.log10, [POSITIVE])],
    "log2": [(ops.log2, [POSITIVE])],
    "nan_to_num": [(lambda x: ops.nan_to_num(x) ** 2, [A])],
    "positive": [(lambda x: ops.positive(x) * 2, [A])],
    "remainder": [(ops.remainder, [A, POSITIVE]), (lambda x: 2.0 % x, [APART])],
    "round": [(lambda x: ops.round(x) * x, [A])],
    "sinh": [(ops.sinh, [A])],
    "tan": [(ops.tan, [A / 2])],
    "trunc": [(lambda x: ops.trunc(x) * x, [A])],
    "broadcast_arrays": [(ops.broadcast_arrays, [A, ROW, A[:, :1]])],
    "cumulative_prod": [
        (lambda x: ops.cumulative_prod(x, axis=1), [np.where(A > 1, 0.0, A)]),
        (lambda x: ops.cumulative_prod(x, axis=0, include_initial=True), [C]),
        (ops.cumulative_prod, [ROW]),
    ],
    "diff": [
        (lambda x: ops.diff(x, n=2), [C]),
        (lambda x, a, b: ops.diff(x, axis=0, prepend=a, append=b), [A, A[:1], A[:2]]),
    ],
    "logcumsumexp": [
        (lambda x: ops.logcumsumexp(x, axis=1), [C]),
        (lambda x: ops.logcumsumexp(x, axis=0) * np.cos(3.0) ** 2, [A]),
    ],
    "masked_fill": [(lambda x: ops.masked_fill(x, (ROW > 0).tolist(), 2.0), [A])],
    "meshgrid": [(ops.meshgrid, [ROW, A[0, :3], A[1]])],
    "scatter": [
        (lambda x, v: ops.scatter(x, index([[0, 0], [3, -1], [1, 2]]), v, axis=1), [A, A[:, :2]]),
        (lambda x, v: ops.scatter(x, index([[0, 2, 1, 1]]), v, axis=0), [A, A[:1] + 1]),
    ],
    "scatter_add": [
        (lambda x, v: ops.scatter_add(x, index([[0, 0], [3, -1], [1, 2]]), v), [A, A[:, :2]]),
        (lambda x, v: ops.scatter_add(x, index([[0, 2, 1, 1]]), v, axis=0), [A, A[:1] + 1]),
    ],
    "sort": [
        (ops.sort, [A]),
        (lambda x: ops.sort(x, axis=1, descending=True), [C]),
    ],
    "topk": [
        (lambda x: ops.topk(x, 2)[0], [A]),
        (lambda x: ops.topk(x, 2, axis=1, largest=False)[0], [C]),
    ],
    "tril": [(lambda x: ops.tril(x, 1), [C])],
    "triu": [(lambda x: ops.triu(x, -1), [C])],
    "add": [(ops.add, [A, B]), (ops.add, [A, ROW]), (lambda x: x + 2.5, [A])],
    "bilinear": [
        (ops.bilinear, [A, B[:, :2], RNG.standard_normal((5, 4, 2)), M[0]]),
        (ops.bilinear, [ROW, M[0], RNG.standard_normal((3, 4, 5))]),
    ],
    "broadcast_to": [(lambda x: ops.broadcast_to(x, (2, 3, 4)), [ROW])],
    "celu": [(lambda x: ops.celu(x, alpha=0.7), [APART])],
    "channel_shuffle": [(lambda x: ops.channel_shuffle(x, 2), [C.reshape(2, 4, 3)])],
    "clip": [
        (lambda x: ops.clip(x, -1.0, 1.0), [APART]),
        (lambda x: ops.clip(x, max=0.5), [APART]),
        (ops.clip, [C, np.full(4, -0.5), np.full((3, 1), 0.5)]),
    ],
    "concat": [
        (lambda *xs: ops.concat(xs, axis=1), [A, A[:, :2], B]),
        (lambda *xs: ops.concat(xs, axis=None), [A, ROW]),
    ],
    "conv_block2d": [
        (lambda *xs: ops.conv_block2d(*xs, padding=1, relu=True)[0], [C[:, None], K, A[0, :2]])
    ],
    "cos": [(ops.cos, [A])],
    "cumulative_sum": [
        (lambda x: ops.cumulative_sum(x, axis=1), [C]),
        (lambda x: ops.cumulative_sum(x, axis=-1, include_initial=True), [C]),
    ],
    "diagonal": [
        (ops.diagonal, [A]),
        (lambda x: ops.diagonal(x, 1, 0, 2), [C]),
        (lambda x: ops.diagonal(x, -2), [C]),
    ],
    "divide": [(ops.divide, [A, POSITIVE]), (lambda x: 2 / x, [POSITIVE])],
    "einsum": [
        (lambda a, b: ops.einsum("ij,jk->ik", a, b), [A, M]),
        (lambda a, b: ops.einsum("bij,j->bi", a, b), [C, ROW]),
        (lambda a, b: ops.einsum("ij,kj", a, b), [A, B]),
        (lambda a, b: ops.einsum("...ij,...jk->...ki", a, b), [C, M]),
        (lambda a, b: ops.einsum("i,j->ji", a, b), [ROW, M[0]]),
        (lambda a, b: ops.einsum("bij,bij->b", a, b), [C, C[::-1]]),
        (lambda a: ops.einsum("bij->jb", a), [C]),
        (lambda a: ops.einsum("ii->", a), [A[:, :3]]),
        (lambda a: ops.einsum("...ii->...i", a), [C[:, :, :3]]),
        (lambda a, b: ops.einsum("iji,j->i", a, b), [C[:, :, :2], ROW[:3]]),
        (lambda a, b, c: ops.einsum("ij,jk,li->kl", a, M_T(b), c), [A, M.T, B.T]),
        (lambda a, b, c: ops.einsum("ij,ij,j->", a, b, c), [A, B, ROW]),
    ],
    "elu": [(ops.elu, [APART]), (lambda x: ops.elu(x, alpha=0.3), [APART])],
    "embedding": [(lambda w: ops.embedding(w, integers([[0, 2, 0], [1, 2, 2]], w)), [A])],
    "embedding_bag": [
        (lambda w: ops.embedding_bag(w, integers([[0, 2, 0], [1, 2, 2]], w)), [A]),
        (lambda w: ops.embedding_bag(w, integers([[0, 2], [1, 2]], w), mode="max"), [A]),
    ],
    "erf": [(ops.erf, [3 * A])],
    "exp": [(ops.exp, [A])],
    "fold": [
        (
            lambda x: ops.fold(x, (3, 3), 2, padding=(1, 0), stride=(2, 1)),
            [C.reshape(1, 4, 6)[..., :4]],
        )
    ],
    "interpolate": [
        (lambda x: ops.interpolate(x, 7), [C]),
        (lambda x: ops.interpolate(x, scale_factor=1.6, mode="linear"), [C]),
        (lambda x: ops.interpolate(x, (5, 2), mode="bicubic", antialias=True), [C[None]]),
        (lambda x: ops.interpolate(x, (2, 6), mode="area"), [C[None]]),
    ],
    "pixel_shuffle": [(lambda x: ops.pixel_shuffle(x, 2), [C.reshape(4, 2, 3)])],
    "pixel_unshuffle": [(lambda x: ops.pixel_unshuffle(x, 2), [C.reshape(3, 2, 4)])],
    "unfold": [(lambda x: ops.unfold(x, 2, padding=((0, 1), (1, 0)), stride=(1, 2)), [C])],
    "expand_dims": [(lambda x: ops.expand_dims(x, axis=(0, -1)), [A])],
    "expm1": [(ops.expm1, [A])],
    "flip": [(ops.flip, [A]), (lambda x: ops.flip(x, axis=1), [C])],
    "gelu": [(ops.gelu, [2 * A]), (lambda x: ops.gelu(x, approximate="tanh"), [2 * A])],
    "getitem": [
        (lambda x: x[1], [A]),
        (lambda x: x[..., -1, None, ::-2], [C]),
        (lambda x: x[index([0, 2, 0, -1])], [A]),
        (lambda x: x[1, :, index([[0, 2], [0, -1]])], [C]),
        (lambda x: x[:, index([2, 1, 2]), index([0, 3, 0])], [C]),
        (lambda x: x[index([0, 1, 0]), 1:, index([0, 3, 0])], [C]),
        (lambda x: x[(A > 0).tolist()], [A]),
        (lambda x: x[:, (A > 0).tolist()], [C]),
    ],
    "glu": [(ops.glu, [A]), (lambda x: ops.glu(x, axis=0), [C])],
    "hardshrink": [(ops.hardshrink, [APART])],
    "hardsigmoid": [(ops.hardsigmoid, [2 * APART])],
    "hardswish": [(ops.hardswish, [2 * APART])],
    "hardtanh": [(lambda x: ops.hardtanh(x, -0.5, 1.2), [APART])],
    "leaky_relu": [(lambda x: ops.leaky_relu(x, 0.2), [APART])],
    "linear": [(ops.linear, [A, M.T, RNG.standard_normal(5)]), (ops.linear, [C, M.T])],
    "linear_relu": [
        (ops.linear_relu, [A, M.T, RNG.standard_normal(5)]),
        (ops.linear_relu, [C, M.T]),
    ],
    "log": [(ops.log, [POSITIVE])],
    "log1p": [(ops.log1p, [POSITIVE])],
    "log_sigmoid": [(ops.log_sigmoid, [3 * A])],
    "log_softmax": [(ops.log_softmax, [A]), (lambda x: ops.log_softmax(x, axis=1), [C])],
    "logsumexp": [(ops.logsumexp, [A]), (lambda x: ops.logsumexp(x, axis=(0, 2)), [C])],
    "logaddexp": [
        (ops.logaddexp, [3 * A, ROW]),
        (lambda x: ops.logaddexp(0.5, x), [A]),
    ],
    "matmul": [
        (ops.matmul, [A, M]),
        (ops.matmul, [C, M]),
        (ops.matmul, [ROW, M]),
        (ops.matmul, [C, ROW]),
        (ops.matmul, [ROW, ROW[::-1]]),
    ],
    "matrix_transpose": [(ops.matrix_transpose, [C])],
    "max": [
        (ops.max, [A]),
        (lambda x: ops.max(x, axis=1), [C]),
        (lambda x: ops.max(x, axis=(0, 2), keepdims=True), [C]),
    ],
    "maximum": [(ops.maximum, [A, ROW]), (lambda x: ops.maximum(0.0, x), [APART])],
    "mean": [(ops.mean, [A]), (lambda x: ops.mean(x, axis=(0, 2)), [C])],
    "min": [(ops.min, [A]), (lambda x: ops.min(x, axis=-1, keepdims=True), [C])],
    "mish": [(ops.mish, [2 * A])],
    "minimum": [(ops.minimum, [A, ROW])],
    "moveaxis": [
        (lambda x: ops.moveaxis(x, 0, -1), [C]),
        (lambda x: ops.moveaxis(x, (0, 2), (1, 0)), [C]),
    ],
    "multiply": [(ops.multiply, [A, B]), (ops.multiply, [C, ROW]), (lambda x: 3 * x, [A])],
    "negative": [(ops.negative, [A])],
    "norm": [
        (ops.norm, [A]),
        (lambda x: ops.norm(x, 1, axis=1), [APART]),
        (lambda x: ops.norm(x, 3, axis=(0, 2), keepdims=True), [C]),
        (lambda x: ops.norm(x, math.inf, axis=0), [A]),
        (lambda x: ops.norm(x, -math.inf), [A]),
        (lambda x: ops.norm(x, 0) * x, [A]),
        (lambda x: ops.norm(x, 0.5, axis=1), [POSITIVE]),
    ],
    "pad": [
        (lambda x: ops.pad(x, 1), [A]),
        (lambda x: ops.pad(x, ((0, 2), (1, 0)), value=3.0), [A]),
        (lambda x: ops.pad(x, ((2, 1), (3, 0)), mode="reflect"), [A]),
        (lambda x: ops.pad(x, ((2, 1), (0, 0)), mode="replicate"), [A]),
        (lambda x: ops.pad(x, [(1, 2)] * 3, mode="circular"), [C[:, 1:]]),
    ],
    "pad_border": [(lambda x: ops.pad_border(x, ((1, 1), (2, 0)), "reflect"), [C])],
    "permute_dims": [(lambda x: ops.permute_dims(x, (2, 0, 1)), [C])],
    "pow": [
        (ops.pow, [POSITIVE, A]),
        (lambda x: x**3, [A]),
        (lambda x: x**2, [A]),
        (lambda x: x**-0.5, [POSITIVE]),
        (lambda x: 2**x, [A]),
    ],
    "prod": [
        (ops.prod, [A]),
        (lambda x: ops.prod(x, axis=1), [np.where(A > 1, 0.0, A)]),
        (lambda x: ops.prod(x, axis=(0, 2), keepdims=True), [C]),
    ],
    "reciprocal": [(ops.reciprocal, [POSITIVE])],
    "relu": [(ops.relu, [APART])],
    "relu6": [(ops.relu6, [3 * APART])],
    "repeat": [
        (lambda x: ops.repeat(x, 3, axis=1), [C]),
        (lambda x: ops.repeat(x, 9, axis=0), [A]),
        (lambda x: ops.repeat(x, index([2, 0, 1]), axis=0), [A]),
    ],
    "reshape": [(lambda x: ops.reshape(x, (2, -1)), [A])],
    "rrelu": [
        (ops.rrelu, [APART]),
        (lambda x: ops.rrelu(x, training=True, generator=nnx.random.Generator(3)), [APART]),
    ],
    "roll": [
        (lambda x: ops.roll(x, 5), [A]),
        (lambda x: ops.roll(x, (1, -1), axis=(0, 1)), [C]),
    ],
    "selu": [(ops.selu, [APART])],
    "sigmoid": [(ops.sigmoid, [3 * A])],
    "sign": [(lambda x: ops.sign(x) * x, [APART])],
    "silu": [(ops.silu, [2 * A])],
    "sin": [(ops.sin, [A])],
    "softmax": [(ops.softmax, [A]), (lambda x: ops.softmax(x, axis=0), [C])],
    "softmin": [(ops.softmin, [A]), (lambda x: ops.softmin(x, axis=0), [C])],
    "softshrink": [(ops.softshrink, [APART])],
    "softsign": [(ops.softsign, [2 * APART])],
    "softplus": [(ops.softplus, [3 * A]), (lambda x: ops.softplus(x, beta=2.5), [A])],
    "split": [
        (lambda x: ops.split(x, 2, axis=1), [A]),
        (lambda x: ops.split(x, [1, 1, 3], axis=-1)[::2], [A]),
    ],
    "sqrt": [(ops.sqrt, [POSITIVE])],
    "square": [(ops.square, [A])],
    "squeeze": [(lambda x: ops.squeeze(ops.expand_dims(x, axis=1)), [A])],
    "stack": [(lambda *xs: ops.stack(xs, axis=1), [A, B])],
    "std": [(lambda x: ops.std(x, axis=1, correction=1), [C]), (ops.std, [A])],
    "subtract": [(ops.subtract, [A, ROW]), (lambda x: 1 - x, [A])],
    "sum": [(ops.sum, [A]), (lambda x: ops.sum(x, axis=(0, -1), keepdims=True), [C])],
    "take": [(lambda x: ops.take(x, index([1, 0, -1, 1]), axis=1), [C])],
    "take_along_axis": [
        (lambda x: ops.take_along_axis(x, index([[0, 0], [3, -1], [1, 2]]), axis=1), [A]),
        (lambda x: ops.take_along_axis(x, index([[0, 2, 1, 1]]), axis=0), [A]),
        (lambda x: ops.take_along_axis(x, index([[[0, 2], [1, 1]]]), axis=1), [C[..., :1]]),
    ],
    "tanh": [(ops.tanh, [A])],
    "tanhshrink": [(ops.tanhshrink, [A])],
    "threshold": [(lambda x: ops.threshold(x, -0.7, 3.0), [APART])],
    "tensordot": [
        (lambda a, b: ops.tensordot(a, b, axes=1), [A, M]),
        (ops.tensordot, [C, C[0]]),
        (lambda a, b: ops.tensordot(a, b, axes=((2, 0), (1, 0))), [C, C[:, 0]]),
        (lambda a, b: ops.tensordot(a, b, axes=0), [A, ROW]),
    ],
    "tile": [(lambda x: ops.tile(x, (2, 1, 3)), [A]), (lambda x: ops.tile(x, 2), [A])],
    "trace": [(ops.trace, [A]), (lambda x: ops.trace(x, 1), [C])],
    "unstack": [(ops.unstack, [A]), (lambda x: ops.unstack(x, axis=1)[1::2], [C])],
    "var": [(lambda x: ops.var(x, axis=(0, 2), correction=1), [C]), (ops.var, [A])],
    "vecdot": [
        (ops.vecdot, [A, ROW]),
        (lambda a, b: ops.vecdot(a, b, axis=-2), [C, C[:1]]),
    ],
    "where": [(lambda a, b: ops.where(a > b, a * a, b), [A, ROW])],
}

WITHOUT_GRADIENT = {
    *["all", "any", "argmax", "argmin", "argsort", "isfinite", "isinf", "isnan", "one_hot"],
    *["equal", "greater", "greater_equal", "less", "less_equal", "not_equal"],
    *["logical_and", "logical_not", "logical_or", "logical_xor", "nextafter", "signbit"],
    *["bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift"],
    *["bitwise_xor", "broadcast_shapes", "count_nonzero", "isin", "nonzero", "searchsorted"],
    *["asarray", "can_cast", "empty", "empty_like", "finfo", "iinfo", "isdtype", "result_type"],
    *["unique_all", "unique_counts", "unique_inverse", "unique_values"],
    *["arange", "eye", "full", "full_like", "linspace", "ones", "ones_like", "zeros", "zeros_like"],
}
NO_OPERANDS = {  # or not the first
    *["arange", "asarray", "broadcast_arrays", "broadcast_shapes", "can_cast", "einsum", "empty"],
    *["eye", "finfo", "full", "iinfo", "isdtype", "linspace", "meshgrid", "ones", "result_type"],
    "zeros",
}  # or not the first
TABLE = [
    pytest.param(function, arrays, id=f"{name}-{k}")
    for name, cases in CASES.items()
    for k, (function, arrays) in enumerate(cases)
]


def test_no_operation_is_missing():
    """Each is in the table, has no gradient, or is in another file here that checks gradients."""
    others = [p.read_text() for p in Path(__file__).parent.glob("test_*.py") if p != Path(__file__)]
    checking = [text for text in others if "check_gradients(" in text]
    for name in set(ops.__all__) - set(CASES) - WITHOUT_GRADIENT:
        assert any(re.search(rf"\b{name}\b", text) for text in checking), (
            f"{name} has no gradient check: give it a case in CASES, or a test file of its own"
        )
    assert set(CASES) | WITHOUT_GRADIENT <= set(ops.__all__)
    assert not set(CASES) & WITHOUT_GRADIENT


@pytest.mark.parametrize("function, arrays", TABLE)
def test_gradient(backend, function, arrays):
    backend.skip_without_float64()
    check_gradients(function, *arrays, wrap=backend.asarray)


@pytest.mark.parametrize(
    "function, arrays", [case for case in TABLE if "ops" in case.values[0].__code__.co_names or
                         case.values[0].__name__ != "<lambda>"]
)  # fmt: skip
def test_arrays_and_lists_are_tensors(function, arrays):
    """Wherever a tensor is wanted, an array or nested lists of numbers are one."""
    hosts = [np.asarray(a, "float32") for a in arrays]
    expected = function(*[nnx.Tensor(a) for a in hosts])
    for given in (hosts, [a.tolist() for a in hosts]):
        try:
            results = function(*given)
        except TypeError as error:  # the case itself computes with its arguments, as x > 0 does
            assert "list" in str(error) and given is not hosts, error
            continue
        several = isinstance(expected, tuple | list)
        for y, e in zip(results, expected, strict=True) if several else [(results, expected)]:
            assert isinstance(y, nnx.Tensor) and y.dtype == e.dtype and y.shape == e.shape
            np.testing.assert_array_equal(y.numpy(), e.numpy())


@pytest.mark.parametrize("name", sorted(set(ops.__all__) - NO_OPERANDS))
def test_what_is_no_tensor(name):
    """None, a text and a dict are refused at the door, in words that name the operation."""
    function = getattr(ops, name)
    others = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    operand = nnx.tensor([[1.0, 2.0], [3.0, 4.0]])
    rest = [3 if p.name in ("shape", "axis", "repeats", "sections", "num_classes") else operand
            for p in others[1:]]  # fmt: skip
    for wrong in (None, "text", {"a": 1}, object()):
        with pytest.raises(TypeError) as error:
            function([wrong], *rest) if name in ("concat", "stack") else function(wrong, *rest)
        assert re.search("needs a|needs at least one|tensors or numbers", str(error.value))


@pytest.mark.parametrize("function, arrays", TABLE)
def test_float32_in_float32_out_and_inputs_untouched(backend, function, arrays):
    hosts = [np.asarray(a, "float32") for a in arrays]
    inputs = [backend.strided(a) for a in hosts]
    tensors = [nnx.Tensor(x, requires_grad=True) for x in inputs]
    results = function(*tensors)
    total = None
    for y in results if isinstance(results, tuple) else [results]:
        assert isinstance(y, nnx.Tensor)
        part = ops.sum(y)
        total = part if total is None else total + part
    total.backward()
    for tensor, x, host in zip(tensors, inputs, hosts, strict=True):
        assert tensor.grad.dtype == x.dtype == total.dtype
        assert type(tensor.grad) is type(x)
        assert tuple(tensor.grad.shape) == host.shape
        np.testing.assert_array_equal(backend.to_numpy(x), host)

"""Convolution of volumes, and transposed convolution in one and three dimensions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from gradients import check_gradients
from pytorch import assert_same
from windows import integers

import nnx
from nnx import ops

# x, weight, and: stride, padding, dilation, groups
CASES = {
    "plain": ((2, 3, 4, 5, 6), (4, 3, 2, 3, 2), (1, 0, 1, 1)),
    "stride and padding": ((2, 3, 5, 6, 7), (4, 3, 3, 2, 3), ((2, 1, 3), (1, 0, 2), 1, 1)),
    "dilation": ((1, 2, 7, 6, 8), (3, 2, 3, 2, 2), ((1, 2, 1), (2, 1, 0), (2, 3, 1), 1)),
    "groups": ((2, 4, 4, 4, 5), (6, 2, 2, 2, 3), (1, (1, 0, 1), 1, 2)),
    "depthwise": ((1, 3, 4, 4, 5), (3, 1, 3, 3, 3), (2, 1, 1, 3)),
    "one volume": ((3, 4, 5, 6), (4, 3, 2, 3, 2), (1, 1, 1, 1)),
    "one slice": ((2, 3, 4, 5, 6), (4, 3, 1, 3, 2), (1, 0, 1, 1)),
}


def by_definition(x, w, b, stride, padding, dilation, groups):
    """A sum for every number of the result, as `Slices` writes it."""
    stride, padding, dilation = (
        (a,) * 3 if isinstance(a, int) else a for a in (stride, padding, dilation)
    )
    x = np.pad(x, [(0, 0)] * (x.ndim - 3) + [(p, p) for p in padding])
    x4, outputs = x.reshape(-1, *x.shape[-4:]), w.shape[0]
    size = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[-3:], w.shape[2:], stride, dilation, strict=True)
    ]
    y = np.zeros((len(x4), outputs, *size), x.dtype)
    for n, o, *at in itertools.product(*map(range, y.shape)):
        first = o // (outputs // groups) * w.shape[1]
        seen = tuple(
            slice(p * s, p * s + d * (k - 1) + 1, d)
            for p, s, d, k in zip(at, stride, dilation, w.shape[2:], strict=True)
        )
        window = x4[(n, slice(first, first + w.shape[1]), *seen)]
        y[(n, o, *at)] = (window * w[o]).sum() + b[o]
    return y.reshape(*x.shape[:-4], *y.shape[1:])


@pytest.mark.parametrize("case", CASES)
def test_equals_the_definition(backend, case):
    shape, weight, options = CASES[case]
    x, w, b = integers(0, *shape), integers(1, *weight), integers(2, weight[0])
    y = ops.conv3d(*map(backend.tensor, (x, w, b)), *options)
    np.testing.assert_array_equal(backend.to_numpy(y), by_definition(x, w, b, *options))
    assert y.dtype == backend.asarray(x).dtype


@pytest.mark.parametrize("case", CASES)
def test_the_definition_equals_pytorch(case):
    torch = pytest.importorskip("torch")
    shape, weight, options = CASES[case]
    arrays = integers(0, *shape), integers(1, *weight), integers(2, weight[0])
    expected = torch.nn.functional.conv3d(*map(torch.tensor, arrays), *options)
    np.testing.assert_array_equal(by_definition(*arrays, *options), expected.numpy())


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_borders_that_continue_the_volume(backend, mode):
    x, w = integers(0, 1, 2, 4, 5, 6), integers(1, 3, 2, 2, 3, 3)
    pads = ((1, 2), (0, 1), (2, 1))
    names = {"replicate": "edge", "circular": "wrap", "reflect": "reflect"}
    wide = np.pad(x, [(0, 0), (0, 0), *pads], mode=names[mode])
    y = ops.conv3d(backend.tensor(x), backend.tensor(w), padding=pads, padding_mode=mode)
    expected = by_definition(wide, w, np.zeros(3, "f4"), 1, 0, 1, 1)
    np.testing.assert_array_equal(backend.to_numpy(y), expected)


def test_gradients(backend):
    backend.skip_without_float64()
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 4, 5, 4)), rng.standard_normal((4, 2, 2, 3, 2))
    options = {"stride": (2, 1, 1), "padding": (1, 1, 0), "dilation": (1, 2, 1), "groups": 2}
    check_gradients(
        lambda x, w, b: ops.conv3d(x, w, b, **options), x, w, w[:, 0, 0, 0, 0], wrap=backend.asarray
    )
    check_gradients(
        lambda x, w, b: ops.conv_transpose3d(x, w, b, output_padding=(1, 0, 0), **options),
        x, w, w[:, 0, 0, 0, 0], wrap=backend.asarray,
    )  # fmt: skip
    check_gradients(
        lambda x, w, b: ops.conv_transpose1d(x, w, b, 2, 1, 1, 2),
        x[:, :, 0, 0], w[:, :, 0, 0], w[:, 0, 0, 0, 0], wrap=backend.asarray,
    )  # fmt: skip


# ---- transposed ----

# x, weight, and: stride, padding, output_padding, groups, dilation
TRANSPOSED = {
    "plain": ((2, 3, 4, 5), (3, 4, 2), (1, 0, 0, 1, 1)),
    "stride": ((2, 4, 4, 5), (4, 3, 3), (2, 1, 1, 2, 1)),
    "one": ((4, 3, 4), (4, 2, 3), (3, 0, 2, 1, 2)),
    "beyond the windows": ((1, 4, 3, 4), (4, 3, 2), (2, 1, 3, 2, 4)),
}


@pytest.mark.parametrize("axes", [1, 3])
@pytest.mark.parametrize("case", TRANSPOSED)
def test_transposes_equal_pytorch(backend, case, axes):
    F = pytest.importorskip("torch").nn.functional
    (*n, c, length, _), (_, o, k), options = TRANSPOSED[case]
    sizes, kernels = (length, length - 1, 2)[:axes], (k, 2, 3)[:axes]
    name = f"conv_transpose{axes}d"
    assert_same(
        backend,
        lambda x, w, b: getattr(ops, name)(x, w, b, *options),
        lambda x, w, b: getattr(F, name)(x, w, b, *options),
        integers(0, *n, c, *sizes), integers(1, c, o, *kernels), integers(2, o * options[3]),
    )  # fmt: skip


def test_the_transpose_is_one(backend):
    """<conv3d(x, w), y> = <x, conv_transpose3d(y, w)>, in integers: to the bit."""
    x, w = integers(0, 2, 4, 7, 6, 5), integers(1, 6, 2, 3, 2, 3)
    options = {"stride": (2, 2, 1), "padding": (1, 0, 1), "groups": 2}
    forth = ops.conv3d(backend.tensor(x), backend.tensor(w), **options)
    y = integers(2, *forth.shape)
    back = ops.conv_transpose3d(backend.tensor(y), backend.tensor(w), **options)
    assert back.shape == x.shape
    assert (backend.to_numpy(forth) * y).sum() == (backend.to_numpy(back) * x).sum() != 0


def t(*shape):
    return nnx.tensor(np.zeros(shape, "f4"))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ops.conv3d(t(2, 3, 4, 4, 4), t(2, 2, 2, 2, 2)),
         r"conv3d: x has 3 channels but weight expects 2; x has shape"),
        (lambda: ops.conv3d(t(3, 4, 4), t(2, 3, 2, 2, 2)),
         r"conv3d: x must be \(N, C, D, H, W\), or \(C, D, H, W\) for one; x has shape"),
        (lambda: ops.conv3d(t(1, 3, 4, 4, 4), t(2, 3, 2, 2)),
         r"conv3d: weight must be \(O, C/groups, kd, kh, kw\)"),
        (lambda: ops.conv3d(t(1, 3, 4, 4, 4), t(2, 3, 2, 5, 2)),
         r"conv3d: a window of \(2, 5, 2\).* does not fit into the padded image of \(4, 4, 4\)"),
        (lambda: ops.conv3d(t(1, 3, 4, 4, 4), t(2, 3, 2, 2, 2), stride=(1, 2)),
         r"conv3d: stride must be an integer or 3 of them"),
        (lambda: ops.conv3d(t(1, 3, 4, 4, 4), t(2, 3, 2, 2, 2), padding_mode="wrap"),
         r"conv3d: padding_mode 'wrap' is not one of zeros, reflect"),
        (lambda: ops.conv_transpose3d(t(1, 3, 4, 4, 4), t(2, 3, 2, 2, 2)),
         r"conv_transpose3d: x has 3 channels but weight expects 2"),
        (lambda: ops.conv_transpose3d(t(1, 3, 4, 4, 4), t(3, 2, 2, 2, 2), output_padding=1),
         r"conv_transpose3d: output_padding must be smaller than the stride or the dilation"),
        (lambda: ops.conv_transpose1d(t(1, 3, 4, 4), t(3, 2, 2)),
         r"conv_transpose1d: x must be \(N, C, L\), or \(C, L\) for one"),
        (lambda: ops.conv_transpose1d(t(1, 3, 2), t(3, 2, 2), padding=2),
         r"conv_transpose1d: the result would be \(-1,\)"),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_dtype():
    with pytest.raises(TypeError, match="conv3d: x and weight must have one dtype"):
        ops.conv3d(t(1, 3, 4, 4, 4), nnx.tensor(np.zeros((2, 3, 2, 2, 2))))

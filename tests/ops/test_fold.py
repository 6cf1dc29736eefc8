from functools import partial

import numpy as np
import pytest
from pytorch import assert_same
from windows import DILATIONS, KERNELS, STRIDES, fits, integers

import nnx
from nnx import ops

SHAPE = (2, 3, 6, 7)
GRID = [
    (k, d, p, s)
    for k in [*KERNELS, (3, 3)]
    for d in DILATIONS
    for p in (0, (2, 1))
    for s in STRIDES
    if fits(k, [(n, n) for n in ((p, p) if p == 0 else p)], d)
]


def test_as_pytorch(backend):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    assert len(GRID) > 20
    names = ("kernel_size", "dilation", "padding", "stride")
    for values in GRID[:: 1 if backend.kind == "numpy" else 9]:
        geometry = dict(zip(names, values, strict=True))
        x = integers(0, *SHAPE)
        assert_same(backend, partial(ops.unfold, **geometry), partial(F.unfold, **geometry), x)
        geometry["output_size"] = SHAPE[2:]
        columns = ops.unfold(nnx.Tensor(x), *values).numpy()
        assert_same(backend, partial(ops.fold, **geometry), partial(F.fold, **geometry), columns)


def test_a_convolution_is_a_product_with_the_columns(backend):
    x, w = integers(0, *SHAPE).astype("f4"), integers(1, 4, 3, 3, 2).astype("f4")
    columns = ops.unfold(backend.tensor(x), (3, 2), stride=2, padding=((0, 1), (2, 0)))
    y = ops.matmul(backend.tensor(w.reshape(4, -1)), columns)
    expected = ops.conv2d(nnx.tensor(x), nnx.tensor(w), stride=2, padding=((0, 1), (2, 0)))
    np.testing.assert_allclose(backend.to_numpy(y).ravel(), expected.numpy().ravel(), rtol=1e-5)


def test_fold_of_unfold_counts_the_windows_on_each_pixel(backend):
    ones = backend.tensor(np.ones((1, 1, 4, 4), "f4"))
    y = ops.fold(ops.unfold(ones, 3), 4, 3)
    np.testing.assert_array_equal(
        backend.to_numpy(y)[0, 0], [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    )


def test_one_image_and_no_image(backend):
    x = integers(0, *SHAPE).astype("f4")
    y = backend.to_numpy(ops.unfold(backend.tensor(x), 2))
    alone = ops.unfold(backend.tensor(x[1]), 2)
    np.testing.assert_array_equal(backend.to_numpy(alone), y[1])
    assert ops.fold(alone, (6, 7), 2).shape == (3, 6, 7)
    none = ops.unfold(backend.tensor(x[:0]), 2)
    assert none.shape == (0, 12, 30) and ops.fold(none, (6, 7), 2).shape == (0, 3, 6, 7)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: ops.unfold(nnx.tensor([[1.0]]), 1), "x must be .N, C, H, W.*1, 1"),
        (lambda: ops.unfold(nnx.ones((1, 1, 2, 2)), 3), "does not fit"),
        (lambda: ops.fold(nnx.ones((1, 4, 5)), 3, 2), "4 places.*2 x 2 windows.*1, 4, 5"),
        (lambda: ops.fold(nnx.ones((5, 4)), 3, 2), r"4 places.*\(5, 4\)"),
    ],
)
def test_what_does_not_fit_is_said(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_integers_are_refused():
    with pytest.raises(TypeError, match="unfold"):
        ops.unfold(nnx.ones((1, 1, 2, 2), "int64"), 1)

"""kernels/im2col.cu against the portable im2col and col2im."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.portable.windows import window_counts

NO_PADDING = ((0, 0), (0, 0))

# (N, C, H, W), kernel, stride, padding, dilation
CASES = {
    "one pixel": ((1, 1, 1, 1), (1, 1), (1, 1), NO_PADDING, (1, 1)),
    "31 windows": ((2, 1, 1, 31), (1, 1), (1, 1), NO_PADDING, (1, 1)),
    "32 windows": ((2, 1, 1, 32), (1, 1), (1, 1), NO_PADDING, (1, 1)),
    "33 windows": ((1, 2, 33, 1), (1, 1), (1, 1), NO_PADDING, (1, 1)),
    "same 3x3": ((2, 3, 7, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "uneven padding": ((1, 2, 5, 6), (3, 2), (2, 1), ((2, 0), (1, 3)), (1, 1)),
    "stride over kernel": ((2, 2, 9, 11), (2, 2), (3, 4), NO_PADDING, (1, 1)),
    "rows left over": ((1, 1, 8, 8), (3, 3), (2, 2), NO_PADDING, (1, 1)),
    "last window at border": ((1, 1, 7, 7), (3, 3), (2, 2), NO_PADDING, (1, 1)),
    "dilation": ((1, 2, 9, 8), (3, 2), (1, 2), ((1, 2), (0, 1)), (2, 3)),
    "kernel over image": ((1, 1, 2, 3), (4, 5), (1, 1), ((1, 2), (2, 1)), (1, 1)),
    "padding over kernel": ((1, 1, 3, 3), (2, 2), (1, 1), ((4, 3), (0, 5)), (1, 1)),
    "more than a block": ((1, 1, 19, 20), (2, 3), (1, 1), ((1, 0), (1, 1)), (1, 1)),
}


@pytest.mark.kernels("im2col", "col2im")
@pytest.mark.parametrize("case", CASES)
def test_both_agree_with_their_twins(cuda, real, case):
    """Exactly: copies, and additions in the same order."""
    shape, *geometry = CASES[case]
    rng = np.random.default_rng(0)
    oh, ow = window_counts(shape[2:], *geometry)
    kh, kw = geometry[0]
    x = rng.standard_normal(shape).astype(real)
    cols = rng.standard_normal((shape[0], shape[1] * kh * kw, oh * ow)).astype(real)
    cuda.agree(lambda b, x: b.im2col(x, *geometry), x)
    cuda.agree(lambda b, cols: b.col2im(cols, shape, *geometry), cols)


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (2, 0, 5, 5)])
def test_empty_batch(cuda, real, shape):
    geometry = (2, 2), (1, 1), NO_PADDING, (1, 1)
    cols = np.empty((shape[0], shape[1] * 4, 16), real)
    cuda.agree(lambda b, x: b.im2col(x, *geometry), np.empty(shape, real))
    cuda.agree(lambda b, cols: b.col2im(cols, shape, *geometry), cols)
    assert not cuda.launched


def test_other_dtypes_use_the_twin(cuda):
    x = np.arange(2 * 9, dtype=np.int32).reshape(1, 2, 3, 3)
    geometry = (2, 2), (1, 1), NO_PADDING, (1, 1)
    cuda.agree(lambda b, x: b.im2col(x, *geometry), x)
    assert not cuda.launched


def test_col2im_is_the_transpose_of_im2col(cuda):
    """<im2col(x), c> == <x, col2im(c)> for all x and c; exact, since all numbers are small."""
    rng = np.random.default_rng(1)
    geometry = (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2)
    x = rng.integers(-9, 10, (2, 3, 7, 6)).astype("float64")
    cols = cuda.backend.to_numpy(cuda.backend.im2col(cuda.asarray(x), *geometry))
    c = rng.integers(-9, 10, cols.shape).astype("float64")
    back = cuda.backend.to_numpy(cuda.backend.col2im(cuda.asarray(c), x.shape, *geometry))
    assert np.sum(cols * c) == np.sum(x * back)

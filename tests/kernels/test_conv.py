"""kernels/conv_im2col.cu and conv_implicit.cu against the portable convolution."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.portable.window import Window

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
    window = Window(*geometry)
    rng = np.random.default_rng(0)
    oh, ow = window.counts(shape[2:])
    kh, kw = window.kernel
    x = rng.standard_normal(shape).astype(real)
    cols = rng.standard_normal((shape[0], shape[1] * kh * kw, oh * ow)).astype(real)
    cuda.agree(lambda b, x: b.im2col(x, window), x)
    cuda.agree(lambda b, cols: b.col2im(cols, shape, window), cols)


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (2, 0, 5, 5)])
def test_empty_batch(cuda, real, shape):
    window = Window((2, 2))
    cols = np.empty((shape[0], shape[1] * 4, 16), real)
    cuda.agree(lambda b, x: b.im2col(x, window), np.empty(shape, real))
    cuda.agree(lambda b, cols: b.col2im(cols, shape, window), cols)
    assert not cuda.launched


def test_other_dtypes_use_the_twin(cuda):
    x = np.arange(2 * 9, dtype=np.int32).reshape(1, 2, 3, 3)
    window = Window((2, 2))
    cuda.agree(lambda b, x: b.im2col(x, window), x)
    assert not cuda.launched


def test_col2im_is_the_transpose_of_im2col(cuda):
    """<im2col(x), c> == <x, col2im(c)> for all x and c; exact, since all numbers are small."""
    rng = np.random.default_rng(1)
    window = Window((3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2))
    x = rng.integers(-9, 10, (2, 3, 7, 6)).astype("float64")
    cols = cuda.backend.to_numpy(cuda.backend.im2col(cuda.asarray(x), window))
    c = rng.integers(-9, 10, cols.shape).astype("float64")
    back = cuda.backend.to_numpy(cuda.backend.col2im(cuda.asarray(c), x.shape, window))
    assert np.sum(cols * c) == np.sum(x * back)


# ---- convolution, which is built on them ----

CONVOLUTIONS = {  # x (N, C, H, W), weight (O, C/groups, kh, kw), stride, padding, dilation, groups
    "plain": ((3, 2, 6, 5), (4, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "uneven": ((2, 3, 7, 8), (2, 3, 2, 3), (2, 1), ((1, 0), (2, 1)), (1, 2), 1),
    "groups": ((2, 4, 5, 5), (6, 2, 3, 2), (1, 2), ((0, 1), (1, 0)), (1, 1), 2),
    "depthwise": ((2, 3, 5, 4), (3, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    "one window": ((2, 2, 3, 3), (5, 2, 3, 3), (1, 1), NO_PADDING, (1, 1), 1),
}
# Products sum in an order that the library chooses.
RTOL = {"float32": 2e-6, "float64": 1e-14}


def convolution(case, real):
    shape, weight, *geometry, groups = CONVOLUTIONS[case]
    rng = np.random.default_rng(0)
    window = Window(weight[2:], *geometry)
    out = window.counts(shape[2:])
    sizes = shape, weight, (weight[0],), (shape[0], weight[0], *out)
    return [rng.standard_normal(s).astype(real) for s in sizes], (window, groups)


def forward_and_backward(rest, needs):
    def body(b, x, weight, bias, gy):
        y, saved = b.conv2d(x, weight, bias, *rest)
        return y, b.conv2d_backward(gy, saved, needs)

    return body


@pytest.mark.kernels("im2col", "col2im", "swap_axes")
@pytest.mark.parametrize("images", [1, 2, 100], ids="chunks of {}".format)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution(cuda, real, case, images, monkeypatch):
    arrays, rest = convolution(case, real)
    x, weight = arrays[:2]
    each = x.shape[1] * weight[0, 0].size * arrays[3][0, 0].size * x.itemsize
    monkeypatch.setattr("nnx.backends.cuda.conv.CHUNK_BYTES", images * each)
    by_columns(monkeypatch)
    body = forward_and_backward(rest, (True, True, True))
    cuda.agree(body, *arrays, rtol=RTOL[real], layouts=("contiguous",))


def by_columns(monkeypatch):
    monkeypatch.setattr("nnx.backends.cuda.conv.GATHERED_ROWS", range(0))
    monkeypatch.setattr("nnx.backends.cuda.conv.GATHERED_OPERATIONS", -1)


# More rows, columns and taps than a tile has, none a multiple of it.
LARGER = {
    "more than a tile": ((2, 3, 9, 8), (70, 3, 3, 3), (1, 1), ((1, 1), (1, 0)), (1, 1), 1),
    "more than a tile of channels": ((1, 67, 5, 4), (3, 67, 3, 2), (1, 1), NO_PADDING, (1, 1), 1),
    "groups, dilated": ((2, 4, 9, 8), (6, 2, 3, 2), (1, 1), ((2, 1), (0, 3)), (2, 3), 2),
    "padding over kernel": ((1, 1, 3, 3), (2, 1, 2, 2), (1, 1), ((4, 3), (0, 5)), (1, 1), 1),
    "kernel over image": ((1, 1, 2, 3), (1, 1, 4, 5), (1, 1), ((1, 2), (2, 1)), (1, 1), 1),
    "a full tile": ((1, 16, 8, 8), (64, 16, 1, 1), (1, 1), NO_PADDING, (1, 1), 1),
}


@pytest.mark.kernels("conv_forward", "conv_data")
def test_every_gathering_convolution(cuda, real, monkeypatch):
    """In every layout of the operands, bit-equal: each output is added up by one thread."""
    monkeypatch.setattr("nnx.backends.cuda.conv.GATHERED_OPERATIONS", 10**9)
    monkeypatch.setitem(globals(), "CONVOLUTIONS", {**CONVOLUTIONS, **LARGER})
    for case in CONVOLUTIONS:
        arrays, rest = convolution(case, real)
        body = forward_and_backward(rest, (True, False, False))
        cuda.agree(body, *arrays, rtol=4 * RTOL[real])
        assert ("conv_data" in cuda.launched) or rest[0].stride != (1, 1)
        assert "swap_axes" not in cuda.launched or rest[0].stride != (1, 1)
        cuda.launched.clear()


@pytest.mark.in_half("conv_forward", "conv_data")
def test_gathering_in_half(cuda, monkeypatch):
    """Each output is a sum in float32, rounded once."""
    monkeypatch.setattr("nnx.backends.cuda.conv.GATHERED_OPERATIONS", 10**9)
    for case in ("plain", "groups"):
        arrays, rest = convolution(case, "float16")
        gathers = rest[0].stride == (1, 1)
        cuda.agree(forward_and_backward(rest, (gathers, False, False)), *arrays, rtol=1e-6)


@pytest.mark.in_half("im2col", "col2im", "swap_axes")
@pytest.mark.parametrize("case", ["uneven", "groups"])
def test_columns_in_half(cuda, case, monkeypatch):
    """Of integers, whose products in 16 bits are exact; and sums over channels that are not."""
    by_columns(monkeypatch)
    arrays, rest = convolution(case, "float16")
    arrays = [np.round(2 * a) for a in arrays]
    body = forward_and_backward(rest, (True, True, True))
    cuda.agree(body, *arrays, layouts=("contiguous",))
    gy = np.full((70, 1, 33, 1), 1.0, "float16")  # 2,310 is even: float16 has it
    gy[0] = 2.0  # 2,343 it has not

    def gradient_of_bias(b, x, weight, gy):
        return b.conv2d_backward(
            gy, b.conv2d(x, weight, None, Window((1, 1)), 1)[1], (False, False, True)
        )[2]

    cuda.agree(gradient_of_bias, gy, np.ones((1, 1, 1, 1), "float16"), gy)


def test_images_beyond_their_batch_change_nothing(cuda):
    arrays, (window, groups) = convolution("plain", "float32")
    x, weight, bias, _ = arrays
    cuda.rows_alone(
        lambda b, x, w, v: b.conv2d(x, w, v, window, groups)[0], x, given=(weight, bias)
    )


@pytest.mark.parametrize(
    "rows, taps, n, groups, gathers",
    [
        (32, 25, 256, 1, True),  # LeNet's first
        (64, 800, 256, 1, False),  # its second
        (32, 1600, 256, 1, True),  # and the gradient of what the second reads
        (1, 9, 256, 512, False),  # depthwise
        (512, 4608, 1, 1, False),
        (10, 9, 1, 1, True),  # small
        (48, 9, 4096, 65536, False),  # beyond a grid
    ],
)
def test_which_products_gather(rows, taps, n, groups, gathers):
    from nnx.backends.cuda import conv

    assert conv._gathers(rows, taps, n, (24, 24), groups) == gathers


# A library may sum in another order where its operands lie elsewhere in memory, so results are
# not bit-equal across layouts.
@pytest.mark.parametrize("layout", ["strided", "offset"])
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolution_of_views(cuda, real, case, layout, monkeypatch):
    by_columns(monkeypatch)
    arrays, rest = convolution(case, real)
    body = forward_and_backward(rest, (True, True, True))
    cuda.agree(body, *arrays, rtol=RTOL[real], layouts=(layout,))


ONE = [(True, False, False), (False, True, False), (False, False, True)]


@pytest.mark.parametrize("needs", ONE)
def test_only_what_is_needed(cuda, needs):
    arrays, rest = convolution("groups", "float32")
    body = forward_and_backward(rest, needs)
    _, *one = cuda.agree(body, *arrays, rtol=RTOL["float32"], layouts=("contiguous",))
    assert len(one) == 1


def test_convolution_without_bias(cuda, real):
    arrays, rest = convolution("plain", real)
    body = lambda b, x, w: b.conv2d(x, w, None, *rest)  # noqa: E731
    cuda.agree(body, *arrays[:2], rtol=RTOL[real], layouts=("contiguous",))


@pytest.mark.kernels("swap_axes", "col2im")
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_transposed_convolution(cuda, real, case):
    (x, weight, _, gy), rest = convolution(case, real)
    shape = x.shape
    body = lambda b, g, w: b.conv_transpose2d(g, w, shape, *rest)  # noqa: E731
    cuda.agree(body, gy, weight, rtol=RTOL[real], layouts=("contiguous",))


def test_convolution_of_no_images(cuda, real):
    arrays, rest = convolution("plain", real)
    x, weight, bias, gy = arrays
    empty = x[:0], weight, bias, gy[:0]
    results = cuda.agree(forward_and_backward(rest, (True, True, True)), *empty)
    assert [r.shape for r in results] == [gy[:0].shape, x[:0].shape, weight.shape, bias.shape]

"""kernels/pool.cu against the portable pooling."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.portable.window import Window

NO_PADDING = ((0, 0), (0, 0))

# (N, C, H, W), kernel, stride, padding, dilation
CASES = {
    "one pixel": ((1, 1, 1, 1), (1, 1), (1, 1), NO_PADDING, (1, 1)),
    "2x2, one pixel left over": ((2, 3, 7, 5), (2, 2), (2, 2), NO_PADDING, (1, 1)),
    "2x2, padded": ((2, 1, 6, 7), (2, 2), (2, 2), ((1, 0), (1, 0)), (1, 1)),
    "3x3 that overlap": ((1, 2, 9, 8), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "overlap in one direction": ((1, 2, 6, 9), (2, 3), (2, 1), NO_PADDING, (1, 1)),
    "overlap in the other": ((1, 2, 6, 9), (3, 2), (2, 2), NO_PADDING, (1, 1)),
    "stride over kernel": ((2, 2, 9, 11), (2, 2), (3, 4), NO_PADDING, (1, 1)),
    "stride over kernel, down": ((1, 2, 11, 11), (2, 2), (4, 3), NO_PADDING, (1, 1)),
    "stride over kernel, padded": ((3, 2, 5, 5), (2, 2), (3, 3), ((1, 1), (1, 1)), (1, 1)),
    "uneven padding": ((1, 2, 5, 6), (4, 3), (2, 1), ((2, 0), (1, 2)), (1, 1)),
    "dilation": ((1, 2, 9, 8), (3, 2), (1, 2), ((1, 2), (0, 1)), (2, 3)),
    "dilation, stride over kernel": ((1, 1, 9, 9), (2, 2), (3, 3), NO_PADDING, (2, 2)),
    "dilation around the image": ((1, 1, 2, 2), (2, 2), (1, 1), ((1, 1), (1, 1)), (3, 3)),
    "31 windows": ((1, 2, 1, 31), (1, 1), (1, 1), NO_PADDING, (1, 1)),
    "33 windows": ((1, 3, 33, 1), (1, 1), (1, 1), NO_PADDING, (1, 1)),
    "more than a block": ((1, 1, 20, 33), (2, 2), (1, 1), NO_PADDING, (1, 1)),
    "17x17": ((1, 1, 20, 19), (17, 17), (1, 2), NO_PADDING, (1, 1)),
    "17x17 side by side": ((1, 1, 18, 34), (17, 17), (17, 17), NO_PADDING, (1, 1)),
}


def small_integers(shape: tuple[int, ...], real: str) -> np.ndarray:
    """Many ties, and sums that are exact in any order."""
    return np.random.default_rng(0).integers(-3, 4, shape).astype(real)


@pytest.mark.kernels(
    "max_pool_u8",
    "max_pool_i32",
    "max_pool_backward_u8",
    "max_pool_backward_i32",
    "max_pool_backward_apart",
)
def test_every_max_pool_kernel(cuda, real):
    """The three ways the method chooses between, each on a case of its own."""
    for case in ("3x3 that overlap", "stride over kernel", "17x17"):
        hold_max_pool(cuda, real, *CASES[case])


@pytest.mark.parametrize("case", CASES)
def test_max_pool(cuda, real, case):
    hold_max_pool(cuda, real, *CASES[case])


def hold_max_pool(cuda, real, shape, *geometry):
    """Exactly: a choice, and sums of small integers.  NaN and -inf are among the values."""
    x = small_integers(shape, real)
    x.flat[3::7] = -np.inf
    x.flat[5::13] = np.nan
    n, c, h, w = shape
    window = Window(*geometry)
    gy = small_integers((n, c, *window.counts((h, w))), real)
    cuda.agree(lambda b, x: b.max_pool2d(x, window), x)
    cuda.agree(
        lambda b, x, gy: b.max_pool2d_backward(gy, b.max_pool2d(x, window)[1], shape, window),
        x,
        gy,
    )


@pytest.mark.parametrize(
    "values,place",
    [
        ([1, 5, 5, 5], 1),
        ([0, 0, 0, 0], 0),
        ([3, np.nan, 9, np.nan], 1),
        ([-np.inf] * 4, 0),
        ([-np.inf, -np.inf, -np.inf, -5], 3),
        ([np.inf, np.nan, 1, np.inf], 1),
    ],
)
def test_first_maximum_wins_and_nan_wins(cuda, real, values, place):
    x = np.array(values, real).reshape(1, 1, 2, 2)
    _, chosen = cuda.backend.max_pool2d(cuda.asarray(x), Window((2, 2), (2, 2)))
    assert cuda.backend.to_numpy(chosen).item() == place


def test_padding_is_never_chosen(cuda, real):
    """A window whose pixels are all -inf chooses its first pixel inside the image."""
    x = np.full((1, 1, 2, 2), -np.inf, real)
    window = Window((3, 3), padding=((1, 1), (1, 1)))
    _, chosen = cuda.agree(lambda b, x: b.max_pool2d(x, window), x)
    assert chosen.reshape(-1).tolist() == [4, 3, 1, 0]


@pytest.mark.kernels("avg_pool", "avg_pool_backward")
@pytest.mark.parametrize("count_padding", ["none", "all", "some"])
@pytest.mark.parametrize("case", [name for name, c in CASES.items() if c[-1] == (1, 1)])
def test_avg_pool(cuda, real, case, count_padding):
    """Within a rounding of each share: the twin adds the shares in another order."""
    shape, kernel, stride, padding, _ = CASES[case]
    counted = {
        "none": NO_PADDING,
        "all": padding,
        "some": ((padding[0][0], 0), (0, padding[1][1])),
    }[count_padding]
    x = small_integers(shape, real)
    n, c, h, w = shape
    window = Window(kernel, stride, padding)
    gy = small_integers((n, c, *window.counts((h, w))), real)
    cuda.agree(lambda b, x: b.avg_pool2d(x, window, counted), x)
    cuda.agree(
        lambda b, gy: b.avg_pool2d_backward(gy, shape, window, counted),
        gy,
        rtol=1e-6 if real == "float32" else 1e-14,
    )


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)])
def test_empty_batch(cuda, real, shape):
    window = Window((2, 2), (2, 2))
    x, gy = np.empty(shape, real), np.empty((*shape[:2], 2, 2), real)
    hold_max_pool(cuda, real, shape, *window)
    cuda.agree(lambda b, x: b.avg_pool2d(x, window, NO_PADDING), x)
    cuda.agree(lambda b, gy: b.avg_pool2d_backward(gy, shape, window, NO_PADDING), gy)
    assert not cuda.launched


@pytest.mark.in_half(
    "max_pool_u8",
    "max_pool_i32",
    "max_pool_backward_u8",
    "max_pool_backward_i32",
    "max_pool_backward_apart",
    "avg_pool",
    "avg_pool_backward",
)
def test_in_half(cuda):
    """Means and shares are rounded once; the sum over a window is beyond float16."""
    for case in ("3x3 that overlap", "stride over kernel", "17x17"):
        shape, *geometry = CASES[case]
        hold_max_pool(cuda, "float16", shape, *geometry)
        window, rng = Window(*geometry), np.random.default_rng(0)
        x = (30_000 + rng.integers(0, 1000, shape)).astype("float16")
        gy = rng.standard_normal((*shape[:2], *window.counts(shape[2:]))).astype("float16")
        cuda.agree(lambda b, x, w=window: b.avg_pool2d(x, w, NO_PADDING), x, rtol=1e-6)
        cuda.agree(
            lambda b, gy, s=shape, w=window: b.avg_pool2d_backward(gy, s, w, NO_PADDING),
            gy,
            rtol=1e-6,
        )


ADAPTIVE = [
    ((1, 1, 1, 1), (1, 1)),
    ((2, 3, 8, 8), (3, 3)),
    ((1, 2, 7, 5), (4, 5)),
    ((2, 1, 3, 4), (5, 7)),
]


@pytest.mark.kernels("adaptive_max_pool", "adaptive_max_pool_backward")
@pytest.mark.parametrize("shape, size", ADAPTIVE)
def test_adaptive_max_pool(cuda, real, shape, size):
    """Of integers, so that there are ties; and NaN."""
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, shape).astype(real)
    x[0, 0, -1, -1] = np.nan
    gy = rng.integers(-8, 9, (*shape[:2], *size)).astype(real)

    def body(b, x, gy):
        y, chosen = b.adaptive_max_pool2d(x, size)
        return y, chosen, b.adaptive_max_pool2d_backward(gy, chosen, shape)

    cuda.agree(body, x, gy)


@pytest.mark.kernels("adaptive_avg_pool", "adaptive_avg_pool_backward")
@pytest.mark.parametrize("shape, size", ADAPTIVE)
def test_adaptive_avg_pool(cuda, real, shape, size):
    rng = np.random.default_rng(0)
    x, gy = (rng.standard_normal(s).astype(real) for s in (shape, (*shape[:2], *size)))

    def body(b, x, gy):
        return b.adaptive_avg_pool2d(x, size), b.adaptive_avg_pool2d_backward(gy, shape)

    cuda.agree(body, x, gy, rtol={"float32": 1e-6, "float64": 1e-15}[real])


@pytest.mark.in_half(
    "adaptive_max_pool",
    "adaptive_max_pool_backward",
    "adaptive_avg_pool",
    "adaptive_avg_pool_backward",
)
@pytest.mark.parametrize("shape, size", ADAPTIVE)
def test_adaptive_in_half(cuda, shape, size):
    rng = np.random.default_rng(0)
    x, gy = (rng.standard_normal(s).astype("float16") for s in (shape, (*shape[:2], *size)))

    def body(b, x, gy):
        y, chosen = b.adaptive_max_pool2d(x, size)
        more = b.adaptive_avg_pool2d(x, size), b.adaptive_avg_pool2d_backward(gy, shape)
        return y, chosen, b.adaptive_max_pool2d_backward(gy, chosen, shape), more

    cuda.agree(body, x, gy, rtol=1e-6)


def test_windows_that_32_bits_cannot_count_use_the_twin(cuda):
    x = small_integers((1, 1, 1, 2**16), "float32")
    cuda.agree(lambda b, x: b.adaptive_avg_pool2d(x, (1, 2**15)), x)
    assert not cuda.launched

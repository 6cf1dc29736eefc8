"""Every backend's pooling against its portable twin, in both layouts of an image."""

from __future__ import annotations

import numpy as np
import pytest
from windows import integers

from nnx.backends import Backend
from nnx.backends.cpu import pool, thresholds
from nnx.backends.jit import thresholds as jit_thresholds
from nnx.backends.portable.window import Window

NONE = ((0, 0), (0, 0))
# (N, C, H, W), kernel, stride, padding, dilation
CASES = {
    "one pixel": ((1, 1, 1, 1), (1, 1), (1, 1), NONE, (1, 1)),
    "2x2, one pixel left over": ((2, 3, 7, 5), (2, 2), (2, 2), NONE, (1, 1)),
    "2x2, larger": ((3, 17, 34, 36), (2, 2), (2, 2), NONE, (1, 1)),
    "3x3 that overlap": ((2, 20, 9, 8), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1)),
    "3x3 that overlap, as many pixels": ((1, 2, 6, 6), (3, 3), (2, 2), NONE, (1, 1)),
    "a step at a time": ((2, 3, 9, 35), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    "uneven padding": ((1, 2, 5, 6), (4, 3), (2, 1), ((2, 0), (1, 2)), (1, 1)),
    "gaps": ((2, 2, 11, 11), (2, 2), (4, 3), NONE, (1, 1)),
    "dilation": ((2, 2, 9, 8), (3, 2), (1, 2), ((1, 2), (0, 1)), (2, 3)),
    "dilation around the image": ((1, 3, 2, 2), (2, 2), (1, 1), ((1, 1), (1, 1)), (3, 3)),
    "dilation beside the image": ((2, 3, 4, 2), (1, 2), (1, 1), ((0, 0), (2, 2)), (1, 3)),
    "places beyond a byte": ((1, 2, 20, 19), (17, 17), (1, 2), NONE, (1, 1)),
    "all of it": ((3, 5, 6, 9), (6, 9), (6, 9), NONE, (1, 1)),
    "wide windows": ((3, 5, 4, 29), (2, 12), (2, 8), ((1, 0), (3, 6)), (1, 1)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """NumPy's kernels take these small images in several blocks."""
    monkeypatch.setattr(pool, "BLOCK_BYTES", 700)


def images(on, shape, last, seed=0):
    """Small integers, with many ties: sums of them are exact in any order."""
    x = integers(seed, *shape)
    if last and on.xp is np:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        x.flags.writeable = on.kind != "readonly"
        return x
    return on.asarray(x)


def same(on, run):
    portable = Backend(on.xp, "portable", on.backend.device)
    for got, expected in zip(run(on.backend), run(portable), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(on.to_numpy(got), on.to_numpy(expected))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_max_pool(backend, case, last):
    shape, *geometry = CASES[case]
    window = Window(*geometry)
    n, c, h, w = shape
    for special in (False, True):
        x = images(backend, shape, last)
        if special:  # infinities, and NaN among them
            values = backend.to_numpy(x)
            values[values == -2] = -np.inf
            values[values == 3] = np.nan
            layout = "K" if last else "C"
            x = np.array(values, order=layout) if backend.xp is np else backend.asarray(values)
        gy = images(backend, (n, c, *window.counts((h, w))), not last, 1)

        def run(kernels, x=x, gy=gy):
            y, places = kernels.max_pool2d(x, window)
            return y, places, kernels.max_pool2d_backward(gy, places, shape, window)

        same(backend, run)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", [k for k in CASES if CASES[k][4] == (1, 1)])
def test_avg_pool(backend, case, last):
    """Exactly: sums of integers, divided once."""
    shape, *geometry = CASES[case]
    window = Window(*geometry)
    n, c, h, w = shape
    for counted in (window.padding, NONE):
        x = images(backend, shape, last)
        gy = images(backend, (n, c, *window.counts((h, w))), last, 1)

        def run(kernels, x=x, counted=counted):
            return (kernels.avg_pool2d(x, window, counted),)

        def run_backward(kernels, gy=gy, counted=counted):
            gx = kernels.avg_pool2d_backward(gy, shape, window, counted)
            return (backend.xp.round(gx * 2**16),)  # shares are added in another order

        same(backend, run)
        same(backend, run_backward)


def test_layouts_stay_as_they_are(backend):
    """Channels that lie last lie last in the result: nothing is copied on the way."""
    if backend.kind not in ("numpy", "jit"):
        pytest.skip("no kernel of its own")
    window = Window((2, 2), (2, 2))
    for last in (False, True):
        x = images(backend, (2, 5, 6, 8), last)
        y, places = backend.backend.max_pool2d(x, window)
        gx = backend.backend.max_pool2d_backward(y, places, x.shape, window)
        mean = backend.backend.avg_pool2d(x, window, NONE)
        spread = backend.backend.avg_pool2d_backward(mean, x.shape, window, NONE)
        for a in (y, gx, mean, spread):
            assert (a.transpose(0, 2, 3, 1) if last else a).flags.c_contiguous


@pytest.mark.parametrize("case", [k for k in CASES if CASES[k][3] == NONE])
def test_small_images_are_pooled_with_few_calls(backend, case, monkeypatch):
    """The way for small images, on NumPy with and without numba, NaN and infinities included."""
    if backend.kind not in ("numpy", "jit"):
        pytest.skip("no kernel of its own")
    shape, *geometry = CASES[case]
    window = Window(*geometry)
    x = images(backend, shape, False)
    limit = x.size * window.places
    monkeypatch.setattr(thresholds, "POOL", limit)
    monkeypatch.setattr(jit_thresholds, "POOL", limit)
    assert pool.is_small(x, window, limit)
    x = np.where(x == -2, -np.inf, np.where(x == 3, np.nan, x)).astype(x.dtype)
    same(backend, lambda k: k.max_pool2d(x, window))
    if window.dilation == (1, 1):
        whole = np.nan_to_num(x, nan=3, neginf=-2)
        same(backend, lambda k: (k.avg_pool2d(whole, window, NONE),))
    assert not pool.is_small(x, window, limit - 1)
    assert not pool.is_small(x[:0], window._replace(padding=((1, 1), (0, 0))), limit)


@pytest.mark.parametrize("places", [254, 255, 256, 257])
def test_the_last_place_of_a_window_is_told_from_the_first(backend, places):
    """A byte counts to 255."""
    x = backend.asarray(np.arange(places, dtype="f4").reshape(1, 1, 1, -1))
    window = Window((1, places), (1, places))
    y, at = backend.backend.max_pool2d(x, window)
    gx = backend.backend.max_pool2d_backward(y, at, x.shape, window)
    expected = np.zeros(places)
    expected[-1] = places - 1
    np.testing.assert_array_equal(backend.to_numpy(gx).reshape(-1), expected)


def test_no_image_with_a_border(backend):
    window, shape = Window((3, 3), (2, 2), ((1, 1), (1, 1))), (0, 2, 5, 6)
    x, gy = images(backend, shape, False), images(backend, (0, 2, 3, 3), False)

    def run(b):
        y, places = b.max_pool2d(x, window)
        yield from (y, places, b.max_pool2d_backward(gy, places, shape, window))
        yield b.avg_pool2d(x, window, window.padding)
        yield b.avg_pool2d_backward(gy, shape, window, window.padding)

    same(backend, run)

"""The fused block against the layers one by one: every kernel that a backend has for it."""

import itertools

import numpy as np
import pytest
from windows import integers

from nnx.backends import Backend
from nnx.backends.portable.window import Window

NONE = ((0, 0), (0, 0))
GEOMETRIES = {
    "plain": ((1, 1), NONE, (1, 1), 1),
    "same": ((1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "uneven": ((1, 1), ((2, 0), (1, 2)), (1, 1), 2),
    "strided": ((2, 1), ((1, 1), (2, 0)), (1, 1), 1),
    "dilated": ((1, 1), ((2, 2), (2, 2)), (2, 2), 4),
}
POOLS = {
    "none": None,
    "2x2": Window((2, 2), (2, 2)),
    "1x3": Window((1, 3), (1, 3)),
    "overlapping": Window((3, 3), (2, 2), ((1, 1), (1, 1))),
}


def portable(on):
    return Backend(on.xp, "portable", on.backend.device)


def both(on, x, w, b, geometry, norm, relu, pool, seed=9, needs=(True,) * 5, last=False):
    """Results and gradients of the backend's kernel and of its portable twin, as NumPy arrays.

    last: the gradient has its channels last, as the layer behind would hand it back.
    """
    found = []
    for backend in (on.backend, portable(on)):
        gamma_beta = None if norm is None else (*[on.asarray(a) for a in norm[:2]], norm[2])
        arrays = [None if a is None else on.asarray(a) for a in (x, w, b)]
        y, mean, variance, saved = backend.conv_block2d(
            *arrays, Window(w.shape[2:], *geometry[:3]), geometry[3], gamma_beta, relu, pool
        )
        gy = integers(seed, *y.shape, dtype=x.dtype)
        if last:
            gy = on.xp.permute_dims(on.asarray(gy.transpose(0, 2, 3, 1).copy()), (0, 3, 1, 2))
        else:
            gy = on.asarray(gy)
        wanted = list(needs)
        wanted[2] &= b is not None
        wanted[3] &= norm is not None
        wanted[4] &= norm is not None
        gradients = backend.conv_block2d_backward(gy, saved, tuple(wanted))
        assert [g is not None for g in gradients] == wanted
        found.append(
            [None if a is None else on.to_numpy(a) for a in (y, mean, variance, *gradients)]
        )
    return zip(*found, strict=True)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_equals_the_layers_one_by_one(backend, geometry, pool):
    """Exactly: the data are integers, with many ties and many zeros for ReLU."""
    groups = GEOMETRIES[geometry][3]
    x, w, b = integers(0, 3, 4, 8, 7), integers(1, 8, 4 // groups, 3, 2), integers(2, 8)
    for relu, bias in itertools.product((True, False), (b, None)):
        for got, expected in both(
            backend, x, w, bias, GEOMETRIES[geometry], None, relu, POOLS[pool]
        ):
            if expected is None:
                assert got is None
            else:
                np.testing.assert_array_equal(got, expected)
                assert got.dtype == expected.dtype


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_equals_the_layers_one_by_one_with_batch_norm(backend, geometry, pool):
    groups = GEOMETRIES[geometry][3]
    rng = np.random.default_rng(0)
    dtype = "float64" if backend.float64 else "float32"
    # No ties: they would fall apart by rounding.
    x = rng.standard_normal((3, 4, 8, 7)).astype(dtype)
    w = rng.standard_normal((8, 4 // groups, 3, 2)).astype(dtype)
    b, gamma, beta = rng.standard_normal((3, 8)).astype(dtype)  # γ of both signs
    close = {"rtol": 1e-9, "atol": 1e-9} if backend.float64 else {"rtol": 1e-3, "atol": 1e-3}
    for norm, relu in (((gamma, beta, 1e-3), True), ((np.abs(gamma), beta, 1e-5), False)):
        for got, expected in both(backend, x, w, b, GEOMETRIES[geometry], norm, relu, POOLS[pool]):
            np.testing.assert_allclose(got, expected, **close)
            assert got.dtype == expected.dtype == dtype


def test_a_scale_of_zero(backend):
    """γ = 0: all values of a channel are equal, and the first of each window is chosen."""
    x, w = integers(0, 2, 2, 4, 4), integers(1, 8, 2, 3, 3)
    gamma, beta = np.zeros(8, "f4"), np.ones(8, "f4")
    found = both(backend, x, w, None, GEOMETRIES["same"], (gamma, beta, 1e-5), True, POOLS["2x2"])
    for got, expected in found:
        if expected is not None:
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kernel", [(15, 17), (16, 16), (1, 257)])
def test_places_are_kept_in_a_byte(backend, kernel):
    """Of 255 places there is one number left, for where ReLU is closed; of more there is none."""
    size = (kernel[0], 2 * kernel[1] + 1)
    x, w = integers(0, 2, 2, *size), integers(1, 8, 2, 1, 1)
    x[1] = np.abs(x[1])
    w[:4] = -np.abs(w[:4])  # ReLU is closed over all of a window
    pool = Window(kernel, kernel)
    for got, expected in both(backend, x, w, None, GEOMETRIES["plain"], None, True, pool):
        if expected is not None:
            np.testing.assert_array_equal(got, expected)


def test_nan_goes_through(backend):
    x, w = integers(0, 1, 2, 4, 4), integers(1, 8, 2, 1, 1)
    x[0, 0, 1, 2] = np.nan
    geometry = GEOMETRIES["plain"]
    for pool in ("none", "2x2", "overlapping"):
        found = list(both(backend, x, w, None, geometry, None, True, POOLS[pool]))
        assert np.isnan(found[0][0]).any()
        np.testing.assert_array_equal(*found[0])
        np.testing.assert_array_equal(*found[4])


def test_nan_is_the_largest_where_nothing_stands_before_the_pool(backend):
    x, w = integers(0, 1, 2, 4, 4), integers(1, 8, 2, 1, 1)
    x[0, :, 1, 2] = np.nan
    pool = Window((2, 2), (2, 2))
    found = list(both(backend, x, w, None, GEOMETRIES["plain"], None, False, pool))
    for k in (0, 3, 4):
        np.testing.assert_array_equal(*found[k])
    assert np.isnan(found[0][0]).sum() == 8


@pytest.mark.parametrize(
    "needs", [(True, False, False), (False, True, False), (False, False, True)]
)
def test_only_the_gradients_that_are_needed(backend, needs):
    x, w, b = integers(0, 3, 4, 8, 7), integers(1, 8, 4, 3, 2), integers(2, 8)
    found = both(
        backend, x, w, b, GEOMETRIES["same"], None, True, POOLS["2x2"], needs=(*needs, False, False)
    )
    for got, expected in found:
        if expected is not None:
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("normed", [False, True])
def test_batches_of_every_remainder(backend, normed):
    """Blocks of images: the last one is shorter, and may be one image."""
    rng = np.random.default_rng(0)
    for pool, n, last in itertools.product(("2x2", "none"), (0, 1, 2, 17, 33), (False, True)):
        if normed:
            x, w = (rng.standard_normal(s).astype("f4") for s in ((n, 2, 6, 6), (8, 2, 3, 3)))
            norm, close = (*rng.standard_normal((2, 8)).astype("f4"), 1e-5), 1e-4
        else:
            x, w, norm, close = integers(0, n, 2, 6, 6), integers(1, 8, 2, 3, 3), None, 0
        if normed and n == 0:
            continue  # there are no statistics
        found = both(
            backend, x, w, integers(2, 8), GEOMETRIES["same"], norm, True, POOLS[pool], last=last
        )
        for got, expected in found:
            if expected is not None:
                scale = abs(expected).max(initial=1)
                np.testing.assert_allclose(got, expected, rtol=0, atol=close * scale)

"""Every backend's normalisation against its portable twin, in both layouts of an image."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends import Backend
from nnx.backends.cpu import norm
from nnx.backends.cpu import thresholds as cpu_thresholds
from nnx.backends.jit import thresholds as jit_thresholds

SHAPES = {
    "flat": (33, 17),
    "many lines": (200, 5),
    "sequences": (5, 6, 37),
    "images": (7, 6, 9, 11),
    "images of which a block holds several": (7, 2, 3, 3),
    "one image": (1, 4, 20, 21),
    "one pixel": (130, 6, 1, 1),
    "cubes": (3, 2, 4, 5, 6),
}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """The kernels on these small arrays too, NumPy's in blocks of a few hundred bytes."""
    monkeypatch.setattr(cpu_thresholds, "NORM", 0)
    monkeypatch.setattr(jit_thresholds, "NORM", 0)
    monkeypatch.setattr(norm, "BLOCK_BYTES", 700)


def draw(on, shape, last=False, seed=0, offset=0.0):
    dtype = "float64" if on.float64 else "float32"
    x = (np.random.default_rng(seed).standard_normal(shape) + offset).astype(dtype)
    if last and on.xp is np:
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
        x.flags.writeable = on.kind != "readonly"
        return x
    return on.asarray(x)


def close(on, run, tolerance=1e-11):
    portable = Backend(on.xp, "portable", on.backend.device)
    tolerance = tolerance if on.float64 else 2e-5
    for got, expected in zip(run(on.backend), run(portable), strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            assert got.dtype == expected.dtype and got.shape == expected.shape
            got, expected = on.to_numpy(got), on.to_numpy(expected)
            scale = max(1.0, np.abs(expected).max(initial=0))
            np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


NEEDS = [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm(backend, shape, last, affine):
    # means far from zero, beside the deviation, and near
    shape, offset = SHAPES[shape], 3.0 if affine else 0.5
    x, gy = draw(backend, shape, last, 0, offset), draw(backend, shape, not last, 1)
    weight, bias = (draw(backend, shape[1:2], seed=k) if affine else None for k in (2, 3))

    def run(kernels):
        y, mean, variance, saved = kernels.batch_norm(x, weight, bias, 1e-3)
        results = [y, mean, variance]
        for needs in NEEDS:
            results += kernels.batch_norm_backward(gy, saved, (needs[0], *needs[1:]))
        return results

    close(backend, run)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_group_norm(backend, shape, last, affine):
    shape, offset = SHAPES[shape], 3.0 if affine else 0.5
    x, gy = draw(backend, shape, last, 0, offset), draw(backend, shape, not last, 1)
    weight, bias = (draw(backend, shape[1:2], seed=k) if affine else None for k in (2, 3))
    for groups in {1, 2 if shape[1] % 2 == 0 else 1}:

        def run(kernels, groups=groups):
            y, saved = kernels.group_norm(x, weight, bias, groups, 1e-3)
            return [y, *(g for n in NEEDS for g in kernels.group_norm_backward(gy, saved, n))]

        close(backend, run)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (64, 16), (65, 33), (200, 100), (9, 520)])
def test_layer_norm(backend, shape, affine):
    x, gy = draw(backend, shape, offset=3.0), draw(backend, shape, seed=1)
    weight, bias = (draw(backend, shape[1:], seed=k) if affine else None for k in (2, 3))

    def run(kernels):
        y, saved = kernels.layer_norm(x, weight, bias, 1e-3)
        return [y, *(g for n in NEEDS for g in kernels.layer_norm_backward(gy, saved, n))]

    close(backend, run)


def test_float32_stays_float32(backend):
    """And a mean far from zero does not spoil it."""
    rng = np.random.default_rng(0)
    x, gy = ((rng.standard_normal((5, 4, 8, 9)) + c).astype("f4") for c in (300, 0))
    weight, bias = rng.standard_normal((2, 4)).astype("f4")
    arrays = [backend.asarray(a) for a in (x, weight, bias)]
    y, mean, variance, saved = backend.backend.batch_norm(*arrays, 1e-5)
    gradients = backend.backend.batch_norm_backward(backend.asarray(gy), saved, (True,) * 3)
    for a in (y, mean, variance, *gradients):
        assert backend.backend.dtype(a.dtype) == backend.backend.dtype("float32")
    exact = x.astype("f8")
    exact = (exact - exact.mean((0, 2, 3), keepdims=True)) / np.sqrt(
        exact.var((0, 2, 3), keepdims=True) + 1e-5
    )
    exact = exact * weight.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
    np.testing.assert_allclose(backend.to_numpy(y), exact, atol=3e-4)


@pytest.mark.parametrize("distance", [0.0, 1.0, 1.9, 2.1, 10.0, 1e4])
def test_means_at_any_distance_from_zero(backend, distance):
    """In float32: to what x's own rounding lets be known, and to a few units of 1."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((6, 4, 16, 16)) + distance).astype("f4")
    gy = rng.standard_normal(x.shape).astype("f4")
    unknown = 2e-6 + 3e-7 * distance
    exact = {"batch": x.astype("f8"), "group": x.reshape(6, 2, -1).astype("f8")}
    for name, axes in (("batch", (0, 2, 3)), ("group", 2)):
        run = getattr(backend.backend, f"{name}_norm")
        groups = () if name == "batch" else (2,)
        y, *_, saved = run(backend.asarray(x), None, None, *groups, 1e-5)
        e = exact[name]
        r = 1 / np.sqrt(e.var(axes, keepdims=True) + 1e-5)
        normal = (e - e.mean(axes, keepdims=True)) * r
        np.testing.assert_allclose(backend.to_numpy(y), normal.reshape(x.shape), atol=unknown)
        g = gy.reshape(e.shape).astype("f8")
        gx = r * (g - g.mean(axes, keepdims=True) - normal * (g * normal).mean(axes, keepdims=True))
        backward = getattr(backend.backend, f"{name}_norm_backward")
        got = backend.to_numpy(backward(backend.asarray(gy), saved, (True,) * 3)[0])
        np.testing.assert_allclose(got, gx.reshape(x.shape), atol=5 * unknown)

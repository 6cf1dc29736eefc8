"""Pooling of volumes, adaptive, power-average and fractional pooling, in every dimension."""

from __future__ import annotations

import math

import numpy as np
import pytest
from gradients import check_gradients
from pytorch import assert_same
from windows import integers

import nnx
from nnx import ops

VOLUME = (2, 3, 5, 7, 6)
# kernel, stride, padding, dilation, ceil_mode
MAX = {
    "plain": (2, None, 0, 1, False),
    "all": ((2, 3, 2), (1, 2, 3), (0, 1, 1), (2, 1, 1), False),
    "ceil": ((2, 3, 2), 2, 1, 1, True),
    "overlapping": (3, 1, 1, 1, False),
}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("case", MAX)
def test_max_pool3d_equals_pytorch(backend, case, alone):
    F = pytest.importorskip("torch").nn.functional
    k, s, p, d, ceil = MAX[case]
    x = np.random.default_rng(0).permutation(math.prod(VOLUME)).reshape(VOLUME)
    assert_same(
        backend,
        lambda x: ops.max_pool3d(x, k, s, p, d, ceil),
        lambda x: F.max_pool3d(x, k, s, p, d, ceil),
        x[0] if alone else x,
    )


def test_ties_nan_and_indices_as_by_the_definition(backend):
    """The first in row-major order; NaN is larger than all; the index counts in the volume."""
    x = integers(0, 2, 2, 4, 6, 5, low=-1, high=2)
    x[0, 0, 1, 2, 2], x[1, 1, 2, 3, 0], x[1, 0, :2, :2, :2] = np.nan, np.nan, -np.inf
    t = backend.tensor(x, requires_grad=True)
    y, where = ops.max_pool3d(t, 2, return_indices=True)
    windows = x.reshape(2, 2, 2, 2, 3, 2, 5)[..., :4].reshape(2, 2, 2, 2, 3, 2, 2, 2)
    windows = windows.transpose(0, 1, 2, 4, 6, 3, 5, 7).reshape(2, 2, 2, 3, 2, 8)
    first = windows.argmax(-1)  # NumPy's: NaN, and the first of equal ones
    np.testing.assert_array_equal(
        backend.to_numpy(y), np.take_along_axis(windows, first[..., None], -1)[..., 0]
    )
    d, h, w = np.meshgrid(np.arange(2), np.arange(3), np.arange(2), indexing="ij")
    place = ((2 * d + first // 4) * 6 + 2 * h + first // 2 % 2) * 5 + 2 * w + first % 2
    np.testing.assert_array_equal(backend.to_numpy(where), place)
    y.backward(backend.asarray(np.ones(y.shape, "f4")))
    expected = np.zeros((2, 2, 120), "f4")
    np.put_along_axis(expected, place.reshape(2, 2, -1), 1, axis=2)
    np.testing.assert_array_equal(backend.to_numpy(t.grad), expected.reshape(x.shape))


AVG = {
    "plain": (2, None, 0, False, True, None),
    "padding counts": ((2, 3, 2), 2, 1, True, True, None),
    "padding does not count": ((2, 3, 2), (1, 2, 3), (0, 1, 1), True, False, None),
    "divisor": ((2, 3, 2), 2, 1, True, False, 5),
}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("case", AVG)
def test_avg_pool3d_equals_pytorch(backend, case, alone):
    F = pytest.importorskip("torch").nn.functional
    x = integers(0, *VOLUME)
    assert_same(
        backend,
        lambda x: ops.avg_pool3d(x, *AVG[case]),
        lambda x: F.avg_pool3d(x, *AVG[case]),
        x[0] if alone else x,
    )


@pytest.mark.parametrize("size", [1, 2, (3, None, 5), (5, 7, 6), (7, 2, 9)])
def test_adaptive_pools_equal_pytorch(backend, size):
    F = pytest.importorskip("torch").nn.functional
    x = np.random.default_rng(0).permutation(math.prod(VOLUME)).reshape(VOLUME)
    first = size[0] if isinstance(size, tuple) else size
    for name in ("adaptive_avg_pool", "adaptive_max_pool"):
        for axes, wanted, given in ((3, size, x), (1, first, x[0, :, :, 0])):
            ours, theirs = getattr(ops, f"{name}{axes}d"), getattr(F, f"{name}{axes}d")
            assert_same(
                backend,
                lambda x: ours(x, wanted),  # noqa: B023
                lambda x: theirs(x, wanted),  # noqa: B023
                given,
            )
    for axes, wanted in ((3, size), (1, first)):
        given = x if axes == 3 else x[0, :, :, 0]
        name = f"adaptive_max_pool{axes}d"
        _, where = getattr(ops, name)(backend.tensor(given.astype("f4")), wanted, True)
        torch = pytest.importorskip("torch")
        _, theirs = getattr(F, name)(torch.tensor(given.astype("f4")), wanted, True)
        np.testing.assert_array_equal(backend.to_numpy(where), theirs.numpy())


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_lp_pools(backend, axes):
    """(Σ x^p)^(1/p) of each window, and PyTorch's, also where the last window runs over."""
    F = pytest.importorskip("torch").nn.functional
    x = np.random.default_rng(0).uniform(0.2, 2, VOLUME[: 2 + axes])
    for p, k, s, ceil in (
        (2, 2, None, False),
        (3, 3, 2, True),
        (1, 2, 1, False),
        (1.5, 2, 2, False),
    ):
        assert_same(
            backend,
            lambda x: getattr(ops, f"lp_pool{axes}d")(x, p, k, s, ceil),  # noqa: B023
            lambda x: getattr(F, f"lp_pool{axes}d")(x, p, k, s, ceil),  # noqa: B023
            x, rtol=1e-5 if not backend.float64 else 1e-10,
        )  # fmt: skip
    whole = getattr(ops, f"lp_pool{axes}d")(backend.tensor(x.astype("f4")), 4, x.shape[2:])
    expected = (x**4).reshape(2, 3, -1).sum(-1) ** 0.25
    np.testing.assert_allclose(backend.to_numpy(whole).reshape(2, 3), expected, rtol=1e-5)


def test_the_gradient_of_a_norm_of_zeros_is_zero(backend):
    x = backend.tensor(np.asarray([[[0, 0, 3, 4]]], "f4"), requires_grad=True)
    y = ops.lp_pool1d(x, 2, 2)
    np.testing.assert_allclose(backend.to_numpy(y), [[[0, 5]]], rtol=1e-6)
    y.backward(backend.asarray(np.ones((1, 1, 2), "f4")))
    np.testing.assert_allclose(backend.to_numpy(x.grad), [[[0, 0, 0.6, 0.8]]], rtol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
def test_fractional_pools_equal_pytorch_for_its_draws(backend, axes):
    torch = pytest.importorskip("torch")
    F, name = torch.nn.functional, f"fractional_max_pool{axes}d"
    rng = np.random.default_rng(0)
    shape = (2, 3, *(8, 9, 10)[:axes])
    x, u = rng.permutation(math.prod(shape)).reshape(shape), rng.uniform(size=(2, 3, axes))
    u = u.astype("float64" if backend.float64 else "float32")
    for options in ({"output_size": (4, 5, 1)[:axes]}, {"output_ratio": (0.4, 0.3, 0.5)[:axes]}):
        assert_same(
            backend,
            lambda x: getattr(ops, name)(x, 2, random_samples=backend.asarray(u), **options),  # noqa: B023
            lambda x: getattr(F, name)(x, 2, _random_samples=torch.tensor(u), **options),  # noqa: B023
            x,
        )
    y, where = getattr(ops, name)(backend.tensor(x.astype("f4")), 3, 4, return_indices=True)
    flat = x.reshape(2, 3, -1).astype("f4")
    at = backend.to_numpy(where).reshape(2, 3, -1)
    np.testing.assert_array_equal(
        backend.to_numpy(y).reshape(2, 3, -1), np.take_along_axis(flat, at, 2)
    )


def test_fractional_windows_lie_where_the_paper_has_them():
    """Distances of floor(a) or ceil(a), the first at 0, the last at the end, all in between."""
    nnx.manual_seed(0)
    ramp = np.broadcast_to(np.arange(23, dtype="f4"), (40, 1, 2, 23))
    y, where = ops.fractional_max_pool2d(nnx.tensor(ramp), (2, 3), (1, 9), return_indices=True)
    ends = where.numpy()[:, 0, 0] % 23
    assert (ends[:, 0] == 2).all() and (ends[:, -1] == 22).all()
    assert set(np.diff(ends).reshape(-1)) == {2, 3}  # a = 20/8
    assert len({tuple(row) for row in ends}) > 1  # drawn for each image
    nnx.manual_seed(0)
    again = ops.fractional_max_pool2d(nnx.tensor(ramp), (2, 3), (1, 9))
    np.testing.assert_array_equal(again.numpy(), y.numpy())


def test_gradients(backend):
    backend.skip_without_float64()
    x = np.random.default_rng(0).permutation(2 * 2 * 4 * 5 * 4).reshape(2, 2, 4, 5, 4) * 0.1 + 0.05
    u = backend.asarray(np.full((2, 2, 3), 0.3))
    for function in (
        lambda x: ops.max_pool3d(x, (2, 3, 2), 1, 1),
        lambda x: ops.avg_pool3d(x, (2, 3, 2), 1, 1),
        lambda x: ops.adaptive_avg_pool3d(x, (3, 2, 4)),
        lambda x: ops.adaptive_max_pool3d(x, (3, 2, 4)),
        lambda x: ops.lp_pool3d(x, 3, 2),
        lambda x: ops.fractional_max_pool3d(x, 2, 3, random_samples=u),
        lambda x: ops.fractional_max_pool2d(x[:, :, 0], 2, 3, random_samples=u[:, :, :2]),
        lambda x: ops.adaptive_avg_pool1d(x[:, :, 0, :, 0], 3),
        lambda x: ops.adaptive_max_pool1d(x[:, :, 0, :, 0], 3),
        lambda x: ops.lp_pool1d(x[:, :, 0, :, 0], 2, 3, 1),
        lambda x: ops.lp_pool2d(x[:, :, 0], 2, 3, 1),
    ):
        check_gradients(function, x, wrap=backend.asarray)


def t(*shape):
    return nnx.tensor(np.zeros(shape, "f4"))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: ops.max_pool3d(t(2, 3, 4), 2),
         r"max_pool3d: x must be \(N, C, D, H, W\), or \(C, D, H, W\) for one; x has shape"),
        (lambda: ops.max_pool3d(t(2, 3, 4, 5), 5), r"max_pool3d: a window of \(5, 5, 5\)"),
        (lambda: ops.avg_pool3d(t(2, 3, 4, 5), 2, padding=2),
         r"avg_pool3d: padding must be at most half the kernel"),
        (lambda: ops.avg_pool3d(t(2, 3, 4, 5), 2, divisor_override=0),
         r"avg_pool3d: divisor_override must not be 0"),
        (lambda: ops.adaptive_avg_pool3d(t(2, 3, 4, 5), (2, 2)),
         r"adaptive_avg_pool3d: output_size must be an integer or 3 of them"),
        (lambda: ops.adaptive_max_pool1d(t(2, 3, 0), 2), r"image must not be empty"),
        (lambda: ops.lp_pool2d(t(2, 3, 4), 0, 2), r"lp_pool2d: norm_type must be positive"),
        (lambda: ops.lp_pool2d(t(2, 3, 4), math.inf, 2), r"norm_type must be .* finite, got inf"),
        (lambda: ops.fractional_max_pool2d(t(1, 3, 4), 2),
         r"fractional_max_pool2d: either output_size or output_ratio must be given"),
        (lambda: ops.fractional_max_pool2d(t(1, 3, 4), 2, 1, 0.5), r"and not both"),
        (lambda: ops.fractional_max_pool2d(t(1, 3, 4), 2, 4),
         r"\(4, 4\) windows of \(2, 2\) do not fit into \(H, W\) = \(3, 4\)"),
        (lambda: ops.fractional_max_pool2d(t(1, 3, 4), 2, output_ratio=(0.5, 1.5)),
         r"output_ratio must be between 0 and 1, one number or 2, got \(0.5, 1.5\)"),
        (lambda: ops.fractional_max_pool2d(t(2, 1, 3, 4), 2, 2, random_samples=t(2, 2)),
         r"random_samples must have shape \(2, 1, 2\); it has \(2, 2\)"),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["avg_pool3d", "lp_pool3d", "adaptive_avg_pool3d"])
def test_integers_are_refused(name):
    x = nnx.tensor(np.ones((1, 2, 2, 2), "i8"))
    arguments = (2, 2) if name == "lp_pool3d" else (2,)
    with pytest.raises(TypeError, match=f"{name}: x must be of a floating-point dtype, not int64"):
        getattr(ops, name)(x, *arguments)


# ---- unpooling ----


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpooling_equals_pytorch(backend, axes):
    torch = pytest.importorskip("torch")
    F, pool, unpool = torch.nn.functional, f"max_pool{axes}d", f"max_unpool{axes}d"
    for lengths, given in (((6, 6, 4), False), ((7, 6, 5), True)):
        shape, size = (2, 3, *lengths[:axes]), lengths[:axes] if given else None
        x = np.random.default_rng(0).permutation(math.prod(shape)).reshape(shape)
        for host in (x, x[0]):
            assert_same(
                backend,
                lambda x: getattr(ops, unpool)(
                    *getattr(ops, pool)(x, 2, return_indices=True),
                    2,
                    output_size=size,  # noqa: B023
                ),
                lambda x: getattr(F, unpool)(
                    *getattr(F, pool)(x, 2, return_indices=True),
                    2,
                    output_size=size,  # noqa: B023
                ),
                host,
            )
    with pytest.raises(ValueError, match=rf"{unpool}: output_size must be less than a stride from"):
        y, at = getattr(ops, pool)(backend.tensor(x.astype("f4")), 2, return_indices=True)
        getattr(ops, unpool)(y, at, 2, output_size=(9,) * axes)
    with pytest.raises(ValueError, match=rf"{unpool}: indices must have x's shape"):
        getattr(ops, unpool)(y, at[:1], 2)


def test_gradients_of_unpooling(backend):
    backend.skip_without_float64()
    at = backend.asarray(np.asarray([[[[0, 3], [9, 10]]]]))
    x = np.random.default_rng(0).standard_normal((1, 1, 2, 2))
    check_gradients(lambda x: ops.max_unpool2d(x, at, 2), x, wrap=backend.asarray)
    for name in ("max_unpool1d", "max_unpool3d"):
        places = at[0, :, 0, :] if name[-2] == "1" else at[None, ...]
        given = x[0, :, 0] if name[-2] == "1" else x[None]
        check_gradients(
            lambda x, n=name, p=places: getattr(ops, n)(x, p, 2), given, wrap=backend.asarray
        )

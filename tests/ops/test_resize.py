import itertools
import math
from functools import partial

import numpy as np
import pytest
from pytorch import assert_same

import nnx
from nnx import ops

RNG = np.random.default_rng(3)
SEQUENCE, IMAGE = RNG.standard_normal((2, 3, 7)), RNG.standard_normal((2, 2, 5, 7))
VOLUME = RNG.standard_normal((1, 2, 4, 5, 3))
ANY = ("nearest", "nearest-exact", "area")

CASES = [
    (x, how | options)
    for x, modes in (
        (SEQUENCE, (*ANY, "linear")),
        (IMAGE, (*ANY, "bilinear", "bicubic")),
        (VOLUME, (*ANY, "trilinear")),
    )
    for mode in modes
    for how in (
        {"size": (3, 9, 2)[: x.ndim - 2], "mode": mode},
        {"size": tuple([2 * n for n in x.shape[2:]]), "mode": mode},
        {"scale_factor": 0.6, "mode": mode},
        {"scale_factor": 1.8, "mode": mode},
        {"scale_factor": 1.8, "mode": mode, "recompute_scale_factor": True},
    )
    for options in (
        {},
        *([] if mode in ANY else [{"align_corners": True}]),
        *([{"antialias": True}] if mode in ("bilinear", "bicubic") else []),
    )
]


@pytest.mark.filterwarnings("ignore:The default behavior")
def test_as_pytorch(backend):
    torch = pytest.importorskip("torch")
    resize = torch.nn.functional.interpolate
    for x, how in CASES[:: 1 if backend.kind == "numpy" else 5]:
        ours, theirs = partial(ops.interpolate, **how), partial(resize, **how)
        assert_same(backend, ours, theirs, x, rtol=1e-5)


def test_by_hand(backend):
    x = backend.tensor(np.asarray([[[1.0, 2.0, 4.0]]], "f4"))

    def row(*args, **kwargs):
        return backend.to_numpy(ops.interpolate(x, *args, **kwargs))[0, 0].tolist()

    assert row(scale_factor=2) == [1, 1, 2, 2, 4, 4]
    assert row(5) == [1, 1, 2, 2, 4]  # floor(3k/5)
    assert row(2, mode="nearest-exact") == [1, 4]
    assert row(6, mode="linear") == [1, 1.25, 1.75, 2.5, 3.5, 4]
    assert row(5, mode="linear", align_corners=True) == [1, 1.5, 2, 3, 4]
    assert row(1, mode="linear", align_corners=True) == [1]
    assert row(2, mode="area") == [1.5, 3]


def test_nearest_is_exact_for_whole_factors():
    """In float32, 41 (1/41) is less than 1."""
    y = ops.interpolate(nnx.tensor([[[1.0, 2.0]]]), 82)
    assert y.tolist() == [[[1.0] * 41 + [2.0] * 41]]


def test_infinity_stays_where_it_is(backend):
    x = np.zeros((1, 1, 8), "f4")
    x[0, 0, 2] = math.inf
    y = backend.to_numpy(ops.interpolate(backend.tensor(x), 16, mode="linear"))[0, 0]
    assert (y[3:7] == math.inf).all() and (np.delete(y, [3, 4, 5, 6]) == 0).all()


def test_integers_have_neighbours(backend):
    x = backend.tensor([[[1, 2, 3]]], "int64")
    y = ops.interpolate(x, 4)
    assert y.dtype == x.dtype and backend.to_numpy(y).tolist() == [[[1, 1, 2, 3]]]
    with pytest.raises(TypeError, match="interpolate"):
        ops.interpolate(x, 4, mode="linear")


def test_no_image(backend):
    for mode in ("nearest", "bicubic"):
        x = backend.tensor(np.zeros((0, 2, 3, 3), "f4"), requires_grad=True)
        y = ops.interpolate(x, 4, mode=mode)
        assert y.shape == (0, 2, 4, 4)
        y.sum().backward()


@pytest.mark.parametrize(
    "how, words",
    [
        ({}, "either size or scale_factor"),
        ({"size": 2, "scale_factor": 2}, "either size or scale_factor"),
        ({"size": (2, 2)}, "size must be"),
        ({"size": 0}, "size must be positive"),
        ({"scale_factor": (1, 2)}, "positive number or 1"),
        ({"scale_factor": 0.1}, "one pixel at least.*1, 1, 4"),
        ({"scale_factor": math.nan}, "positive number"),
        ({"size": 2, "mode": "bilinear"}, r"\(N, C, H, W\); x has shape \(1, 1, 4\)"),
        ({"size": 2, "mode": "lanczos"}, "not one of nearest"),
        ({"size": 2, "align_corners": True}, "align_corners"),
        ({"size": 2, "antialias": True}, "antialias"),
        ({"size": 2, "recompute_scale_factor": True}, "recompute_scale_factor"),
    ],
)
def test_what_cannot_be_is_said(how, words):
    with pytest.raises(ValueError, match=words):
        ops.interpolate(nnx.ones((1, 1, 4)), **how)


def test_pixel_shuffle_as_pytorch(backend):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    for shape, r in itertools.product([(8, 6, 4), (2, 3, 36, 2, 6)], (1, 2)):
        x = RNG.standard_normal(shape)
        for name in ("pixel_shuffle", "pixel_unshuffle"):
            factor = {f"{'down' if 'un' in name else 'up'}scale_factor": r}
            ours, theirs = (
                partial(getattr(ops, name), **factor),
                partial(getattr(F, name), **factor),
            )
            assert_same(backend, ours, theirs, x)


def test_pixel_shuffle_errors():
    with pytest.raises(ValueError, match=r"r² = 4; x has shape \(3, 2, 2"):
        ops.pixel_shuffle(nnx.ones((3, 2, 2)), 2)
    with pytest.raises(ValueError, match=r"r = 2; x has shape \(1, 3, 2"):
        ops.pixel_unshuffle(nnx.ones((1, 3, 2)), 2)
    with pytest.raises(ValueError, match="upscale_factor"):
        ops.pixel_shuffle(nnx.ones((4, 2, 2)), 0)

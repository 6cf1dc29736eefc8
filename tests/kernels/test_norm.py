"""kernels/norm_batch.cu and kernels/norm_layer.cu against the portable normalisation."""

from __future__ import annotations

import numpy as np
import pytest

# The kernels merge means and squared deviations in pairs, the twin adds up in NumPy's order: a few
# roundings of sums of at most some thousand terms.
RTOL = {"float32": 5e-6, "float64": 1e-14}
EPS = 1e-5

# (N, C, ...): with one position a channel, with a few, with more than a block, with a cut plane
SHAPES = [
    (3, 1),
    (31, 33),
    (300, 40),
    (2, 3, 1, 2),
    (5, 2, 31),
    (3, 2, 4, 8),
    (9, 3, 33),
    (2, 2, 17, 19),
    (2, 1, 2050),
    (700, 1, 3),
]


def values(shape: tuple[int, ...], real: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(real)


def forward_and_backward(name, needs=(True, True, True), groups=None):
    def body(b, x, gy, *affine):
        weight, bias = affine if affine else (None, None)
        extra = () if groups is None else (groups,)
        *results, saved = getattr(b, name)(x, weight, bias, *extra, EPS)
        return results, getattr(b, f"{name}_backward")(gy, saved, needs)

    return body


@pytest.mark.kernels(
    "channel_moments",
    "merge_moments",
    "channel_normalize",
    "channel_sums",
    "merge_sums",
    "batch_norm_backward",
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm(cuda, real, shape):
    x, gy = values(shape, real), values(shape, real, 1)
    weight, bias = values(shape[1:2], real, 2), values(shape[1:2], real, 3)
    body = forward_and_backward("batch_norm")
    cuda.agree(body, x, gy, weight, bias, rtol=RTOL[real])


@pytest.mark.in_half("channel_moments", "channel_normalize", "channel_sums", "batch_norm_backward")
@pytest.mark.parametrize("weights", ["float32", "float16"])
@pytest.mark.parametrize("shape", [(31, 33), (9, 3, 33), (2, 1, 2050)], ids=str)
def test_batch_norm_in_half(cuda, shape, weights):
    """Statistics are in float32, of numbers whose sum float16 does not have."""
    x, gy = values(shape, "float16") + np.float16(10), values(shape, "float16", 1)
    weight, bias = values(shape[1:2], weights, 2), values(shape[1:2], weights, 3)
    body = forward_and_backward("batch_norm")
    got = cuda.agree(body, x, gy, weight, bias, rtol=2e-5)
    assert [str(a.dtype) for a in got] == [
        "float16",
        "float32",
        "float32",
        "float16",
        *[weights] * 2,
    ]


def test_batch_norm_without_weights(cuda, real):
    x, gy = values((4, 3, 5), real), values((4, 3, 5), real, 1)
    body = forward_and_backward("batch_norm", (True, False, False))
    cuda.agree(body, x, gy, rtol=RTOL[real])


@pytest.mark.parametrize("needs", [(False, True, True), (True, False, True), (False, True, False)])
def test_only_the_needed_gradients(cuda, needs):
    x, gy, weight = values((4, 3), "float64"), values((4, 3), "float64", 1), np.ones(3)
    for name, affine in (("batch_norm", weight), ("layer_norm", weight)):
        body = forward_and_backward(name, needs)
        got = body(cuda.backend, *map(cuda.asarray, (x, gy, affine, affine)))[1]
        assert [g is not None for g in got] == list(needs)


@pytest.mark.parametrize("shape", [(300, 2), (5, 2, 100)])
def test_a_large_mean_does_not_cancel(cuda, shape):
    """Mean 10^4, deviation 1: the sum of squares less the squared mean would have no digit left."""
    x = np.random.default_rng(0).standard_normal(shape) + 1e4
    exact = np.var(x.astype("float32").astype("float64"), axis=(0, *range(2, len(shape))))
    variance = cuda.backend.batch_norm(cuda.asarray(x.astype("float32")), None, None, EPS)[2]
    np.testing.assert_allclose(cuda.backend.to_numpy(variance), exact, rtol=1e-3)


@pytest.mark.kernels("row_normalize", "row_normalize_backward", "channel_sums", "merge_sums")
@pytest.mark.parametrize("shape", [(1, 1), (3, 31), (33, 32), (2, 300), (70, 5)], ids=str)
def test_layer_norm(cuda, real, shape):
    x, gy = values(shape, real), values(shape, real, 1)
    weight, bias = values(shape[1:], real, 2), values(shape[1:], real, 3)
    if shape[1] == 1:
        x[:] = 3  # its own mean, exactly: a deviation of rounding errors would be noise
    cuda.agree(forward_and_backward("layer_norm"), x, gy, weight, bias, rtol=RTOL[real])


@pytest.mark.in_half("row_normalize", "row_normalize_backward")
@pytest.mark.parametrize("weights", ["float32", "float16"])
def test_rows_in_half(cuda, weights):
    for name, shape, groups in (("layer_norm", (33, 32), None), ("group_norm", (3, 6, 5), 2)):
        x, gy = values(shape, "float16") + np.float16(10), values(shape, "float16", 1)
        weight, bias = values(shape[1:2], weights, 2), values(shape[1:2], weights, 3)
        cuda.agree(forward_and_backward(name, groups=groups), x, gy, weight, bias, rtol=2e-5)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(3, 6, 4), (2, 6, 5, 7), (1, 6, 33)], ids=str)
def test_group_norm(cuda, real, shape, groups):
    x, gy = values(shape, real), values(shape, real, 1)
    weight, bias = values(shape[1:2], real, 2), values(shape[1:2], real, 3)
    body = forward_and_backward("group_norm", groups=groups)
    cuda.agree(body, x, gy, weight, bias, rtol=RTOL[real])


@pytest.mark.parametrize("name", ["layer_norm", "group_norm"])
def test_rows_without_weights(cuda, real, name):
    x, gy = values((4, 6), real), values((4, 6), real, 1)
    groups = 2 if name == "group_norm" else None
    body = forward_and_backward(name, (True, False, False), groups)
    cuda.agree(body, x, gy, rtol=RTOL[real])


@pytest.mark.parametrize(
    "name,groups", [("batch_norm", None), ("layer_norm", None), ("group_norm", 2)]
)
def test_what_does_not_suit_uses_the_twin(cuda, name, groups):
    """Weights of another dtype, and arrays without elements."""
    x, gy, weight = values((3, 4), "float32"), values((3, 4), "float32", 1), np.ones(4)
    cuda.agree(forward_and_backward(name, groups=groups), x, gy, weight, weight, rtol=1e-6)
    if name != "batch_norm":  # which has no mean of nothing
        empty, weight = np.empty((0, 4), "float32"), weight.astype("float32")
        cuda.agree(forward_and_backward(name, groups=groups), empty, empty, weight, weight)
    assert not cuda.launched


@pytest.mark.kernels("track_moments")
@pytest.mark.parametrize("channels", [1, 33, 300])
def test_running_statistics(cuda, real, channels):
    old, new = (values((2, channels), real, seed) for seed in (0, 1))

    def body(b, mean, variance, new_mean, new_variance):
        # copies, as the kernel owns what it moves
        running = [b.xp.asarray(a, copy=True) for a in (mean, variance)]
        count = b.from_numpy(np.array(2, np.int64))
        return b.track_moments_((*running, count), new_mean, new_variance, 0.1, 1.25)

    cuda.agree(body, *old, *new, rtol={"float32": 3e-7, "float64": 1e-15}[real])


def test_running_statistics_that_are_no_vector_in_memory(cuda):
    """What is written in place cannot be copied first."""
    old, new = values((2, 10), "float32"), values((2, 5), "float32", 1)

    def body(b, mean, variance, new_mean, new_variance):
        running = [b.xp.asarray(a, copy=True)[::2] for a in (mean, variance)]
        count = b.from_numpy(np.array(2, np.int64))
        return b.track_moments_((*running, count), new_mean, new_variance, 0.1, 1.25)

    cuda.agree(body, *old, *new, rtol=3e-7)
    assert not cuda.launched

"""The quantile, its logarithm and the distributions drawn through them."""

import hashlib
import math
from statistics import NormalDist

import numpy as np
import pytest

from nnx.random import Generator
from nnx.random.normal import distribution, log, lower_quantile, quantile

PHI = NormalDist().cdf


def kolmogorov_smirnov(x, cdf):
    """sqrt(n) times the largest gap between the empirical distribution and `cdf`."""
    x = np.sort(x)
    n = len(x)
    expected = np.asarray([cdf(v) for v in x.tolist()])
    above = np.max(np.arange(1, n + 1) / n - expected)
    below = np.max(expected - np.arange(n) / n)
    return math.sqrt(n) * max(above, below)


KS_LIMIT = 1.95  # exceeded once in 1,000 seeds


def test_log_is_within_three_units_in_the_last_place():
    rng = np.random.default_rng(0)
    x = np.concatenate([2.0 ** rng.uniform(-1000, 1000, 2000), rng.uniform(0.5, 2, 2000)])
    expected = np.log(x)
    assert np.all(np.abs(log(x) - expected) <= 3 * np.spacing(np.abs(expected)))
    assert log(np.asarray([1.0]))[0] == 0.0


def test_quantile_agrees_with_the_standard_library():
    rng = np.random.default_rng(0)
    p = np.concatenate([rng.random(2000), 2.0 ** -rng.uniform(1, 900, 500), [0.075, 0.5]])
    expected = np.asarray([NormalDist().inv_cdf(v) for v in p])
    np.testing.assert_allclose(quantile(p), expected, rtol=2e-15, atol=1e-17)


def test_quantile_is_continuous_where_its_pieces_meet():
    for p in (0.075, math.exp(-25)):
        step = 1e-10 * p
        below, above = quantile([p - step, p + step])
        slope = math.sqrt(2 * math.pi) * math.exp(below**2 / 2)
        assert above - below == pytest.approx(2 * step * slope, rel=1e-3)


def test_quantile_is_odd_and_keeps_the_shape():
    p = np.asarray([[0.25, 0.5], [2.0**-40, 0.125]])
    np.testing.assert_array_equal(quantile(1 - p), -quantile(p))
    assert quantile(0.5).shape == () and quantile(0.5) == 0.0


@pytest.mark.parametrize("x", [0.0, -1e-9, -0.3, -1.0, -5.0, -20.0, -36.9])
def test_distribution_inverts_the_quantile(x):
    p = distribution(x)
    assert p == pytest.approx(0.5 * math.erfc(-x / math.sqrt(2)), rel=1e-12)
    assert lower_quantile(np.asarray([p]))[0] >= x > lower_quantile(np.asarray([p * (1 - 1e-14)]))


def test_distribution_ends_at_37():
    assert distribution(-50.0) == distribution(-37.5) == pytest.approx(5.7e-300, rel=0.01)


def test_normals_follow_the_distribution():
    z = Generator(1).normal(20_000, dtype="float64")
    assert kolmogorov_smirnov(z, PHI) < KS_LIMIT
    n = len(z)
    # Standard errors of the first four moments of n draws.
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)


def test_tails_have_their_share():
    z = Generator(2).normal(2_000_000, dtype="float32")
    for limit in (2.0, 3.0, 4.0):
        for tail in (z > limit, z < -limit):
            expected = PHI(-limit) * z.size
            assert abs(tail.sum() - expected) < 4 * math.sqrt(expected), limit


def test_mean_and_standard_deviation():
    plain = Generator(3).normal((50, 2), dtype="float64")
    moved = Generator(3).normal((50, 2), mean=-2.0, std=0.5, dtype="float64")
    np.testing.assert_array_equal(moved, -2.0 + 0.5 * plain)
    assert np.all(Generator(3).normal(5, mean=7.0, std=0.0) == 7.0)


def test_float32_is_float64_rounded():
    wide = Generator(4).normal(1000, 1.0, 3.0, dtype="float64")
    narrow = Generator(4).normal(1000, 1.0, 3.0)
    assert narrow.dtype == np.float32
    np.testing.assert_array_equal(narrow, wide.astype(np.float32))


def test_the_bits_are_the_same_on_every_machine():
    """Digests of draws from seed 0: a machine on which they differ breaks the promise."""
    draws = {
        "normal": Generator(0).normal(100_000, dtype="float64"),
        "truncated": Generator(0).truncated_normal(100_000, dtype="float64"),
    }
    digests = {k: hashlib.sha256(v.astype("<f8").tobytes()).hexdigest() for k, v in draws.items()}
    assert digests == {
        "normal": "5d9819a6ccb2d11a732876d50ac342348a553885af5f546d1b2bc4d7bda652ff",
        "truncated": "c2fbaaf90be500f29df5a12a8815b77e025c03efb0e7179f4367fd6eec8ee202",
    }


@pytest.mark.parametrize(
    ("low", "high"), [(-2.0, 2.0), (-1.0, 3.0), (0.5, 0.6), (-9.0, -3.0), (6.0, 7.0), (-30.0, 30.0)]
)
def test_truncated_normals(low, high):
    """Against the distribution given the interval; `erfc` keeps its digits in the lower tail."""
    mean, std = 1.0, 2.0
    x = Generator(5).truncated_normal(
        5000, mean, std, mean + std * low, mean + std * high, "float64"
    )
    z = (x - mean) / std
    assert z.min() >= low - 1e-12 and z.max() <= high + 1e-12
    if low > 0:
        z, low, high = -z, -high, -low

    def phi(v):
        return 0.5 * math.erfc(-v / math.sqrt(2))

    whole = phi(high) - phi(low)
    assert kolmogorov_smirnov(z, lambda v: (phi(v) - phi(low)) / whole) < KS_LIMIT


def test_truncated_normals_stay_inside_in_float32():
    low, high = np.float32(-0.1), np.float32(0.3)
    x = Generator(6).truncated_normal(10_000, 0.0, 1.0, float(low), float(high))
    assert x.dtype == np.float32
    assert x.min() >= low and x.max() <= high


def test_truncated_normals_stay_inside_where_sums_round():
    """Bounds a few units in the last place apart: mean + std z alone would step over the upper."""
    low, high = 0.029735078126139902, 0.02973507812613992
    x = Generator(6).truncated_normal(
        200, 0.2019100019601099, 0.18681487221489415, low, high, "float64"
    )
    assert low <= x.min() and x.max() <= high


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"std": -1.0}, "normal: std must not be negative, got -1.0"),
        ({"std": math.nan}, "normal: std must not be negative, got nan"),
        ({"dtype": "float16"}, 'normal: dtype must be "float32" or "float64", got \'float16\''),
        ({"shape": (2, -1)}, r"normal: the shape must not be negative, got \(2, -1\)"),
    ],
)
def test_normal_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Generator().normal(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"std": 0.0}, "truncated_normal: std must be positive, got 0.0"),
        ({"low": 1.0, "high": 1.0}, "truncated_normal: low must be less than high; low 1.0"),
        ({"low": 38.0, "high": 40.0}, "lies more than 37 std from the mean; mean 0.0, std 1.0"),
        ({"low": -40.0, "high": -38.0}, "lies more than 37 std from the mean"),
    ],
)
def test_truncated_normal_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        Generator().truncated_normal(**arguments)

"""`Generator`: the same draws on every backend, its state, and what is drawn."""

import itertools
import json
import math
import types
from collections import Counter

import numpy as np
import pytest

import nnx
from nnx import random
from nnx.backends import Backend, dtype_name
from nnx.random import Generator

DRAWS = {
    "random_bits": lambda g: g.random_bits(1001),
    "uniform": lambda g: g.uniform((7, 11)),
    "uniform bounds": lambda g: g.uniform((7, 11), -0.3, 1.7),
    "normal": lambda g: g.normal((5, 3), 1.0, 2.0),
    "truncated_normal": lambda g: g.truncated_normal((5, 3)),
    "bernoulli": lambda g: g.bernoulli(0.3, (40, 5)),
    "integers": lambda g: g.integers(-3, 9, (4, 5)),
    "permutation": lambda g: g.permutation(50),
    "choice": lambda g: g.choice(9, (4, 2)),
    "choice without": lambda g: g.choice(9, 6, replace=False),
}


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_bits_on_every_backend(backend, name):
    generator = Generator(77)
    actual = DRAWS[name](generator)
    assert type(actual) is type(backend.asarray([0.0]))
    with nnx.use_backend("numpy"):
        other = Generator(77)
        expected = DRAWS[name](other)
    assert dtype_name(actual.dtype) == dtype_name(expected.dtype)
    np.testing.assert_array_equal(backend.to_numpy(actual), expected)
    assert generator.state() == other.state()


def test_float64_uniforms_on_every_backend(backend):
    backend.skip_without_float64()
    actual = Generator(8).uniform(100, 2.0, 5.0, "float64")
    with nnx.use_backend("numpy"):
        expected = Generator(8).uniform(100, 2.0, 5.0, "float64")
    assert dtype_name(actual.dtype) == "float64"
    np.testing.assert_array_equal(backend.to_numpy(actual), expected)


@pytest.mark.parametrize("name", DRAWS)
def test_state_saved_and_restored(name):
    generator = Generator(2**63 + 5).fork("here")
    generator.random_bits(3)
    state = json.loads(json.dumps(generator.state()))
    first = DRAWS[name](generator)
    second = DRAWS[name](generator)
    assert not np.array_equal(first, second)
    other = Generator()
    other.set_state(state)
    np.testing.assert_array_equal(DRAWS[name](other), first)
    np.testing.assert_array_equal(DRAWS[name](other), second)


def test_the_first_words_of_a_seed():
    """The key is the seed, the first block counter 0: the published vector once more."""
    words = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert Generator(0).random_bits(4).tolist() == words
    key, counter = Generator(0x29F31D0A4093822).reserve(0)
    assert key == (0xA4093822, 0x29F31D0) and counter == 0


def test_a_library_without_wide_integers_is_told():
    """JAX gives int32 for int64, unless told otherwise."""
    xp = types.SimpleNamespace(**vars(np))
    xp.arange = lambda *args, dtype, device: np.arange(*args, dtype="int32")
    with pytest.raises(RuntimeError, match="this library gives int32 for int64; with JAX, set"):
        Backend(xp, "narrow")._philox_words((0, 0), 0, 3, None)


def test_a_draw_uses_whole_blocks():
    generator = Generator(1)
    stream = Generator(1).random_bits(20)
    assert generator.state()["position"] == 0
    for n, start, position in [(1, 0, 1), (4, 4, 2), (5, 8, 4), (0, 16, 4), (3, 16, 5)]:
        np.testing.assert_array_equal(generator.random_bits(n), stream[start : start + n])
        assert generator.state()["position"] == position


def test_the_seed_chooses_the_draws():
    seeds = [0, 1, 2, 2**32, 2**32 + 1, 2**64 - 1]
    draws = {tuple(Generator(s).random_bits(4).tolist()) for s in seeds}
    assert len(draws) == len(seeds)
    generator = Generator(5)
    first = generator.random_bits(9)
    generator.seed(5)
    np.testing.assert_array_equal(generator.random_bits(9), first)


def test_forks_are_streams_of_their_own():
    root = Generator(3)
    before = root.state()
    names = [(), ("a",), ("b",), ("a", 0), ("a", 1), ("a", "1"), ("a1",), (1,)]
    forks = [root.fork(*name) for name in names]
    forks.append(root.fork("a").fork("a"))
    streams = {f.state()["stream"] for f in forks}
    assert len(streams) == len(forks) and 0 not in streams
    assert root.state() == before
    assert {f.state()["key"] for f in forks} == {3}
    words = np.concatenate([f.random_bits(4000) for f in [root, *forks]])
    pairs = words.astype(np.uint64)[0::2] << np.uint64(32) | words[1::2]
    assert len(np.unique(pairs)) == len(pairs)  # streams that met would repeat whole runs


def test_a_fork_does_not_depend_on_what_was_drawn():
    generator = Generator(3)
    first = generator.fork("x").random_bits(5)
    generator.random_bits(100)
    np.testing.assert_array_equal(generator.fork("x").random_bits(5), first)


def test_streams_never_share_a_counter():
    """The low half of the counter wraps without touching the half that numbers the stream."""
    generator = Generator(0)
    generator.set_state({"key": 0, "stream": 7, "position": 2**64 - 1})
    key, counter = generator.reserve(8)
    assert (key, counter) == ((0, 0), (7 << 64) + 2**64 - 1)
    assert generator.state() == {"key": 0, "stream": 7, "position": 1}
    generator.set_state({"key": 0, "stream": 7, "position": 2**64 - 1})
    drawn = generator.random_bits(8)
    generator.set_state({"key": 0, "stream": 7, "position": 0})
    np.testing.assert_array_equal(drawn[4:], generator.random_bits(4))


def test_the_shared_generator():
    nnx.random.manual_seed(4)
    a = random.uniform(5)
    b = random.normal((2, 2))
    assert nnx.random.manual_seed(4) is random.default_generator()
    np.testing.assert_array_equal(random.uniform(5), a)
    np.testing.assert_array_equal(random.normal((2, 2)), b)
    random.manual_seed(0)


# ---- distributions ----


def chi_square(counts, expected):
    counts = np.asarray(counts)
    assert counts.sum() == pytest.approx(np.sum(expected * np.ones(counts.shape)))
    return float(np.sum((counts - expected) ** 2 / expected))


def chi_square_limit(cells):
    """About the value exceeded once in 1,000 seeds (Wilson and Hilferty's approximation)."""
    k = cells - 1
    return k * (1 - 2 / (9 * k) + 3.09 * math.sqrt(2 / (9 * k))) ** 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniforms_are_uniform(dtype):
    u = Generator(1).uniform(100_000, dtype=dtype)
    assert u.dtype == dtype
    assert 0.0 <= u.min() and u.max() < 1.0
    u = np.sort(u.astype(np.float64))
    n = len(u)
    gap = max(np.max(np.arange(1, n + 1) / n - u), np.max(u - np.arange(n) / n))
    assert math.sqrt(n) * gap < 1.95
    plane = Generator(2).uniform((100_000, 2), dtype=dtype)  # neighbours are independent
    cells, _, _ = np.histogram2d(plane[:, 0], plane[:, 1], bins=20, range=[[0, 1], [0, 1]])
    assert chi_square(cells, 250.0) < chi_square_limit(400)


def test_every_bit_of_the_words_is_fair():
    words = Generator(3).random_bits(50_000)
    for bit in range(32):
        ones = int(((words >> np.uint32(bit)) & np.uint32(1)).sum())
        assert abs(ones - 25_000) < 4 * math.sqrt(12_500), bit


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_bounds(dtype):
    u = Generator(4).uniform(10_000, -3.0, 5.0, dtype)
    assert u.dtype == dtype
    assert -3.0 <= u.min() < -2.9 and 4.9 < u.max() < 5.0
    narrow = Generator(4).uniform(100_000, 1.0, 1.0 + 2.0**-20, dtype)  # sums round up often
    assert narrow.min() >= 1.0 and narrow.max() < 1.0 + 2.0**-20
    assert Generator(4).uniform().shape == () and Generator(4).uniform((2, 0)).shape == (2, 0)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.875, 1.0])
def test_bernoulli(p):
    n = 100_000
    mask = Generator(5).bernoulli(p, n)
    assert mask.dtype == bool
    assert abs(int(mask.sum()) - n * p) <= 4 * math.sqrt(n * p * (1 - p))


@pytest.mark.parametrize(
    ("low", "high"), [(0, 6), (-5, 5), (10, 11), (0, 256), (-(2**63), -(2**63) + 3)]
)
def test_integers_are_uniform(low, high):
    n = 400 * (high - low)
    k = Generator(6).integers(low, high, n)
    assert k.dtype == np.int64
    assert k.min() >= low and k.max() < high
    if high - low > 1:
        counts = np.unique(k, return_counts=True)[1]
        assert chi_square(counts, 400.0) < chi_square_limit(high - low)


@pytest.mark.parametrize("span", [3 * 2**30, 2**32, 2**32 + 1, 3 * 2**61, 2**64])
def test_integers_of_a_wide_range(span):
    """Thirds of the range; a bare modulo would favour the low ones of 3 * 2^30 and 3 * 2^61."""
    low = -(2**63) if span == 2**64 else -5
    k = Generator(7).integers(low, low + span, 30_000)
    thirds = Counter(((int(v) - low) * 3 // span) for v in k)
    assert set(thirds) == {0, 1, 2}
    assert chi_square([thirds[t] for t in range(3)], 10_000.0) < chi_square_limit(3)


def test_integers_throw_away_what_would_be_a_bias():
    """For a range of 3 * 2^30 a quarter of the words is unusable; the rest, in order, is used."""
    span = 3 * 2**30
    words = Generator(8).random_bits(200).astype(np.int64)
    expected = words[words < span]
    actual = Generator(8).integers(0, span, 100)
    first = expected[: int((words[:100] < span).sum())]
    np.testing.assert_array_equal(actual[: len(first)], first)
    assert len(first) < 100


def test_integers_with_one_bound():
    np.testing.assert_array_equal(
        Generator(9).integers(10, shape=(3, 4)), Generator(9).integers(0, 10, (3, 4))
    )
    assert Generator(9).integers(5).shape == ()


@pytest.mark.parametrize("n", [0, 1, 2, 10, 1000])
def test_a_permutation_has_every_number_once(n):
    order = Generator(10).permutation(n)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_every_permutation_is_equally_likely():
    generator = Generator(11)
    counts = Counter(tuple(generator.permutation(4).tolist()) for _ in range(4800))
    assert set(counts) == set(itertools.permutations(range(4)))
    assert chi_square(list(counts.values()), 200.0) < chi_square_limit(24)


def test_equal_keys_are_drawn_again():
    """Words made up so that the first set of keys has a tie."""
    from nnx.random.host import permutation

    draws = iter([[5, 1, 5, 1, 9, 0], [3, 0, 1, 0, 2, 0]])
    order = permutation(lambda n: np.asarray(next(draws), np.uint32), 3)
    assert order.tolist() == [1, 2, 0]


def test_choice_without_replacement_is_a_start_of_a_permutation():
    for n, k in [(5, 5), (10, 3), (1, 1), (4, 0)]:
        drawn = Generator(12).choice(n, k, replace=False)
        assert len(set(drawn.tolist())) == k
        assert all(0 <= v < n for v in drawn.tolist())
    counts = Counter(
        frozenset(Generator(s).choice(5, 2, replace=False).tolist()) for s in range(2000)
    )
    assert chi_square(list(counts.values()), 200.0) < chi_square_limit(10)


def test_choice_with_replacement_repeats():
    drawn = Generator(13).choice(3, (100, 10))
    assert drawn.shape == (100, 10) and set(np.unique(drawn)) == {0, 1, 2}


def test_beside_an_array(backend):
    """`like` decides the library and the device, whatever the active backend."""
    like = backend.asarray(np.zeros(3, np.float32))
    with nnx.use_backend("numpy"):
        mask = Generator(1).bernoulli(0.5, (3, 4), like=like)
        u = Generator(1).uniform((3, 4), -1.0, 1.0, like=like)
        expected = Generator(1).bernoulli(0.5, (3, 4)), Generator(1).uniform((3, 4), -1.0, 1.0)
    for actual, e in zip((mask, u), expected, strict=True):
        assert type(actual) is type(like) and actual.device == like.device
        np.testing.assert_array_equal(backend.to_numpy(actual), e)


# ---- errors ----


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: Generator(-1), r"seed must be between 0 and 2\^64 - 1, got -1"),
        (
            lambda g: g.seed(2**64),
            r"seed must be between 0 and 2\^64 - 1, got 18446744073709551616",
        ),
        (lambda g: g.set_state({"key": 1}), "expected the keys key, stream and position, got key"),
        (
            lambda g: g.set_state({"key": 1, "stream": 0, "position": -1}),
            "set_state: position must be between",
        ),
        (lambda g: g.random_bits(-1), "random_bits: the number of draws must not be negative"),
        (
            lambda g: g.uniform(3, 1.0, 1.0),
            "uniform: low must be less than high.*low 1.0, high 1.0",
        ),
        (lambda g: g.uniform(3, 0.0, math.inf), "uniform: low must be less than high"),
        (lambda g: g.uniform(3, -3e38, 3e38), "both finite in float32, as must be"),
        (lambda g: g.uniform(3, math.nan, 1.0), "uniform: low must be less than high"),
        (lambda g: g.uniform(3, dtype="int32"), 'dtype must be "float32" or "float64"'),
        (lambda g: g.bernoulli(1.5, 3), "bernoulli: p must be between 0 and 1, got 1.5"),
        (lambda g: g.bernoulli(math.nan, 3), "bernoulli: p must be between 0 and 1, got nan"),
        (lambda g: g.integers(3, 3), "integers: low must be less than high; low 3, high 3"),
        (lambda g: g.integers(0), "integers: low must be less than high; low 0, high 0"),
        (lambda g: g.integers(0, 2**63 + 1), "integers: the range must fit into int64"),
        (lambda g: g.permutation(-2), "permutation: the number of draws must not be negative"),
        (lambda g: g.choice(0), "choice: there must be something to choose from, got n = 0"),
        (
            lambda g: g.choice(3, 4, replace=False),
            r"no more than n can be drawn; n 3, shape \(4,\)",
        ),
    ],
)
def test_errors(call, message):
    generator = Generator(1)
    before = generator.state()
    with pytest.raises(ValueError, match=message):
        call(generator)
    assert generator.state() == before


@pytest.mark.parametrize("seed", [1.5, "1", None])
def test_a_seed_is_an_integer(seed):
    with pytest.raises(TypeError):
        Generator(seed)

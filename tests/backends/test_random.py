"""Philox on every backend, against published vectors and the definition in plain Python."""

from functools import cache

import numpy as np
import pytest

from nnx.backends import dtype_name
from nnx.backends.cpu import random
from nnx.backends.cpu.memory import keeping_nothing
from nnx.backends.numpy import NumpyBackend

# Random123's known answers for philox4x32 with 10 rounds: key, counter, the block's four words.
KNOWN = [
    ((0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 2, 2**128 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0xA4093822, 0x299F31D0),
        0x03707344_13198A2E_85A308D3_243F6A88,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
CONSTANTS = {  # word width -> multipliers, key steps
    32: ((0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)),
    64: (
        (0xD2E7470EE14C6C93, 0xCA5A826395121157),
        (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B),
    ),
}


def philox_block(key, counter, width):
    """One block of Philox-4xW-10, as the paper defines it, in unbounded integers."""
    (m0, m1), (s0, s1) = CONSTANTS[width]
    top = 2**width
    c = [counter >> (width * k) & (top - 1) for k in range(4)]
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(m0 * c[0], top)
        high1, low1 = divmod(m1 * c[2], top)
        c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0]
        k0, k1 = (k0 + s0) % top, (k1 + s1) % top
    return c


@cache
def reference(key, counter, n):
    """n words of a draw: the low 64 bits of the counter count, the high 64 stay."""
    stream, position = divmod(counter, 2**64)
    words = []
    for b in range(-(-n // 4)):
        words += philox_block(key, stream << 64 | (position + b) % 2**64, 32)
    return np.asarray(words[:n], np.uint32)


@pytest.mark.parametrize("first", [0, 5, 250, 255, 2**64 + 254])
def test_small_draws_are_the_words_wherever_they_begin(first, backend):
    """NumPy draws ahead and hands out parts: also across the end of what was drawn together."""
    key = (7, 11)
    for n in (1, 4, 9, 33):
        for _ in range(2):  # the second time from what is kept
            words = backend.to_numpy(backend.backend.philox(key, first, n))
            np.testing.assert_array_equal(words, reference(key, first, n))


def test_who_writes_into_a_draw_changes_no_other():
    home = NumpyBackend()
    words = home.philox((3, 4), 8, 16)
    before = words.copy()
    words[:] = 0
    np.testing.assert_array_equal(home.philox((3, 4), 8, 16), before)


def test_nothing_is_drawn_ahead_where_memory_is_measured():
    random._drawn.clear()
    with keeping_nothing():
        NumpyBackend().philox((5, 6), 0, 8)
    assert not random._drawn


def test_the_reference_at_width_64_is_numpys_philox():
    key, counter = (3**40, 5**27), 7**60
    numpy = np.random.Philox(counter=counter, key=key[0] | key[1] << 64)
    expected = numpy.random_raw(12)  # NumPy counts before each block, so its first is counter + 1
    actual = [w for b in (1, 2, 3) for w in philox_block(key, counter + b, 64)]
    np.testing.assert_array_equal(np.asarray(actual, np.uint64), expected)


@pytest.mark.parametrize(("key", "counter", "words"), KNOWN)
def test_known_answers(backend, key, counter, words):
    actual = backend.backend.philox(key, counter, 4)
    assert dtype_name(actual.dtype) == "uint32"
    assert tuple(backend.to_numpy(actual)) == words


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 401])
@pytest.mark.parametrize("counter", [0, 2**32 - 2, 2**64 - 3, (9 << 64) + 5, (2**64 - 1) << 64])
def test_any_length_and_counter(backend, n, counter):
    """Also where the count runs over a word, or over the end of the stream: it wraps there."""
    actual = backend.backend.philox((11, 2**31 + 7), counter, n)
    assert tuple(actual.shape) == (n,)
    np.testing.assert_array_equal(backend.to_numpy(actual), reference((11, 2**31 + 7), counter, n))


def test_a_long_draw_has_no_seams(backend):
    """Longer than the pieces a tuned kernel works in, and than numba's threshold."""
    n = 4 * 16384 + 7
    counter = 2**32 - 16384
    words = backend.to_numpy(backend.backend.philox((1, 2), counter, n))
    for block in (0, 8191, 8192, 16383, 16384, 16385):
        expected = philox_block((1, 2), counter + block, 32)
        np.testing.assert_array_equal(words[4 * block : 4 * block + 4], expected[: n - 4 * block])


@pytest.mark.parametrize("n", [0, 1, 6, 300])
def test_uniforms_are_the_words_on_a_grid(backend, n):
    key, counter = (1, 2), (3 << 64) + 4
    u = backend.backend.random_uniform(key, counter, n, "float32")
    assert dtype_name(u.dtype) == "float32"
    expected = [int(w) // 2**8 / 2**24 for w in reference(key, counter, n)]
    np.testing.assert_array_equal(backend.to_numpy(u), np.asarray(expected, np.float32))
    backend.skip_without_float64()
    u = backend.backend.random_uniform(key, counter, n, "float64")
    assert dtype_name(u.dtype) == "float64"
    pairs = reference(key, counter, 2 * n).reshape(n, 2)
    expected = [(int(v) // 2**5 * 2**26 + int(w) // 2**6) / 2**53 for v, w in pairs]
    np.testing.assert_array_equal(backend.to_numpy(u), np.asarray(expected, np.float64))


@pytest.mark.parametrize("threshold", [0, 1, 2**31, 0x6627E8D5, 0x6627E8D6, 2**32 - 1, 2**32])
def test_masks_compare_words_with_the_threshold(backend, threshold):
    mask = backend.backend.random_mask((0, 0), 0, 300, threshold)
    assert dtype_name(mask.dtype) == "bool"
    np.testing.assert_array_equal(
        backend.to_numpy(mask), reference((0, 0), 0, 300).astype(np.int64) < threshold
    )


@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (3, 7, 4), (130, 70)])
@pytest.mark.parametrize("threshold", [0, 3 * 2**30, 2**32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dropout_is_the_mask_and_the_scale(backend, shape, threshold, dtype):
    if dtype == "float64":
        backend.skip_without_float64()
    key, counter = (3, 4), (5 << 64) + 2**32 - 1
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    given = backend.strided(x)
    y = backend.backend.dropout(given, key, counter, threshold, 1.25)
    assert dtype_name(y.dtype) == dtype and tuple(y.shape) == shape
    kept = reference(key, counter, x.size).astype(np.int64).reshape(shape) < threshold
    np.testing.assert_array_equal(
        backend.to_numpy(y), np.where(kept, x * x.dtype.type(1.25), x.dtype.type(0))
    )
    np.testing.assert_array_equal(backend.to_numpy(given), x)


def test_what_is_dropped_is_zero_whatever_it_was(backend):
    x = np.asarray([np.inf, -np.inf, np.nan, -1.0] * 100, np.float32)
    y = backend.to_numpy(backend.backend.dropout(backend.asarray(x), (0, 0), 0, 2**31, 2.0))
    kept = reference((0, 0), 0, 400) < 2**31
    np.testing.assert_array_equal(y[kept], 2 * x[kept])
    assert not np.any(y[~kept]) and not np.any(np.signbit(y[~kept]))


def test_draws_are_made_on_the_device_asked_for(backend):
    if not backend.kind.startswith("strict"):
        pytest.skip("one device only")
    devices = [backend.xp.Device(name) for name in ("CPU_DEVICE", "device1", "no_float64")]
    for device in devices:
        draws = [
            backend.backend.philox((0, 0), 0, 5, device),
            backend.backend.random_uniform((0, 0), 0, 5, "float32", device),
            backend.backend.random_mask((0, 0), 0, 5, 2**31, device),
        ]
        assert [d.device for d in draws] == [device] * 3
    assert backend.backend.philox((0, 0), 0, 5).device == (backend.backend.device or devices[0])

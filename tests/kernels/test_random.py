"""kernels/random.cu against the portable Philox: equal to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from nnx.backends.cuda.launcher import Plan, launch
from nnx.backends.cuda.random import PHILOX, per_four

KEY = (0x12345678, 0xFFFFFFFF)
SIZES = [1, 3, 4, 5, 31, 32, 33, 1023, 1025]
# Near the end of a word of the counter, of its low half (where it wraps), and with a stream.
COUNTERS = [0, 2**32 - 2, 2**64 - 3, (9 << 64) + 5, (2**64 - 1) << 64]


@pytest.mark.kernels("philox")
@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize("n", SIZES)
def test_philox(cuda, n, counter):
    cuda.agree(lambda b: b.philox(KEY, counter, n))


@pytest.mark.kernels("random_uniform")
@pytest.mark.parametrize("counter", COUNTERS[1:4])
@pytest.mark.parametrize("n", SIZES)
def test_uniform(cuda, real, n, counter):
    cuda.agree(lambda b: b.random_uniform(KEY, counter, n, real))


@pytest.mark.kernels("random_mask")
@pytest.mark.parametrize("threshold", [0, 1, 2**31, 2**32 - 1, 2**32])
@pytest.mark.parametrize("n", SIZES)
def test_mask(cuda, n, threshold):
    cuda.agree(lambda b: b.random_mask(KEY, 7, n, threshold))


@pytest.mark.kernels("dropout")
@pytest.mark.parametrize("shape", [(1,), (5, 7), (2, 3, 33), (1025,)])
def test_dropout(cuda, real, shape):
    """The fused kernel draws the mask that random_mask would have given."""
    x = np.random.default_rng(0).standard_normal(shape).astype(real)
    (y,) = cuda.agree(lambda b, x: b.dropout(x, KEY, 3, 3 * 2**30, 1 / 0.75), x)
    mask = cuda.portable.random_mask(KEY, 3, x.size, 3 * 2**30).reshape(shape)
    assert np.array_equal(y != 0, mask)


@pytest.mark.in_half("dropout")
@pytest.mark.parametrize("shape", [(1,), (2, 3, 33), (1025,)])
def test_dropout_in_half(cuda, shape):
    x = np.random.default_rng(0).standard_normal(shape).astype("float16")
    cuda.agree(lambda b, x: b.dropout(x, KEY, 3, 3 * 2**30, 1 / 0.75), x)


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_nothing_to_draw(cuda, shape):
    cuda.agree(lambda b: (b.philox(KEY, 0, 0), b.random_mask(KEY, 0, 0, 5)))
    cuda.agree(lambda b, x: b.dropout(x, KEY, 0, 5, 2.0), np.empty(shape, "float32"))
    assert not cuda.launched


def test_threads_stride_where_the_grid_is_cut_off(cuda):
    """No test draws 2^26 numbers, so the kernel is given a small grid."""
    assert per_four(2**26).grid == per_four(2**40).grid == (65536,)
    few = PHILOX.planned(lambda n: Plan((2,), (32,)))
    words = cuda.asarray(np.zeros(1000, np.uint32))
    draw = {"k0": KEY[0], "k1": KEY[1], "low": 2**64 - 9, "c2": 1, "c3": 0}
    launch(few, cuda.backend.modules, words=words, n=1000, **draw)
    expected = cuda.portable.philox(KEY, (1 << 64) + 2**64 - 9, 1000)
    np.testing.assert_array_equal(cuda.backend.to_numpy(words), expected)


def test_numbers_are_drawn_on_the_device_that_is_asked_for(cuda, monkeypatch):
    """An argument's, else the backend's own; a CUDA device is its own `with` block."""

    class Device:
        def __init__(self):
            self.entered = 0

        def __enter__(self):
            self.entered += 1

        def __exit__(self, *error):
            pass

    own, other = Device(), Device()
    backend = cuda.backend
    monkeypatch.setattr(backend, "device", own)
    for draw in (
        lambda *d: backend.philox(KEY, 0, 4, *d),
        lambda *d: backend.random_uniform(KEY, 0, 4, "float32", *d),
        lambda *d: backend.random_mask(KEY, 0, 4, 5, *d),
    ):
        before = own.entered, other.entered
        draw()
        draw(other)
        assert (own.entered, other.entered) == (before[0] + 1, before[1] + 1)


def test_known_answer(cuda):
    """Random123's: philox4x32 with 10 rounds, all ones."""
    words = cuda.backend.philox((2**32 - 1,) * 2, 2**128 - 1, 4)
    expected = [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert [int(w) for w in cuda.backend.to_numpy(words)] == expected

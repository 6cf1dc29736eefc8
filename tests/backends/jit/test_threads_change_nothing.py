"""Pooling, normalisation and convolutions give the same bits on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from nnx.backends.jit import JitBackend
from nnx.backends.jit.codegen import threads
from nnx.backends.portable.window import Window

NONE = ((0, 0), (0, 0))
WINDOW = Window((3, 3), (2, 2), ((1, 1), (1, 1)))


def batch_norm(k, x, w):
    y, mean, variance, saved = k.batch_norm(x, w, w, 1e-5)
    return y, mean, variance, *k.batch_norm_backward(x * x, saved, (True,) * 3)


def group_norm(k, x, w):
    y, saved = k.group_norm(x, w, w, 2, 1e-5)
    return y, *k.group_norm_backward(x * x, saved, (True,) * 3)


def layer_norm(k, x, w):
    x = x.reshape(-1, len(w))
    y, saved = k.layer_norm(x, w, w, 1e-5)
    return y, *k.layer_norm_backward(x * x, saved, (True,) * 3)


def max_pool(k, x, w):
    y, places = k.max_pool2d(x, WINDOW)
    return y, places, k.max_pool2d_backward(y, places, x.shape, WINDOW)


def avg_pool(k, x, w):
    y = k.avg_pool2d(x, WINDOW, NONE)
    return y, k.avg_pool2d_backward(y, x.shape, WINDOW, NONE)


def conv(k, x, w):
    y, saved = k.conv2d(x, w[:, None, None, None] * w[:, None, None], w, Window((1, 1)), 1)
    return y, *k.conv2d_backward(y * y, saved, (True,) * 3)


def depthwise(k, x, w):
    y, saved = k.conv2d(x, np.tile(w, 9).reshape(len(w), 1, 3, 3), w, WINDOW, len(w))
    return y, *k.conv2d_backward(y * y, saved, (True,) * 3)


def groups(k, x, w):
    y, saved = k.conv2d(x, np.tile(w, 18).reshape(len(w), 2, 3, 3), w, WINDOW, 4)
    return y, *k.conv2d_backward(y * y, saved, (True,) * 3)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    "run", [batch_norm, group_norm, layer_norm, max_pool, avg_pool, conv, depthwise, groups]
)
def test_threads_do_not_change_a_bit(run, last):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((29, 8, 32, 31)).astype("float32")
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    w = rng.standard_normal(8).astype("float32")
    found = []
    for count in (1, 2, 3):
        threads.set_thread_count(count)
        try:
            found.append(run(JitBackend(), x, w))
        finally:
            threads.set_thread_count(None)
    for other in found[1:]:
        for got, alone in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, alone)

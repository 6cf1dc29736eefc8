"""What is computed for one example does not depend on the others in its batch, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_cpu import CpuFactory
from cuda_cpu.under_test import CudaUnderTest

from nnx.backends.cuda.sources import read_source
from nnx.backends.portable.window import Window

RNG = np.random.default_rng(0)
NO_PAD = ((0, 0), (0, 0))
PAIRS = Window((2, 2), (2, 2), NO_PAD)
WINDOW = Window((3, 2), (2, 1), ((1, 1), (0, 1)))


def normal(real, *shape):
    return RNG.standard_normal(shape).astype(real)


@pytest.mark.parametrize("classes", [1, 10, 33, 1500])
def test_softmax_cross_entropy(cuda, real, classes):
    logits = normal(real, 5, classes) * np.array([[1], [30], [0.1], [100], [1]], real)
    targets = RNG.integers(0, classes, 5)
    cuda.rows_alone(lambda b, z, t: b.softmax_cross_entropy(z, t), logits, targets)


def test_layer_norm(cuda, real):
    def body(b, x, gy, weight, bias):
        y, saved = b.layer_norm(x, weight, bias, 1e-5)
        return y, b.layer_norm_backward(gy, saved, (True, False, False))[0]

    scale = np.array([[1], [100], [0.01]], real)
    x, gy = normal(real, 3, 37) * scale, normal(real, 3, 37)
    cuda.rows_alone(body, x, gy, given=(normal(real, 37), normal(real, 37)))


def test_group_norm(cuda, real):
    def body(b, x, gy):
        y, saved = b.group_norm(x, None, None, 2, 1e-5)
        return y, b.group_norm_backward(gy, saved, (True, False, False))[0]

    cuda.rows_alone(body, normal(real, 3, 4, 5, 3), normal(real, 3, 4, 5, 3))


def test_pools_and_columns(cuda, real):
    def body(b, x):
        y, place = b.max_pool2d(x, WINDOW)
        mean = b.avg_pool2d(x, PAIRS, NO_PAD)
        return (
            y,
            b.max_pool2d_backward(y, place, x.shape, WINDOW),
            mean,
            b.avg_pool2d_backward(mean, x.shape, PAIRS, NO_PAD),
            b.im2col(x, WINDOW),
            b.col2im(b.im2col(x, WINDOW), x.shape, WINDOW),
        )

    cuda.rows_alone(body, normal(real, 3, 2, 7, 6))


@pytest.mark.parametrize("hidden", [5, 40])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_sweeps(cuda, real, kind, hidden):
    """Sequences lie along axis 1 of everything but the recurrent weights."""
    gates = {"rnn": 1, "lstm": 4, "gru": 3}[kind] * hidden
    z, h0 = normal(real, 4, 3, 2, gates), normal(real, 2, 3, hidden)
    weight, bias = normal(real, 2, gates, hidden), normal(real, 2, gates)

    def body(b, z, h0, weight, bias):
        if kind == "rnn":
            states, saved = b.rnn_sequence(z, h0, weight, None, "tanh")
            return states, b.rnn_sequence_backward(states, h0, saved)[:2]
        if kind == "lstm":
            states, c_n, saved = b.lstm_sequence(z, h0, h0, weight, None, None)
            return states, c_n, b.lstm_sequence_backward(states, h0, h0, saved)[:3]
        states, saved = b.gru_sequence(z, h0, weight, bias, None, True)
        return states, b.gru_sequence_backward(states, h0, saved)[:2]

    cuda.rows_alone(body, z, h0, axis=1, given=(weight, bias))


def test_a_neighbours_maximum_is_seen():
    """The fault that no twin shows: mathematically it is no fault at all."""
    right = "for (int c = lane; c < classes; c += 32) largest = fmax(largest, z[c]);"
    wrong = "largest = fmax(largest, logits[(row + 1 < rows ? row + 1LL : 0LL) * classes]);"
    text = read_source("loss.cu")
    assert text.count(right) == 1
    under_test = CudaUnderTest("check")
    modules = type(under_test.backend.modules)(
        CpuFactory("check", read=lambda name: text.replace(right, right + wrong)), np.ndarray
    )
    under_test.backend = type(under_test.backend)(np, "numpy", modules)
    logits = normal("float32", 5, 10)
    logits[::2, 0] += 8  # a neighbour's first is larger than all of its own
    with pytest.raises(AssertionError, match="the others of its batch"):
        under_test.rows_alone(
            lambda b, z, t: b.softmax_cross_entropy(z, t), logits, RNG.integers(0, 10, 5)
        )

"""The compiled convolution: the same bits on any number of threads, and no more than is wanted."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from nnx.backends.base import Backend, Residuals
from nnx.backends.cpu.convolution import depthwise as cpu_depthwise
from nnx.backends.jit import JitBackend
from nnx.backends.jit.codegen import threads
from nnx.backends.jit.convolution import conv, depthwise
from nnx.backends.jit.convolution.plan import PARTS, plan, with_gradients
from nnx.backends.numpy import NumpyBackend
from nnx.backends.portable.window import Window


def results(backend, x, weight, bias, window, gy):
    y, saved = backend.conv2d(x, weight, bias, window, 1)
    return [y, *backend.conv2d_backward(gy, saved, (True, True, True))]


@pytest.mark.parametrize("fused", [False, True])
def test_threads_do_not_change_a_bit(fused):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((37, 3, 16, 15)).astype("float32")
    weight = rng.standard_normal((20, 3, 5, 5)).astype("float32")
    bias = rng.standard_normal(20).astype("float32")
    gy = rng.standard_normal((37, 20, 16, 15)).astype("float32")
    window = Window((5, 5), padding=((2, 2), (2, 2)))
    found = []
    for count in (1, 2, 3):
        threads.set_thread_count(count)
        try:
            if fused:
                y, _, _, saved = JitBackend().conv_block2d(
                    x, weight, bias, window, 1, None, True, None
                )
                back = JitBackend().conv_block2d_backward(gy, saved, (True,) * 3 + (False,) * 2)
                found.append([y, *back[:3]])
            else:
                found.append(results(JitBackend(), x, weight, bias, window, gy))
        finally:
            threads.set_thread_count(None)
    for other in found[1:]:
        for got, alone in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(got, alone)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_depthwise_block_is_made_of_its_layers_own_kernels(dtype):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((3, 6, 8, 7)), rng.standard_normal((6, 1, 3, 3))
    x, weight = x.astype(dtype), weight.astype(dtype)
    norm = (*rng.standard_normal((2, 6)).astype(dtype), 1e-5)
    window, pool = Window((3, 3), padding=((1, 1), (1, 1))), Window((2, 2), (2, 2))
    found = []
    for backend in (JitBackend(), NumpyBackend(), Backend(np, "numpy")):
        y, mean, variance, saved = backend.conv_block2d(
            x, weight, None, window, 6, norm, True, pool
        )
        jit = depthwise.Depthwise if dtype == "float32" else cpu_depthwise.Depthwise
        kept = {JitBackend: jit, NumpyBackend: cpu_depthwise.Depthwise}
        assert isinstance(saved[0], kept.get(type(backend), Residuals))
        back = backend.conv_block2d_backward(y, saved, (True, True, False, True, True))
        found.append([y, mean, variance, *(g for g in back if g is not None)])
    for compiled, tuned, wanted in zip(*found, strict=True):
        close = 1e-4 if dtype == "float32" else 1e-9
        np.testing.assert_allclose(compiled, wanted, rtol=close, atol=close)
        np.testing.assert_allclose(tuned, wanted, rtol=close, atol=close)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 40, 1000])
@pytest.mark.parametrize("size", [2, 9, 40])
def test_parts_of_a_batch(n, size):
    p = plan((n, size, size, 3), 8, Window((1, 1)), 1, 4)
    bounds = conv.parts(n, p)
    assert bounds[0] == 0 and bounds[-1] == n and (n == 0 or np.diff(bounds).min() >= 1)
    assert len(bounds) - 1 <= PARTS


@pytest.mark.parametrize("stride", [1, 2])
def test_what_computes_gradients_is_asked_for_when_there_are_some(stride):
    """A plan serves results alone until then: nothing is compiled for gradients nobody wants."""
    pair = (stride, stride)
    p = plan((1, 7, 6, 4), 5, Window((3, 3), pair, ((0, 0), (0, 0)), (1, 1)), 1, 4)
    names = "weight_gradient", "input_by_rotation", "input_by_scattering"
    assert p.convolve and not any(p[name] for name in names)
    with_gradients(p, True, False)
    assert [bool(p[name]) for name in names] == [True, False, False]
    with_gradients(p, False, True)
    assert [bool(p[name]) for name in names] == [True, stride == 1, stride == 2]

"""Sizes that no other test can afford: grids at their limits, offsets beyond 2^31.

Plans are functions, and cost nothing whatever the size.  Kernels are run on arrays of gigabytes
that are reserved and not there: only the grid's last blocks are run, and only what they touch is
given memory.
"""

from __future__ import annotations

import itertools
import math
import mmap

import numpy as np
import pytest
from cuda_cpu import CpuFactory, KernelFault, why_unavailable
from cuda_cpu.available import skip_or_fail

from nnx.backends.cuda import CudaBackend, linear
from nnx.backends.cuda.kernel import MOST_LISTED
from nnx.backends.cuda.launcher import (
    LARGEST_BLOCK,
    LARGEST_GRID,
    REGISTRY,
    Kernel,
    Modules,
    launch,
)
from nnx.backends.cuda.planes import by_plane
from nnx.backends.portable.window import Window

SIZES = (1, 2, 31, 32, 33, 255, 256, 257, 65535, 65536, 10**6, 2**24 + 1, 2**31 - 1)
# More columns are summed by the portable twin.
AT_MOST = {"directions": 2, "hidden": 2**14, "cuts": 2**20, "columns": 32 * LARGEST_GRID[1]}
AT_MOST["count"] = MOST_LISTED  # arrays in one launch
ELEMENTS = 2**37  # of one array: 512 GiB


@pytest.mark.parametrize("name", REGISTRY)
def test_grids_are_within_a_devices_limits(name):
    kernel = REGISTRY[name]
    if kernel.plan_names == ("sizes",):
        cases = [([n] * 64,) for n in SIZES]
    else:
        most = [AT_MOST.get(n, 2**31 - 1) for n in kernel.plan_names]
        few = SIZES if len(most) < 4 else SIZES[::2]
        cases = [
            c
            for c in itertools.product(few, repeat=len(most))
            if all(n <= m for n, m in zip(c, most, strict=True)) and math.prod(c) <= ELEMENTS
        ]
    for case in cases:
        grid, block, _ = kernel.plan(*case)
        what = f"{dict(zip(kernel.plan_names, case, strict=True))}: {grid} blocks of {block}"
        assert all(0 < n <= most for n, most in zip(grid, LARGEST_GRID, strict=False)), what
        assert 0 < math.prod(block) <= LARGEST_BLOCK and math.prod(block) % 32 == 0, what


@pytest.mark.parametrize("planes", [1, 255, 10**6, 2**31 - 1])
@pytest.mark.parametrize("size", SIZES)
def test_every_plane_has_its_threads(planes, size):
    """A thread strides along a plane, and from plane to plane none does."""
    grid, block, _ = by_plane(planes, size)
    assert (grid[0] - 1) * block[1] < planes <= grid[0] * block[1]
    across = grid[1] * block[0]
    assert across >= size or grid[1] == LARGEST_GRID[1]
    assert (grid[1] - 1) * block[0] < size


@pytest.mark.parametrize("n", [1, 255, 2**31 - 1, 2**31, 2**37])
def test_every_element_has_its_thread(n):
    for kernel in (linear.RELU, linear.RELU_BACKWARD, linear.ADD_BIAS):
        grid, block, _ = kernel.plan(n)
        assert (grid[0] - 1) * block[0] < n <= grid[0] * block[0]


# ---- offsets beyond 2^31 ----


def reserved(shape, dtype="float32"):
    """An array whose memory is there once it is touched."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    return np.frombuffer(mmap.mmap(-1, size, flags), dtype).reshape(shape)


class Reserving:
    """NumPy, whose `empty` only reserves."""

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype=None):
        return reserved(shape, dtype) if math.prod(shape) > 2**20 else np.empty(shape, dtype)


@pytest.fixture
def last_blocks():
    skip_or_fail(why_unavailable(), "NNX_REQUIRE_HARNESS")
    return CudaBackend(
        Reserving(), "numpy", Modules(CpuFactory("check", last_blocks=3), np.ndarray)
    )


HUGE = 2**31 + 4096
NO_PAD = ((0, 0), (0, 0))
PAIRS = Window((2, 2), (2, 2), NO_PAD)
RNG = np.random.default_rng(0)


def with_tail(shape, n):
    """A huge array, 0 but for its last n elements, and those."""
    x = reserved(shape)
    tail = RNG.standard_normal(n).astype("float32")
    x.reshape(-1)[-n:] = tail
    return x, tail


def test_relu(last_blocks):
    x, tail = with_tail((HUGE,), 512)
    np.testing.assert_array_equal(last_blocks.relu(x)[-512:], np.maximum(tail, 0))
    g, g_tail = with_tail((HUGE,), 512)
    np.testing.assert_array_equal(
        last_blocks.relu_backward(g, x)[-512:], np.where(tail > 0, g_tail, 0)
    )


def test_bias(last_blocks):
    y, tail = with_tail((HUGE // 256, 256), 512)
    bias = RNG.standard_normal(256).astype("float32")
    launch(linear.ADD_BIAS, last_blocks.modules, y=y, bias=bias, columns=256, n=y.size)
    np.testing.assert_array_equal(y[-2:], tail.reshape(2, 256) + bias)


IMAGES = (2**11 + 1, 1, 1024, 1024)


def test_im2col_and_col2im(last_blocks):
    x, tail = with_tail(IMAGES, 256)
    one = Window((1, 1), (1, 1), NO_PAD)
    np.testing.assert_array_equal(last_blocks.im2col(x, one)[-1, 0, -256:], tail)
    cols = x.reshape(IMAGES[0], 1, -1)
    np.testing.assert_array_equal(last_blocks.col2im(cols, IMAGES, one)[-1, 0, -1, -256:], tail)


def test_pools(last_blocks):
    x, _ = with_tail(IMAGES, 2048)
    pair = x[-1, 0, -2:].reshape(2, 512, 2)
    y, place = last_blocks.max_pool2d(x, PAIRS)
    np.testing.assert_array_equal(y[-1, 0, -1, -256:], pair.max(axis=(0, 2))[-256:])
    mean = last_blocks.avg_pool2d(x, PAIRS, NO_PAD)
    np.testing.assert_allclose(
        mean[-1, 0, -1, -256:], pair.mean(axis=(0, 2))[-256:], rtol=1e-5, atol=1e-6
    )
    gx = last_blocks.max_pool2d_backward(y, place, IMAGES, PAIRS)
    np.testing.assert_array_equal(
        gx[-1, 0, -2:].reshape(2, 512, 2).sum(axis=(0, 2))[-256:], y[-1, 0, -1, -256:]
    )


@pytest.mark.parametrize("classes", [128, 2048])
def test_softmax_cross_entropy(last_blocks, classes):
    rows = HUGE // classes
    logits, _ = with_tail((rows, classes), 3 * 8 * classes)
    targets = reserved((rows,), "int64")
    targets[-24:] = np.arange(24)
    losses, gradient = last_blocks.softmax_cross_entropy(logits, targets)
    from nnx.backends import Backend

    few = Backend(np, "portable").softmax_cross_entropy(logits[-24:], targets[-24:])
    ran = 24 if classes < 1024 else 3
    np.testing.assert_allclose(losses[-ran:], few[0][-ran:], rtol=1e-5)
    np.testing.assert_allclose(gradient[-ran:], few[1][-ran:], atol=1e-6)


def test_layer_norm(last_blocks):
    rows, length = HUGE // 1024, 1024
    x, tail = with_tail((rows, length), 3 * length)
    y, _ = last_blocks.layer_norm(x, None, None, 1e-5)
    x3 = tail.reshape(3, length)
    expected = (x3 - x3.mean(1, keepdims=True)) / np.sqrt(x3.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y.reshape(rows, length)[-3:], expected, atol=1e-5)


def test_an_offset_in_int_is_seen():
    """What these tests are for: a flat index that is right up to 2^31 elements."""
    skip_or_fail(why_unavailable(), "NNX_REQUIRE_HARNESS")
    code = """
    extern "C" __global__ void __launch_bounds__(256) relu(const REAL* x, REAL* y, long long n) {
        const int i = blockIdx.x * blockDim.x + threadIdx.x;
        if (i < n) y[i] = x[i] > 0 ? x[i] : 0;
    }"""
    factory = CpuFactory("check", last_blocks=3, read=lambda name: code)
    kernel = Kernel("wrong.cu", "relu", "x:in y:out n:i64", linear.RELU.plan)
    x = reserved((HUGE,))
    with pytest.raises(KernelFault, match=r"relu: .*(read|write)"):
        launch(kernel, Modules(factory, np.ndarray), x=x, y=reserved((HUGE,)), n=HUGE)


def test_random_numbers_beyond_a_grid():
    """Its grid is limited; threads stride on.  Known answers are in test_random.py."""
    for kernel in REGISTRY.values():
        if kernel.source == "random.cu":
            assert kernel.plan(2**37).grid[0] == 65536


def test_very_wide_rows_are_added_up_by_the_twin():
    """A grid has at most 65,535 blocks in y."""
    skip_or_fail(why_unavailable(), "NNX_REQUIRE_HARNESS")
    backend = CudaBackend(np, "numpy", Modules(CpuFactory("fast"), np.ndarray))
    values = np.ones((2, 32 * LARGEST_GRID[1] + 1), "float32")
    total = backend.index_add(values, np.array([0, 0]), 1)
    assert total.shape == (1, values.shape[1]) and (total == 2).all()

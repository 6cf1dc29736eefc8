"""The product in registers alone, against the naive one, for every size of tile."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import njit, types

import nnx
from nnx import nn
from nnx.backends import override
from nnx.backends.jit import JitBackend
from nnx.backends.jit.codegen import microkernel
from nnx.backends.jit.convolution import plan


@njit
def call(address, arguments):
    # fmt: off
    (rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2, c, c_row, onto, tiles, a_tile,
     c_tile) = arguments
    microkernel.call_tile(address, rows, vectors, a, a_row, a0, a1, a2, b, b0, b1, b2, n0, n1, n2,
                          c, c_row, onto, tiles, a_tile, c_tile)
    # fmt: on


def product(dtype, rows, vectors, loops, strides, onto, tiles=1, a_tile=0, offset=0, needed=True):
    """The kernel's C and the naive one, (tiles, rows + 1, columns + 3): a margin must stay as it
    is.  Strides of A: (row, loop 0, 1, 2), in numbers; `offset` misaligns all three arrays."""
    rng = np.random.default_rng(0)
    size = np.dtype(dtype).itemsize
    columns = vectors * microkernel.lanes(size)
    a_row, *a_loops = strides
    reach = (rows - 1) * a_row + sum((n - 1) * s for n, s in zip(loops, a_loops, strict=True))
    a = rng.integers(-3, 4, reach + (tiles - 1) * a_tile + 1 + offset).astype(dtype)[offset:]
    b = rng.integers(-3, 4, (*loops, columns)).reshape(-1)
    b = np.concatenate([np.zeros(offset), b]).astype(dtype)[offset:]
    c = rng.integers(-3, 4, (tiles * (rows + 1) * (columns + 3) + offset)).astype(dtype)[offset:]
    naive = c.reshape(tiles, rows + 1, columns + 3).copy()
    if not onto:
        naive[:, :rows, :columns] = 0
    lines = b.reshape(*loops, columns)
    for t in range(tiles):
        for r in range(rows):
            for i, j, k in np.ndindex(*loops):
                at = t * a_tile + r * a_row + i * a_loops[0] + j * a_loops[1] + k * a_loops[2]
                naive[t, r, :columns] += a[at] * lines[i, j, k]
    n0, n1, n2 = loops
    bytes_of_b = [n1 * n2 * columns * size, n2 * columns * size, columns * size]
    arguments = (
        rows, vectors, a.ctypes.data, *(s * size for s in strides), b.ctypes.data, *bytes_of_b,
        n0, n1, n2, c.ctypes.data, (columns + 3) * size, int(onto), tiles, a_tile * size,
        (rows + 1) * (columns + 3) * size,
    )  # fmt: skip
    if needed:
        microkernel.need(size, [rows], [vectors])
    call(microkernel.table(size), arguments)
    return c.reshape(naive.shape), naive


SIZES = [(r, v) for r in range(1, microkernel.ROWS + 1) for v in range(1, microkernel.VECTORS + 1)]


@pytest.mark.parametrize("rows, vectors", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_tile(dtype, rows, vectors):
    for onto in (False, True):
        for offset in (0, 1):
            # A row-major matrix, its transpose, and three nested loops with steps between.
            for loops, strides in (
                ((1, 1, 7), (7, 0, 0, 1)),
                ((1, 1, 7), (1, 0, 0, rows)),
                ((2, 3, 4), (50, 17, 5, 1)),
            ):
                got, naive = product(dtype, rows, vectors, loops, strides, onto, offset=offset)
                np.testing.assert_array_equal(got, naive)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_overlapping_strides_read_windows_of_an_image(dtype):
    """A 3 x 3 convolution of an image of 2 channels, 9 wide: rows of A are windows side by side,
    tiles are lines of them."""
    rows, vectors = microkernel.ROWS, microkernel.VECTORS
    width, channels = rows + 2, 2
    strides = (channels, width * channels, channels, 1)
    for onto in (False, True):
        got, naive = product(
            dtype, rows, vectors, (3, 3, channels), strides, onto, tiles=4, a_tile=width * channels
        )
        np.testing.assert_array_equal(got, naive)


def test_no_terms_leave_zeros_or_what_was_there():
    for onto in (False, True):
        for loops in ((0, 1, 1), (1, 0, 1)):
            got, naive = product("float32", 3, 1, loops, (1, 1, 1, 1), onto)
            np.testing.assert_array_equal(got, naive)


@pytest.mark.parametrize("rows, vectors", SIZES)
def test_a_tile_that_was_not_asked_for_is_computed_all_the_same(rows, vectors, monkeypatch):
    fresh = microkernel._Table(types.float32)
    assert list(fresh.made) == [(1, 1)]
    monkeypatch.setattr(microkernel, "_table", lambda size: fresh)
    for loops, strides in (((1, 1, 7), (7, 0, 0, 1)), ((2, 3, 4), (50, 17, 5, 1))):
        got, naive = product(
            "float32", rows, vectors, loops, strides, True, tiles=2, a_tile=3, needed=False
        )
        np.testing.assert_array_equal(got, naive)
    assert list(fresh.made) == [(1, 1)]


IMAGES = [  # N, C, H, W, O, kernel, options
    (3, 1, 28, 28, 6, 5, {"padding": 2}),
    (2, 6, 14, 14, 16, 5, {}),
    (2, 40, 9, 13, 70, 3, {"padding": 1}),
    (2, 40, 31, 17, 24, 3, {"stride": 2, "padding": 1}),
    (2, 24, 12, 11, 36, 3, {"groups": 2, "padding": 2, "dilation": 2}),
    (2, 50, 7, 7, 33, 1, {}),
    (1, 3, 65, 40, 20, 7, {"stride": 3}),
]


@pytest.mark.parametrize("pool", [False, True])
def test_no_tile_is_forgotten(monkeypatch, pool):
    """Convolutions, blocks and scans ask for all the tiles that they call."""
    called, asked = [], []
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * microkernel.ARGUMENTS)
    noted = kind(lambda rows, vectors, *rest: called.append((rows, vectors)))
    empty = microkernel._Table(types.float32)
    empty.made.clear()
    empty.addresses[:] = ctypes.cast(noted, ctypes.c_void_p).value
    monkeypatch.setattr(microkernel, "_table", lambda size: empty)
    plan.plan.cache_clear()
    try:
        with override(np.ndarray, JitBackend()):
            for n, c, h, w, o, size, options in IMAGES:
                layers = [nn.Conv2d(c, o, size, **options)]
                if pool:
                    layers += [nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)]
                x = nnx.ones((n, c, h, w), requires_grad=True)
                nn.Sequential(*layers)(x).sum().backward()
                asked.append(len(empty.made))
            for cell in (nn.RNN, nn.LSTM, nn.GRU):
                for n, hidden in ((5, 20), (13, 48), (27, 33)):
                    layer = cell(8, hidden, bidirectional=pool)
                    layer(nnx.ones((4, n, 8), requires_grad=True))[0].sum().backward()
    finally:
        plan.plan.cache_clear()
    assert 1 <= asked[0] <= 6  # no more than it calls
    assert not called


WIDTHS = {
    "4 floats": ("x86-64", "+sse4.2,-avx,-avx2,-avx512f", (4, 6, 2)),
    "8 floats": ("x86-64-v3", "+avx,+avx2,+fma,-avx512f", (8, 6, 2)),
    "16 floats": ("x86-64-v4", "+avx,+avx2,+fma,+avx512f", (16, 12, 2)),
}


@pytest.mark.ci
@pytest.mark.parametrize("width", WIDTHS)
def test_other_processors(width, tmp_path):
    """This file again, compiled for registers of another width, where this processor has them."""
    import llvmlite.binding as llvm

    cpu, features, shape = WIDTHS[width]
    have = llvm.get_host_cpu_features()
    if not llvm.get_default_triple().startswith("x86_64"):
        pytest.skip("the widths are those of x86-64")
    if any(not have.get(f[1:], False) for f in features.split(",") if f[0] == "+"):
        pytest.skip(f"this processor has no registers of {width}")
    code = (
        "import json, sys, pytest; from nnx.backends.jit.codegen import microkernel as m;"
        "print(json.dumps([m.lanes(4), m.ROWS, m.VECTORS]));"
        "sys.exit(pytest.main([sys.argv[1], '-q', '-x', '-k', 'not other and not forgotten']))"
    )
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": features,
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    ran = subprocess.run(
        [sys.executable, "-c", code, __file__], env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert tuple(json.loads(ran.stdout.splitlines()[0])) == shape

"""Kernels whose blocks wait for each other: the harness runs them by turns, and sees what is wrong.

All blocks must be on the device at once; the launcher refuses what would wait for ever, and a layer
for which there is no room takes another way.
"""

from __future__ import annotations

import re

import cuda_cpu
import numpy as np
import pytest

from nnx.backends import Backend
from nnx.backends.cuda import CudaBackend
from nnx.backends.cuda.launcher import Kernel, Modules, Plan, launch
from nnx.backends.cuda.sources import read_source

THREADS = 64
SOURCE = """
// y[k] of each round is a number of the block before, of the round before
extern "C" __global__ void __launch_bounds__(64)
ring(const REAL* x, REAL* y, unsigned* arrived, int rounds, int n) {
    const int blocks = n / 64, i = blockIdx.x * 64 + threadIdx.x;
    for (int k = 0; k < rounds; ++k) {
        const int other = (i + 64 + threadIdx.x) % n;
        const REAL from = k ? y[(k - 1) * n + other] : x[other];
        y[k * n + i] = from + 1;
        MEET
    }
}
"""
MEET = """
        __syncthreads();
        if (threadIdx.x == 0) {
            __threadfence();
            atomicAdd(arrived, 1u);
            while (atomicAdd(arrived, 0u) < blocks * (k + 1)) __nanosleep(20);
            __threadfence();
        }
        __syncthreads();
"""
UNSEEN = "race with thread .* of block|read-write race|read of uninitialised"
FAULTS = {
    "nobody waits": (MEET, "", UNSEEN),
    "no fence": (
        "            __threadfence();\n            atomicAdd",
        "            atomicAdd",
        UNSEEN,
    ),
    "the block arrives before its threads": (
        "        __syncthreads();\n        if",
        "        if",
        UNSEEN,
    ),
    "the block goes on before its first thread": (
        "        }\n        __syncthreads();\n",
        "        }\n",
        UNSEEN,
    ),
    "for one block less": ("< blocks * (k + 1)", "< blocks * (k + 1) - 1", UNSEEN),
    "for one block more": ("< blocks * (k + 1)", "< blocks * (k + 1) + 1", "deadlock: all threads"),
    "only the first time": ("* (k + 1)", "", UNSEEN),
}


def kernel(together=True):
    return Kernel(
        "ring.cu",
        "ring",
        "x:in y:out arrived:inout:u32 rounds:i32 n:i32",
        lambda n: Plan((n // THREADS,), (THREADS,)),
        together=together,
    )


def run(meet, order=0, blocks=5, variant="check", resident=16, believed=None, described=True):
    factory = cuda_cpu.CpuFactory(variant, order, patience=2_000_000, resident=resident)
    factory.read = lambda name: SOURCE.replace("MEET", meet)
    modules = Modules(factory, np.ndarray, lambda *_: believed or resident)
    n, rounds = blocks * THREADS, 4
    x = np.random.default_rng(0).standard_normal(n).astype("float32")
    y, arrived = np.zeros((rounds, n), "float32"), np.zeros(1, "uint32")
    launch(kernel(described), modules, x=x, y=y, arrived=arrived, rounds=rounds, n=n)
    i = np.arange(n)
    other = (i + THREADS + i % THREADS) % n
    for k in range(rounds):
        x = x[other] + np.float32(1)
        np.testing.assert_array_equal(y[k], x)


@pytest.mark.parametrize("variant, order", [("check", 0), ("check", 1), ("check", 2), ("fast", 0)])
@pytest.mark.parametrize("blocks", [1, 2, 7])
def test_blocks_that_wait_for_each_other(variant, order, blocks):
    run(MEET, order, blocks, variant)


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_caught(name):
    """In one of the three orders, all of which every test of a kernel runs."""
    right, wrong, message = FAULTS[name]
    assert right in MEET
    said = []
    for order in (0, 1, 2):
        try:
            run(MEET.replace(right, wrong), order)
        except cuda_cpu.KernelFault as fault:
            said.append(str(fault))
    assert said and all(re.search(message, text) for text in said), said


def test_more_blocks_than_the_device_has_room_for_are_refused():
    with pytest.raises(ValueError, match="its 5 blocks wait for each other, and 4 of them"):
        run(MEET, resident=4)
    with pytest.raises(
        cuda_cpu.KernelFault, match=r"all threads of the 4 blocks .* 1 blocks of the"
    ):
        run(MEET, resident=4, believed=5)  # what would happen on a device


def test_nobody_knows_how_many_fit():
    modules = Modules(cuda_cpu.CpuFactory("fast"), np.ndarray)
    assert modules.fit(kernel(), np.dtype("float32"), (), Plan((1,), (THREADS,))) == 0


def test_a_kernel_that_waits_without_saying_so_is_refused():
    with pytest.raises(cuda_cpu.KernelFault, match="not described as `together`"):
        run(MEET, described=False)


# ---- the wide LSTM ----


def scan(backend, hidden=130, n=2, steps=2):
    rng = np.random.default_rng(0)

    def values(*shape):
        return rng.standard_normal(shape).astype("float32") * np.float32(0.3)

    state = (1, n, hidden)
    z, h0, c0 = values(steps, n, 1, 4 * hidden), values(*state), values(*state)
    states, c_n, saved = backend.lstm_sequence(z, h0, c0, values(1, 4 * hidden, hidden), None, None)
    gy = values(steps, n, 1, hidden)
    return (
        states,
        c_n,
        *backend.lstm_sequence_backward(gy, values(*state), values(*state), saved)[:4],
    )


def device(resident=64, change=("", ""), variant="check"):
    text = read_source("lstm_wide.cu")
    assert change[0] in text
    changed = {"lstm_wide.cu": text.replace(*change, 1)}
    factory = cuda_cpu.CpuFactory(variant, resident=resident)
    factory.read = lambda name: changed.get(name) or read_source(name)
    return CudaBackend(np, "numpy", Modules(factory, np.ndarray, factory.resident_blocks))


WRONG = {
    "no step waits for the one before": ("if (k + 1 < steps) everybody", "if (false) everybody"),
    "nor on the way back": ("if (k >= 0) everybody", "if (false) everybody"),
    "the neighbour's slice of the weights": (
        "(first + own) * hidden + j",
        "(first + own + 1) * hidden + j",
    ),
    "the first column of each gate left out": (
        "    const REAL* row = w + (gate * hidden + start + j)",
        "    const REAL* row = w + (gate * hidden + start + j + 1)",
    ),
    "the tile is overwritten while it is read": (
        "                __syncthreads();\n                for (int e = threadIdx.x; e < rows",
        "                for (int e = threadIdx.x; e < rows",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_fault_in_the_wide_lstm_is_caught(name):
    expected = scan(Backend(np, "portable"))
    with pytest.raises(AssertionError):  # of the checker, or of the twin
        for a, e in zip(scan(device(change=WRONG[name])), expected, strict=True):
            np.testing.assert_allclose(a, e, rtol=0, atol=1e-5)


def test_without_room_for_all_blocks_steps_are_launched_one_by_one():
    alone = device(resident=10, variant="fast")
    assert alone._slice("float32", 130, 1) == 0 and device(130)._slice("float32", 130, 1) == 4
    for a, e in zip(scan(alone), scan(Backend(np, "portable")), strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "dtype, hidden, directions, units",
    [
        ("float32", 128, 1, 0),  # the scans of few units
        ("float32", 512, 1, 4),
        ("float32", 512, 2, 0),  # 256 blocks of 132 that fit
        ("float64", 512, 1, 0),
        ("float64", 264, 1, 2),
        ("float32", 1024, 1, 0),
    ],
)
def test_the_slice_follows_from_shared_memory_and_from_what_fits(dtype, hidden, directions, units):
    assert device(resident=132, variant="fast")._slice(dtype, hidden, directions) == units

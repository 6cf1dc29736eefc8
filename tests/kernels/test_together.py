"""Kernels whose blocks wait for each other: the harness runs them by turns, and sees what is wrong.

All blocks must be on the device at once; the launcher refuses what would wait for ever, and a layer
for which there is no room takes another way.
"""

from __future__ import annotations

import re

import cuda_cpu
import numpy as np
import pytest
from cuda_cpu.under_test import RecordingModules, flatten

from nnx.backends import Backend
from nnx.backends.cuda import CudaBackend, gru, lstm, rnn
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


# ---- wide recurrent layers ----

GATES = {"rnn": 1, "gru": 3, "gru_before": 3, "lstm": 4}
KERNELS = {"rnn": rnn.WIDE, "gru": gru.WIDE, "gru_before": gru.WIDE_BEFORE, "lstm": lstm.WIDE}


def layer(backend, cell, steps=2, n=2, directions=1, hidden=130, lengths=None, real="float32"):
    """What a whole layer gives, with biases and states before the first step, and all gradients."""
    rng = np.random.default_rng(0)

    def values(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(real)

    gates = GATES[cell] * hidden
    x, h0, c0 = values(steps, n, 3), values(directions, n, hidden), values(directions, n, hidden)
    shapes = (gates, 3), (gates, hidden), (gates,), (gates,)
    none = [None] if cell == "lstm" else []
    weights = [(*(values(*shape) for shape in shapes), *none) for _ in range(directions)]
    gy, gh_n, gc_n = values(steps, n, directions * hidden), values(*h0.shape), values(*h0.shape)
    lengths = None if lengths is None else np.array(lengths)
    if cell == "lstm":
        *out, saved = backend.lstm(x, h0, c0, weights, lengths)
        return flatten(backend, [out, backend.lstm_backward(gy, gh_n, gc_n, saved, True)])
    given = {"rnn": "tanh", "gru": True, "gru_before": False}[cell]
    name = cell.partition("_")[0]
    *out, saved = getattr(backend, name)(x, h0, weights, lengths, given)
    return flatten(backend, [out, getattr(backend, f"{name}_backward")(gy, gh_n, saved, True)])


def device(resident=64, change=("", ""), variant="fast", order=0):
    def read(name):
        text = read_source(name)
        if name.endswith("_wide.cu"):
            assert change[0] in text
            text = text.replace(*change, 1)
        return text

    factory = cuda_cpu.CpuFactory(variant, order, resident=resident, read=read)
    of_device = factory.resident_blocks, factory.processors
    return CudaBackend(np, "numpy", RecordingModules(factory, np.ndarray, *of_device))


def agree(backend, cell, *shape, **given):
    expected = layer(Backend(np, "portable"), cell, *shape, **given)
    near = 1e-5 if given.get("real", "float32") == "float32" else 1e-13
    for k, (a, e) in enumerate(zip(layer(backend, cell, *shape, **given), expected, strict=True)):
        assert a.dtype == e.dtype
        np.testing.assert_allclose(a, e, rtol=0, atol=near * max(1, np.abs(e).max()), err_msg=k)


WRONG = {
    "no step waits for the one before": ("if (k + 1 < steps) everybody", "if (false) everybody"),
    "nor on the way back": ("if (k >= 0) everybody", "if (false) everybody"),
    "the neighbour's slice of the weights": ("b.first + m % UNITS", "b.first + (m + 1) % UNITS"),
    "a column left out": ("= w[first + j];", "= w[first + (j ? j : 1)];"),
    "the tile is overwritten while it is read": (
        "        __syncthreads();  // the tile before has been read\n",
        "",
    ),
    "the tile is read while it is written": (
        "        __syncthreads();\n        if (start + width",
        "        if (start + width",
    ),
    "shares are added up before they are there": (
        "        __syncthreads();\n        for (int e = threadIdx.x; e < lanes * COLUMNS",
        "        for (int e = threadIdx.x; e < lanes * COLUMNS",
    ),
    "sums are read before they are there": (
        "    __syncthreads();\n}\n\n// What is added up",
        "}\n\n// What is added up",
    ),
    "the last part of the columns left out": ("p < parts;", "p < parts - 1;"),
    "a thread's share of the biases left out": (
        "for (int i = b.u; i",
        "for (int i = b.u + UNITS; i",
    ),
}
WRONG_BEFORE = {  # who arrives and does not wait
    "the product with r h": ("gridDim.x * (2 * k + 1)", "1"),
    "the next step": ("gridDim.x * (2 * k + 2)", "1"),
    "the gradient of r": ("gridDim.x * (2 * (steps - 1 - k) + 1)", "1"),
    "the step before": ("gridDim.x * 2 * (steps - k)", "1"),
}
PLANTED = [("rnn", name) for name in WRONG]
PLANTED += [(cell, name) for cell in ("gru", "lstm") for name in list(WRONG)[:2]]
PLANTED += [("gru_before", name) for name in WRONG_BEFORE]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_product_of_several_tiles(order):
    agree(device(66, variant="check", order=order), "rnn", 2, 20)


@pytest.mark.parametrize("cell, name", PLANTED)
def test_fault_in_a_wide_layer_is_caught(cell, name):
    """By the checker, or by the twin: in one of the orders that every test of a kernel runs."""
    change = {**WRONG, **WRONG_BEFORE}[name]
    for order in (0, 1):
        try:
            agree(device(66, change, "check", order), cell, 2, 20 if cell == "rnn" else 2)
        except AssertionError:
            return
    raise AssertionError("nobody saw it")


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(
    "resident, units, shape",
    [
        (66, 2, (1, 1, 1, 130, None)),
        (66, 2, (3, 66, 1, 129, None)),
        (36, 4, (3, 3, 1, 131, [1, 3, 2])),
        (36, 8, (4, 5, 2, 137, [3, 1, 4, 4, 2])),
        (20, 16, (2, 2, 2, 147, None)),
    ],
)
def test_every_slice(cell, resident, units, shape):
    """One step, one sequence; more than one product's; lengths; units that no slice divides."""
    backend = device(resident)
    agree(backend, cell, *shape)
    assert backend.modules.launched >= {kernel.name for kernel in KERNELS[cell]}
    assert backend.units_each(KERNELS[cell], "float32", shape[3], shape[2]) == units


def test_the_largest_slice_in_double_precision():
    agree(device(9), "lstm", 2, 2, real="float64")


@pytest.mark.parametrize("cell", GATES)
def test_without_room_for_all_blocks_steps_are_launched_one_by_one(cell):
    backend = device(8)
    agree(backend, cell, 3, 2)
    assert not any("wide" in name for name in backend.modules.launched)


def test_where_nobody_knows_the_device_steps_are_launched_one_by_one():
    backend = CudaBackend(np, "numpy", Modules(cuda_cpu.CpuFactory("fast"), np.ndarray))
    assert backend.units_each(rnn.WIDE, "float32", 512, 1) == 0


@pytest.mark.parametrize(
    "cell, dtype, hidden, directions, units",
    [
        ("lstm", "float32", 128, 1, 0),  # the scans of few units
        ("lstm", "float32", 512, 1, 4),
        ("lstm", "float32", 512, 2, 8),
        ("lstm", "float32", 1024, 1, 8),
        ("lstm", "float32", 1024, 2, 0),  # 32 MiB of weights
        ("lstm", "float64", 512, 1, 4),
        ("lstm", "float64", 1024, 1, 0),
        ("gru", "float32", 512, 1, 4),
        ("gru", "float32", 1024, 1, 8),
        ("gru", "float32", 1024, 2, 16),
        ("rnn", "float32", 512, 1, 4),
        ("rnn", "float32", 1024, 1, 8),
        ("rnn", "float32", 2048, 1, 16),
        ("rnn", "float32", 4096, 1, 0),
    ],
)
def test_the_slice_follows_from_shared_memory_and_from_what_fits(
    cell, dtype, hidden, directions, units
):
    """On a device like an H100: 132 multiprocessors, 227 KiB of shared memory for a block."""
    factory = cuda_cpu.CpuFactory("fast", resident=132)
    asked = []

    def resident(function, threads, shared):
        asked.append(shared)
        return min(8, 227 * 1024 // (shared + 1024)) * 132

    modules = Modules(lambda kernel, options: None, np.ndarray, resident, factory.processors)
    backend = CudaBackend(np, "numpy", modules)
    assert backend.units_each(KERNELS[cell], dtype, hidden, directions) == units
    assert all(shared <= 227 * 1024 for shared in asked)

"""The harness catches planted faults, and is silent about good kernels."""

from __future__ import annotations

import re
from pathlib import Path

import cuda_cpu
import numpy as np
import pytest
from cuda_cpu.available import skip_or_fail
from cuda_cpu.build import kernel_names

from nnx.backends.cuda.launcher import Kernel, Modules, Plan, ceil_div, launch, per_element

FOLDER = Path(cuda_cpu.__file__).parent
READ = {name: (FOLDER / name).read_text() for name in ("faults.cu", "correct.cu")}
ORDERS = pytest.mark.parametrize("order", [0, 1, 2])


@pytest.fixture(autouse=True)
def needs_harness():
    skip_or_fail(cuda_cpu.why_unavailable(), "NNX_REQUIRE_HARNESS")


def modules(order: int, variant: str = "check") -> Modules:
    factory = cuda_cpu.CpuFactory(variant, order, patience=100_000, read=READ.__getitem__)
    return Modules(factory, np.ndarray)


# What must be said of each fault.  `y` is an output that the kernel writes in full, or, where the
# fault is another one, an array that it updates.
FAULTS = {
    "read_beyond": ("out", r"out-of-bounds read.* at faults\.cu:\d+"),
    "read_before": ("out", "out-of-bounds read"),
    "write_beyond": ("out", "out-of-bounds write"),
    "missing_bound": ("out", "out-of-bounds (read|write)"),
    "read_far_away": ("out", "out-of-bounds read"),
    "null_pointer": ("out", "null pointer|null or misaligned pointer"),
    "local_array_beyond": ("out", "array index out of bounds"),
    "shared_beyond": ("out", "array index out of bounds"),
    "shared_through_pointer": ("out", "out-of-bounds write|race|uninitialised"),
    "dynamic_shared_beyond": ("out", "out-of-bounds write.*shared memory row"),
    "write_through_const": ("out", "write to a const argument: argument x"),
    "misaligned_vector": ("out", "misaligned"),
    "race_between_blocks": ("inout", "race with thread 0 of block"),
    "race_of_writes": ("inout", "write-write race"),
    "read_of_a_neighbour": ("inout", "race"),
    "plain_histogram": ("inout", "race"),
    "atomic_and_plain": ("inout", "race"),
    "missing_barrier": ("out", "race.*shared memory s"),
    "missing_second_barrier": ("out", "race.*shared memory s"),
    "warp_without_sync": ("out", "race.*shared memory s"),
    "shuffle_is_no_barrier": ("out", "race.*shared memory s"),
    "uninitialised_output": ("out", "read of uninitialised argument y"),
    "uninitialised_shared": ("out", "read of uninitialised shared memory s"),
    "output_half_written": ("out", "output y is not fully written"),
    "output_never_written": ("out", "output y is not fully written"),
    "divergent_barrier": ("out", "barrier divergence"),
    "two_barriers": ("out", r"barrier divergence: __syncthreads at line \d+"),
    "exit_before_barrier": ("out", "barrier divergence or deadlock.*have returned"),
    "half_warp_barrier": ("out", "deadlock.*warp primitive|mask names lanes"),
    "shuffle_absent_lanes": ("out", "deadlock.*warp primitive|mask names lanes"),
    "shuffle_after_exit": ("out", "mask names lanes that do not exist|deadlock.*warp primitive"),
    "shuffle_outside_own_mask": ("out", "not in its own mask"),
    "shuffle_source_outside_mask": ("out", "a lane that is not in its mask"),
    "different_primitives": ("out", "different primitives"),
    "integer_overflow": ("out", r"integer overflow in \*"),
    "shift_too_far": ("out", "shift out of range"),
    "division_by_zero": ("out", "division by zero"),
    "float_too_large": ("out", "its integer type cannot hold"),
    "spin": ("inout", "race|does not seem to end"),
    "endless_shuffle": ("out", "does not seem to end"),
    "much_shared": ("out", "may ask for 49152"),
    "block_over_bounds": ("out", "__launch_bounds__ says 32"),
    "overlapping": ("out", "x and y overlap"),
}
# These differ from what the description says of them, and are refused before they run.
MISDESCRIBED = {
    "wide_scalar": "x:in y:out n:i32",
    "not_const": "x:in y:out n:i32",
    "other_element": "x:in y:out n:i32",
}
LISTS = {
    "list_beyond": r"out-of-bounds read.*argument xs\[1\]",
    "list_past_its_end": "(out-of-bounds write through a|undefined behaviour:) null",
    "list_through_const": r"write to a const argument: argument xs\[0\]",
}
# Each run is right, but the result depends on the order.
UNSTEADY = ("order_of_additions", "last_one_wins")


def test_every_planted_fault_is_launched():
    assert set(kernel_names(READ["faults.cu"])) == {
        *FAULTS,
        *MISDESCRIBED,
        *LISTS,
        *UNSTEADY,
    }
    assert len(FAULTS) + len(MISDESCRIBED) + len(LISTS) + len(UNSTEADY) >= 45


def arguments(name: str, n: int) -> dict:
    x = np.arange(n, dtype=np.float32)
    y = np.zeros(n, np.float32)
    if name == "plain_histogram":
        x %= 3
    if name == "null_pointer":
        x = None
    if name == "overlapping":
        both = np.zeros(n + 4, np.float32)
        x, y = both[:n], both[4:]
    return {"x": x, "y": y, "n": n}


@ORDERS
@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_caught(name, order):
    direction, message = FAULTS[name]
    shared = {"dynamic_shared_beyond": 60 * 4, "much_shared": 64 * 1024}.get(name, 0)
    kernel = Kernel(
        "faults.cu",
        name,
        f"x:in{'?' * (name == 'null_pointer')} y:{direction} n:i32",
        lambda n: Plan((ceil_div(n, 64),), (64,), shared),
    )
    with pytest.raises(cuda_cpu.KernelFault, match=f"(?s)^{name}: .*({message})"):
        launch(kernel, modules(order), **arguments(name, 100))


@pytest.mark.parametrize("name", MISDESCRIBED)
def test_wrong_description_is_refused(name):
    kernel = Kernel("faults.cu", name, MISDESCRIBED[name], lambda n: per_element(n, 64))
    with pytest.raises(RuntimeError, match=r"described as .* but faults\.cu declares"):
        launch(kernel, modules(0), **arguments(name, 100))


@ORDERS
@pytest.mark.parametrize("name", LISTS)
def test_fault_in_a_list_is_caught(name, order):
    kernel = Kernel("faults.cu", name, "xs:in* ys:inout* n:i32", lambda n: per_element(n, 64))
    xs, ys = ([np.ones(100, np.float32) for _ in range(2)] for _ in range(2))
    with pytest.raises(cuda_cpu.KernelFault, match=f"^{name}: {LISTS[name]}"):
        launch(kernel, modules(order), xs=xs, ys=ys, n=100)


@pytest.mark.parametrize("name", UNSTEADY)
def test_order_shows_in_unsteady_results(name):
    kernel = Kernel("faults.cu", name, "x:in y:inout n:i32", lambda n: per_element(n, 64))
    results = set()
    for order in (0, 1, 2):
        values = arguments(name, 100)
        launch(kernel, modules(order), **values)
        results.add(values["y"].tobytes())
    assert len(results) > 1


def test_fault_names_block_thread_and_line():
    kernel = Kernel("faults.cu", "write_beyond", "x:in y:out n:i32", lambda n: per_element(n, 64))
    lines = READ["faults.cu"].splitlines()
    line = 1 + next(k for k, text in enumerate(lines) if "y[i + 1] = x[i]" in text)
    with pytest.raises(cuda_cpu.KernelFault) as error:
        launch(kernel, modules(0), **arguments("write_beyond", 70))
    assert "[block (1,0,0) thread (5,0,0)]" in str(error.value)
    assert f"faults.cu:{line}" in str(error.value)
    assert re.search(r"argument y, byte 280 \(4 bytes; it has 280\)", str(error.value))


def test_harness_works_on_after_a_fault():
    """Half-run fibers are thrown away: the next launch is not disturbed."""
    made = modules(0)
    bad = Kernel("faults.cu", "divergent_barrier", "x:in y:out n:i32", lambda n: per_element(n, 64))
    good = Kernel("faults.cu", "overlapping", "x:in y:out n:i32", lambda n: per_element(n, 64))
    with pytest.raises(cuda_cpu.KernelFault):
        launch(bad, made, **arguments("divergent_barrier", 100))
    values = arguments("", 100)
    launch(good, made, **values)
    np.testing.assert_array_equal(values["y"], values["x"])


def test_fault_outside_the_memory_does_no_harm():
    """The store is stopped before it happens."""
    kernel = Kernel("faults.cu", "write_beyond", "x:in y:out n:i32", lambda n: per_element(n, 64))
    memory = np.full(101, 7, np.float32)
    with pytest.raises(cuda_cpu.KernelFault):
        launch(kernel, modules(0), x=np.zeros(100, np.float32), y=memory[:100], n=100)
    assert memory[100] == 7


# ---- good kernels ----


@pytest.fixture(params=[("check", 0), ("check", 1), ("check", 2), ("fast", 0)], ids=str)
def run(request):
    made = modules(request.param[1], request.param[0])
    return lambda kernel, **values: launch(kernel, made, **values)


def numbers(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Small integers, whose sums are exact in any order."""
    return np.random.default_rng(0).integers(-8, 9, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 500])
def test_row_sum(run, columns, dtype):
    kernel = Kernel(
        "correct.cu", "row_sum", "x:in y:out columns:i32", lambda columns: Plan((3,), (256,))
    )
    x, y = numbers(3, columns, dtype=dtype), np.empty(3, dtype)
    run(kernel, x=x, y=y, columns=columns)
    np.testing.assert_array_equal(y, x.sum(axis=1))


@pytest.mark.parametrize("name,threads", [("tree_sum", 64), ("warp_tree_sum", 32)])
def test_tree_sums(run, name, threads):
    kernel = Kernel(
        "correct.cu",
        name,
        "x:in y:out n:i32",
        lambda itemsize: Plan((1,), (threads,), threads * itemsize),
    )
    x, y = numbers(threads - 3), np.empty(1, np.float32)
    run(kernel, x=x, y=y, n=x.size)
    assert y[0] == x.sum()


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (9, 7), (3, 20)])
def test_transpose(run, shape):
    kernel = Kernel(
        "correct.cu",
        "transpose",
        "x:in y:out h:i32 w:i32",
        lambda h, w: Plan((ceil_div(w, 8), ceil_div(h, 8)), (8, 8)),
    )
    x, y = numbers(*shape), np.empty(shape[::-1], np.float32)
    run(kernel, x=x, y=y, h=shape[0], w=shape[1])
    np.testing.assert_array_equal(y, x.T)


@pytest.mark.parametrize("offset", [0, 1])
def test_vector_copy(run, offset):
    kernel = Kernel(
        "correct.cu",
        "vector_copy",
        "x:in:f32 y:out:f32 n:i32",
        lambda n: per_element(ceil_div(n, 4)),
    )
    x, y = numbers(102)[offset : offset + 101], np.empty(101, np.float32)
    run(kernel, x=x, y=y, n=101)
    np.testing.assert_array_equal(y, x)


def test_histogram(run):
    kernel = Kernel(
        "correct.cu", "histogram", "x:in:u8 counts:inout:i32 n:i32", lambda n: per_element(n, 64)
    )
    x = np.arange(300).astype(np.uint8) % 5
    counts = np.zeros(5, np.int32)
    run(kernel, x=x, counts=counts, n=300)
    np.testing.assert_array_equal(counts, np.bincount(x))


def test_votes(run):
    kernel = Kernel("correct.cu", "votes", "x:in y:out:i32 n:i32", lambda n: Plan((1,), (64,)))
    x = np.where(np.arange(50) % 3 == 0, 1, -1).astype(np.float32)
    y = np.empty(4, np.int32)
    run(kernel, x=x, y=y, n=50)
    assert y.tolist() == [17, 1, 0, 0b01001001]


@pytest.mark.parametrize("count", [1, 3, 64])
def test_list(run, count):
    kernel = Kernel(
        "correct.cu",
        "scale_all",
        "xs:in* ys:out* factors:real* sizes:i64* count:i32",
        lambda sizes: Plan((ceil_div(max(sizes), 64), len(sizes)), (64,)),
    )
    xs = [numbers(70 + k) for k in range(count)]
    ys = [np.empty_like(x) for x in xs]
    factors = [float(k) for k in range(count)]
    run(kernel, xs=xs, ys=ys, factors=factors, sizes=[x.size for x in xs], count=count)
    for x, y, factor in zip(xs, ys, factors, strict=True):
        np.testing.assert_array_equal(y, factor * x)


def test_inputs_may_overlap(run):
    kernel = Kernel(
        "correct.cu",
        "scale_all",
        "xs:in* ys:out* factors:real* sizes:i64* count:i32",
        lambda sizes: Plan((ceil_div(max(sizes), 64), len(sizes)), (64,)),
    )
    x = numbers(100)
    xs, ys = [x, x[10:20], x[10:], x], [np.empty(n, np.float32) for n in (100, 10, 90, 100)]
    sizes = [y.size for y in ys]
    run(kernel, xs=xs, ys=ys, factors=[1.0] * 4, sizes=sizes, count=4)
    for a, y in zip(xs, ys, strict=True):
        np.testing.assert_array_equal(y, a)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("times", [1, 3])
def test_optional_pointer_and_constant(run, bias, times):
    kernel = Kernel(
        "correct.cu",
        "scaled",
        "x:in bias:in? y:out factor:real n:i32 TIMES:const",
        lambda n: per_element(n, 64),
        {"TIMES": (1, 3)},
    )
    x, b, y = numbers(70), numbers(70), np.empty(70, np.float32)
    run(kernel, x=x, bias=b if bias else None, y=y, factor=2, n=70, TIMES=times)
    np.testing.assert_array_equal(y, 2 * times * x + (b if bias else 0))


BOTH_WAYS = Kernel(
    "linear.cu",  # a source whose arrays may be in float16
    "both_ways",
    "x:in w:in:wide v:out:wide y:out n:i64",
    lambda n: per_element(n),
)
BOTH_WAYS_TEXT = """extern "C" __global__ void __launch_bounds__(256)
both_ways(const STORE* __restrict__ x, const REAL* __restrict__ w, REAL* __restrict__ v,
          STORE* __restrict__ y, long long n) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) { v[i] = x[i]; y[i] = w[i]; }
}"""


def test_float16_is_read_and_rounded_as_numpy_does():
    """Every number there is; and of every two neighbours the middle, and what lies beside it."""
    modules = Modules(cuda_cpu.CpuFactory("fast", read=lambda name: BOTH_WAYS_TEXT), np.ndarray)
    every = np.arange(2**16, dtype="uint16").view("float16")
    positive = np.append(every[:0x7C00].astype("float32"), np.float32(65536))
    middle = (positive[:-1] + positive[1:]) / 2
    beside = [np.nextafter(middle, np.float32(to)) for to in (0, np.inf)]
    w = np.concatenate([middle, *beside, [np.inf, 1e-30, 3e38]]).astype("float32")
    w = np.concatenate([w, -w])
    x = np.resize(every, w.shape)
    v, y = np.empty_like(w), np.empty_like(x)
    launch(BOTH_WAYS, modules, x=x, w=w, v=v, y=y, n=w.size)
    np.testing.assert_array_equal(v, x.astype("float32"))
    with np.errstate(over="ignore"):
        expected = w.astype("float16")
    assert y.tobytes() == expected.tobytes()

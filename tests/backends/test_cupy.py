"""`CupyBackend` on CuPy's own arrays, in host memory: `tests/cupy_on_cpu`."""

from __future__ import annotations

import gc
import threading

import cupy_on_cpu
import numpy as np
import pytest


@pytest.fixture
def recorder(on_cupy):
    return on_cupy.backend.recorder()


def host(on_cupy, *arrays):
    return [on_cupy.to_numpy(a) for a in arrays]


A = np.arange(6.0, dtype="float32").reshape(2, 3)
B = np.arange(12.0, dtype="float32").reshape(3, 4)


# ---- a recorder's products ----


@pytest.mark.parametrize(
    "product",
    [
        lambda xp, a, b: a @ b,
        lambda xp, a, b: xp.matmul(a, b),
        lambda xp, a, b: (b.T @ a.T).T,
    ],
    ids=["operator", "function", "of views"],
)
def test_products_aside_are_the_recorders(on_cupy, recorder, monkeypatch, product):
    asked = []
    ours = recorder.products.matmul
    recorder.products.matmul = lambda *given: asked.append(1) or ours(*given)
    a, b = on_cupy.asarray(A), on_cupy.asarray(B)
    with recorder.aside():
        inside = product(on_cupy.xp, a, b)
    assert asked == [1]
    outside = product(on_cupy.xp, a, b)
    for y in (inside, outside):
        np.testing.assert_array_equal(on_cupy.to_numpy(y), A @ B)


def test_another_threads_products_go_where_they_went(on_cupy, recorder):
    asked = []
    recorder.products.matmul = lambda *given: asked.append(threading.get_ident())
    a, b = on_cupy.asarray(A), on_cupy.asarray(B)
    found = []
    with recorder.aside():
        other = threading.Thread(target=lambda: found.append(a @ b))
        other.start()
        other.join()
        a @ b
    assert asked == [threading.get_ident()]
    np.testing.assert_array_equal(on_cupy.to_numpy(found[0]), A @ B)


def test_two_threads_may_record_at_once(on_cupy):
    """Whoever leaves first takes nothing from the other."""
    a, b = on_cupy.asarray(A), on_cupy.asarray(B)
    first, second = on_cupy.backend.recorder(), on_cupy.backend.recorder()
    entered, leave, results = threading.Event(), threading.Event(), []

    def longer():
        second.products.matmul = lambda *given: "second"
        with second.aside():
            entered.set()
            leave.wait(10)
            results.append(a @ b)

    with first.aside():
        other = threading.Thread(target=longer)
        other.start()
        assert entered.wait(10)
    leave.set()
    other.join()
    assert results == ["second"]
    np.testing.assert_array_equal(on_cupy.to_numpy(a @ b), A @ B)


def test_a_recorder_gives_its_handle_back(on_cupy):
    from cupy_on_cpu.runtime import cublas

    made = on_cupy.backend.recorder()
    assert cublas.names().count("cublasDestroy_v2") == 0 or cublas.calls.clear() is None
    cublas.calls = []
    del made
    gc.collect()
    assert cublas.names() == ["cublasDestroy_v2"]


@pytest.mark.parametrize("join", ["concat", "stack"])
@pytest.mark.parametrize("many", [3, 8, 9, 70])
def test_any_number_of_arrays_is_joined_in_a_recorded_step(on_cupy, recorder, join, many):
    xp = on_cupy.xp
    parts = [on_cupy.asarray(A + k) for k in range(many)]
    result, play = recorder.record(lambda: getattr(xp, join)(parts, axis=1))
    play()
    numpys = {"concat": np.concatenate, "stack": np.stack}[join]
    expected = numpys([A + k for k in range(many)], axis=1)
    np.testing.assert_array_equal(on_cupy.to_numpy(result), expected)
    np.testing.assert_array_equal(on_cupy.to_numpy(getattr(xp, join)(parts, axis=1)), expected)
    if join == "concat":
        flat = on_cupy.to_numpy(recorder.record(lambda: xp.concat(parts, axis=None))[0])
        assert flat.shape == (6 * many,)


# ---- the namespace ----

NAN = float("nan")
CLIPS = [
    (-1.0, 1.0),
    (None, 1.0),
    (0.5, None),
    (2.0, -2.0),
    (None, None),
    (-1, 1),
    (np.array([0.0, NAN, 1.0], "float32"), None),
    (np.array(-1.0, "float64"), np.array([2.0, 1.0, NAN], "float32")),
    (NAN, None),
]


@pytest.mark.parametrize("low, high", CLIPS)
def test_clip_is_the_standards_and_waits_for_nothing(on_cupy, low, high):
    x = np.array([[-3.0, 0.25, NAN], [np.inf, -np.inf, 1.5]], "float32")
    given = on_cupy.asarray(x)
    bounds = [on_cupy.asarray(b) if isinstance(b, np.ndarray) else b for b in (low, high)]
    with cupy_on_cpu.counting() as asked:
        y = on_cupy.xp.clip(given, *bounds)
    assert y.dtype == np.float32 and y is not given
    expected = x if low is None and high is None else np.clip(x, low, high)
    np.testing.assert_array_equal(on_cupy.to_numpy(y), expected.astype("float32"))
    assert not asked.waits and not asked.sent
    if not any(isinstance(b, np.ndarray) or b != b for b in (low, high)):
        assert asked.total == 1


@pytest.mark.parametrize(
    "low, high", [(-1, 2), (-(10**20), 10**20), (None, 2.9), (-1.5, None), (-(10**20), 1)]
)
def test_clip_of_integers_keeps_their_dtype(on_cupy, low, high):
    x = np.array([-7, -1, 0, 3, 127], "int8")
    y = on_cupy.to_numpy(on_cupy.xp.clip(on_cupy.asarray(x), low, high))
    limits = [None if b is None else max(-128, min(127, int(b))) for b in (low, high)]
    assert y.dtype == np.int8
    np.testing.assert_array_equal(y, np.clip(x, *limits))


@pytest.mark.parametrize("version", ["14.2.0", "13.6.0"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_sign_keeps_nan_and_waits_for_nothing(on_cupy, monkeypatch, version, dtype):
    from nnx.backends.cuda.namespace import CudaNamespace

    own = on_cupy.xp
    monkeypatch.setattr(own.cupy, "__version__", version)
    xp = CudaNamespace(own.compat, own.cupy, own.product, own.recording)
    x = np.array([-2, 0, 3], dtype)
    if dtype != "int32":
        x = np.append(x, [NAN, np.inf, -0.0]).astype(dtype)
    given = on_cupy.asarray(x)
    with cupy_on_cpu.counting() as asked:
        y = xp.sign(given)
    np.testing.assert_array_equal(on_cupy.to_numpy(y), np.sign(x))
    assert y.dtype == x.dtype and not asked.waits
    assert asked.total == 1 or version == "13.6.0"


# ---- kernels whose blocks wait for each other ----


class Compiled:
    """What CuPy makes of a kernel, as far as it is asked."""

    def __init__(self):
        self.max_dynamic_shared_size_bytes, self.calls = 48 << 10, []
        self.kernel = self
        self.ptr = 5

    def __call__(self, *given, **how):
        self.calls.append((given, how))


@pytest.fixture
def devices(monkeypatch):
    """Two devices; who asks for more shared memory than the function is allowed hears 0."""
    import cupy

    from nnx.backends import cupy as ours

    compiled = Compiled()
    of = [
        {"MultiProcessorCount": 132, "CooperativeLaunch": 1, "MaxSharedMemoryPerBlockOptin": 227},
        {"MultiProcessorCount": 40, "CooperativeLaunch": 1, "MaxSharedMemoryPerBlockOptin": 64},
    ]
    runtime, current = cupy.cuda.runtime, [0]

    def attribute(number, device):
        name = next(n for n in of[0] if getattr(runtime, f"cudaDevAttr{n}") == number)
        return of[device][name] << (10 if "Shared" in name else 0)

    def occupancy(function, threads, shared):
        assert (function, threads) == (5, 256)
        return 0 if shared > compiled.max_dynamic_shared_size_bytes else (228 << 10) // shared

    monkeypatch.setattr(runtime, "getDevice", lambda: current[0])
    monkeypatch.setattr(runtime, "deviceGetAttribute", attribute)
    monkeypatch.setattr(cupy.cuda.driver, "occupancyMaxActiveBlocksPerMultiprocessor", occupancy)
    monkeypatch.setattr(ours, "_attribute", ours._attribute.__wrapped__)
    return compiled, of, current


def test_how_many_blocks_fit_is_the_current_devices(devices):
    from nnx.backends.cupy import Together

    compiled, of, current = devices
    together = Together(compiled)

    def fit(kibibytes):
        return together.resident(256, kibibytes << 10) * of[current[0]]["MultiProcessorCount"]

    assert fit(40) == 5 * 132 and compiled.max_dynamic_shared_size_bytes == 48 << 10
    assert fit(150) == 132 and compiled.max_dynamic_shared_size_bytes == 150 << 10
    assert fit(228) == 0
    current[0] = 1
    assert fit(40) == 5 * 40 and fit(150) == 0
    of[1]["CooperativeLaunch"] = 0
    assert fit(41) == 0


def test_they_are_launched_as_one_whole(devices):
    from nnx.backends.cupy import Together

    Together(devices[0])((3,), (256,), ("x",), shared_mem=8)
    assert devices[0].calls == [
        (((3,), (256,), ("x",), 8), {"enable_cooperative_groups": True}),
    ]

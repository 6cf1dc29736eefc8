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

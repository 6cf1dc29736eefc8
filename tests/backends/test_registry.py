"""Which backend computes, where new arrays are made, and which kernels run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
from typing import ClassVar

import numpy as np
import pytest

import nnx
from nnx import backends, nn, ops
from nnx.backends import get_backend, kernels, override, unavailable, use_backend
from nnx.backends.check import CheckBackend, KernelMismatch
from nnx.backends.numpy import NumpyBackend


def run(code, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("NNX_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
    )


# ---- which backend computes ----


def test_the_arrays_decide(backend):
    x = backend.asarray(np.ones(3))
    home = backends.backend_of(x)
    assert home.xp is backend.xp and type(home) is type(backend.backend)
    assert backends.backend_of(x, x, x) is home, "one backend for a type of array"


def test_arrays_of_two_libraries_are_an_error_with_a_remedy():
    strict = pytest.importorskip("array_api_strict")
    a, b = nnx.Tensor(np.ones(2)), nnx.Tensor(strict.ones(2))
    message = r"two libraries.*numpy.*array_api_strict.*\.to\(\"numpy\"\)"
    for call in (
        lambda: backends.backend_of(a.data, b.data),
        lambda: ops.add(a, b),
        lambda: ops.concat([a, b]),
        lambda: ops.mse_loss(a, b.astype("float64")),
        lambda: ops.where(a > 0, a, b),
        lambda: a + b.data,
        lambda: a == b,
    ):
        with pytest.raises(TypeError, match=message):
            call()


@pytest.mark.parametrize("thing", [1.0, [1.0], "x", None])
def test_what_is_no_array_is_an_error(thing):
    with pytest.raises(TypeError, match="expected an array"):
        backends.backend_of(thing)


def test_a_tensor_in_an_array_s_place_is_told():
    p = nnx.tensor([1.0, 2.0])
    p.data = nnx.ones(2)
    with pytest.raises(TypeError, match=r"expected an array, got a Tensor of shape \(2,\).*copy_"):
        p * 2


def test_any_conforming_library_works_the_day_it_is_passed_in():
    """A namespace that nnx has never heard of: array_api_strict under another name."""
    strict = pytest.importorskip("array_api_strict")
    module = types.ModuleType("brand_new_library")
    module.__dict__.update({k: v for k, v in vars(strict).items() if not k.startswith("__")})
    module.__spec__ = importlib.util.spec_from_loader("brand_new_library", None)
    sys.modules["brand_new_library"] = module
    try:
        with use_backend("brand_new_library"):
            x = nnx.tensor([1.0, 2.0], requires_grad=True)
            (x * x).sum().backward()
            assert backends.active_backend().name == "brand_new_library"
            assert [float(g) for g in x.grad] == [2.0, 4.0]
    finally:
        del sys.modules["brand_new_library"]


# ---- where new arrays are made ----


def test_numpy_unless_told_otherwise():
    done = run("import nnx; print(nnx.active_backend().name, type(nnx.ones(1).data).__module__)")
    assert done.stdout.split() == ["numpy", "numpy"], done.stderr


@pytest.mark.parametrize("name", ["array_api_strict", "torch"])
def test_the_environment_decides(name):
    pytest.importorskip(name)
    done = run("import nnx; print(type(nnx.ones(1).data).__module__)", NNX_BACKEND=name)
    assert done.stdout.split(".")[0].strip() == name, done.stderr


def test_a_wrong_environment_fails_at_the_first_array():
    done = run("import nnx; nnx.ones(1)", NNX_BACKEND="nunpy")
    assert "there is no module named 'nunpy'" in done.stderr
    assert '"numpy", "cupy", "torch", "array_api_strict"' in done.stderr
    done = run("import nnx; nnx.ones(1)", NNX_KERNELS="quick")
    assert "NNX_KERNELS='quick': the modes are fast, portable, check" in done.stderr


def test_set_backend_and_use_backend():
    strict = pytest.importorskip("array_api_strict")
    before = nnx.active_backend()
    try:
        nnx.set_backend("array_api_strict")
        assert type(nnx.ones(1).data) is type(strict.ones(1))
        with use_backend("numpy") as inside:
            assert nnx.active_backend() is inside and type(nnx.ones(1).data) is np.ndarray
        assert nnx.active_backend().name == "array_api_strict"
        with pytest.raises(ZeroDivisionError), use_backend("numpy"):
            raise ZeroDivisionError
        assert nnx.active_backend().name == "array_api_strict"
    finally:
        backends._default = before


def test_a_device_after_the_name():
    strict = pytest.importorskip("array_api_strict")
    with use_backend("array_api_strict:device1"):
        assert nnx.ones(1).device == strict.Device("device1")


@pytest.mark.parametrize(
    "name, reason",
    [
        ("numpi", "there is no module named 'numpi'; install it with pip"),
        ("no.such.thing", "there is no module named"),
        ("json", "does not follow the array API standard .*it has no asarray"),
    ],
)
def test_names_that_cannot_be_used(name, reason):
    with pytest.raises(ValueError, match=reason):
        get_backend(name)


# ---- CuPy, and the reasons why it cannot compute ----


def test_cupy_is_not_installed(monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert "CuPy is not installed; pip install cupy-cuda12x" in unavailable("cupy")
    with pytest.raises(ValueError, match="the cupy backend cannot be used: CuPy is not installed"):
        backends._make("fast", "cupy")


@pytest.fixture
def cupy_says(monkeypatch):
    """`cupy_says(error)`: what `getDeviceCount` of the installed CuPy raises or returns."""
    cupy = pytest.importorskip("cupy")

    def install(answer):
        def count():
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", count)

    return install


def test_cupy_reasons_are_told_apart(cupy_says):
    import cupy

    failed = cupy.cuda.runtime.CUDARuntimeError
    reasons = []
    for answer, words in [
        (failed(35), "no usable NVIDIA driver"),  # cudaErrorInsufficientDriver
        (failed(100), "no CUDA device"),  # cudaErrorNoDevice
        (ImportError("libnvrtc.so.12"), "install the wheel for your CUDA"),
        (0, "check nvidia-smi and CUDA_VISIBLE_DEVICES"),
    ]:
        cupy_says(answer)
        reasons.append(unavailable("cupy"))
        assert words in reasons[-1], reasons[-1]
        with pytest.raises(ValueError, match="the cupy backend cannot be used"):
            backends._make("fast", "cupy")
    assert len(set(reasons)) == 4
    cupy_says(1)
    assert unavailable("cupy") is None


class OnDevice(NumpyBackend):
    """A backend of a library with current devices: "cupy:1" as far as `nnx.backends` sees."""

    current: ClassVar[list[str]] = ["device 0"]

    def use_device(self):
        before = self.current[-1]
        self.current.append("device 1")
        return lambda: self.current.append(before)


@pytest.mark.parametrize("mode", ["fast", "portable", "check"])
def test_a_device_in_the_name_becomes_current(monkeypatch, mode):
    monkeypatch.setattr(OnDevice, "current", current := ["device 0"])
    monkeypatch.setattr(backends, "_default", backends.active_backend())
    monkeypatch.setattr("nnx.backends.numpy.NumpyBackend", OnDevice)
    monkeypatch.setattr(backends, "jit_enabled", lambda: False)
    monkeypatch.setattr(backends, "_by_name", {})
    with kernels(mode):
        with use_backend("numpy"):
            assert current == ["device 0", "device 1"]
        assert current == ["device 0", "device 1", "device 0"], "the one before is current again"
        nnx.set_backend("numpy")
        assert current[3:] == ["device 1"]


def test_cupy_uses_its_device(monkeypatch):
    cupy = pytest.importorskip("cupy")
    from nnx.backends.cupy import CupyBackend

    used = []

    class Device:
        def __init__(self, number=0):
            self.number = number

        def use(self):
            used.append(self.number)

    monkeypatch.setattr(cupy.cuda, "Device", Device)
    leave = CupyBackend(1).use_device()
    assert used == [1]
    leave()
    assert used == [1, 0]
    CupyBackend().use_device()()
    assert used == [1, 0], "without a number the current device stays"


# ---- which kernels run ----


class Wrong(NumpyBackend):
    """A NumPy backend whose softmax is wrong in one place."""

    def softmax(self, x, axis):
        y = super().softmax(x, axis)
        y[1, 2] *= 1.01
        return y

    def index_add(self, values, indices, rows):
        return super().index_add(values, indices, rows).astype("float64")


def checked():
    numpy = NumpyBackend()
    return CheckBackend(Wrong(), backends.Backend(numpy.xp, "numpy"))


def test_check_names_the_kernel_and_the_place():
    x = nnx.Tensor(np.random.default_rng(0).standard_normal((3, 4)).astype("f4"))
    with override(np.ndarray, checked()):
        with pytest.raises(KernelMismatch, match=r"softmax: 1 of 12 values.*first at \(1, 2\)"):
            ops.softmax(x)
        ops.log_softmax(x)  # this one is right


def test_check_sees_a_wrong_dtype():
    x = nnx.Tensor(np.ones((3, 4), "f4"), requires_grad=True)
    with override(np.ndarray, checked()):
        y = ops.take(x, [0, 1, 1], axis=0).sum()
        with pytest.raises(KernelMismatch, match=r"index_add: kernel gave float64.*twin float32"):
            y.backward()


def test_check_forgives_what_the_twin_does_itself():
    """Nearly constant channels: batch norm divides their rounding errors by a small deviation."""
    rng = np.random.default_rng(0)
    numpy = NumpyBackend()
    with override(np.ndarray, CheckBackend(numpy, backends.Backend(numpy.xp, "numpy"))):
        for _ in range(10):
            x = nnx.Tensor((1 + 1e-3 * rng.standard_normal((32, 4, 5, 5))).astype("f4"))
            model = nn.Sequential(nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
            model(x).backward(rng.standard_normal((32, 3, 3, 3)).astype("f4"))


def test_raw_does_not_compare():
    x = nnx.Tensor(np.random.default_rng(0).standard_normal((3, 4)).astype("f4"))
    with override(np.ndarray, Wrong()):
        assert float(ops.softmax(x).sum(axis=1).data[1]) != pytest.approx(1.0, abs=1e-4)


def test_modes():
    before = backends.kernel_mode()
    x = np.ones(2, "f4")
    with kernels("portable"):
        assert type(backends.backend_of(x)) is backends.Backend
        with kernels("fast"):
            assert isinstance(backends.backend_of(x), NumpyBackend)
        with kernels("check"):
            assert type(backends.backend_of(x)) is CheckBackend
            assert type(nnx.active_backend()) is CheckBackend
        assert type(nnx.active_backend()) is backends.Backend
    assert backends.kernel_mode() == before
    with pytest.raises(ValueError, match="the modes are fast, portable, check"), kernels("quick"):
        pass


@pytest.mark.parametrize(("old", "new"), [("raw", "fast"), ("xp", "portable")])
def test_the_old_names_of_the_modes_still_work(old, new):
    with pytest.warns(FutureWarning, match=f"'{old}'.* is now called '{new}'"), kernels(old):
        assert backends.kernel_mode() == new
    done = run("import nnx; nnx.ones(1)", NNX_KERNELS=old)  # where warnings are errors
    assert f"FutureWarning: NNX_KERNELS='{old}' is now called '{new}'" in done.stderr


def test_the_environment_chooses_the_mode():
    code = "import nnx; print(type(nnx.active_backend()).__name__)"
    assert run(code, NNX_KERNELS="portable").stdout.strip() == "Backend"
    assert run(code, NNX_KERNELS="check").stdout.strip() == "CheckBackend"
    assert run(code, NNX_JIT="0").stdout.strip() == "NumpyBackend"


def test_a_network_trains_the_same_in_every_mode():
    from nnx import nn, optim

    losses = {}
    for mode in backends.MODES:
        with kernels(mode):
            nnx.manual_seed(0)
            model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
            x = nnx.Tensor(np.random.default_rng(1).standard_normal((16, 5)).astype("f4"))
            t = nnx.Tensor(np.arange(16) % 3)
            optimizer = optim.SGD(model.parameters(), lr=0.5)
            for _ in range(5):
                optimizer.zero_grad()
                loss = ops.cross_entropy(model(x), t)
                loss.backward()
                optimizer.step()
            losses[mode] = float(loss.detach())
    assert losses["fast"] == pytest.approx(losses["portable"], rel=1e-5)
    assert losses["check"] == losses["fast"]

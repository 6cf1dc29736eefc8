"""`CudaUnderTest`: the CUDA kernels on one kind of device, and how they are held to their twins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from cuda_cpu.module import CpuFactory
from nnx.backends import Backend, Residuals, override
from nnx.backends.cuda import CudaBackend
from nnx.backends.cuda.launcher import Factory, Function, Kernel, Modules

DEVICES = ("check", "fast", "gpu")
LAYOUTS = ("contiguous", "strided", "offset")


class RecordingModules(Modules):
    """Remembers which kernels were launched, so that a test can show that it ran what it tests."""

    def __init__(self, factory: Factory, array: type, *of_device: Any) -> None:
        super().__init__(factory, array, *of_device)
        self.launched: set[str] = set()
        self.in_half: set[str] = set()  # those of them that were launched on float16 arrays

    def function(
        self, kernel: Kernel, real: np.dtype[Any], constants: tuple[int, ...] = ()
    ) -> Function:
        self.launched.add(kernel.name)
        if real == np.float16:
            self.in_half.add(kernel.name)
        return super().function(kernel, real, constants)

    def fit(self, *asked: Any) -> int:
        before = set(self.launched)
        room = super().fit(*asked)  # which compiles the kernel, and launches nothing
        self.launched = before
        return room


@cache  # so that what one test compiles serves the next
def cuda_backend(kind: str) -> CudaBackend:
    """The CUDA backend on `check` or `fast` (the CPU harness) or `gpu` (CuPy)."""
    if kind != "gpu":
        factory = CpuFactory(kind)
        of_device = factory.resident_blocks, factory.processors
        modules = RecordingModules(factory, np.ndarray, *of_device)
        return CudaBackend(np, "numpy", modules)
    import cupy

    from nnx.backends.cupy import CupyBackend, compile_kernel, processors, resident_blocks

    backend = CupyBackend()
    backend.modules = RecordingModules(compile_kernel, cupy.ndarray, resident_blocks, processors)
    return backend


class CudaUnderTest:
    """The CUDA backend on `check` or `fast` (the CPU harness) or `gpu`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.backend = cuda_backend(kind)
        self.portable = Backend(np, "portable")
        self.xp = self.backend.xp
        self.launched.clear()
        self.held_to_twin: set[str] = set()
        self.held_in_half: set[str] = set()

    @property
    def launched(self) -> set[str]:
        """The names of the kernels launched since this test began."""
        modules = self.backend.modules
        assert isinstance(modules, RecordingModules)
        return modules.launched

    @property
    def in_half(self) -> set[str]:
        """The names of the kernels launched on float16 arrays."""
        modules = self.backend.modules
        assert isinstance(modules, RecordingModules)
        return modules.in_half

    def asarray(self, x: Any, layout: str = "contiguous") -> Any:
        """The values of `x` in a new array of this device, laid out in memory as asked."""
        x = np.asarray(x)
        if layout == "contiguous" or x.ndim == 0:
            return self.backend.from_numpy(np.array(x))
        if layout == "strided":  # every second place of the last axis
            wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
            wide[..., ::2] = x
            return self.backend.from_numpy(wide)[..., ::2]
        # contiguous, but aligned to one element only: a slice that begins at the second one
        flat = self.backend.from_numpy(np.concatenate([np.zeros(1, x.dtype), x.reshape(-1)]))
        return self.xp.reshape(flat[1:], x.shape)

    @contextmanager
    def without_room(self) -> Iterator[None]:
        """Inside the `with` no kernel is used whose blocks must be on the device together."""
        modules, known = self.backend.modules, self.backend.modules.processors
        modules.processors = None
        try:
            yield
        finally:
            modules.processors = known

    def set_order(self, order: int) -> None:
        """How the harness orders blocks and threads: 0 ascending, 1 descending, 2 shuffled."""
        factory = self.backend.modules.factory
        if isinstance(factory, CpuFactory):
            factory.order = order

    def every_order(self, body: Callable[[], Any]) -> Any:
        """What `body()` returns, shown to be bit-equal in every order of blocks and threads.

        On a GPU, whose order nobody chooses, it must be the same twice.
        """
        first = None
        try:
            for order in {"check": (0, 1, 2), "fast": (0,), "gpu": (0, 0)}[self.kind]:
                self.set_order(order)
                result = flatten(self.backend, body())
                if first is None:
                    first = result
                same_bits(result, first, f"order {order} of blocks and threads")
        finally:
            self.set_order(0)
        return first

    def agree(
        self,
        body: Callable[..., Any],
        *arrays: np.ndarray,
        rtol: float = 0.0,
        layouts: tuple[str, ...] = LAYOUTS,
    ) -> list[np.ndarray]:
        """Hold `body(backend, *arrays)` on this device to the same on the portable twins.

        Runs in every order and with the arrays laid out in every way: all results must be
        bit-equal (on a GPU, and with `rtol`, near: there may be a product in them), and near the
        twin's: within `rtol` of the largest value of each array, exactly where `rtol` is 0.  The
        arrays must not be written.  Returns the results.

        The twin of kernels on float16 arrays computes on the same numbers in float32; a result in
        float16 may besides be half a unit in its last place from the twin's: rounded once.
        """
        widened = [np.array(a, "float32" if a.dtype == np.float16 else a.dtype) for a in arrays]
        expected = flatten(self.portable, body(self.portable, *widened))
        launched_before = set(self.launched)
        self.launched.clear()
        self.in_half.clear()
        first = None
        orders = {"check": (0, 1, 2), "fast": (0,), "gpu": (0, 0, 0)}[self.kind]
        try:
            for k, order in enumerate(orders):
                layout = layouts[k % len(layouts)]
                self.set_order(order)
                given = [self.asarray(a, layout) for a in arrays]
                result = flatten(self.backend, body(self.backend, *given))
                for before, after in zip(arrays, given, strict=True):
                    np.testing.assert_array_equal(
                        self.backend.to_numpy(after), before, "an input was written"
                    )
                if first is None:
                    first = result
                if self.kind == "gpu" and rtol:  # cuBLAS may choose by an operand's alignment
                    for a, e in zip(result, first, strict=True):
                        near = rtol * np.max(np.abs(e), initial=0.0, where=np.isfinite(e))
                        np.testing.assert_allclose(a, e, rtol=0, atol=near, err_msg=layout)
                else:
                    same_bits(result, first, f"order {order}, {layout} inputs")
        finally:
            self.set_order(0)
        assert first is not None
        assert len(first) == len(expected) > 0
        for k, (a, e) in enumerate(zip(first, expected, strict=True)):
            assert a.shape == e.shape, f"result {k}"
            half = a.dtype == np.float16 and e.dtype == np.float32
            assert half or a.dtype == e.dtype, f"result {k}: {a.dtype}, not {e.dtype}"
            scale = np.max(np.abs(e), initial=0.0, where=np.isfinite(e)) if rtol else 0.0
            if half:
                a, e = rounded_once(a, e, rtol * scale)
            np.testing.assert_allclose(a, e, rtol=0, atol=rtol * scale, err_msg=f"result {k}")
        self.held_to_twin |= self.launched
        self.held_in_half |= self.in_half
        self.launched.update(launched_before)
        return first

    def rows_alone(
        self, body: Callable[..., Any], *arrays: np.ndarray, axis: int = 0, given: Any = ()
    ) -> None:
        """Each example's results are the same bits, whatever else is in the batch.

        `body(backend, *arrays, *given)` works example by example: they lie along `axis` of all
        arrays and all results; `given` is the same for all.  A twin cannot show this: a row that
        takes its neighbour's maximum for its own differs from it by rounding only.
        """
        shared = [self.asarray(a) for a in given]
        together = flatten(
            self.backend, body(self.backend, *[self.asarray(a) for a in arrays], *shared)
        )
        for k in range(arrays[0].shape[axis]):
            one = slice(k, k + 1)
            few = [self.asarray(np.take(a, range(k, k + 1), axis)) for a in arrays]
            alone = flatten(self.backend, body(self.backend, *few, *shared))
            rows = [np.moveaxis(np.moveaxis(a, axis, 0)[one], 0, axis) for a in together]
            same_bits(alone, rows, f"the others of its batch (example {k})")

    @contextmanager
    def active(self) -> Iterator[None]:
        """Whole layers run on this backend inside the `with`: their arrays are sent to it."""
        kind = self.backend.modules.array
        with override(kind, self.backend):
            yield


def flatten(backend: Backend, result: Any) -> list[np.ndarray]:
    """The arrays of a nested result, in order, in host memory; what is private is left out."""
    if isinstance(result, Residuals) or result is None:
        return []
    if isinstance(result, list | tuple):
        return [array for part in result for array in flatten(backend, part)]
    if isinstance(result, np.ndarray | np.generic):
        return [np.array(result)]
    return [np.array(backend.to_numpy(result))]


def rounded_once(a: np.ndarray, e: np.ndarray, atol: float) -> tuple[np.ndarray, np.ndarray]:
    """Results in float16 and their twins in float32, those that are no further apart than `atol`
    and a rounding brings them made equal."""
    with np.errstate(over="ignore"):
        nearest = e.astype(np.float16)
    with np.errstate(invalid="ignore"):
        half_a_unit = np.spacing(np.abs(nearest)).astype(np.float32) / 2
        a = a.astype(np.float32)
        near = (np.abs(a - e) <= half_a_unit + atol) | (a == nearest)
    e = np.where(np.isinf(nearest), nearest.astype(np.float32), e)
    return np.where(near, e, a), e


def same_bits(actual: list[np.ndarray], expected: list[np.ndarray], what: str) -> None:
    assert len(actual) == len(expected)
    for k, (a, e) in enumerate(zip(actual, expected, strict=True)):
        assert a.dtype == e.dtype and a.shape == e.shape, f"result {k}, {what}"
        if a.tobytes() != e.tobytes():
            differ = int(np.sum(a != e))
            raise AssertionError(f"result {k} depends on what it must not: {what}; {differ} values")

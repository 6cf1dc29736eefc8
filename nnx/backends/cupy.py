"""CuPy: CUDA kernels from `kernels/`, portable code where none is written.

The only file that imports CuPy.  The kernels and their launches are in `cuda/` and `launcher.py`;
this says how CuPy compiles them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import array_api_compat.cupy as compat
import cupy
import numpy as np

from .base import Array, native
from .cuda import CudaBackend
from .cuda.cublas import WORKSPACE_BYTES, Products, load_library
from .cuda.launcher import Kernel, Modules
from .cuda.namespace import CudaNamespace
from .cuda.sources import text_of


class _Thread(threading.local):
    """What a thread's calls of CuPy mean to it while it is inside a recorder."""

    matmul: Callable[..., Any] | None = None
    recording = False

    def __init__(self) -> None:
        self.eager: dict[int, Products] = {}  # by device: products outside any recorder


_thread = _Thread()


def product(a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
    """a b, or out + a b, by cuBLAS without a copy of an operand; CuPy's own for other dtypes."""
    matmul = _thread.matmul
    if matmul is None:
        if a.dtype.char not in "efd" or a.dtype != b.dtype:
            if not add:
                return cupy.matmul(a, b, out)
            out += cupy.matmul(a, b)
            return out
        matmul = _eager_products().matmul
    return matmul(a, b, out, add)


def _eager_products() -> Products:
    """This thread's products on the current device, on the current stream."""
    device, stream = cupy.cuda.Device().id, cupy.cuda.get_current_stream().ptr
    products = _thread.eager.get(device)
    if products is None:
        products = _thread.eager[device] = _products(None)
    if products.stream != stream:
        products.use(stream)
    return products


def _products(workspace: tuple[int, int] | None) -> Products:
    cupy.cuda.device.get_cublas_handle()  # so that the library is loaded
    tf32 = os.environ.get("CUPY_TF32", "0") not in ("", "0")
    return Products(load_library(), cupy, lambda x: x.data.ptr, workspace, tf32=tf32)


xp = CudaNamespace(compat, cupy, product, recording=lambda: _thread.recording)


def no_gpu() -> str | None:
    """Why CuPy cannot compute here, and what to do; None where it can."""
    runtime = cupy.cuda.runtime
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if "driver" in str(error).lower():
            return f"CuPy finds no usable NVIDIA driver ({error}); install or update the driver"
        return f"CuPy finds no CUDA device ({error}); run on a machine with an NVIDIA GPU"
    except ImportError as error:
        return f"CuPy cannot load a CUDA library ({error}); install the wheel for your CUDA"
    if count == 0:
        return "the driver reports no CUDA device; check nvidia-smi and CUDA_VISIBLE_DEVICES"
    return None


def describe_device() -> str:
    """The current device in one line: name, compute capability, free and total memory."""
    device = cupy.cuda.Device()
    name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    free, total = device.mem_info
    major, minor = device.compute_capability[:-1], device.compute_capability[-1]
    return f"{name}, compute capability {major}.{minor}, {free >> 20} of {total >> 20} MiB free"


def compile_kernel(kernel: Kernel, options: tuple[str, ...]) -> Any:
    """The function `kernel.name` of `kernel.source`, compiled by NVRTC.

    CuPy adds `-ftz=true` (float32 results too small for a normal number become 0) and the
    device's architecture, and keeps the binary on disk (`~/.cupy/kernel_cache`), where it is
    found again by the source, the options and the versions.  Kernels of one source and the same
    options share one module.  A function is loaded once for each device that it runs on, and
    runs on the current stream.
    """
    module = cupy.RawModule(code=text_of(kernel.source, options), options=options)
    function = module.get_function(kernel.name)
    return Together(function) if kernel.together else function


class Together:
    """A function whose blocks wait for each other: the driver starts all of them, or refuses.

    Launched as others are, two of them on two streams could each get a part of the device, and wait
    for ever.  The function is compiled as others are: `RawModule(enable_cooperative_groups=True)`
    would link it with a library that CuPy's wheels may lack, and that only `grid.sync()` needs.
    """

    def __init__(self, function: Any) -> None:
        self.function = function
        self.blocks: dict[Any, int] = {}  # on a multiprocessor at once

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
        self.function.kernel(grid, block, args, shared_mem, enable_cooperative_groups=True)

    @property
    def attributes(self) -> dict[str, int]:
        attributes: dict[str, int] = self.function.attributes
        return attributes

    def resident(self, threads: int, shared: int) -> int:
        """How many blocks of a multiprocessor of the current device; so much shared memory is
        allowed from then on, on devices that have more than the 48 KiB of all."""
        device = cupy.cuda.runtime.getDevice()
        key = device, threads, shared
        if key not in self.blocks:
            self.blocks[key] = self._resident(device, threads, shared)
        return self.blocks[key]

    def _resident(self, device: int, threads: int, shared: int) -> int:
        if not _attribute("CooperativeLaunch", device):
            return 0
        if shared > _attribute("MaxSharedMemoryPerBlockOptin", device):
            return 0
        if shared > self.function.max_dynamic_shared_size_bytes:
            self.function.max_dynamic_shared_size_bytes = shared
        ask = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
        return int(ask(self.function.kernel.ptr, threads, shared))


@cache
def _attribute(name: str, device: int) -> int:
    runtime = cupy.cuda.runtime
    return int(runtime.deviceGetAttribute(getattr(runtime, f"cudaDevAttr{name}"), device))


def processors() -> int:
    """How many multiprocessors the current device has."""
    return _attribute("MultiProcessorCount", cupy.cuda.runtime.getDevice())


def resident_blocks(function: Any, threads: int, shared: int) -> int:
    """How many blocks of a compiled function are on the current device at once."""
    return int(function.resident(threads, shared)) * processors()


class CupyBackend(CudaBackend):
    """CuPy arrays on one CUDA device."""

    values_at_hand = False  # whether an index is in range cannot be seen without waiting

    def __init__(self, device: int | None = None) -> None:
        name = "cupy" if device is None else f"cupy:{device}"
        modules = Modules(compile_kernel, cupy.ndarray, resident_blocks, processors)
        super().__init__(xp, name, modules, None if device is None else cupy.cuda.Device(device))
        self._ones: dict[Any, Array] = {}

    def product(self, a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
        return product(a, b, out, add)

    def one(self, like: Array) -> Array:
        """Made once for each dtype and device, so that it can be told by what it is; not while it
        would only be recorded."""
        key = like.dtype, cupy.cuda.Device().id
        made = self._ones.get(key)
        if made is None:
            made = super().one(like)
            if not _thread.recording:
                self._ones[key] = made
        return made

    def from_numpy(self, x: np.ndarray) -> Array:
        if self.device is None:
            return cupy.asarray(native(x))
        with self.device:
            return cupy.asarray(native(x))

    def to_numpy(self, x: Array) -> np.ndarray:
        host: np.ndarray = cupy.asnumpy(x)
        return host

    def use_device(self) -> Callable[[], None]:
        if self.device is None:
            return super().use_device()
        before = cupy.cuda.Device()
        self.device.use()
        back: Callable[[], None] = before.use
        return back

    def nccl_device(self) -> NcclDevice | None:
        from cupy.cuda import nccl

        return NcclDevice(nccl) if nccl.available else None

    def synchronize(self) -> None:
        cupy.cuda.get_current_stream().synchronize()

    def recorder(self) -> CupyRecorder:
        return CupyRecorder()


class NcclDevice:
    """The current device as `nnx.parallel.nccl` wants it: a stream for what is sent, beside the
    computing, that begins when what was computed so far is there.  Not yet run on devices."""

    def __init__(self, nccl: Any) -> None:
        self.nccl = nccl
        self.device = cupy.cuda.Device()
        self.stream = cupy.cuda.Stream(non_blocking=True)

    def owns(self, array: Array) -> bool:
        return isinstance(array, cupy.ndarray)

    def pointer(self, array: Array) -> int:
        return int(array.data.ptr)

    def begin(self) -> int:
        self.device.use()  # the current device is each thread's own
        self.stream.wait_event(cupy.cuda.get_current_stream().record())
        return int(self.stream.ptr)

    def finish(self) -> None:
        self.stream.synchronize()


class CupyRecorder:
    """Runs a training step aside, and records it as a CUDA graph; for `nnx.capture`.

    A graph replays kernels at the addresses that they were recorded with, and keeps no array
    alive.  So the step has a memory pool of its own: what it frees, only the step itself may take
    again, and in a replay it does so in the same order.  The pool lives as long as the recorder.

    Inside, products go to a cuBLAS handle of this recorder's, `a @ b` among them, and only those
    of the thread that is inside: what other threads compute goes where it went before.

    Not yet run on a device: `docs/gpu-runs.md`.
    """

    def __init__(self) -> None:
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.pool = cupy.cuda.MemoryPool()
        self.workspace = cupy.cuda.alloc(WORKSPACE_BYTES)
        self.products = _products((self.workspace.ptr, WORKSPACE_BYTES))
        # The handle goes with the recorder; at the end of the process, with the process.
        weakref.finalize(self, self.products.close).atexit = False

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Work on this stream and pool: after what was asked before, before what comes later."""
        here = cupy.cuda.get_current_stream()
        self.stream.wait_event(here.record())
        try:
            with (
                self.stream,
                cupy.cuda.using_allocator(self.pool.malloc),
                _set(_thread, "matmul", self.products.matmul),
                _hooks,
            ):
                self.products.use(self.stream.ptr)
                yield
        finally:
            here.wait_event(self.stream.record())

    def record(self, body: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """What `body()` returns, its work recorded and not done; and what does it."""
        with self.aside():
            self.stream.begin_capture()
            try:
                with _set(_thread, "recording", True):
                    result = body()
            except BaseException:
                with suppress(cupy.cuda.runtime.CUDARuntimeError):
                    self.stream.end_capture()  # which fails too where a call has spoilt it
                raise
            graph = self.stream.end_capture()
        return result, graph.launch


class _Hooks:
    """CuPy's functions that ask `_thread`, in CuPy as long as any thread is inside a recorder."""

    def __init__(self) -> None:
        self.inside, self.lock = 0, threading.Lock()
        self.before: list[tuple[Any, str, Any, bool]] = []

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self._put()

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            while self.before and not self.inside:
                owner, name, value, inherited = self.before.pop()
                delattr(owner, name) if inherited else setattr(owner, name, value)

    def _put(self) -> None:
        # Functions, not bound methods: `a @ b` hands the left operand to a function of the class.
        matmul, operator = cupy.matmul, cupy.ndarray.__matmul__
        array, asarray = cupy.array, cupy.asarray

        def by_operator(a: Any, b: Any) -> Any:
            ours = _thread.matmul if isinstance(b, cupy.ndarray) else None
            return operator(a, b) if ours is None else ours(a, b)

        def by_function(a: Any, b: Any, out: Any = None, **options: Any) -> Any:
            ours = _thread.matmul
            return matmul(a, b, out, **options) if ours is None else ours(a, b, out, **options)

        for owner, name, value in (
            (cupy.ndarray, "__matmul__", by_operator),
            (cupy, "matmul", by_function),
            (cupy, "array", _only_from_device(array)),
            (cupy, "asarray", _only_from_device(asarray)),
        ):
            self.before.append((owner, name, getattr(owner, name), name not in vars(owner)))
            setattr(owner, name, value)


_hooks = _Hooks()


def _only_from_device(make: Callable[..., Any]) -> Callable[..., Any]:
    """`cupy.array` without copies from host memory, which would be gone when a graph replays."""

    def guarded(values: Any, *args: Any, **kwargs: Any) -> Any:
        if _thread.recording and not isinstance(values, cupy.ndarray):
            raise RuntimeError(
                f"a recorded step cannot copy a {type(values).__name__} from host memory"
            )
        return make(values, *args, **kwargs)

    return guarded


@contextmanager
def _set(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value of an attribute inside a `with` block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)

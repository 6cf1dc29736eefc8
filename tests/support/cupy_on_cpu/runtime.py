"""The device itself: its properties, streams, events, captures, and the kernels that it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import cupy
import numpy as np
from cublas_by_definition import Cublas
from cuda_cpu.module import CpuFactory

from cupy_on_cpu.ledger import note
from cupy_on_cpu.memory import allocate, current, do, host, wait


class Device:
    """The only one, number 0."""

    mem_info = (1 << 33, 1 << 34)
    compute_capability = "90"

    def __init__(self, device: Any = None) -> None:
        self.id = 0 if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def use(self) -> Device:
        return self

    def synchronize(self) -> None:
        wait("device.synchronize")

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id


class Event:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.at = 0.0

    def record(self, stream: Any = None) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        wait("event.synchronize")


class Stream:
    """Work is done in the order in which it is asked for, whichever stream it is asked of."""

    streams: ClassVar[list[Stream]] = []  # the current one last

    def __init__(self, null: bool = False, non_blocking: bool = False) -> None:
        self.ptr = 0 if null else id(self)

    def __enter__(self) -> Stream:
        Stream.streams.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        Stream.streams.pop()

    def record(self, event: Any = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        assert isinstance(event, Event)

    def synchronize(self) -> None:
        wait("stream.synchronize")

    def begin_capture(self, mode: Any = None) -> None:
        assert Stream.streams[-1] is self, "captured work is asked of the current stream"
        current.graph = []

    def end_capture(self) -> Graph:
        works, current.graph = current.graph, None
        assert works is not None
        return Graph(works)


class Graph:
    def __init__(self, works: list[Callable[[], None]]) -> None:
        self.works = works

    def launch(self, stream: Any = None) -> None:
        note("launches", "graph")
        for work in self.works:
            work()


class MemoryPool:
    malloc = staticmethod(allocate)

    def free_all_blocks(self) -> None:
        pass

    def used_bytes(self) -> int:
        return 0


_factory = CpuFactory("fast", resident=132)  # a block for each multiprocessor of an H100
_null = Stream(null=True)
_pool = MemoryPool()
cublas = Cublas(on_call=lambda: note("launches", "product"), do=do)


def resident_blocks(function: Any, threads: int, shared: int) -> int:
    """In place of `nnx.backends.cupy.resident_blocks`."""
    return _factory.resident_blocks(function, threads, shared)


def processors() -> int:
    """In place of `nnx.backends.cupy.processors`."""
    return _factory.processors()


def compile_kernel(kernel: Any, options: tuple[str, ...]) -> Callable[..., None]:
    """In place of `nnx.backends.cupy.compile_kernel`."""
    function = _factory(kernel, options)

    def launch(
        grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        for value in args:
            known = isinstance(value, cupy.ndarray | np.generic | np.ndarray) or value is None
            assert known, f"{kernel.name}: CuPy would pass {type(value)} as 64 bits"
        note("launches", kernel.name)
        kept = [_kept(value) for value in args]
        do(lambda: function(grid, block, tuple(v() for v in kept), shared_mem=shared_mem))

    return launch


def _kept(value: Any) -> Callable[[], Any]:
    """What makes the harness's argument of CuPy's: the values that it has now, if it is a list."""
    if isinstance(value, cupy.ndarray):
        return lambda: host(value)
    if hasattr(value, "items"):
        passed = value.copy()
        passed.items = [host(item) for item in value.items]
        return lambda: passed
    return lambda: value


def replacements() -> Iterator[tuple[Any, str, Any]]:
    """(owner, name, what takes its place)."""
    runtime = cupy.cuda.runtime
    properties = {"name": b"CuPy on host memory", "totalGlobalMem": 1 << 34}
    yield runtime, "getDeviceCount", lambda: 1
    yield runtime, "getDeviceProperties", lambda device: properties
    yield runtime, "driverGetVersion", lambda: 13000
    yield runtime, "runtimeGetVersion", lambda: 13000
    yield runtime, "deviceSynchronize", lambda: wait("device.synchronize")
    yield cupy.cuda, "Device", Device
    yield cupy.cuda, "Event", Event
    yield cupy.cuda, "Stream", Stream
    yield cupy.cuda, "MemoryPool", MemoryPool
    yield cupy.cuda, "get_current_stream", lambda device_id=-1: (Stream.streams or [_null])[-1]
    yield cupy.cuda, "get_elapsed_time", lambda a, b: (b.at - a.at) * 1e3
    yield cupy.cuda.device, "get_cublas_handle", lambda: 1
    yield cupy, "get_default_memory_pool", lambda: _pool
    yield cupy, "is_available", lambda: True

"""Kernels compiled for the CPU, called as `cupy.RawKernel` is called."""

from __future__ import annotations

import ctypes
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cuda_cpu import marshal
from cuda_cpu.build import MOST_SHARED, MOST_SHARED_TOGETHER, Library, build, launch_bounds
from nnx.backends.cuda.kernel import Argument, Kernel
from nnx.backends.cuda.sources import read_source


class KernelFault(AssertionError):
    """A kernel did something that is wrong on a GPU too."""


@dataclass
class CpuFactory:
    """Compiles kernels with g++, for `nnx.backends.cuda.launcher.Modules`.

    `order` and `seed` may be changed between launches.  A launch that makes more than `patience`
    accesses (where they are watched), or waits as often, is taken not to end.  With `last_blocks`
    only so many of a grid's blocks are run, the last ones: on arrays of gigabytes, whose memory is
    there once it is touched, and of which outputs then stay unwritten.  Of a kernel whose blocks
    wait for each other `resident` are on the device at once; others run one after the other.
    """

    variant: str = "check"
    order: int = 0
    seed: int = 1
    patience: int = 200_000_000
    last_blocks: int = 0
    resident: int = 128
    read: Callable[[str], str] = read_source

    def resident_blocks(self, function: Any, threads: int, shared: int) -> int:
        return self.resident if shared <= MOST_SHARED_TOGETHER else 0

    def processors(self) -> int:
        return self.resident

    def __call__(self, kernel: Kernel, options: tuple[str, ...]) -> CpuFunction:
        defines = tuple(option for option in options if option.startswith("-D"))
        code = self.read(kernel.source)
        library = build(code, kernel.source, defines, self.variant)
        real = np.dtype("float64" if "-DREAL=double" in defines else "float32")
        if "-DSTORE=Half" in defines:
            real = np.dtype("float16")
        most_threads = launch_bounds(code).get(kernel.name, 1024)
        return CpuFunction(self, kernel, library, real, most_threads)


class CpuFunction:
    """One kernel of a library.  Raises KernelFault where a GPU would go wrong."""

    def __init__(
        self,
        factory: CpuFactory,
        kernel: Kernel,
        library: Library,
        real: np.dtype[Any],
        most_threads: int,
    ) -> None:
        self.factory, self.kernel, self.library = factory, kernel, library
        self.most_threads = most_threads
        parameters = ctypes.create_string_buffer(4096)
        self.number = library.handle.cuda_cpu_find(kernel.name.encode(), parameters)
        if self.number < 0:
            raise LookupError(f"{kernel.source} has no kernel called {kernel.name}")
        self._compare_types(parameters.value.decode().split(), real)
        self._shared = (marshal.SharedVariable * len(library.shared))(
            *((v.offset, v.size, v.name.encode()) for v in library.shared)
        )

    def __call__(
        self,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        args: tuple[Any, ...],
        *,
        shared_mem: int = 0,
    ) -> None:
        most_shared = MOST_SHARED_TOGETHER if self.kernel.together else MOST_SHARED
        if shared_mem > most_shared:
            raise KernelFault(
                f"{self.kernel.name}: {shared_mem} bytes of dynamic shared memory; "
                f"a launch may ask for {most_shared}"
            )
        if math.prod(block) > self.most_threads:
            raise KernelFault(
                f"{self.kernel.name}: a block of {block} threads, but __launch_bounds__ says "
                f"{self.most_threads}"
            )
        check = self.factory.variant == "check"
        passed = list(zip(self.kernel.passed, args, strict=True))
        buffers = [
            self._buffer(argument, array, name)
            for argument, value in passed
            if argument.is_array and value is not None
            for name, array in _named(argument, value)
        ]
        self._refuse_overlaps(buffers)
        pointers, keep = marshal.pointers(args)
        order = marshal.Launch(
            kernel=self.number,
            grid=marshal.Index3(*(*grid, 1, 1)[:3]),
            block=marshal.Index3(*(*block, 1, 1)[:3]),
            arguments=ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p)),
            buffers=(marshal.Buffer * len(buffers))(*buffers),
            buffer_count=len(buffers),
            shared=self._shared,
            shared_count=len(self._shared),
            dynamic_shared=shared_mem,
            check=check,
            order=self.factory.order,
            seed=self.factory.seed,
            patience=self.factory.patience,
            last_blocks=self.factory.last_blocks,
            together=self.factory.resident if self.kernel.together else 0,
        )
        outcome = marshal.Outcome()
        failed = self.library.handle.cuda_cpu_launch(ctypes.byref(order), ctypes.byref(outcome))
        del keep  # the arguments had to live until here
        if failed:
            raise KernelFault(f"{self.kernel.name}: {outcome.message.decode()}{self._at(outcome)}")

    def _compare_types(self, parameters: list[str], real: np.dtype[Any]) -> None:
        """The description and the C function must agree, or a GPU would read garbage."""
        described = [marshal.code(a, real) for a in self.kernel.passed]
        if described != parameters:
            raise KernelFault(
                f"{self.kernel.name}: described as ({' '.join(map(str, self.kernel.passed))}), "
                f"that is {described}, but {self.kernel.source} declares {parameters} "
                "(p: pointer to const, P: pointer; f, i, u, b and a size in bytes)"
            )

    def _buffer(self, argument: Argument, array: np.ndarray, name: str) -> marshal.Buffer:
        flags = 0
        if argument.direction != "in":
            flags |= marshal.WRITABLE
            if not array.flags.writeable:
                raise KernelFault(f"{self.kernel.name}: {name} is read-only memory")
        if argument.direction == "out":
            flags |= marshal.STARTS_UNINITIALISED | marshal.MUST_BE_WRITTEN
        return marshal.Buffer(
            array.ctypes.data, array.nbytes, min(array.itemsize, 4), flags, name.encode()
        )

    def _refuse_overlaps(self, buffers: list[marshal.Buffer]) -> None:
        """Kernels promise the compiler (`__restrict__`) that outputs overlap nothing."""
        placed = sorted((b for b in buffers if b.size), key=lambda b: (b.base, -b.size))
        end = 0
        last = None
        for b in placed:
            if b.base < end and last and (b.flags | last.flags) & marshal.WRITABLE:
                raise KernelFault(
                    f"{self.kernel.name}: {last.name.decode()} and {b.name.decode()} overlap, "
                    "and one of them is written"
                )
            if b.base + b.size > end:
                end, last = b.base + b.size, b

    def _at(self, outcome: marshal.Outcome) -> str:
        if not outcome.fault_offset:
            return ""
        # The address is where the call returns to: one byte before it lies the call itself.
        command = ["addr2line", "-e", str(self.library.path), hex(outcome.fault_offset - 1)]
        place = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return f" at {place.rpartition('/')[2].split(' ')[0].strip()}"


def _named(argument: Argument, value: Any) -> list[tuple[str, np.ndarray]]:
    """The arrays of an argument, which may be a list, with a name for messages."""
    if not argument.many:
        return [(argument.name, value)]
    named = [(f"{argument.name}[{k}]", array) for k, array in enumerate(value.items)]
    return [(name, array) for name, array in named if array is not None]

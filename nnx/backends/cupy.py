"""CuPy: CUDA kernels from `kernels/`, portable code where none is written.

The only file that imports CuPy.  The kernels and their launches are in `cuda/` and `launcher.py`;
this says how CuPy compiles them.
"""

from __future__ import annotations

from typing import Any

import array_api_compat.cupy as xp
import cupy
import numpy as np

from .base import Array
from .cuda import CudaBackend
from .launcher import Kernel, Modules
from .sources import read_source


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
    module = cupy.RawModule(code=read_source(kernel.source), options=options)
    return module.get_function(kernel.name)


class CupyBackend(CudaBackend):
    """CuPy arrays on one CUDA device."""

    checks_values = False  # whether an index is in range cannot be seen without waiting

    def __init__(self, device: int | None = None) -> None:
        name = "cupy" if device is None else f"cupy:{device}"
        modules = Modules(compile_kernel, cupy.ndarray)
        super().__init__(xp, name, modules, None if device is None else cupy.cuda.Device(device))

    def from_numpy(self, x: np.ndarray) -> Array:
        if self.device is None:
            return cupy.asarray(x)
        with self.device:
            return cupy.asarray(x)

    def to_numpy(self, x: Array) -> np.ndarray:
        return cupy.asnumpy(x)

    def synchronize(self) -> None:
        cupy.cuda.get_current_stream().synchronize()

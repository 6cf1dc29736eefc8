"""CuPy: CUDA kernels from `kernels/`, portable code where none is written yet.

The only file that imports CuPy.
"""

from __future__ import annotations

import array_api_compat.cupy as xp
import cupy
import numpy as np

from .base import Array, Backend


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


class CupyBackend(Backend):
    """CuPy arrays on one CUDA device."""

    def __init__(self, device: int | None = None) -> None:
        name = "cupy" if device is None else f"cupy:{device}"
        super().__init__(xp, name, None if device is None else cupy.cuda.Device(device))

    def from_numpy(self, x: np.ndarray) -> Array:
        if self.device is None:
            return cupy.asarray(x)
        with self.device:
            return cupy.asarray(x)

    def to_numpy(self, x: Array) -> np.ndarray:
        return cupy.asnumpy(x)

    def synchronize(self) -> None:
        cupy.cuda.get_current_stream().synchronize()

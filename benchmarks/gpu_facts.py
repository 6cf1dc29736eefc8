"""Constants of a device, one a line, tab-separated: `python -m benchmarks.gpu_facts`.

What a launch costs the host, what a node of a graph costs the device, how fast copies and products
are, and how many registers each kernel has.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any


def fact(name: str, value: Any, unit: str = "") -> None:
    print(name, value, unit, sep="\t", flush=True)


def on_device(call: Callable[[], Any], times: int) -> float:
    """Microseconds of the device for one call."""
    import cupy

    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    for _ in range(3):
        call()
    begin.record()
    for _ in range(times):
        call()
    end.record()
    end.synchronize()
    return cupy.cuda.get_elapsed_time(begin, end) / times * 1e3


def on_host(call: Callable[[], Any], times: int = 300) -> float:
    """Microseconds of the host to ask for one call."""
    import cupy

    for _ in range(10):
        call()
    cupy.cuda.Device().synchronize()
    begun = time.perf_counter()
    for _ in range(times):
        call()
    spent = time.perf_counter() - begun
    cupy.cuda.Device().synchronize()
    return round(spent / times * 1e6, 2)


def versions() -> None:
    import cupy
    import numpy as np

    from nnx.backends.cupy import describe_device

    fact("device", describe_device())
    fact("CuPy", cupy.__version__)
    fact("NumPy", np.__version__)
    fact("CUDA runtime", cupy.cuda.runtime.runtimeGetVersion())
    fact("CUDA driver", cupy.cuda.runtime.driverGetVersion())


def kernels() -> None:
    import nnx.backends.cuda  # noqa: F401  (fills the registry)
    from nnx.backends import cupy as module
    from nnx.backends.cuda.kernel import STORED
    from nnx.backends.cuda.launcher import REGISTRY

    begun, spilling = time.perf_counter(), 0
    for kernel in REGISTRY.values():
        for real, constants in kernel.variants():
            compiled = module.compile_kernel(kernel, kernel.options(real, constants))
            found = getattr(compiled, "attributes", {})
            spilling += bool(found.get("local_size_bytes"))
            fact(
                f"kernel {kernel.name} {STORED[real]}",
                found.get("num_regs", "?"),
                f"registers, {found.get('shared_size_bytes')} bytes shared, "
                f"{found.get('local_size_bytes')} local",
            )
    fact("kernels with local memory", spilling)
    fact("all kernels", round(time.perf_counter() - begun, 1), "s to compile and load")


def host_costs() -> None:
    import cupy

    from nnx.backends import active_backend
    from nnx.backends.cuda import linear
    from nnx.backends.cuda.launcher import launch

    b = active_backend()
    x, w = cupy.ones((8, 10), "float32"), cupy.ones((10, 10), "float32")
    y, bias = cupy.empty_like(x), cupy.ones(10, "float32")
    image = cupy.ones((8, 4, 8, 8), "float32")
    fact("x + x", on_host(lambda: x + x), "us of the host")
    fact("empty", on_host(lambda: cupy.empty((8, 10), "float32")), "us of the host")
    fact("cupy.matmul", on_host(lambda: cupy.matmul(x, w)), "us of the host")
    fact("nnx's product", on_host(lambda: b.product(x, w)), "us of the host")
    fact("sum", on_host(lambda: x.sum()), "us of the host")
    add = {"y": y, "bias": bias, "columns": 10, "n": 80}
    fact("launch add_bias", on_host(lambda: launch(linear.ADD_BIAS, b.modules, **add)), "us")
    fact("relu", on_host(lambda: b.relu(image)), "us of the host")
    fact("reading a value", on_host(lambda: bool(x[0, 0] > 0), 50), "us, with its wait")


def ceilings(n: int = 8192) -> None:
    import cupy

    x = cupy.ones((2 * n, 2 * n), "float32")
    y = cupy.empty_like(x)
    microseconds = on_device(lambda: cupy.copyto(y, x), 10)
    fact("copy", round(2 * x.nbytes / microseconds / 1e6, 3), "TB/s")
    a, b, c = (cupy.ones((n, n), "float32") for _ in range(3))
    microseconds = on_device(lambda: cupy.matmul(a, b, out=c), 3)
    fact("product float32", round(2 * n**3 / microseconds / 1e6, 1), "TFLOP/s")


def graphs() -> None:
    import cupy

    from nnx.backends import active_backend

    b = active_backend()
    x = cupy.ones(8, "float32")
    for n in (1, 20, 200):
        recorder = b.recorder()
        with recorder.aside():
            b.relu(x)  # compiled before it is recorded
        _, play = recorder.record(lambda n=n: [b.relu(x) for _ in range(n)])
        fact(f"graph of {n} small kernels", round(on_device(play, 50), 2), "us")


FACTS = (versions, host_costs, graphs, ceilings, kernels)
SMALL = (versions, lambda: ceilings(64))  # to try the script


def main() -> int:
    failed = 0
    for function in SMALL if "--small" in sys.argv[1:] else FACTS:
        try:
            function()
        except Exception as error:  # the others are worth having
            failed += 1
            fact(function.__name__, f"FAILED {type(error).__name__}: {str(error)[:200]!r}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

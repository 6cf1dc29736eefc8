"""CuPy without a GPU: real `cupy.ndarray` objects whose memory is the host's.

CuPy takes a Python function as its allocator, and then makes arrays without a driver.  So shapes,
strides, flags, dtypes, views, addresses and array-api-compat's wrappers are the real ones, and so
is everything of nnx between a Tensor and a launch: `CupyBackend`, the launcher, the recorder.  What
would need a device is replaced inside `with installed():`, and put back afterwards:

| what                       | done by                                                         |
| -------------------------- | --------------------------------------------------------------- |
| CuPy's functions, methods  | NumPy on the same memory, once CuPy's own signature has agreed   |
| the project's kernels      | the CPU harness (`cuda_cpu`, "fast")                             |
| cuBLAS                     | its definition, in NumPy (`cublas_by_definition.py`)             |
| streams, captures, graphs  | a list of what was asked, done at once or at each replay         |

What a device would be asked is counted (`ledger.py`): launches, and what makes the host wait or
copies from host memory.  Where CuPy refuses something (an array of NumPy's as an operand, a wait
while a stream is captured) so does this.  Fresh memory is full of NaN.

| file              | what is in it                                                       |
| ----------------- | ------------------------------------------------------------------- |
| `ledger.py`       | the counts, and where in nnx each was asked for                      |
| `memory.py`       | arrays on host memory, and `compute`, through which all work goes    |
| `functions.py`    | `cupy.add`, `cupy.concatenate`, ...                                  |
| `methods.py`      | operators and methods of `cupy.ndarray`                              |
| `runtime.py`      | devices, streams, events, kernels                                    |

What it cannot show: that a device computes the same, and how fast; `docs/gpu-runs.md`.
"""

from cupy_on_cpu.available import why_unavailable
from cupy_on_cpu.install import installed
from cupy_on_cpu.ledger import Ledger, counting

__all__ = ["Ledger", "asked_only", "counting", "installed", "why_unavailable"]


def __getattr__(name: str) -> object:
    """`asked_only`, which needs CuPy: it is imported with the first use."""
    if name == "asked_only":
        from cupy_on_cpu.memory import asked_only

        return asked_only
    raise AttributeError(name)

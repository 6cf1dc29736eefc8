"""Runs the project's CUDA kernels on the CPU, unmodified, and checks what they do to memory.

`CpuFactory` takes the place of `cupy.RawModule` behind `nnx.backends.cuda.launcher`: it compiles a
`.cu` file with g++ and runs its kernels on NumPy arrays.  There are two ways to compile:

- `check`: every load and store is watched.  A `KernelFault` tells of an access out of bounds, a
  race, a read of something never written, a barrier or a shuffle that not all threads reach,
  undefined arithmetic, an output left unwritten: with the file, the line, the block and the thread.
- `fast`: none of that, for tests that need many launches.

Threads and blocks run in a chosen `order`: 0 ascending, 1 descending, 2 shuffled by `seed`.

How it works: `runtime/cuda.h` makes CUDA C compile as C++, `runtime/scheduler.cpp` runs each
thread as a fiber, `runtime/checker.cpp` follows every access.  What instruments the kernels is
g++'s own `-fsanitize=thread,undefined`; the functions that this makes them call are not the
sanitizers' but ours (`runtime/callbacks.cpp`), which know the CUDA thread, block and barrier.

What this cannot show is said in `docs/kernels.md`.
"""

from cuda_cpu.build import why_unavailable
from cuda_cpu.module import CpuFactory, KernelFault

__all__ = ["CpuFactory", "KernelFault", "why_unavailable"]

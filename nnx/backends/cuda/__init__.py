"""Kernels written in CUDA C: one family a file, mirroring `portable/`.

Each family has the descriptions of its kernels and short methods that launch them.  Nothing here
knows CuPy: the methods run on any arrays that `modules` has functions for, which are CuPy's on a
GPU and NumPy's in the tests.  How to add a kernel: `docs/kernels.md`.
"""

from __future__ import annotations

from typing import Any

from ...typing import Array
from ..base import Backend
from ..cpu import memory
from .activation import CudaActivation
from .conv import CudaConv
from .embedding import CudaEmbedding
from .gru import CudaGRU
from .launcher import Modules
from .linear import CudaLinear
from .loss import CudaLoss
from .lstm import CudaLSTM
from .norm import CudaNorm
from .optim import CudaOptim
from .pool import CudaPool
from .random import CudaRandom
from .rnn import CudaRNN


class CudaBackend(
    CudaActivation,
    CudaConv,
    CudaLinear,
    CudaEmbedding,
    CudaGRU,
    CudaLoss,
    CudaLSTM,
    CudaNorm,
    CudaOptim,
    CudaPool,
    CudaRandom,
    CudaRNN,
    Backend,
):
    """Arrays of the namespace `xp`, and the CUDA kernels of `modules` that run on them."""

    low_kernels = frozenset(
        (
            # cuBLAS multiplies float16 as it is, and sums in float32: the operations that are such
            # products, and what follows them elementwise.
            *("linear", "linear_relu", "matmul", "einsum", "tensordot", "vecdot"),
            *("conv1d", "conv2d"),
            # The scans keep the state, and LSTM's cell, in float32 from step to step.
            *("layer", "lstm", "lstm_cell", "gru", "gru_cell", "gru_reset", "gru_update", "rnn"),
            # The kernels of these compute in float32, and round what they write.
            *("gelu", "silu", "elu", "selu", "celu", "sigmoid", "erf"),
            "batch_norm",
            *("avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
        )
    )
    takes_none = True

    def __init__(self, xp: Any, name: str, modules: Modules, device: Any = None) -> None:
        super().__init__(xp, name, device)
        self.modules = modules

    def is_only_view(self, a: Array) -> bool:
        return memory.is_only_view(a)

    def product(self, a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
        """The matrix product a b, as `xp.matmul`; with `add`, out + a b in place of `out`."""
        if not add:
            return self.xp.matmul(a, b, out=out)
        out += self.xp.matmul(a, b)
        return out

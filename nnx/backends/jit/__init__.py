"""Kernels compiled by numba, on NumPy arrays: one family a file, mirroring `portable/`.

Chosen automatically where numba is installed (the extra `jit`) and `NNX_JIT` is not 0.  This
file imports no numba: the first call of a compiled kernel does.
"""

from __future__ import annotations

from ..numpy import NumpyBackend
from .activation import JitActivation
from .convolution.conv_block import JitConvBlock
from .embedding import JitEmbedding
from .linear import JitLinear
from .loss import JitLoss
from .norm import JitNorm
from .optim import JitOptim
from .pool import JitPool
from .random import JitRandom
from .recurrent import JitGRU, JitLSTM, JitRNN


class JitBackend(
    JitActivation,
    JitConvBlock,
    JitLinear,
    JitEmbedding,
    JitGRU,
    JitLoss,
    JitLSTM,
    JitNorm,
    JitOptim,
    JitPool,
    JitRandom,
    JitRNN,
    NumpyBackend,
):
    """NumPy arrays on the CPU, with numba where it is faster."""

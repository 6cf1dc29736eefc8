"""NumPy: the portable kernels, tuned where NumPy can do better."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import Array, Backend, native
from .cpu import memory
from .cpu.activation import NumpyActivation
from .cpu.attention import NumpyAttention
from .cpu.convolution.conv_block import NumpyConvBlock
from .cpu.embedding import NumpyEmbedding
from .cpu.gru import NumpyGRU
from .cpu.indexing import NumpyIndexing
from .cpu.linear import NumpyLinear
from .cpu.loss import NumpyLoss, all_inside
from .cpu.lstm import NumpyLSTM
from .cpu.memory import copied
from .cpu.norm import NumpyNorm
from .cpu.optim import NumpyOptim
from .cpu.pool import NumpyPool
from .cpu.random import NumpyRandom
from .cpu.reduce import NumpyReduce
from .cpu.rnn import NumpyRNN


class NumpyBackend(
    NumpyActivation,
    NumpyAttention,
    NumpyConvBlock,
    NumpyLinear,
    NumpyEmbedding,
    NumpyGRU,
    NumpyIndexing,
    NumpyLoss,
    NumpyLSTM,
    NumpyNorm,
    NumpyOptim,
    NumpyPool,
    NumpyRandom,
    NumpyReduce,
    NumpyRNN,
    Backend,
):
    """NumPy arrays on the CPU, without numba."""

    def __init__(self, name: str = "numpy") -> None:
        super().__init__(np, name)
        self._ones: dict[Any, Array] = {}  # 1 in each dtype; nobody may write to it

    def one(self, like: Array) -> Array:
        one = self._ones.get(like.dtype)
        if one is None:
            one = self._ones[like.dtype] = np.ones((), like.dtype)
            one.flags.writeable = False
        return one

    def from_numpy(self, x: np.ndarray) -> Array:
        # A new array: what is made here is never shared with the caller.
        x = native(x)
        return copied(x) if type(x) is np.ndarray and x.flags.c_contiguous else np.array(x)

    def to_numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)

    def is_only_view(self, a: Array) -> bool:
        return memory.is_only_view(a)

    def wrap_indices(self, indices: Array, length: int) -> Array:
        indices = self.positions(indices)
        if all_inside(indices, length):
            return indices
        return super().wrap_indices(indices, length)

    def class_indices(
        self, targets: Array, classes: int, ignore_index: int | None
    ) -> tuple[Array, Array | None]:
        targets = self.positions(targets)
        if ignore_index is None or not 0 <= ignore_index < classes:
            if all_inside(targets, classes):
                return targets, None
        return super().class_indices(targets, classes, ignore_index)

    def dtype(self, name: Any) -> Any:
        return np.dtype(super().dtype(name))

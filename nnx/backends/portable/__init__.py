"""Every kernel in portable array-API code: one family a file, gathered in `PortableKernels`."""

from __future__ import annotations

from .activation import ActivationKernels
from .attention import AttentionKernels
from .convolution.conv import ConvKernels
from .convolution.conv_block import ConvBlockKernels
from .embedding import EmbeddingKernels
from .gru import GRUKernels
from .indexing import IndexingKernels
from .linear import LinearKernels
from .loss import LossKernels
from .lstm import LSTMKernels
from .norm import NormKernels
from .optim import OptimKernels
from .pool import PoolKernels
from .random import RandomKernels
from .reduce import ReduceKernels
from .rnn import RNNKernels


class PortableKernels(
    ActivationKernels,
    AttentionKernels,
    ConvBlockKernels,
    ConvKernels,
    LinearKernels,
    EmbeddingKernels,
    GRUKernels,
    IndexingKernels,
    LossKernels,
    LSTMKernels,
    NormKernels,
    OptimKernels,
    PoolKernels,
    RandomKernels,
    ReduceKernels,
    RNNKernels,
):
    """All families; `Backend` adds the namespace `xp` they run on."""

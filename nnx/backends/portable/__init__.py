"""Every kernel in portable array-API code: one family a file, gathered in `PortableKernels`."""

from __future__ import annotations

from .conv import ConvKernels
from .dense import DenseKernels
from .loss import LossKernels
from .norm import NormKernels
from .pool import PoolKernels
from .random import RandomKernels


class PortableKernels(
    ConvKernels,
    DenseKernels,
    LossKernels,
    NormKernels,
    PoolKernels,
    RandomKernels,
):
    """All families; `Backend` adds the namespace `xp` they run on."""

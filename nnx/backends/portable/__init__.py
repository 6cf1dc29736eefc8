"""Every kernel in portable array-API code: one family a file, gathered in `PortableKernels`."""

from __future__ import annotations

from .dense import DenseKernels
from .loss import LossKernels


class PortableKernels(DenseKernels, LossKernels):
    """All families; `Backend` adds the namespace `xp` they run on."""

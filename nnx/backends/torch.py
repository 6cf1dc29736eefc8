"""Torch tensors as plain arrays, through array-api-compat: portable code only."""

from __future__ import annotations

import numpy as np

from .base import Array, Backend, native


class TorchBackend(Backend):
    """For people whose data are torch tensors; nnx's own tape records, torch's does not."""

    def from_numpy(self, x: np.ndarray) -> Array:
        return self.xp.asarray(np.array(native(x)), device=self.device)

    def to_numpy(self, x: Array) -> np.ndarray:
        host: np.ndarray = x.detach().cpu().numpy()
        return host

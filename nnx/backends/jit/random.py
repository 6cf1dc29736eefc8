"""Philox compiled by numba; the loops are in `loops/random.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array
from ..cpu.layout import FLOATS
from ..cpu.memory import empty
from ..cpu.random import NumpyRandom
from ..portable.random import MASK32, MASK64
from . import thresholds


class JitRandom(NumpyRandom):
    def philox(self, key: tuple[int, int], counter: int, n: int, device: Any = None) -> Array:
        if n < thresholds.RANDOM:
            return super().philox(key, counter, n, device)
        from .loops import random as philox

        words = empty((-(-n // 4) * 4,), np.uint32)
        philox.fill(*_scalars(key, counter), words)
        return words[:n]

    def dropout(
        self, x: Array, key: tuple[int, int], counter: int, threshold: int, scale: float
    ) -> Array:
        if x.dtype not in FLOATS or x.size < thresholds.RANDOM or threshold == 0:
            return super().dropout(x, key, counter, threshold, scale)
        from .loops import random as philox

        y = empty(x.shape, x.dtype)
        philox.dropout(
            *_scalars(key, counter),
            np.uint32(threshold - 1),  # the largest word that keeps
            x.dtype.type(scale),
            np.ascontiguousarray(x).reshape(-1),
            y.reshape(-1),
        )
        return y


def _scalars(key: tuple[int, int], counter: int) -> tuple[Any, ...]:
    """Key and counter in the widths that `fill` computes in."""
    return (
        np.uint32(key[0]),
        np.uint32(key[1]),
        np.uint64(counter & MASK64),
        np.uint32((counter >> 64) & MASK32),
        np.uint32((counter >> 96) & MASK32),
    )

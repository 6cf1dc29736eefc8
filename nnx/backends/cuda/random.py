"""Philox in CUDA (`kernels/random.cu`)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from ...typing import Array
from ..portable.random import RandomKernels
from .launcher import STORED, Kernel, Modules, Plan, ceil_div, launch, register

DRAW = "k0:u32 k1:u32 low:u64 c2:u32 c3:u32"


def per_four(n: int) -> Plan:
    """One thread for each four elements; where there are very many, a thread makes several."""
    return Plan((min(ceil_div(n, 4 * 256), 65536),), (256,))


PHILOX = register(Kernel("random.cu", "philox", f"words:out:u32 {DRAW} n:i64", per_four))
UNIFORM = register(
    Kernel(
        "random.cu",
        "random_uniform",
        f"y:out:wide {DRAW} n:i64",
        per_four,
    )
)
MASK = register(
    Kernel(
        "random.cu",
        "random_mask",
        f"mask:out:bool {DRAW} threshold:u64 n:i64",
        per_four,
    )
)
DROPOUT = register(
    Kernel(
        "random.cu",
        "dropout",
        f"x:in y:out {DRAW} threshold:u64 scale:real n:i64",
        per_four,
    )
)


class CudaRandom(RandomKernels):
    modules: Modules

    def philox(self, key: tuple[int, int], counter: int, n: int, device: Any = None) -> Array:
        with self._on(device):
            words = self.xp.empty((n,), dtype=self.xp.uint32)
            launch(PHILOX, self.modules, words=words, n=n, **_draw(key, counter))
        return words

    def random_uniform(
        self, key: tuple[int, int], counter: int, n: int, dtype: str, device: Any = None
    ) -> Array:
        with self._on(device):
            y = self.xp.empty((n,), dtype=getattr(self.xp, dtype))
            launch(UNIFORM, self.modules, y=y, n=n, **_draw(key, counter))
        return y

    def random_mask(
        self, key: tuple[int, int], counter: int, n: int, threshold: int, device: Any = None
    ) -> Array:
        with self._on(device):
            mask = self.xp.empty((n,), dtype=self.xp.bool)
            launch(MASK, self.modules, mask=mask, threshold=threshold, n=n, **_draw(key, counter))
        return mask

    def dropout(
        self, x: Array, key: tuple[int, int], counter: int, threshold: int, scale: float
    ) -> Array:
        if x.dtype not in STORED:
            return super().dropout(x, key, counter, threshold, scale)
        y = self.xp.empty(x.shape, dtype=x.dtype)
        draw = _draw(key, counter)
        launch(DROPOUT, self.modules, x=x, y=y, threshold=threshold, scale=scale, n=x.size, **draw)
        return y

    def _on(self, device: Any) -> AbstractContextManager[Any]:
        """CuPy makes arrays on the current device; a CUDA device is its own `with` block."""
        device = self.device if device is None else device
        return device if hasattr(device, "__enter__") else nullcontext()


def _draw(key: tuple[int, int], counter: int) -> dict[str, int]:
    return {
        "k0": key[0],
        "k1": key[1],
        "low": counter & (2**64 - 1),
        "c2": counter >> 64 & 0xFFFFFFFF,
        "c3": counter >> 96 & 0xFFFFFFFF,
    }

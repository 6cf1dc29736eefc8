"""cuBLAS written in NumPy: the same functions with the same arguments, by their definition."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from nnx.backends.cuda import cublas

CTYPES = {0: ctypes.c_float, 1: ctypes.c_double, 2: ctypes.c_uint16}
NUMBERS = {**CTYPES, 2: ctypes.c_float}  # alpha and beta; products of float16 are in float32


def columns_first(address: int, kind: int, rows: int, columns: int, leading: int) -> np.ndarray:
    """The (rows, columns) matrix that lies at an address by columns, `leading` apart."""
    assert leading >= max(1, rows), "cuBLAS refuses a leading dimension below the rows"
    span = (columns - 1) * leading + rows
    memory = np.ctypeslib.as_array((CTYPES[kind] * span).from_address(address))
    memory = memory.view(np.float16) if kind == 2 else memory
    item = memory.itemsize
    return np.lib.stride_tricks.as_strided(memory, (rows, columns), (item, leading * item))


class Cublas:
    """C = alpha op(A) op(B) + beta C by columns, one matrix of a batch at a time.

    Args:
        on_call: told of every product.
        do: runs it, now or later.
    """

    def __init__(
        self,
        on_call: Callable[[], None] = lambda: None,
        do: Callable[[Callable[[], None]], None] = lambda work: work(),
    ) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.status = 0
        self.on_call, self.do = on_call, do
        functions = {name: self._recorded(name) for name in cublas.SIGNATURES}
        self.namespace = SimpleNamespace(**functions)

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def _recorded(self, name: str) -> Callable[..., int]:
        def function(*arguments: Any) -> int:
            assert len(arguments) == len(cublas.SIGNATURES[name])
            self.calls = [*self.calls[-9:], (name, arguments)]
            if name == "cublasCreate_v2":
                arguments[0]._obj.value = 5
            if name == "cublasGemmStridedBatchedEx" and not self.status:
                self._gemm(*arguments)
            return self.status

        return function

    def _gemm(self, handle, op_a, op_b, m, n, k, alpha, *rest) -> None:
        a, kind_a, lda, stride_a, b, kind_b, ldb, stride_b, beta, c, kind_c, ldc, stride_c = rest[
            :13
        ]
        count, compute, algorithm = rest[13:]
        assert kind_a == kind_b == kind_c
        assert compute in (cublas.TYPES["float32"][1], cublas.TYPES["float64"][1], cublas.TF32)
        assert algorithm == -1
        assert min(stride_a, stride_b) >= 0
        assert isinstance(alpha._obj, NUMBERS[kind_a]) and isinstance(beta._obj, NUMBERS[kind_a])
        size = ctypes.sizeof(CTYPES[kind_a])
        factor, keep = alpha._obj.value, beta._obj.value

        def work() -> None:
            for i in range(count):
                shape_a = (k, m) if op_a else (m, k)
                shape_b = (n, k) if op_b else (k, n)
                left = columns_first(a + i * stride_a * size, kind_a, *shape_a, lda)
                right = columns_first(b + i * stride_b * size, kind_b, *shape_b, ldb)
                out = columns_first(c + i * stride_c * size, kind_c, m, n, ldc)
                if kind_a == 2:
                    left, right = left.astype(np.float32), right.astype(np.float32)
                with np.errstate(all="ignore"):
                    product = (left.T if op_a else left) @ (right.T if op_b else right)
                    # beta = 0: what was there, NaN included, is not looked at
                    out[...] = factor * product + (keep * out if keep else 0)

        self.on_call()
        self.do(work)

"""Matrix products that a CUDA graph can record, and that copy no operand: cuBLAS, called directly.

CuPy copies a matrix of which neither rows nor columns lie in one piece (one direction's part of
a recurrent layer's gates, say), and every stack that is a transposed view; cuBLAS reads these as
they are.  And CuPy calls no cuBLAS function while a stream is being captured (cupy#6290),
though cuBLAS itself can be captured where it has a workspace of its own to work in: otherwise it
would allocate one, which a graph cannot replay.  So a captured step brings its own handle and
workspace.  All products here are one function, `cublasGemmStridedBatchedEx`.

It knows neither CuPy nor NumPy: arrays have a shape and strides, and `address` says where one is.

How a row-major product is asked of a library that thinks in columns: the memory of C (M, N) by
rows is that of C^T (N, M) by columns, and C^T = B^T A^T.  So B goes first and A second, each as it
lies in memory; one that lies by columns already is marked transposed.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable
from typing import Any

from ...typing import Array

# 32 MiB: what NVIDIA's documentation of cublasSetWorkspace advises for Hopper; others need 4.
WORKSPACE_BYTES = 32 * 2**20

# Names in the library, and the types of their arguments.
_HANDLE, _INT, _LONG, _POINTER = (
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_longlong,
    ctypes.c_void_p,
)
_MATRIX = [_POINTER, _INT, _INT, _LONG]  # address, type, leading dimension, stride
SIGNATURES: dict[str, list[Any]] = {
    "cublasCreate_v2": [_POINTER],
    "cublasDestroy_v2": [_HANDLE],
    "cublasSetStream_v2": [_HANDLE, _POINTER],
    "cublasSetWorkspace_v2": [_HANDLE, _POINTER, ctypes.c_size_t],
    "cublasGemmStridedBatchedEx": [
        _HANDLE,
        *[_INT] * 5,  # two operations, m, n, k
        _POINTER,  # alpha
        *_MATRIX,
        *_MATRIX,
        _POINTER,  # beta
        *_MATRIX,
        *[_INT] * 3,  # how many, how to compute, which algorithm
    ],
}
NO_TRANSPOSE, TRANSPOSE = 0, 1
DEFAULT_ALGORITHM = -1
# by dtype: the type of the matrices, how to compute, the type of alpha and beta
TYPES: dict[str, tuple[int, int, Any]] = {
    "float16": (2, 68, ctypes.c_float),  # sums in float32, rounded once
    "float32": (0, 68, ctypes.c_float),
    "float64": (1, 70, ctypes.c_double),
}
TF32 = 77  # how to compute float32 where CUPY_TF32=1 asks for it

STATUS = {
    1: "NOT_INITIALIZED",
    3: "ALLOC_FAILED",
    7: "INVALID_VALUE",
    8: "ARCH_MISMATCH",
    11: "MAPPING_ERROR",
    13: "EXECUTION_FAILED",
    14: "INTERNAL_ERROR",
    15: "NOT_SUPPORTED",
}


class CublasError(RuntimeError):
    """cuBLAS refused a call."""


def load_library(majors: tuple[int, ...] = (13, 12, 11)) -> Any:
    """The cuBLAS that this process has loaded already: CuPy's, of whichever version it is.

    Raises:
        CublasError: none of these major versions is loaded.
    """
    names = [
        name for major in majors for name in (f"libcublas.so.{major}", f"cublas64_{major}.dll")
    ]
    for name in names:
        try:
            return ctypes.CDLL(name, mode=getattr(os, "RTLD_NOLOAD", 0) | ctypes.DEFAULT_MODE)
        except OSError:
            continue
    raise CublasError(f"no cuBLAS is loaded by the names {', '.join(names)}")


class Products:
    """Products of arrays of one library, on one cuBLAS handle.

    Args:
        library: cuBLAS, as `load_library` gives it.
        xp: the namespace of the arrays.
        address: where an array's first element is.
        workspace: memory for cuBLAS alone, kept as long as this object; its address and size.
            None: cuBLAS's own, which no graph can replay.
        tf32: whether float32 products may round their factors to TF32.
    """

    def __init__(
        self,
        library: Any,
        xp: Any,
        address: Callable[[Array], int],
        workspace: tuple[int, int] | None,
        tf32: bool = False,
    ) -> None:
        self.library, self.xp, self.address = library, xp, address
        self.workspace, self.tf32 = workspace, tf32
        self.stream: int | None = None
        for name, arguments in SIGNATURES.items():
            getattr(library, name).argtypes = arguments
        self._handle = ctypes.c_void_p()
        self._call("cublasCreate_v2", ctypes.byref(self._handle))

    def use(self, stream: int) -> None:
        """Work on this stream (its address) from now on."""
        self._call("cublasSetStream_v2", self._handle, stream)
        if self.workspace is not None:
            # In this order: setting a stream takes the handle back to cuBLAS's own workspace.
            self._call("cublasSetWorkspace_v2", self._handle, *self.workspace)
        self.stream = stream

    def close(self) -> None:
        """Give the handle back; it cannot be used afterwards."""
        if self._handle:
            self._call("cublasDestroy_v2", self._handle)
            self._handle = ctypes.c_void_p()

    def matmul(self, a: Array, b: Array, out: Array | None = None, add: bool = False) -> Array:
        """a b as `xp.matmul`: vectors, matrices, and stacks of matrices that broadcast.

        With `add`, `out` becomes out + a b.

        Raises:
            NotImplementedError: a dtype that is none of these, or two dtypes.
            ValueError: shapes that do not fit, that of `out` among them.
        """
        xp = self.xp
        dtype = str(a.dtype)
        if dtype not in TYPES or b.dtype != a.dtype:
            raise NotImplementedError(
                f"a captured matrix product takes {', '.join(TYPES)}, the same for both; "
                f"got {a.dtype} and {b.dtype}"
            )
        row, column = a.ndim == 1, b.ndim == 1
        a = a[None, :] if row else a
        b = b[:, None] if column else b
        if a.shape[-1] != b.shape[-2]:
            raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
        m, k = a.shape[-2:]
        n = b.shape[-1]
        batch = _broadcast(a.shape[:-2], b.shape[:-2])
        shape = (*batch, *([] if row else [m]), *([] if column else [n]))
        if out is not None and (out.shape, out.dtype) != (shape, a.dtype):
            raise ValueError(
                f"matmul: the product has shape {shape} and dtype {a.dtype}, but out has "
                f"{out.shape} and {out.dtype}"
            )
        if out is not None and not row and not column and self._writable(out):
            result = out
        else:
            result = xp.empty((*batch, m, n), dtype=a.dtype)
        add_here = add and result is out
        if 0 in result.shape:
            pass
        elif k == 0:
            if not add_here:
                result[...] = 0
        else:
            self._gemm(self._folded(a, batch), self._folded(b, batch), result, k, add_here)
        if out is None:
            return xp.reshape(result, shape)
        if result is not out:
            result = xp.reshape(result, shape)
            out[...] = out + result if add else result
        return out

    def _writable(self, out: Array) -> bool:
        """Whether a product may be written as this lies: rows in one piece each, `out` of two axes
        perhaps as part of longer rows."""
        if out.ndim > 2:
            return bool(out.flags.c_contiguous)
        found = self._layout(out)
        return found is not None and found[0] == NO_TRANSPOSE

    def _folded(self, x: Array, batch: tuple[int, ...]) -> Array:
        """x with one axis for the whole batch, or none where all of it shares one matrix."""
        if math.prod(x.shape[:-2]) == 1:
            return self.xp.reshape(x, x.shape[-2:])
        if len(batch) == 1:
            return x
        full = self.xp.broadcast_to(x, (*batch, *x.shape[-2:]))
        return self.xp.reshape(full, (math.prod(batch), *x.shape[-2:]))

    def _gemm(self, a: Array, b: Array, result: Array, k: int, add: bool) -> None:
        m, n = result.shape[-2:]
        kind, compute, number = TYPES[str(a.dtype)]
        if self.tf32 and str(a.dtype) == "float32":
            compute = TF32
        a, a_operation, a_matrix = self._operand(a)
        b, b_operation, b_matrix = self._operand(b)
        self._call(
            "cublasGemmStridedBatchedEx",
            self._handle,
            b_operation,
            a_operation,
            n,
            m,
            k,
            ctypes.byref(number(1)),
            self.address(b),
            kind,
            *b_matrix,
            self.address(a),
            kind,
            *a_matrix,
            ctypes.byref(number(add)),
            self.address(result),
            kind,
            self._layout(result)[1],  # type: ignore[index]
            m * n,
            math.prod(result.shape[:-2]),
            compute,
            DEFAULT_ALGORITHM,
        )

    def _operand(self, x: Array) -> tuple[Array, int, tuple[int, int]]:
        """x as it lies, or copied where cuBLAS cannot take that; operation, leading and stride."""
        found = self._layout(x)
        if found is None:
            lying = self.xp.empty(x.shape, dtype=x.dtype)
            lying[...] = x
            x, found = lying, self._layout(lying)
        assert found is not None
        return x, found[0], (found[1], x.strides[0] // x.itemsize if x.ndim == 3 else 0)

    def _layout(self, x: Array) -> tuple[int, int] | None:
        if x.ndim == 3 and x.strides[0] < 0:
            return None
        return layout(x.shape[-2:], tuple(step // x.itemsize for step in x.strides[-2:]))

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, name)(*arguments)
        if status:
            reason = STATUS.get(status, "an unknown status")
            raise CublasError(f"{name}: CUBLAS_STATUS_{reason} ({status})")


def layout(shape: tuple[int, ...], steps: tuple[int, ...]) -> tuple[int, int] | None:
    """How cuBLAS may read a row-major matrix: (operation, leading dimension); None: not at all.

    `steps` are the strides in elements.  By rows: its columns one element apart, its rows
    `leading` apart, which by columns is the transpose.  An axis of length 1 has any stride.
    """
    (rows, columns), (down, across) = shape, steps
    if (columns == 1 or across == 1) and (rows == 1 or down >= columns):
        return NO_TRANSPOSE, columns if rows == 1 else down
    if (rows == 1 or down == 1) and across >= rows:
        return TRANSPOSE, across
    return None


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    longest = max(len(a), len(b))
    pairs = zip((1,) * (longest - len(a)) + a, (1,) * (longest - len(b)) + b, strict=True)
    shape = []
    for p, q in pairs:
        if p != q and 1 not in (p, q):
            raise ValueError(f"matmul: stacks of shapes {a} and {b} do not broadcast")
        shape.append(q if p == 1 else p)
    return tuple(shape)

"""What stands between matrix products in CUDA (`kernels/linear.cu`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...typing import Array
from ..portable.linear import LinearKernels
from .launcher import STORED, Kernel, Modules, Plan, ceil_div, launch, per_element, register

Needs = tuple[bool, bool, bool]

ADD_BIAS, ADD_BIAS_RELU = (
    register(
        Kernel(
            "linear.cu",
            name,
            "y:inout bias:in columns:i32 n:i64",
            lambda n: per_element(n),
        )
    )
    for name in ("add_bias", "add_bias_relu")
)
RELU = register(Kernel("linear.cu", "relu", "x:in y:out n:i64", lambda n: per_element(n)))
RELU_BACKWARD = register(
    Kernel("linear.cu", "relu_backward", "gy:in y:in gx:out n:i64", lambda n: per_element(n))
)
RELU_BACKWARD_SUMS = register(
    Kernel(
        "linear.cu",
        "relu_backward_sums",
        "gy:in y:in gx:out sums:out rows:i32 columns:i32",
        lambda columns: Plan((ceil_div(columns, 32),), (32, 8)),
    )
)
COLUMN_SUMS = register(
    Kernel(
        "linear.cu",
        "column_sums",
        "x:in sums:out* starts:i32* count:i32 width:i32 rows:i32 columns:i32",
        lambda count, width: Plan((ceil_div(width, 32), count), (32, 8)),
    )
)
FEW_ROWS = 2048  # up to here one block may walk down all rows of its columns


class CudaLinear(LinearKernels):
    xp: Any
    modules: Modules
    product: Callable[..., Array]  # of `CudaBackend`

    def linear(self, x: Array, weight: Array, bias: Array | None) -> Array:
        if bias is None or x.dtype not in STORED:
            return super().linear(x, weight, bias)
        return self._product(ADD_BIAS, x, weight, bias)

    def linear_relu(self, x: Array, weight: Array, bias: Array | None) -> Array:
        if bias is None or x.dtype not in STORED:
            return super().linear_relu(x, weight, bias)
        return self._product(ADD_BIAS_RELU, x, weight, bias)

    def _product(self, kernel: Kernel, x: Array, weight: Array, bias: Array) -> Array:
        """x W^T, (N, O), and what the kernel makes of it in place."""
        y = self.product(x, self.xp.matrix_transpose(weight))
        launch(kernel, self.modules, y=y, bias=bias, columns=y.shape[1], n=y.size)
        return y

    def linear_backward(
        self, gy: Array, x: Array, weight: Array, needs: Needs
    ) -> tuple[Array | None, Array | None, Array | None]:
        gb = self._sums(gy) if needs[2] else None
        return *self._products_backward(gy, x, weight, needs), gb

    def _sums(self, gy: Array) -> Array:
        """The sums of columns (N, O) -> (O,); those of float16 are made in float32."""
        if gy.dtype.itemsize > 2:
            return self.xp.sum(gy, axis=0)
        rows, columns = gy.shape
        if gy.dtype not in STORED or rows > FEW_ROWS:
            total = self.xp.sum(gy, axis=0, dtype=self.xp.float32)
            return self.xp.astype(total, gy.dtype)
        sums = self.xp.empty((columns,), dtype=gy.dtype)
        launch(
            COLUMN_SUMS,
            self.modules,
            x=gy,
            sums=[sums],
            starts=[0],
            count=1,
            width=columns,
            rows=rows,
            columns=columns,
        )
        return sums

    def linear_relu_backward(
        self, gy: Array, y: Array, x: Array, weight: Array, needs: Needs
    ) -> tuple[Array | None, Array | None, Array | None]:
        rows, columns = gy.shape
        if not needs[2] or rows > FEW_ROWS or gy.dtype not in STORED:
            return super().linear_relu_backward(gy, y, x, weight, needs)
        g = self.xp.empty(gy.shape, dtype=gy.dtype)
        gb = self.xp.empty((columns,), dtype=gy.dtype)
        launch(
            RELU_BACKWARD_SUMS, self.modules, gy=gy, y=y, gx=g, sums=gb, rows=rows, columns=columns
        )
        return *self._products_backward(g, x, weight, needs), gb

    def _products_backward(
        self, gy: Array, x: Array, weight: Array, needs: Needs
    ) -> tuple[Array | None, Array | None]:
        gx = self.product(gy, weight) if needs[0] else None
        return gx, self.product(self.xp.matrix_transpose(gy), x) if needs[1] else None

    def relu(self, x: Array) -> Array:
        if x.dtype not in STORED:
            return super().relu(x)
        y = self.xp.empty(x.shape, dtype=x.dtype)
        launch(RELU, self.modules, x=x, y=y, n=x.size)
        return y

    def relu_backward(self, gy: Array, y: Array) -> Array:
        if gy.dtype not in STORED:
            return super().relu_backward(gy, y)
        gx = self.xp.empty(gy.shape, dtype=gy.dtype)
        launch(RELU_BACKWARD, self.modules, gy=gy, y=y, gx=gx, n=gy.size)
        return gx

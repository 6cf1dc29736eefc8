"""Activations in CUDA (`kernels/activation.cu`): one launch where the twins make many."""

from __future__ import annotations

from typing import Any

from ...typing import Array
from ..portable.activation import ActivationKernels
from .launcher import STORED, Kernel, Modules, launch, per_element, register


def _kernel(name: str, args: str) -> Kernel:
    return register(Kernel("activation.cu", name, f"{args} n:i64", lambda n: per_element(n)))


SIGMOID = _kernel("sigmoid", "x:in y:out")
SOFTPLUS = _kernel("softplus", "x:in y:out")
ERF = _kernel("error_function", "x:in y:out")
SIGMOID_BACKWARD = _kernel("sigmoid_backward", "gy:in y:in gx:out")
TANH_BACKWARD = _kernel("tanh_backward", "gy:in y:in gx:out")
GELU = _kernel("gelu", "x:in y:out slope:out? by_tanh:i32")
SILU = _kernel("silu", "x:in y:out slope:out?")
ELU = _kernel("elu", "x:in y:out slope:out? alpha:real scale:real width:real")
LEAKY_RELU = _kernel("leaky_relu", "x:in y:out slope:out? a:real")


class CudaActivation(ActivationKernels):
    xp: Any
    modules: Modules

    def sigmoid(self, x: Array) -> Array:
        return self._of(SIGMOID, x) if self._takes(x) else super().sigmoid(x)

    def softplus(self, x: Array) -> Array:
        return self._of(SOFTPLUS, x) if self._takes(x) else super().softplus(x)

    def erf(self, x: Array) -> Array:
        return self._of(ERF, x) if self._takes(x) else super().erf(x)

    def sigmoid_backward(self, g: Array, y: Array) -> Array:
        if not self._takes(g, y):
            return super().sigmoid_backward(g, y)
        return self._backward(SIGMOID_BACKWARD, g, y)

    def tanh_backward(self, g: Array, y: Array) -> Array:
        if not self._takes(g, y):
            return super().tanh_backward(g, y)
        return self._backward(TANH_BACKWARD, g, y)

    def gelu(self, x: Array, approximate: str, slope: bool) -> tuple[Array, Array | None]:
        if not self._takes(x):
            return super().gelu(x, approximate, slope)
        return self._with_slope(GELU, x, slope, by_tanh=approximate == "tanh")

    def silu(self, x: Array, slope: bool) -> tuple[Array, Array | None]:
        return self._with_slope(SILU, x, slope) if self._takes(x) else super().silu(x, slope)

    def elu(
        self, x: Array, alpha: float, scale: float, width: float, slope: bool
    ) -> tuple[Array, Array | None]:
        if not self._takes(x):
            return super().elu(x, alpha, scale, width, slope)
        return self._with_slope(ELU, x, slope, alpha=alpha, scale=scale, width=width)

    def leaky_relu(self, x: Array, a: float, slope: bool) -> tuple[Array, Array | None]:
        if not self._takes(x):
            return super().leaky_relu(x, a, slope)
        return self._with_slope(LEAKY_RELU, x, slope, a=a)

    def _takes(self, *arrays: Array) -> bool:
        """Whether the kernels can: arrays of one dtype that they are compiled for."""
        dtype = arrays[0].dtype
        return dtype in STORED and all(
            isinstance(a, self.modules.array) and a.dtype == dtype for a in arrays
        )

    def _of(self, kernel: Kernel, x: Array) -> Array:
        y = self.xp.empty(x.shape, dtype=x.dtype)
        launch(kernel, self.modules, x=x, y=y, n=y.size)
        return y

    def _backward(self, kernel: Kernel, g: Array, y: Array) -> Array:
        gx = self.xp.empty(y.shape, dtype=y.dtype)
        launch(kernel, self.modules, gy=g, y=y, gx=gx, n=gx.size)
        return gx

    def _with_slope(
        self, kernel: Kernel, x: Array, slope: bool, **numbers: float
    ) -> tuple[Array, Array | None]:
        y = self.xp.empty(x.shape, dtype=x.dtype)
        s = self.xp.empty(x.shape, dtype=x.dtype) if slope else None
        launch(kernel, self.modules, x=x, y=y, slope=s, n=y.size, **numbers)
        return y, s

"""Activations and dense layers as ONNX operators; the formulas are in `nnx.ops`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .value import Recording, Value


class Activations:
    """Part of `RecordingBackend`."""

    recording: Recording
    plain: Any
    xp: Any

    def _elementwise(self, op: str, x: Any, data: np.ndarray, **attributes: Any) -> Value:
        return self.recording.step(op, [x], data, **attributes)

    def relu(self, x: Any) -> Value:
        x = self.recording.value(x)
        return self._elementwise("Relu", x, np.maximum(x.data, 0))

    def sigmoid(self, x: Any) -> Value:
        x = self.recording.value(x)
        return self._elementwise("Sigmoid", x, self.plain.sigmoid(x.data))

    def softplus(self, x: Any) -> Value:
        x = self.recording.value(x)
        return self._elementwise("Softplus", x, self.plain.softplus(x.data))

    def erf(self, x: Any) -> Value:
        x = self.recording.value(x)
        return self._elementwise("Erf", x, self.plain.erf(x.data))

    def silu(self, x: Any, slope: bool) -> tuple[Value, None]:
        x = self.recording.value(x)
        return x * self.sigmoid(x), None

    def leaky_relu(self, x: Any, a: float, slope: bool) -> tuple[Value, None]:
        x = self.recording.value(x)
        data = self.plain.leaky_relu(x.data, a, False)[0]
        return self._elementwise("LeakyRelu", x, data, alpha=float(a)), None

    def elu(
        self, x: Any, alpha: float, scale: float, width: float, slope: bool
    ) -> tuple[Value, Any]:
        """y = s x, or s a (e^(x/b) - 1): ELU has s = b = 1, SELU b = 1, CELU s = 1 and a = b."""
        x = self.recording.value(x)
        data = self.plain.elu(x.data, alpha, scale, width, False)[0]
        if width == scale == 1:
            return self._elementwise("Elu", x, data, alpha=float(alpha)), None
        if width == 1:
            return self._elementwise("Selu", x, data, alpha=float(alpha), gamma=float(scale)), None
        if scale == 1 and alpha == width and x.dtype == np.float32:
            return self._elementwise("Celu", x, data, alpha=float(alpha)), None
        return super().elu(x, alpha, scale, width, False)  # type: ignore[misc]

    def gelu(self, x: Any, approximate: str, slope: bool) -> tuple[Value, None]:
        """One operator since opset 20; before, x (1 + erf(x/√2)) / 2 and its relative by tanh."""
        x = self.recording.value(x)
        if self.recording.opset >= 20:
            data = self.plain.gelu(x.data, approximate, False)[0]
            return self._elementwise("Gelu", x, data, approximate=approximate), None
        if approximate == "tanh":
            inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
            return x * (self.xp.tanh(inner) + 1.0) * 0.5, None
        return x * (self.erf(x * math.sqrt(0.5)) + 1.0) * 0.5, None

    def softmax(self, x: Any, axis: int) -> Value:
        x = self.recording.value(x)
        return self._elementwise("Softmax", x, self.plain.softmax(x.data, axis), axis=axis)

    def log_softmax(self, x: Any, axis: int) -> Value:
        x = self.recording.value(x)
        return self._elementwise("LogSoftmax", x, self.plain.log_softmax(x.data, axis), axis=axis)

    def linear(self, x: Any, weight: Any, bias: Any) -> Value:
        """x W^T + b: Gemm reads the weight (O, D) transposed."""
        x, weight = self.recording.value(x), self.recording.value(weight)
        taken = [x, weight]
        if bias is not None:
            taken.append(self.recording.value(bias))
        if x.ndim != 2:  # Gemm takes matrices alone
            y = x @ weight.mT
            return y if bias is None else y + taken[2]
        shape = (x.shape[0], weight.shape[0])
        data = self.recording.values(
            taken, shape, lambda: self.plain.linear(*[*[a.data for a in taken], None][:3])
        )
        return self.recording.step("Gemm", taken, data, transB=1)

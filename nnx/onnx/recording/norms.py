"""Normalisations as ONNX operators; the formulas are in `nnx.ops.norm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backends import Residuals
from .value import Recording, Value


class Norms:
    """Part of `RecordingBackend`.  What a kernel keeps for its backward is not kept here."""

    recording: Recording
    plain: Any

    def _scale_and_shift(
        self, weight: Any, bias: Any, shape: tuple[int, ...], like: Value
    ) -> list[Value]:
        """γ and β, ones and zeros where there are none."""
        made = self.recording.constant
        return [
            made(np.ones(shape, like.dtype)) if weight is None else self.recording.value(weight),
            made(np.zeros(shape, like.dtype)) if bias is None else self.recording.value(bias),
        ]

    def batch_norm_inference(
        self, x: Any, mean: Any, variance: Any, weight: Any, bias: Any, eps: float
    ) -> tuple[Value, Any, Any]:
        """Before opset 14 the operator's meaning hung on how many outputs it had, and runtimes
        differ: there it is the formula."""
        if self.recording.opset < 14:
            return super().batch_norm_inference(x, mean, variance, weight, bias, eps)  # type: ignore[misc]
        x, mean, variance = (self.recording.value(a) for a in (x, mean, variance))
        scale, shift = self._scale_and_shift(weight, bias, mean.shape, x)
        data = self.plain.batch_norm_inference(
            x.data, mean.data, variance.data, scale.data, shift.data, eps
        )[0]
        taken = [x, scale, shift, mean, variance]
        return (
            self.recording.step("BatchNormalization", taken, data, 0, epsilon=float(eps)),
            None,
            None,
        )

    def layer_norm(self, x: Any, weight: Any, bias: Any, eps: float) -> tuple[Value, Any]:
        """One operator since opset 17."""
        x = self.recording.value(x)
        if self.recording.opset < 17:
            return super().layer_norm(x, weight, bias, eps)  # type: ignore[misc]
        scale, shift = self._scale_and_shift(weight, bias, (x.shape[-1],), x)
        data = self.plain.layer_norm(x.data, scale.data, shift.data, eps)[0]
        y = self.recording.step(
            "LayerNormalization", [x, scale, shift], data, axis=-1, epsilon=float(eps)
        )
        return y, Residuals(())

    def group_norm(
        self, x: Any, weight: Any, bias: Any, groups: int, eps: float
    ) -> tuple[Value, Any]:
        """One operator since opset 21; before, its scale was one for each group, not channel."""
        x = self.recording.value(x)
        if self.recording.opset < 21 or x.ndim < 3:
            return super().group_norm(x, weight, bias, groups, eps)  # type: ignore[misc]
        scale, shift = self._scale_and_shift(weight, bias, (x.shape[1],), x)
        data = self.plain.group_norm(x.data, scale.data, shift.data, groups, eps)[0]
        y = self.recording.step(
            "GroupNormalization",
            [x, scale, shift],
            data,
            0,
            num_groups=groups,
            epsilon=float(eps),
        )
        return y, Residuals(())

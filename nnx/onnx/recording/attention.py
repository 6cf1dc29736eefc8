"""Attention as ONNX operators: the formula is in `nnx.ops.attention`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backends import Residuals
from .value import Recording, Value


class Attention:
    """Part of `RecordingBackend`."""

    recording: Recording
    plain: Any
    xp: Any

    def attention(
        self, q: Any, k: Any, v: Any, mask: Any, causal: bool, scale: float, drop: Any
    ) -> tuple[Value, Any]:
        """softmax(scale q k^T + mask) v; the runtime fuses what it can.

        A query that may look nowhere gives 0: its scores are put to 0, then its result.
        """
        if drop is not None:
            self.recording.refuse("attention that drops weights at random")
        xp, rec = self.xp, self.recording
        q, k, v = (rec.value(a) for a in (q, k, v))
        scaled, turned = q * float(scale), k.mT
        scores = scaled @ turned
        nothing = rec.constant(-np.inf, q.dtype)
        if mask is not None:
            mask = rec.value(mask)
            if mask.dtype == np.bool_:
                scores = xp.where(mask, scores, nothing)
            else:
                scores = scores + mask
        if causal:
            rows, columns = (xp.arange(n) for n in scores.shape[-2:])
            seen = xp.reshape(rows, (-1, 1)) >= columns
            scores = xp.where(seen, scores, nothing)
        if mask is None:
            return self.softmax(scores, scores.ndim - 1) @ v, Residuals(())  # type: ignore[attr-defined]
        nowhere = xp.max(scores, axis=-1, keepdims=True) == -np.inf
        scores = xp.where(nowhere, xp.zeros_like(scores), scores)
        y = self.softmax(scores, scores.ndim - 1) @ v  # type: ignore[attr-defined]
        return xp.where(nowhere, xp.zeros_like(y), y), Residuals(())

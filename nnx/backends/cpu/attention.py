"""Attention on NumPy: scores of a size that stays in cache, each worked on in place."""

from __future__ import annotations

import numpy as np

from ...typing import Array
from ..flush import flushing
from ..portable.attention import AttentionKernels, Drop, Part, Span, taken
from ..portable.residuals import Residuals


class NumpyAttention(AttentionKernels):
    attention_block = 2**17

    @flushing  # exponentials have subnormal tails
    def attention(
        self,
        q: Array,
        k: Array,
        v: Array,
        mask: Array | None,
        causal: bool,
        scale: float,
        drop: Drop | None,
    ) -> tuple[Array, Residuals]:
        return super().attention(q, k, v, mask, causal, scale, drop)

    @flushing
    def attention_backward(
        self, gy: Array, saved: Residuals, needs: tuple[bool, bool, bool, bool]
    ) -> tuple[Array | None, Array | None, Array | None, Array | None]:
        return super().attention_backward(gy, saved, needs)

    def _scores(
        self,
        q_i: Array,
        k: Array,
        mask: Array | None,
        part: Part,
        rows: Span,
        columns: Span,
        causal: bool,
    ) -> Array:
        s = q_i @ taken(k, part, columns).swapaxes(-1, -2)
        if mask is not None:
            block = taken(mask, part, rows, columns)
            if block.dtype == bool:
                np.copyto(s, -np.inf, where=~block)
            else:
                s = np.add(s, block, out=s)
        if causal and columns[1] - 1 > rows[0]:
            above = np.arange(*columns) > np.arange(*rows)[:, None]
            np.copyto(s, -np.inf, where=above)
        return s

    def _exponentials(self, s: Array, top: Array) -> tuple[Array, Array, Array]:
        before = top
        top = np.maximum(top, np.maximum.reduce(s, axis=-1, keepdims=True))
        safe = np.where(top == -np.inf, top.dtype.type(0), top)
        s -= safe
        return np.exp(s, out=s), top, np.exp(before - safe)

    def _weights(self, s: Array, log_sum: Array) -> Array:
        s -= log_sum
        return np.exp(s, out=s)

    def _score_gradient(self, gp: Array, p: Array, own: Array) -> Array:
        gp -= own
        gp *= p
        return gp

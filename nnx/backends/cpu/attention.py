"""Attention on NumPy: scores of a size that stays in cache, each worked on in place."""

from __future__ import annotations

import math

import numpy as np

from ...typing import Array
from ..flush import flushing
from ..portable import attention as blocks
from ..portable.attention import AttentionKernels, Drop, Part, Span, taken
from ..portable.residuals import Residuals
from .layout import FLOATS

LEAST = {dtype: np.finfo(dtype).min for dtype in FLOATS}


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
        if mask is None and drop is None and not causal and self._fits_a_block(q, k, v):
            s = (q * q.dtype.type(scale)) @ k.swapaxes(-1, -2)
            top = np.maximum.reduce(s, axis=-1, keepdims=True)
            s -= np.maximum(top, LEAST[s.dtype])  # -inf - -inf would be NaN
            np.exp(s, out=s)
            total = np.add.reduce(s, axis=-1, keepdims=True)
            if total.all():
                y = s @ v
                y /= total
                log_sum = np.log(total, out=total)
                log_sum += top
                return y, Residuals((q, k, v, mask, causal, scale, drop, y, log_sum))
        return super().attention(q, k, v, mask, causal, scale, drop)

    def _fits_a_block(self, q: Array, k: Array, v: Array) -> bool:
        """Whether all scores are one block, whose sums need not be put together."""
        *batch, queries, _ = q.shape
        keys = k.shape[-2]
        return bool(
            0 < queries <= blocks.QUERIES
            and 0 < keys <= blocks.KEYS
            and 0 < math.prod(batch) * queries * keys <= self.attention_block
            and q.dtype in LEAST
            and k.shape[:-2] == v.shape[:-2] == q.shape[:-2]
        )

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

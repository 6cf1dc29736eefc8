"""Attention in blocks: a score matrix (L, S) is never held whole.

The sequence of queries is cut into blocks of QUERIES, that of keys into blocks of KEYS, and the
batch into parts, so that at most `attention_block` scores are there at a time (or one block).  The
derivation is in `nnx.ops.attention.Attention`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from ...typing import Array
from .residuals import Residuals

QUERIES, KEYS = 128, 512  # what dropout draws is counted by these: they are the same everywhere

Drop = tuple[tuple[int, int], int, int, float]  # key, counter, threshold / 2^32 kept, scale
Part = tuple[slice, ...]  # of each axis of the batch
Span = tuple[int, int]


class AttentionKernels:
    """softmax(scale q kᵀ + mask) v, and its gradients."""

    xp: Any
    random_mask: Any
    attention_block = 2**24  # scores; a device wants much at a time, a CPU what its cache holds

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
        """y (*batch, L, F), and what `attention_backward` takes.

        Args:
            q, k, v: (*batch, L, E), (*batch, S, E), (*batch, S, F); axes of the batch broadcast.
            mask: of as many axes, each of length 1 or that of the scores (*batch, L, S): False
                where a query may not look, or numbers that are added; or None.
            causal: query l sees keys up to l.
            scale: of the products.
            drop: (key, counter, threshold, scale) of the dropout on the weights: see `drawn_at`.
        """
        xp = self.xp
        blocks = Blocks(q, k, v, causal)
        y = xp.empty((*blocks.batch, blocks.queries, v.shape[-1]), dtype=q.dtype, device=q.device)
        log_sum = xp.empty((*blocks.batch, blocks.queries, 1), dtype=q.dtype, device=q.device)
        for part, first, count in blocks.parts(self.attention_block):
            for i, rows in enumerate(spans(blocks.queries, QUERIES)):
                q_i = taken(q, part, rows) * scale  # (*part, rows, E)
                none = xp.zeros((*q_i.shape[:-1], 1), dtype=q.dtype, device=q.device)
                top, total, sums = none - math.inf, none, 0.0
                for j, columns in blocks.columns(rows):
                    s = self._scores(q_i, k, mask, part, rows, columns, causal)
                    s, top, shrunk = self._exponentials(s, top)
                    total = total * shrunk + xp.sum(s, axis=-1, keepdims=True)
                    if drop is not None:
                        s = s * self._kept(drop, blocks, first, count, i, j, s)
                    sums = sums * shrunk + s @ taken(v, part, columns)
                blind = total == 0  # no key may be seen: the result is 0
                total = xp.where(blind, xp.ones_like(total), total)
                here = (*part, slice(*rows), slice(None))
                y[here] = sums / total
                log_sum[here] = xp.where(blind, xp.zeros_like(top), top) + xp.log(total)
        return y, Residuals((q, k, v, mask, causal, scale, drop, y, log_sum))

    def attention_backward(
        self, gy: Array, saved: Residuals, needs: tuple[bool, bool, bool, bool]
    ) -> tuple[Array | None, Array | None, Array | None, Array | None]:
        """The gradients of q, k, v and mask, each in its own shape, None where it is not needed.

        Args:
            gy: the gradient of y (*batch, L, F).
            saved: what `attention` returned.
            needs: which of the four are wanted.
        """
        xp = self.xp
        q, k, v, mask, causal, scale, drop, y, log_sum = saved
        blocks = Blocks(q, k, v, causal)
        found = [
            xp.zeros_like(x) if wanted else None
            for x, wanted in zip((q, k, v, mask), needs, strict=True)
        ]
        gq, gk, gv, gmask = found
        for part, first, count in blocks.parts(self.attention_block):
            for i, rows in enumerate(spans(blocks.queries, QUERIES)):
                here = (*part, slice(*rows), slice(None))
                q_i, gy_i = taken(q, part, rows) * scale, gy[here]
                own = xp.sum(gy_i * y[here], axis=-1, keepdims=True)  # (*part, rows, 1)
                total = 0.0
                for j, columns in blocks.columns(rows):
                    s = self._scores(q_i, k, mask, part, rows, columns, causal)
                    p = self._weights(s, log_sum[here])
                    k_j, v_j = taken(k, part, columns), taken(v, part, columns)
                    kept = None
                    if drop is not None:
                        kept = self._kept(drop, blocks, first, count, i, j, p)
                    if gv is not None:
                        d = p if kept is None else p * kept
                        add(xp, gv, part, columns, xp.matrix_transpose(d) @ gy_i)
                    if gq is None and gk is None and gmask is None:
                        continue
                    ds = gy_i @ xp.matrix_transpose(v_j)  # (*part, rows, columns)
                    ds = self._score_gradient(ds if kept is None else ds * kept, p, own)
                    if gmask is not None:
                        add(xp, gmask, part, rows, ds, columns)
                    if gk is not None:
                        add(xp, gk, part, columns, xp.matrix_transpose(ds) @ q_i)
                    if gq is not None:
                        total = total + ds @ k_j
                if gq is not None and not isinstance(total, float):
                    add(xp, gq, part, rows, total * scale)
        return gq, gk, gv, gmask

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
        """What of the scores a block sees, (*part, rows, columns); -inf where nothing may be."""
        xp = self.xp
        s = q_i @ self.xp.matrix_transpose(taken(k, part, columns))
        if mask is not None:
            block = taken(mask, part, rows, columns)
            s = xp.where(block, s, -math.inf) if block.dtype == xp.bool else s + block
        if causal and columns[1] - 1 > rows[0]:
            row = xp.arange(*rows, dtype=xp.int64, device=s.device)
            column = xp.arange(*columns, dtype=xp.int64, device=s.device)
            s = xp.where(column <= xp.expand_dims(row, axis=1), s, -math.inf)
        return s

    def _exponentials(self, s: Array, top: Array) -> tuple[Array, Array, Array]:
        """e^(s - t), t, and e^(top - t), where t (rows, 1) is the largest number so far, or 0
        where that is -inf."""
        xp = self.xp
        top, before = xp.maximum(top, xp.max(s, axis=-1, keepdims=True)), top
        safe = xp.where(top == -math.inf, xp.zeros_like(top), top)
        return xp.exp(s - safe), top, xp.exp(before - safe)

    def _weights(self, s: Array, log_sum: Array) -> Array:
        """e^(s - log_sum): the weights again; s is the caller's no more."""
        return self.xp.exp(s - log_sum)

    def _score_gradient(self, gp: Array, p: Array, own: Array) -> Array:
        """p (gp - own); gp is the caller's no more."""
        return p * (gp - own)

    def _kept(
        self, drop: Drop, blocks: Blocks, first: int, count: int, i: int, j: int, s: Array
    ) -> Array:
        """What the weights of a block are multiplied by: 0, or 1 / (1 - p)."""
        xp = self.xp
        key, counter, threshold, scale = drop
        counter += blocks.drawn_at(i, j, first)
        bits = self.random_mask(key, counter, count * blocks.words, threshold, s.device)
        size = s.shape[-2] * s.shape[-1]
        bits = xp.reshape(bits, (count, blocks.words))[:, :size]
        return xp.astype(xp.reshape(bits, s.shape), s.dtype) * scale


class Blocks:
    """How scores (*batch, L, S) are cut.

    Attributes:
        batch: the axes of the batch, broadcast.
        queries, keys: L and S.
        words: how many random words a block of one row of the batch has, a multiple of 4.
    """

    def __init__(self, q: Array, k: Array, v: Array, causal: bool) -> None:
        several = zip(q.shape[:-2], k.shape[:-2], v.shape[:-2], strict=True)
        self.batch: tuple[int, ...] = tuple(
            [next((n for n in lengths if n != 1), 1) for lengths in several]
        )
        self.queries, self.keys, self.causal = q.shape[-2], k.shape[-2], causal
        self.words: int = -(-min(self.queries, QUERIES) * min(self.keys, KEYS) // 4) * 4

    def parts(self, most: int) -> Iterator[tuple[Part, int, int]]:
        """Slices of the batch whose block has at most `most` scores, or of one row; where the
        part begins among all rows, and how many it has."""
        limit = max(most // max(self.words, 1), 1)
        axis, inner = len(self.batch), 1
        while axis and inner * self.batch[axis - 1] <= limit:
            axis -= 1
            inner *= self.batch[axis]
        whole = (slice(None),) * (len(self.batch) - axis)
        if not axis:
            if inner:
                yield whole, 0, inner
            return
        step, length = max(limit // max(inner, 1), 1), self.batch[axis - 1]
        outer = itertools.product(*map(range, self.batch[: axis - 1]))
        for n, index in enumerate(outer):
            ahead = tuple([slice(a, a + 1) for a in index])
            for lo, hi in spans(length, step):
                if inner:
                    yield (
                        (*ahead, slice(lo, hi), *whole),
                        (n * length + lo) * inner,
                        (hi - lo) * inner,
                    )

    def columns(self, rows: Span) -> Iterator[tuple[int, Span]]:
        """The blocks of keys that some query of `rows` sees."""
        for j, (lo, hi) in enumerate(spans(self.keys, KEYS)):
            if self.causal and lo >= rows[1]:
                return
            yield j, (lo, hi)

    def drawn_at(self, i: int, j: int, first: int) -> int:
        """How many groups of four words come before row `first` of the batch in block (i, j)."""
        rows = math.prod(self.batch)
        return ((i * len(spans(self.keys, KEYS)) + j) * rows + first) * (self.words // 4)

    def all_words(self) -> int:
        """How many random words all blocks have together."""
        rows = len(spans(self.queries, QUERIES))
        return 4 * self.drawn_at(rows, 0, 0)


def spans(length: int, step: int) -> list[Span]:
    """0 to `length` in steps: (begin, end) of each."""
    return [(lo, min(lo + step, length)) for lo in range(0, length, step)]


def at(x: Array, part: Part, *ends: Span) -> tuple[slice, ...]:
    """The index of a block; axes of length 1, which broadcast, are there whole.

    `ends` are of the axes after the batch's; where one is not given the axis is whole.
    """
    cut = [*part, *[slice(*span) for span in ends]]
    return tuple(
        [slice(None) if n == 1 or axis >= len(cut) else cut[axis] for axis, n in enumerate(x.shape)]
    )


def taken(x: Array, part: Part, *ends: Span) -> Array:
    """The block of x at `at(x, part, *ends)`."""
    return x[at(x, part, *ends)]


def add(xp: Any, x: Array, part: Part, span: Span, g: Array, *others: Span) -> None:
    """Add g to the block of x, which is the caller's own: summed over the axes that broadcast."""
    index = at(x, part, span, *others)
    stretched = tuple([a for a, n in enumerate(x.shape) if n == 1 and g.shape[a] != 1])
    if stretched:
        g = xp.sum(g, axis=stretched, keepdims=True)
    x[index] += g

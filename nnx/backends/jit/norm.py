"""Normalisation compiled by numba: one pass for the statistics, one for the result.

Kept for backward is x itself, with the statistics: x̂ is never written out.  From G = dL/dy, the
formula of `nnx.ops.norm` becomes, with x̂ = (x - μ) r, S = Σ G and Q = Σ G (x - μ) over
the m numbers that share μ and r,

    dL/dγ = r Q,  dL/dβ = S,  dL/dx = A G + B (x - μ) + D
    A = γ r,  B = -A r² Q/m,  D = -A S/m

so backward too is one pass for sums and one for the result.  What is one number for a channel is
computed in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...typing import Array
from ..cpu.convolution.conv_block import pooled_statistics
from ..cpu.layout import as_laid, empty_in_order, numbers
from ..cpu.memory import empty_like
from ..cpu.norm import NumpyNorm
from ..portable.residuals import Residuals
from . import thresholds
from .codegen import threads
from .pool import has_floats


class Compiled(Residuals):
    """What `JitNorm` keeps."""

    __slots__ = ()


class JitNorm(NumpyNorm):
    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Residuals]:
        if not has_floats(x) or x.size < thresholds.NORM:
            return super().batch_norm(x, weight, bias, eps)
        from .loops import norm as loops

        n, c = x.shape[:2]
        x, last = numbers(x, True if x.size == n * c else None)
        y = empty_in_order(last, x.shape, x.dtype)
        flat_x, flat_y = _matrix(x, last), _matrix(y, last)
        means, squares = np.empty((2, *_sums_shape(x, last, loops.BLOCK)), x.dtype)
        if last:
            _split(loops.column_statistics, len(means), flat_x, means, squares)
            counts = [len(flat_x[k : k + loops.BLOCK]) for k in range(0, len(flat_x), loops.BLOCK)]
        else:
            _split(loops.run_statistics, n * c, flat_x, means.reshape(-1), squares.reshape(-1))
            counts = [flat_x.shape[1]] * n
        mean, variance = pooled_statistics(counts, means, squares)
        inverse = 1 / np.sqrt(variance + eps)
        scale = inverse if weight is None else weight * inverse
        shift = np.zeros(c) if bias is None else bias
        loop = loops.column_scale if last else loops.run_scale
        own = _for_each(last, n, x.dtype, mean, scale, shift)
        _split(loop, len(flat_x), flat_x, *own, flat_y)
        residuals = Compiled((x, last, weight, mean, inverse))
        return y, mean.astype(x.dtype), variance.astype(x.dtype), residuals

    def batch_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Compiled):
            return super().batch_norm_backward(gy, residuals, needs)
        from .loops import norm as loops

        x, last, weight, mean, inverse = residuals
        gy, _ = numbers(gy, last)
        n, dtype = len(x), x.dtype
        g, v = _matrix(gy, last), _matrix(x, last)
        (centre,) = _for_each(last, n, dtype, mean)
        both = np.empty((2, *_sums_shape(x, last, loops.BLOCK)), dtype)
        sums, products = both
        if last:
            _split(loops.column_sums, len(sums), g, v, centre, sums, products)
        else:
            _split(loops.run_sums, len(v), g, v, centre, sums.reshape(-1), products.reshape(-1))
        s, q = np.add.reduce(both, axis=1, dtype=np.float64)
        gx = None
        if needs[0]:
            gx = empty_in_order(last, x.shape, dtype)
            m = x.size // x.shape[1]
            a = inverse if weight is None else weight * inverse
            a_m = a / -m
            own = _for_each(last, n, dtype, a, a_m * inverse * inverse * q, a_m * s)
            loop = loops.column_combine if last else loops.run_combine
            _split(loop, len(v), g, v, centre, *own, _matrix(gx, last))
        gw = (inverse * q).astype(dtype) if needs[1] else None
        return gx, gw, s.astype(dtype) if needs[2] else None

    def group_norm(
        self, x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
    ) -> tuple[Array, Residuals]:
        if not has_floats(x) or x.size < thresholds.NORM:
            return super().group_norm(x, weight, bias, groups, eps)
        from .loops import norm as loops

        n, c = x.shape[:2]
        runs = np.ascontiguousarray(x).reshape(n, groups, c // groups, -1)
        y = empty_like(runs)
        means, inverses = np.empty((n, groups), x.dtype), np.empty((n, groups), x.dtype)
        scale, shift = np.ones(c, x.dtype), np.zeros(c, x.dtype)
        scale = scale if weight is None else np.ascontiguousarray(weight)
        shift = shift if bias is None else np.ascontiguousarray(bias)
        own = (scale, shift, x.dtype.type(eps), means, inverses, y)
        _split(loops.group_norm, n, runs, *own)
        return y.reshape(x.shape), Compiled((runs, scale, means, inverses))

    def group_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Compiled):
            return super().group_norm_backward(gy, residuals, needs)
        from .loops import norm as loops

        runs, scale, means, inverses = residuals
        n, dtype = len(runs), runs.dtype
        g = np.ascontiguousarray(gy).reshape(runs.shape)
        gx = empty_like(runs)
        sums, products = np.empty(runs.shape[:3], dtype), np.empty(runs.shape[:3], dtype)
        _split(loops.group_norm_backward, n, g, runs, scale, means, inverses, sums, products, gx)
        products *= inverses[..., None]
        gb, gw = (np.add.reduce(a, axis=0, dtype=np.float64) for a in (sums, products))
        return (
            gx.reshape(gy.shape) if needs[0] else None,
            gw.astype(dtype).reshape(-1) if needs[1] else None,
            gb.astype(dtype).reshape(-1) if needs[2] else None,
        )

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Residuals]:
        if not has_floats(x):
            return super().layer_norm(x, weight, bias, eps)
        from .loops import norm as loops

        x = np.ascontiguousarray(x)
        m, d = x.shape
        y = empty_like(x)
        means, inverses = np.empty(m, x.dtype), np.empty(m, x.dtype)
        scale = np.ones(d, x.dtype) if weight is None else np.ascontiguousarray(weight)
        shift = np.zeros(d, x.dtype) if bias is None else np.ascontiguousarray(bias)
        _split(loops.layer_norm, m, x, scale, shift, x.dtype.type(eps), means, inverses, y)
        return y, Compiled((x, scale, means, inverses))

    def layer_norm_backward(
        self, gy: Array, residuals: Residuals, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None]:
        if not isinstance(residuals, Compiled):
            return super().layer_norm_backward(gy, residuals, needs)
        from .loops import norm as loops

        x, scale, means, inverses = residuals
        gx = empty_like(x)
        blocks = -(-len(x) // loops.BLOCK)
        products, sums = (np.empty((blocks, x.shape[1]), x.dtype) for _ in range(2))
        arrays = (np.ascontiguousarray(gy), x, scale, means, inverses, gx, products, sums)
        _split(loops.layer_norm_backward, blocks, *arrays)
        return (
            gx if needs[0] else None,
            np.add.reduce(products, axis=0) if needs[1] else None,
            np.add.reduce(sums, axis=0) if needs[2] else None,
        )


def _matrix(x: Array, last: bool) -> Array:
    """x (N, C, ...) as it lies: lines (N pixels, C) or runs (N C, pixels)."""
    rows = x.shape[0] * x.shape[1]
    return as_laid(x, last).reshape((-1, x.shape[1]) if last else (rows, x.size // rows))


def _sums_shape(x: Array, last: bool, block: int) -> tuple[int, int]:
    """(parts, C): the parts that each channel's sums are made of, blocks of lines or images."""
    n, c = x.shape[:2]
    return (-(-(x.size // c) // block) if last else n, c)


def _for_each(last: bool, n: int, dtype: Any, *values: Array) -> list[Array]:
    """Values of the channels (C,): one for each column, or for each run, (N C,)."""
    return [(a if last else np.tile(a, n)).astype(dtype) for a in values]


def _split(loop: Any, n: int, first: Array, *rest: Any) -> None:
    """Run a loop over n parts of `first` and of the arrays that go with it."""
    threads.split(loop, n, first, *rest, least=max(1, thresholds.NORM_THREAD * n // first.size))

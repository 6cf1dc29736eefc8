"""Normalisation in CUDA (`kernels/norm_batch.cu`, `kernels/norm_layer.cu`)."""

from __future__ import annotations

import math
from typing import Any

from ...typing import Array
from ..portable.norm import NormKernels
from ..portable.residuals import Residuals
from .kernel import wide
from .launcher import REALS, STORED, Kernel, Modules, Plan, ceil_div, launch, register
from .planes import THREADS, by_plane, threads_across

# A channel is reduced in parts, so that there are about this many blocks in all: enough to keep a
# large device busy.  A fixed number, so that results do not depend on the device.
BLOCKS = 512
SPAN = 2048  # a longer plane is cut into pieces of this many positions
CHANNELS_A_BLOCK = 32  # where a channel has one position an image


def per_channel(images: int, channels: int, length: int, cuts: int) -> Plan:
    """Blocks in x count channels, or groups of them; in y, the parts of a channel."""
    across = CHANNELS_A_BLOCK if length == 1 else threads_across(length)
    down = THREADS // across
    groups = ceil_div(channels, CHANNELS_A_BLOCK) if length == 1 else channels
    parts = min(ceil_div(images * cuts, down), max(1, BLOCKS // max(groups, 1)))
    return Plan((groups, parts), (across, down))


def per_element_of_channels(channels: int) -> Plan:
    return Plan((ceil_div(channels, THREADS),), (THREADS,))


def one_warp_each(channels: int) -> Plan:
    return Plan((ceil_div(channels * 32, THREADS),), (THREADS,))


def one_block_each(rows: int) -> Plan:
    return Plan((rows,), (THREADS,))


CHANNEL_MOMENTS = register(
    Kernel(
        "norm_batch.cu",
        "channel_moments",
        "x:in parts:out:wide images:i32 channels:i32 length:i32 cuts:i32 span:i32",
        per_channel,
    )
)
MERGE_MOMENTS = register(
    Kernel(
        "norm_batch.cu",
        "merge_moments",
        "parts:in:wide mean:out:wide variance:out:wide inverse:out:wide channels:i32 count:i32 "
        "eps:real",
        one_warp_each,
    )
)
TRACK_MOMENTS = register(
    Kernel(
        "norm_batch.cu",
        "track_moments",
        "running_mean:inout:wide running_variance:inout:wide batches:inout:i64 "
        "mean:in:wide variance:in:wide fresh:real unbiased:real channels:i32",
        per_element_of_channels,
    )
)
CHANNEL_NORMALIZE = register(
    Kernel(
        "norm_batch.cu",
        "channel_normalize",
        "x:in mean:in:wide inverse:in:wide weight:in?:wide bias:in?:wide y:out planes:i32 "
        "channels:i32 length:i32",
        lambda planes, length: by_plane(planes, length),
    )
)
CHANNEL_SUMS = register(
    Kernel(
        "norm_batch.cu",
        "channel_sums",
        "gy:in x:in mean:in:wide inverse:in:wide parts:out:wide "
        "images:i32 channels:i32 length:i32 cuts:i32 span:i32 groups:i32",
        per_channel,
    )
)
MERGE_SUMS = register(
    Kernel(
        "norm_batch.cu",
        "merge_sums",
        "parts:in:wide plain:out:wide along:out:wide channels:i32 count:i32",
        one_warp_each,
    )
)
BATCH_NORM_BACKWARD = register(
    Kernel(
        "norm_batch.cu",
        "batch_norm_backward",
        "gy:in x:in mean:in:wide inverse:in:wide weight:in?:wide plain:in:wide along:in:wide "
        "gx:out planes:i32 channels:i32 length:i32 count:real",
        lambda planes, length: by_plane(planes, length),
    )
)
ROW_NORMALIZE = register(
    Kernel(
        "norm_layer.cu",
        "row_normalize",
        "x:in weight:in?:wide bias:in?:wide y:out mean:out:wide inverse:out:wide "
        "rows:i32 length:i32 inner:i32 groups:i32 eps:real",
        one_block_each,
    )
)
ROW_NORMALIZE_BACKWARD = register(
    Kernel(
        "norm_layer.cu",
        "row_normalize_backward",
        "gy:in x:in mean:in:wide inverse:in:wide weight:in?:wide gx:out rows:i32 length:i32 "
        "inner:i32 groups:i32",
        one_block_each,
    )
)

Needs = tuple[bool, ...]
Gradients = tuple[Array | None, Array | None, Array | None]


class CudaNorm(NormKernels):
    modules: Modules

    def batch_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Array, Array, Residuals]:
        if not _compiled_for(x, weight, bias):
            return super().batch_norm(x, weight, bias, eps)
        n, c, length = _as_planes(x)
        dtype, kept = wide(x.dtype), weight
        weight, bias = self._widened(weight), self._widened(bias)
        parts = self._parts(3, n, c, length, dtype)
        launch(CHANNEL_MOMENTS, self.modules, x=x, parts=parts, **_cut(n, c, length))
        mean, variance, inverse = (self.xp.empty((c,), dtype=dtype) for _ in range(3))
        launch(
            MERGE_MOMENTS,
            self.modules,
            parts=parts,
            mean=mean,
            variance=variance,
            inverse=inverse,
            channels=c,
            count=parts.shape[1],
            eps=eps,
        )
        y = self.xp.empty(x.shape, dtype=x.dtype)
        launch(
            CHANNEL_NORMALIZE,
            self.modules,
            x=x,
            mean=mean,
            inverse=inverse,
            weight=weight,
            bias=bias,
            y=y,
            planes=n * c,
            channels=c,
            length=length,
        )
        return y, mean, variance, Residuals((x, mean, inverse, kept))

    def track_moments_(
        self,
        running: tuple[Array, Array, Array],
        mean: Array,
        variance: Array,
        fresh: float,
        unbiased: float,
    ) -> tuple[Array, Array, Array]:
        in_place = all(a.flags.c_contiguous for a in running)
        if running[0].dtype != mean.dtype:  # of a model in float16
            mean, variance = (self.xp.astype(a, running[0].dtype) for a in (mean, variance))
        fit = mean.dtype in REALS and running[1].dtype == mean.dtype and mean.size
        if not in_place or not fit:
            return super().track_moments_(running, mean, variance, fresh, unbiased)
        launch(
            TRACK_MOMENTS,
            self.modules,
            running_mean=running[0],
            running_variance=running[1],
            batches=running[2],
            mean=mean,
            variance=variance,
            fresh=fresh,
            unbiased=unbiased,
            channels=mean.shape[0],
        )
        return running

    def batch_norm_backward(self, gy: Array, residuals: Residuals, needs: Needs) -> Gradients:
        if len(residuals) == 3:
            return super().batch_norm_backward(gy, residuals, needs)
        x, mean, inverse, kept = residuals
        weight = self._widened(kept)
        n, c, length = _as_planes(x)
        gb, gw = self._channel_sums(gy, x, mean, inverse, groups=0)
        gx = None
        if needs[0]:
            gx = self.xp.empty(x.shape, dtype=x.dtype)
            launch(
                BATCH_NORM_BACKWARD,
                self.modules,
                gy=gy,
                x=x,
                mean=mean,
                inverse=inverse,
                weight=weight,
                plain=gb,
                along=gw,
                gx=gx,
                planes=n * c,
                channels=c,
                length=length,
                count=n * length,
            )
        return gx, *self._of_weights(gw, gb, kept, needs)

    def layer_norm(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float
    ) -> tuple[Array, Residuals]:
        if not _compiled_for(x, weight, bias):
            return super().layer_norm(x, weight, bias, eps)
        return self._rows(x, weight, bias, eps, groups=1)

    def layer_norm_backward(self, gy: Array, residuals: Residuals, needs: Needs) -> Gradients:
        if len(residuals) == 3:
            return super().layer_norm_backward(gy, residuals, needs)
        return self._rows_backward(gy, residuals, needs)

    def group_norm(
        self, x: Array, weight: Array | None, bias: Array | None, groups: int, eps: float
    ) -> tuple[Array, Residuals]:
        if not _compiled_for(x, weight, bias):
            return super().group_norm(x, weight, bias, groups, eps)
        return self._rows(x, weight, bias, eps, groups)

    def group_norm_backward(self, gy: Array, residuals: Residuals, needs: Needs) -> Gradients:
        if len(residuals) == 3:
            return super().group_norm_backward(gy, residuals, needs)
        return self._rows_backward(gy, residuals, needs)

    def _rows(
        self, x: Array, weight: Array | None, bias: Array | None, eps: float, groups: int
    ) -> tuple[Array, Residuals]:
        """x (N, C, ...): a row is a sample's group of channels (layer norm: x (M, D), 1 group)."""
        xp, kept = self.xp, weight
        weight, bias = self._widened(weight), self._widened(bias)
        n, c, length = _as_planes(x)
        mean, inverse = (xp.empty((n * groups,), dtype=wide(x.dtype)) for _ in range(2))
        y = xp.empty(x.shape, dtype=x.dtype)
        launch(
            ROW_NORMALIZE,
            self.modules,
            x=x,
            weight=weight,
            bias=bias,
            y=y,
            mean=mean,
            inverse=inverse,
            rows=n * groups,
            length=c // groups * length,
            inner=length,
            groups=groups,
            eps=eps,
        )
        return y, Residuals((x, mean, inverse, kept, groups))

    def _rows_backward(self, gy: Array, residuals: Residuals, needs: Needs) -> Gradients:
        x, mean, inverse, kept, groups = residuals
        weight = self._widened(kept)
        n, c, length = _as_planes(x)
        gx = gw = gb = None
        if needs[0]:
            gx = self.xp.empty(x.shape, dtype=x.dtype)
            launch(
                ROW_NORMALIZE_BACKWARD,
                self.modules,
                gy=gy,
                x=x,
                mean=mean,
                inverse=inverse,
                weight=weight,
                gx=gx,
                rows=n * groups,
                length=c // groups * length,
                inner=length,
                groups=groups,
            )
        if needs[1] or needs[2]:
            gb, gw = self._channel_sums(gy, x, mean, inverse, groups)
        return gx, *self._of_weights(gw, gb, kept, needs)

    def _widened(self, a: Array | None) -> Array | None:
        """Weights of a model in float16, as the kernels take them."""
        return a if a is None else self.xp.astype(a, wide(a.dtype), copy=False)

    def _of_weights(
        self, gw: Array | None, gb: Array | None, weight: Array | None, needs: Needs
    ) -> tuple[Array | None, Array | None]:
        """The gradients of weight and bias that are needed, in the weight's dtype."""
        gradients = (gw if needs[1] else None, gb if needs[2] else None)
        if weight is None:
            return gradients
        gw, gb = (
            g if g is None else self.xp.astype(g, weight.dtype, copy=False) for g in gradients
        )
        return gw, gb

    def _channel_sums(
        self, gy: Array, x: Array, mean: Array, inverse: Array, groups: int
    ) -> tuple[Array, Array]:
        """The gradients of bias and weight, (C,) each."""
        n, c, length = _as_planes(x)
        dtype = wide(x.dtype)
        parts = self._parts(2, n, c, length, dtype)
        launch(
            CHANNEL_SUMS,
            self.modules,
            gy=gy,
            x=x,
            mean=mean,
            inverse=inverse,
            parts=parts,
            groups=groups,
            **_cut(n, c, length),
        )
        plain, along = (self.xp.empty((c,), dtype=dtype) for _ in range(2))
        launch(
            MERGE_SUMS,
            self.modules,
            parts=parts,
            plain=plain,
            along=along,
            channels=c,
            count=parts.shape[1],
        )
        return plain, along

    def _parts(self, kinds: int, n: int, c: int, length: int, dtype: Any) -> Array:
        """Room for what `per_channel` blocks write."""
        cut = _cut(n, c, length)
        plan = per_channel(n, c, length, cut["cuts"])
        return self.xp.empty((kinds, plan.grid[1], c), dtype=dtype)


def _compiled_for(x: Array, weight: Array | None, bias: Array | None) -> bool:
    """Weights may be in float32 where x is in float16."""
    fit = all(a is None or a.dtype in (x.dtype, wide(x.dtype)) for a in (weight, bias))
    return x.dtype in STORED and x.size > 0 and fit


def _as_planes(x: Array) -> tuple[int, int, int]:
    """(N, C, positions)."""
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _cut(n: int, c: int, length: int) -> dict[str, int]:
    cuts = ceil_div(length, SPAN)
    return {"images": n, "channels": c, "length": length, "cuts": cuts, "span": SPAN}

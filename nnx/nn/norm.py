"""Normalisation layers."""

from __future__ import annotations

import numpy as np

from .. import ops
from ..backends import Array, active_backend, backend_of
from ..ops._operands import as_tensor, require_one_dtype
from ..ops.norm import BatchSum, batch_norm_of_part
from ..scoped import Block, Scoped
from ..tensor import Tensor
from .module import Module, Parameter, new_parameter

_batch_sum: Scoped[BatchSum] = Scoped("batch sum")


def summing(over_batch: BatchSum) -> Block[BatchSum]:
    """Inside a `with` block, in this thread, a `SyncBatchNorm` sees one part of a batch, and
    `over_batch` adds up a float64 vector over all of its parts."""
    return _batch_sum(over_batch)


class _BatchNorm(Module):
    """Batch norm for inputs of some ranks; see `BatchNorm2d`."""

    ranks: tuple[int, ...] = ()
    shapes = ""
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Array  # None where nothing is tracked
    running_var: Array
    num_batches_tracked: Array

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: str = "float32",
        bias: bool = True,
    ) -> None:
        if num_features < 1:
            raise ValueError(
                f"{type(self).__name__}: num_features must be positive, got {num_features}"
            )
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        has_bias = affine and bias
        self.register_parameter("weight", _ones(num_features, dtype) if affine else None)
        self.register_parameter("bias", new_parameter((num_features,), dtype) if has_bias else None)
        new = active_backend().from_numpy
        for name, start in (("running_mean", np.zeros), ("running_var", np.ones)):
            values = new(start(num_features, np.dtype(dtype))) if track_running_stats else None
            self.register_buffer(name, values)
        count = new(np.asarray(0, np.int64)) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)

    def forward(self, x: Tensor) -> Tensor:
        name = type(self).__name__
        x = as_tensor(name, x)
        if x.ndim not in self.ranks or x.shape[1] != self.num_features:
            raise ValueError(
                f"{name}: x must be {self.shapes} with C = {self.num_features}; "
                f"x has shape {x.shape}"
            )
        require_one_dtype(name, x=x, weight=self.weight, running_mean=self.running_mean)
        if self.running_mean is not None and not self.training:
            return ops.batch_norm_inference(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.eps
            )
        y, mean, variance, values = self.normalize(x)
        if self.training and self.running_mean is not None:
            if values:
                self.track(mean, variance, values)
            else:  # counted, though there was nothing to learn from it
                xp = backend_of(self.num_batches_tracked).xp
                self.num_batches_tracked = xp.asarray(self.num_batches_tracked + 1)
        return y

    def normalize(self, x: Tensor) -> tuple[Tensor, Array, Array, int]:
        """y by the batch's statistics, and these: mean, biased variance, values per channel.

        An empty batch has none: its y is as empty, and `values` is 0.
        """
        if x.size == 0:
            none = backend_of(x.data).xp.zeros(
                (self.num_features,), dtype=x.data.dtype, device=x.data.device
            )
            y = ops.batch_norm_inference(x, none, none, self.weight, self.bias, self.eps)
            return y, none, none, 0
        y, mean, variance = ops.batch_norm(x, self.weight, self.bias, self.eps)
        return y, mean, variance, x.size // self.num_features

    def track(self, mean: Array, variance: Array, values: int) -> None:
        """Move the running statistics towards a batch's mean and biased variance.

        The running variance is unbiased: over all `values` of a channel, N H W of them and not N.
        """
        fresh = self.momentum
        if fresh is None:
            fresh = 1 / (float(self.num_batches_tracked) + 1)
        running = self.running_mean, self.running_var, self.num_batches_tracked
        self.running_mean, self.running_var, self.num_batches_tracked = backend_of(
            mean
        ).track_moments_(running, mean, variance, fresh, values / (values - 1))

    def reset_running_stats(self) -> None:
        """Forget the running statistics: mean 0, variance 1."""
        if self.running_mean is not None:
            self.running_mean = self.running_mean * 0
            self.running_var = self.running_var * 0 + 1
            xp = backend_of(self.running_mean).xp
            self.num_batches_tracked = xp.asarray(self.num_batches_tracked * 0)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
            + ("" if self.bias is not None or not self.affine else ", bias=False")
        )


class BatchNorm1d(_BatchNorm):
    """Batch norm for features (N, C), or sequences (N, C, L); see `BatchNorm2d`."""

    ranks = (2, 3)
    shapes = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Normalise every channel of images (N, C, H, W) over the batch (Ioffe and Szegedy 2015).

    In training with the batch's own mean and variance, which also move the running ones; in
    evaluation with the running ones.  The formula and its gradients: `nnx.ops.norm`.

    Args:
        momentum: how much a new batch weighs in the running statistics, as in PyTorch (the
            textbook's 0.95 is one minus this); None: all batches weigh the same.
        affine: learn a scale `weight` and a shift `bias` for every channel.
        bias: False: learn the scale alone.
        track_running_stats: False: use the batch's statistics in evaluation too.

    The textbook corrects the variance at inference instead, by N/(N-1) with N the pictures of a
    batch and not the N H W values of a channel (Xu 6.12 has m of these), so for batches of 8
    its outputs are smaller by 6%; its ε is 1e-8 where this one's is 1e-5.

    Buffers: running_mean, running_var (unbiased), num_batches_tracked.
    """

    ranks = (4,)
    shapes = "(N, C, H, W)"


class SyncBatchNorm(_BatchNorm):
    """Batch norm over a whole batch that is computed in parts; see `BatchNorm2d`.

    In a `parallel.DataParallel` model, in training, mean and variance are those of all parts of
    the batch; elsewhere, and where the batch is in one piece, this is the batch norm of inputs of
    any rank.  For batches whose parts are too small for statistics of their own.
    """

    ranks = (2, 3, 4, 5)
    shapes = "(N, C) or (N, C, ...)"

    def normalize(self, x: Tensor) -> tuple[Tensor, Array, Array, int]:
        over_batch = _batch_sum.get()
        if over_batch is None:
            return super().normalize(x)
        return batch_norm_of_part(x, over_batch, self.weight, self.bias, self.eps)


class LayerNorm(Module):
    """Normalise each sample over its last axes (Ba, Kiros and Hinton 2016).

    `weight` and `bias` have the shape `normalized_shape`, or are None.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: str = "float32",
    ) -> None:
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape, self.eps = tuple(shape), eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter(
            "weight", _ones(self.normalized_shape, dtype) if elementwise_affine else None
        )
        has_bias = elementwise_affine and bias
        self.register_parameter(
            "bias", new_parameter(self.normalized_shape, dtype) if has_bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Normalise each sample's channels in groups (Wu and He 2018).

    `weight` and `bias` are (num_channels,), or None: both with affine=False, the shift alone with
    bias=False.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: str = "float32",
        bias: bool = True,
    ) -> None:
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise ValueError(
                "GroupNorm: num_channels must split into num_groups; "
                f"num_channels {num_channels}, num_groups {num_groups}"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.affine = affine
        has_bias = affine and bias
        self.register_parameter("weight", _ones(num_channels, dtype) if affine else None)
        self.register_parameter("bias", new_parameter((num_channels,), dtype) if has_bias else None)

    def forward(self, x: Tensor) -> Tensor:
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None or not self.affine else ", bias=False"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}{bias}"


def _ones(shape: int | tuple[int, ...], dtype: str) -> Parameter:
    return Parameter(active_backend().from_numpy(np.ones(shape, np.dtype(dtype))))

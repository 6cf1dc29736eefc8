"""Batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ... import ops
from ...backends import Array, active_backend, backend_of
from ...ops._operands import as_tensor, require_one_dtype
from ...ops.norm.batch import BatchSum, batch_norm_of_part
from ...scoped import Block, Scoped
from ...tensor import Tensor
from .. import init
from ..module import Module
from ..state import Parameter, new_parameter

_batch_sum: Scoped[BatchSum] = Scoped("batch sum")


def summing(over_batch: BatchSum) -> Block[BatchSum]:
    """Inside a `with` block, in this thread, a `SyncBatchNorm` sees one part of a batch, and
    `over_batch` adds up a float64 vector over all of its parts."""
    return _batch_sum(over_batch)


def begin_anew(weight: Parameter | None, bias: Parameter | None = None) -> None:
    """Give a norm's γ and β, of any shape, the values they begin with, where it has them."""
    if weight is not None:
        init.ones_(weight)
    if bias is not None:
        init.zeros_(bias)


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
        device: Any = None,
        dtype: Any = "float32",
        bias: bool = True,
    ) -> None:
        if num_features < 1:
            raise ValueError(
                f"{type(self).__name__}: num_features must be positive, got {num_features}"
            )
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        one = {"dtype": dtype, "device": device}
        shape = (num_features,)
        self.register_parameter("weight", new_parameter(shape, **one, value=1) if affine else None)
        has_bias = affine and bias
        self.register_parameter("bias", new_parameter(shape, **one) if has_bias else None)
        for name, start in (("running_mean", 0), ("running_var", 1)):
            values = new_parameter(shape, **one, value=start).data if track_running_stats else None
            self.register_buffer(name, values)
        count = active_backend().from_numpy(np.asarray(0, np.int64))
        self.register_buffer("num_batches_tracked", count if track_running_stats else None)

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
        if self.training and self.track_running_stats and self.running_mean is not None:
            if values:
                self.track(mean, variance, values)
            else:  # counted, though there was nothing to learn from it
                xp = backend_of(self.num_batches_tracked).xp
                self.num_batches_tracked = xp.asarray(self.num_batches_tracked + 1)
        return y

    def normalize(self, x: Tensor) -> tuple[Tensor, Array, Array, int]:
        """Normalise by the batch's own statistics.

        Args:
            x: (N, C) or (N, C, ...).

        Returns:
            y like x, and with it the mean (C,), the biased variance (C,), and how many values of a
            channel they are of.  An empty batch has none: its y is as empty, and that number is 0.

        Raises:
            ValueError: a channel has one value only, which has no variance.
            TypeError: x and the parameters are of different dtypes.
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
        """Move the running statistics towards a batch's mean (C,) and biased variance (C,).

        The running variance is unbiased: over all `values` of a channel, N H W of them and not N.
        """
        fresh = self.momentum
        if fresh is None:
            fresh = 1 / (float(self.num_batches_tracked) + 1)
        running = self.running_mean, self.running_var, self.num_batches_tracked
        moved = backend_of(mean).track_moments_(
            running, mean, variance, fresh, values / (values - 1)
        )
        # what a kernel makes of buffers can stand in their place, and need not be looked at
        vars(self).update(
            zip(("running_mean", "running_var", "num_batches_tracked"), moved, strict=True)
        )

    def reset_running_stats(self) -> None:
        """Forget the running statistics: mean 0, variance 1, no batches counted."""
        if self.running_mean is not None:
            xp = backend_of(self.running_mean).xp
            self.running_mean = xp.zeros_like(self.running_mean)  # also where it is NaN
            self.running_var = xp.ones_like(self.running_var)
            self.num_batches_tracked = xp.zeros_like(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Begin anew: γ 1, β 0, the running statistics forgotten."""
        self.reset_running_stats()
        begin_anew(self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
            + ("" if self.bias is not None or not self.affine else ", bias=False")
        )


class BatchNorm1d(_BatchNorm):
    """Batch norm for features (N, C), or sequences (N, C, L); y has the shape of x.

        y = γ (x - mean) / √(variance + eps) + β

    with mean and variance of every channel over N, or N and L; all else as in `BatchNorm2d`.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: how much a new batch weighs in the running statistics; None: all weigh the same.
        affine: False: there is neither γ, `weight`, nor β, `bias`.
        track_running_stats: False: the batch's statistics are used in evaluation too.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters and of the running statistics; x must have the same.
        bias: False: there is no β.

    Raises:
        ValueError: num_features is not positive; x has another shape; in training, a channel with
            one value only, which has no variance.
        TypeError: x and the parameters are of different dtypes.
    """

    ranks = (2, 3)
    shapes = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Normalise every channel of images (N, C, H, W) over the batch (Ioffe and Szegedy 2015).

        y = γ (x - mean) / √(variance + eps) + β         (Xu 6.5-6.8)

    of the shape of x.  In training with the batch's own mean and variance of each channel, over N,
    H and W, which also move the running ones; in evaluation with the running ones.  The gradients
    are derived in `nnx.ops.norm.batch`.

    Args:
        num_features: C.
        eps: keeps the root away from 0.
        momentum: how much a new batch weighs in the running statistics, as in PyTorch (the
            textbook's 0.95 is one minus this); None: all batches weigh the same.
        affine: learn a scale γ, `weight`, and a shift β, `bias`, (C,) each, from 1 and 0.
        track_running_stats: False: use the batch's statistics in evaluation too.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters and of the running statistics; x must have the same.
        bias: False: learn the scale alone.

    The textbook corrects the variance at inference instead, by N/(N-1) with N the pictures of a
    batch and not the N H W values of a channel (Xu 6.12 has m of these), so for batches of 8
    its outputs are smaller by 6%; its ε is 1e-8 where this one's is 1e-5.

    Buffers: running_mean (C,), running_var (C,), unbiased, num_batches_tracked ().

    Raises:
        ValueError: num_features is not positive; x has another shape; in training, a channel with
            one value only, which has no variance.
        TypeError: x and the parameters are of different dtypes.
    """

    ranks = (4,)
    shapes = "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """Normalise every channel of volumes (N, C, D, H, W) over the batch; y has the shape of x.

        y = γ (x - mean) / √(variance + eps) + β

    with mean and variance of every channel over N, D, H and W; all else as in `BatchNorm2d`.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: how much a new batch weighs in the running statistics; None: all weigh the same.
        affine: False: there is neither γ, `weight`, nor β, `bias`.
        track_running_stats: False: the batch's statistics are used in evaluation too.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters and of the running statistics; x must have the same.
        bias: False: there is no β.

    Raises:
        ValueError: num_features is not positive; x has another shape; in training, a channel with
            one value only, which has no variance.
        TypeError: x and the parameters are of different dtypes.
    """

    ranks = (5,)
    shapes = "(N, C, D, H, W)"


class SyncBatchNorm(_BatchNorm):
    """Batch norm over a whole batch that is computed in parts; the formula is `BatchNorm2d`'s.

    In a `parallel.DataParallel` model, in training, mean and variance are those of all parts of
    the batch; elsewhere, and where the batch is in one piece, this is the batch norm of inputs of
    any rank, x (N, C) or (N, C, ...).  For batches whose parts are too small for statistics of
    their own.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: how much a new batch, all its parts, weighs in the running statistics; None: all
            batches weigh the same.
        affine: False: there is neither γ, `weight`, nor β, `bias`.
        track_running_stats: False: the batch's statistics are used in evaluation too.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters and of the running statistics; x must have the same.
        bias: False: there is no β.

    Raises:
        ValueError: num_features is not positive; x has another shape; in training, a channel with
            one value in all parts together.
        TypeError: x and the parameters are of different dtypes.
    """

    ranks = (2, 3, 4, 5)
    shapes = "(N, C) or (N, C, ...)"

    def normalize(self, x: Tensor) -> tuple[Tensor, Array, Array, int]:
        over_batch = _batch_sum.get()
        if over_batch is None:
            return super().normalize(x)
        return batch_norm_of_part(x, over_batch, self.weight, self.bias, self.eps)

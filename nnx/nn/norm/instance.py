"""Instance normalisation: each channel of each sample over its own pixels."""

from __future__ import annotations

import math
from typing import Any

from ... import ops
from ...backends import Array, backend_of
from ...ops._operands import as_tensor, require_one_dtype
from ...ops.windows.arguments import IMAGE, batch_of, one_of
from ...tensor import Tensor
from .batch import _BatchNorm


class _InstanceNorm(_BatchNorm):
    """Instance norm for inputs of so many axes after the channels; see `InstanceNorm2d`."""

    axes = 2

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = "float32",
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias
        )

    def forward(self, x: Tensor) -> Tensor:
        name, axes = type(self).__name__, self.axes
        x = as_tensor(name, x)
        if x.ndim not in (axes + 1, axes + 2) or x.shape[-axes - 1] != self.num_features:
            raise ValueError(
                f"{name}: x must be (N, C, {IMAGE[axes]}), or without N, with C = "
                f"{self.num_features}; x has shape {x.shape}"
            )
        require_one_dtype(name, x=x, weight=self.weight, running_mean=self.running_mean)
        x, alone = batch_of(x, axes)
        # PyTorch has it so: of `track_running_stats` turned off later, evaluation takes notice.
        if self.track_running_stats and self.running_mean is not None and not self.training:
            y = ops.batch_norm_inference(
                x, self.running_mean, self.running_var, self.weight, self.bias, self.eps
            )
            return one_of(y, alone)
        y = ops.instance_norm(x, self.weight, self.bias, self.eps)
        if self.training and self.running_mean is not None and x.size:
            self._follow(x.data)
        return one_of(y, alone)

    def _follow(self, x: Array) -> None:
        """Move the running statistics towards the samples' own, on average (N, C, ...) -> (C,)."""
        xp = backend_of(x).xp
        rows = xp.reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))
        mean = xp.mean(rows, axis=2)
        variance = xp.var(rows, axis=2, correction=1)
        fresh = 0.0 if self.momentum is None else self.momentum
        for buffer, found in (("running_mean", mean), ("running_var", variance)):
            held = getattr(self, buffer)
            setattr(self, buffer, held * (1 - fresh) + xp.mean(found, axis=0) * fresh)


class InstanceNorm1d(_InstanceNorm):
    """`InstanceNorm2d` of sequences: x (N, C, L), or without N, -> y of the same shape.

        y = γ (x - mean) / √(variance + eps) + β

    with mean and (biased) variance of one channel of one sample, over L.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: how much a new batch weighs in the running statistics, if there are any; None:
            nothing.
        affine: True: learn a scale γ, `weight`, and a shift β, `bias`, (C,) each, from 1 and 0.
        track_running_stats: True: keep running statistics, the mean over the samples, and use
            them in evaluation.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters and of the running statistics; x must have the same.
        bias: False: there is no β.

    Raises:
        ValueError: num_features is not positive; x has another shape, or channels of one pixel,
            which have no variance.
        TypeError: x and the parameters are of different dtypes.
    """

    axes = 1


class InstanceNorm2d(_InstanceNorm):
    """Normalise every channel of every image over its own pixels (Ulyanov et al. 2016).

        y = γ (x - mean) / √(variance + eps) + β

    x (N, C, H, W) or (C, H, W) -> y of the same shape; mean and (biased) variance are those of one
    channel of one sample, over H and W: `GroupNorm` with a group for each channel.  For pictures
    whose contrast shall not matter, as in style transfer.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: how much a new batch weighs in the running statistics, if there are any; None:
            nothing.
        affine: True: learn a scale γ, `weight`, and a shift β, `bias`, (C,) each, from 1 and 0.
        track_running_stats: True: keep running statistics, the mean over the samples, and use
            them in evaluation.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters and of the running statistics; x must have the same.
        bias: False: there is no β.

    Raises:
        ValueError: num_features is not positive; x has another shape, or channels of one pixel,
            which have no variance.
        TypeError: x and the parameters are of different dtypes.
    """

    axes = 2


class InstanceNorm3d(_InstanceNorm):
    """`InstanceNorm2d` of volumes: x (N, C, D, H, W), or without N, -> y of the same shape.

        y = γ (x - mean) / √(variance + eps) + β

    with mean and (biased) variance of one channel of one sample, over D, H and W.

    Args:
        num_features: C.
        eps: added to the variance, under the root.
        momentum: how much a new batch weighs in the running statistics, if there are any; None:
            nothing.
        affine: True: learn a scale γ, `weight`, and a shift β, `bias`, (C,) each, from 1 and 0.
        track_running_stats: True: keep running statistics, the mean over the samples, and use
            them in evaluation.
        device: None, or where the active backend makes arrays.
        dtype: of the parameters and of the running statistics; x must have the same.
        bias: False: there is no β.

    Raises:
        ValueError: num_features is not positive; x has another shape, or channels of one pixel,
            which have no variance.
        TypeError: x and the parameters are of different dtypes.
    """

    axes = 3

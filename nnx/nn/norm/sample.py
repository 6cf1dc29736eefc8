"""Normalisation of each sample, in training and in evaluation alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import ops
from ...tensor import Tensor
from ..module import Module
from ..state import Parameter, new_parameter
from .batch import begin_anew


class LayerNorm(Module):
    """Normalise each sample over its last axes (Ba, Kiros and Hinton 2016), not only in training.

        y = γ (x - mean) / √(variance + eps) + β

    x (..., *normalized_shape) -> y of the same shape; mean and (biased) variance are those of one
    sample, γ is `weight` and β `bias`, of the shape normalized_shape, from 1 and 0.

    Args:
        normalized_shape: the length of the last axis, or a tuple of those of the last axes.
        eps: added to the variance, under the root.
        elementwise_affine: False: neither γ nor β.
        bias: False: no β.
        device: None, or where the active backend makes arrays.
        dtype: of γ and β; x must have the same.

    Raises:
        ValueError: when called, the last axes of x are others.
        TypeError: x and the parameters are of different dtypes.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        self.normalized_shape, self.eps = _lengths(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        shape, one = self.normalized_shape, {"dtype": dtype, "device": device}
        weight = new_parameter(shape, **one, value=1) if elementwise_affine else None
        self.register_parameter("weight", weight)
        has_bias = elementwise_affine and bias
        self.register_parameter("bias", new_parameter(shape, **one) if has_bias else None)

    def reset_parameters(self) -> None:
        """Begin anew: γ 1, β 0."""
        begin_anew(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Normalise each sample's channels in groups (Wu and He 2018), in training and evaluation.

        y = γ (x - mean) / √(variance + eps) + β

    x (N, C) or (N, C, ...) -> y of the same shape; mean and (biased) variance are taken over the
    C / num_groups channels of a group and all their pixels.  One group: over the whole sample.

    Args:
        num_groups: into how many groups the channels are split.
        num_channels: C.
        eps: added to the variance, under the root.
        affine: False: neither γ, `weight` (C,), nor β, `bias` (C,).
        device: None, or where the active backend makes arrays.
        dtype: of γ and β; x must have the same.
        bias: False: no β.

    Raises:
        ValueError: num_channels is not a multiple of num_groups; when called, x has other channels.
        TypeError: x and the parameters are of different dtypes.
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = "float32",
        bias: bool = True,
    ) -> None:
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise ValueError(
                "GroupNorm: num_channels must split into num_groups; "
                f"num_channels {num_channels}, num_groups {num_groups}"
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.affine = affine
        shape, one = (num_channels,), {"dtype": dtype, "device": device}
        self.register_parameter("weight", new_parameter(shape, **one, value=1) if affine else None)
        has_bias = affine and bias
        self.register_parameter("bias", new_parameter(shape, **one) if has_bias else None)

    def reset_parameters(self) -> None:
        """Begin anew: γ 1, β 0."""
        begin_anew(self.weight, self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        bias = "" if self.bias is not None or not self.affine else ", bias=False"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}{bias}"


class RMSNorm(Module):
    """y = γ x / √(mean(x²) + eps): `LayerNorm` without the mean and β (Zhang and Sennrich 2019).

    x (..., *normalized_shape) -> y of the same shape; the mean is that of one sample, and γ is
    `weight`, of the shape normalized_shape, from 1.

    Args:
        normalized_shape: the length of the last axis, or a sequence of those of the last axes.
        eps: keeps the root away from 0; None: the dtype's own (1.2e-7 in float32).
        elementwise_affine: False: no γ.
        device: None, or where the active backend makes arrays.
        dtype: of γ; x must have the same.

    Raises:
        ValueError: when called, the last axes of x are others.
        TypeError: x and γ are of different dtypes.
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = "float32",
    ) -> None:
        self.normalized_shape, self.eps = _lengths(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        shape, one = self.normalized_shape, {"dtype": dtype, "device": device}
        weight = new_parameter(shape, **one, value=1) if elementwise_affine else None
        self.register_parameter("weight", weight)

    def reset_parameters(self) -> None:
        """Begin anew: γ 1."""
        begin_anew(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LocalResponseNorm(Module):
    """y = x / (k + alpha/size Σ x²)^beta, over neighbouring channels (Krizhevsky et al. 2012).

    x (N, C, ...) -> y of the same shape; AlexNet's.

    Args:
        size: how many channels are summed: size // 2 before, itself, and the rest after.
        alpha, beta, k: as in the formula.

    Raises:
        ValueError: when called, size is not positive, or x has fewer than three axes.
        TypeError: x is of integers.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        return ops.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _lengths(normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(normalized_shape, Sequence):
        return tuple(normalized_shape)
    return (normalized_shape,)

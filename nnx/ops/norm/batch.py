"""Normalisation over the batch: mean 0 and variance 1 for every channel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ...autograd import Node
from ...backends import Array, backend_of, copy_beside, dtype_name
from ...tensor import Tensor
from .._function import Function
from .._operands import as_array, as_tensor, operands, require_one_dtype
from ..array.autocast import in_float32_inside

BatchSum = Callable[[np.ndarray], np.ndarray]  # a float64 vector of a part -> of the whole batch


class BatchNorm(Function):
    """x̂ = (x - μ) / √(σ² + ε),  y = γ x̂ + β, for every channel (Ioffe, Szegedy 2015; Xu 6.5-6.8).

    μ and σ² = mean((x - μ)²) are taken over the m = N H W values that a channel has in the batch.

    Backward (Xu 6.15-6.23).  With G = dL/dy, sums over those m values, and r = 1/√(σ² + ε):

        dL/dγ = Σ G x̂        dL/dβ = Σ G        g = dL/dx̂ = γ G

    x acts on the loss through x̂ directly, through μ and through σ².  Since dx̂/dμ = -r and
    dx̂/dσ² = -x̂ r²/2,

        dL/dμ  = -r Σ g                      (σ² does not add to it: dσ²/dμ = -2 mean(x - μ) = 0)
        dL/dσ² = -r²/2 Σ g x̂
        dL/dx  = r g + dL/dμ / m + dL/dσ² 2 (x - μ)/m        where (x - μ) = x̂ / r
               = r (g - mean(g) - x̂ mean(g x̂))

    r stands there once.  (In the sums, dL/dx is g with its mean and its part along x̂ taken away:
    directions in which normalisation hides any change of x.)
    """

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def forward(self, x: Array, weight: Array | None = None, bias: Array | None = None) -> Array:
        y, self.mean, self.variance, residuals = self.backend.batch_norm(x, weight, bias, self.eps)
        if True in self.needs_input_grad:
            self.residuals = residuals
        return y

    def multiply_adds(self, x: Array, *others: Array | None) -> tuple[int, int]:
        n = math.prod(x.shape)
        return 2 * n, 2 * n if True in self.needs_input_grad else 0

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        return self.backend.batch_norm_backward(g, self.residuals, self.needs_input_grad)


class BatchNormOfPart(Function):
    """`BatchNorm` of a batch of which this is one part: the same formulas, with two sums over all
    parts in them.

    Forward.  Each part has m values of a channel, their mean μ_k and their biased variance σ_k².
    Over all M = Σ m values,  μ = Σ m μ_k / M  and  σ² = Σ m (σ_k² + μ_k²) / M - μ²: the first sum,
    in float64, where the difference loses nothing that float32 had.

    Backward.  In  dL/dx = r (g - mean(g) - x̂ mean(g x̂))  the means are over all M values, and
    g = γ G with one γ for all:  mean(g) = γ Σ G / M,  mean(g x̂) = γ Σ G x̂ / M: the second sum.
    dL/dγ and dL/dβ are this part's own share.
    """

    def __init__(self, over_batch: BatchSum, eps: float) -> None:
        self.over_batch, self.eps = over_batch, eps

    def forward(self, x: Array, weight: Array | None = None, bias: Array | None = None) -> Array:
        xp, c = self.backend.xp, x.shape[1]
        self.axes, self.channels = (0, *range(2, x.ndim)), (1, c, *[1] * (x.ndim - 2))
        mean = xp.mean(x, axis=self.axes, keepdims=True)  # (1, C, 1, ...)
        centred = x - mean
        own, spread = self._host(mean), self._host(xp.mean(centred * centred, axis=self.axes))
        m = math.prod(x.shape) // c
        sums = self.over_batch(np.concatenate([m * own, m * (spread + own * own), [m]]))
        self.values = int(sums[-1])
        if self.values < 2:
            raise ValueError(
                "batch_norm: a channel needs at least 2 values in all parts of the batch to be "
                f"normalised, has {self.values}; x has shape {tuple(x.shape)}"
            )
        mean, square = sums[:c] / self.values, sums[c : 2 * c] / self.values
        variance = np.maximum(square - mean * mean, 0.0)
        self.mean, self.variance = copy_beside(x, mean), copy_beside(x, variance)
        self.inverse = self._wide(x, 1 / np.sqrt(variance + self.eps))
        self.normal = (x - self._wide(x, mean)) * self.inverse
        self.weight = None if weight is None else xp.reshape(weight, self.channels)
        y = self.normal if self.weight is None else self.normal * self.weight
        return y if bias is None else y + xp.reshape(bias, self.channels)

    def multiply_adds(self, x: Array, *others: Array | None) -> tuple[int, int]:
        n = math.prod(x.shape)
        return 2 * n, 2 * n if True in self.needs_input_grad else 0

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        xp, c = self.backend.xp, g.shape[1]
        gb = xp.sum(g, axis=self.axes)
        gw = xp.sum(g * self.normal, axis=self.axes)
        means = self.over_batch(np.concatenate([self._host(gb), self._host(gw)])) / self.values
        gx = g - self._wide(g, means[:c]) - self.normal * self._wide(g, means[c:])
        gx = gx * self.inverse
        return gx if self.weight is None else gx * self.weight, gw, gb

    def _host(self, a: Array) -> np.ndarray:
        return np.asarray(self.backend.to_numpy(a), np.float64).reshape(-1)

    def _wide(self, like: Array, a: np.ndarray) -> Array:
        """(C,) in host memory -> (1, C, 1, ...) beside an array."""
        return copy_beside(like, a.reshape(self.channels))


class BatchNormInference(Function):
    """y = γ (x - μ) / √(σ² + ε) + β with μ and σ² given (Xu 6.13): an affine map of each channel.

    Backward.  With r = 1/√(σ² + ε):  dL/dx = γ r G,  dL/dγ = Σ G (x - μ) r,  dL/dβ = Σ G.
    """

    def __init__(self, mean: Array, variance: Array, eps: float) -> None:
        self.mean, self.variance, self.eps = mean, variance, eps

    def forward(self, x: Array, weight: Array | None = None, bias: Array | None = None) -> Array:
        self.channels = (-1, *[1] * (x.ndim - 2))
        y, self.inverse, self.scale = self.backend.batch_norm_inference(
            x, self.mean, self.variance, weight, bias, self.eps
        )
        if self.needs_input_grad[1]:
            self.x = x
        return y

    def multiply_adds(self, x: Array, *others: Array | None) -> tuple[int, int]:
        n = math.prod(x.shape)
        return n, n if self.needs_input_grad[1] else 0

    def backward(self, g: Array) -> tuple[Array | None, ...]:
        xp = self.backend.xp
        gx = gw = gb = None
        axes = (0, *range(2, g.ndim))
        if self.needs_input_grad[0]:
            gx = g * xp.reshape(self.scale, self.channels)
        if self.needs_input_grad[1]:
            centred = self.x - xp.reshape(self.mean, self.channels)
            gw = xp.sum(g * centred, axis=axes) * self.inverse
        if self.needs_input_grad[2]:
            gb = xp.sum(g, axis=axes)
        return gx, gw, gb


@in_float32_inside
def batch_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Array, Array]:
    """Normalise every channel over the batch and its pixels, as in training (Xu 6.5-6.8).

    x (N, C) or (N, C, ...), weight γ and bias β (C,) or None -> y like x, and the batch's mean and
    *biased* variance, (C,), as arrays: what a module needs for its running statistics.
    `eps` is added to the variance under the root.

    Raises:
        ValueError: no channel axis; weight or bias not (C,); fewer than two values per channel,
            which have no variance.
        TypeError: dtypes that differ.
    """
    x, weight, bias = checked("batch_norm", x, weight, bias, mixed=True)
    values = x.size // max(1, x.shape[1])
    if values < 2:
        raise ValueError(
            f"batch_norm: a channel needs at least 2 values to be normalised, has {values}; "
            f"x has shape {x.shape}"
        )
    function = BatchNorm(eps)
    y = function(x, weight, bias)
    return y, function.mean, function.variance


@in_float32_inside
def batch_norm_of_part(
    x: Tensor,
    over_batch: BatchSum,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Array, Array, int]:
    """Normalise every channel of one part of a batch over the whole batch, as in training.

    x (N, C) or (N, C, ...), weight and bias (C,) or None -> y like x, the whole batch's mean and
    biased variance (C,), and its number of values in a channel.  `over_batch` gets a vector of
    each part and returns their sum; it is called once in the forward and once in the backward.

    Raises: as `batch_norm` does, of the whole batch.
    """
    x, weight, bias = checked("batch_norm", x, weight, bias)
    function = BatchNormOfPart(over_batch, eps)
    y = function(x, weight, bias)
    return y, function.mean, function.variance, function.values


@in_float32_inside
def batch_norm_inference(
    x: Tensor,
    mean: Array,
    variance: Array,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise every channel with given statistics, as in evaluation (Xu 6.13).

        y = γ (x - mean) / √(variance + eps) + β

    Args:
        x: (N, C) or (N, C, ...), and so is what is returned.
        mean: (C,), an array.
        variance: (C,), an array: the biased or the unbiased one, as it was collected.
        weight: γ (C,), or None for 1.
        bias: β (C,), or None for 0.
        eps: keeps the root away from 0.

    Raises:
        ValueError: no channel axis, or one of the others is not (C,).
        TypeError: dtypes that differ.
    """
    x, weight, bias = checked("batch_norm_inference", x, weight, bias)
    mean, variance = (as_array("batch_norm_inference", a, x) for a in (mean, variance))
    if tuple(mean.shape) != (x.shape[1],) or tuple(variance.shape) != (x.shape[1],):
        raise ValueError(
            f"batch_norm_inference: mean and variance must have shape ({x.shape[1]},), one per "
            f"channel; mean {tuple(mean.shape)}, variance {tuple(variance.shape)}, "
            f"x has shape {x.shape}"
        )
    require_one_dtype("batch_norm_inference", x=x, mean=mean, variance=variance)
    return BatchNormInference(mean, variance, eps)(x, weight, bias)


def checked(name: str, x: Any, weight: Any, bias: Any, mixed: bool = False) -> tuple[Any, Any, Any]:
    """The three as tensors of one floating-point dtype, whose shapes fit; `mixed`: but x may be in
    float16 beside weights in float32, where there is a kernel for that."""
    x = as_tensor(name, x, weight if isinstance(weight, Node) else None)
    home = backend_of(x.data)
    if mixed and name in home.low_kernels and dtype_name(x.dtype) == "float16":
        widths = {dtype_name(a.dtype) for a in (weight, bias) if hasattr(a, "dtype")}
        mixed = widths == {"float32"}
    else:
        mixed = False
    if mixed:
        weight, bias = (a if a is None else as_tensor(name, a, x) for a in (weight, bias))
    else:
        x, weight, bias = operands(name, x, weight, bias)
        if not home.is_float(x.data.dtype):
            require_one_dtype(name, x=x)
    shape = x.data.shape
    if len(shape) < 2:
        raise ValueError(f"{name}: x must be (N, C) or (N, C, ...); x has shape {x.shape}")
    channels = shape[1:2]
    for label, a in (("weight", weight), ("bias", bias)):
        if a is not None and a.data.shape != channels:
            raise ValueError(
                f"{name}: {label} must have shape ({x.shape[1]},), one per channel; "
                f"it has {a.shape}, x {x.shape}"
            )
    return x, weight, bias

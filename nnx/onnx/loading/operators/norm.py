"""Normalisations."""

from __future__ import annotations

import math
from typing import Any

from .... import ops
from ....tensor import Tensor
from ..node import Node, operator, xp_of


@operator("BatchNormalization", buffers=(3, 4))
def batch_normalization(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Any:
    """By the given statistics; in `training_mode` by the batch's, which the running ones follow:
    running = running momentum + batch's (1 - momentum), with the biased variance."""
    eps = node.get("epsilon", 1e-5)
    if node.get("training_mode", 0):
        axes = (0, *range(2, x.ndim))
        here, spread = ops.mean(x, axis=axes), ops.var(x, axis=axes)
        y = _affine(x, here, spread, scale, bias, eps)
        m = node.get("momentum", 0.9)
        return y, mean * m + here * (1 - m), variance * m + spread * (1 - m)
    if scale.dtype != x.dtype or mean.dtype != x.dtype:
        return _affine(x, mean, variance, scale, bias, eps)
    return ops.batch_norm_inference(x, mean.data, variance.data, scale, bias, eps)


def _affine(
    x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor, bias: Tensor, eps: float
) -> Tensor:
    wide = (-1, *[1] * (x.ndim - 2))
    factor = scale / ops.sqrt(variance + eps)
    y = (x - ops.reshape(mean, wide)) * ops.reshape(factor, wide) + ops.reshape(bias, wide)
    return ops.astype(y, x.dtype)


@operator("InstanceNormalization")
def instance_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each channel of each example by itself: as many groups as channels."""
    return ops.group_norm(x, x.shape[1], scale, bias, node.get("epsilon", 1e-5))


@operator("GroupNormalization")
def group_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Before opset 21 scale and bias were one for each group."""
    groups, channels = node.get("num_groups"), x.shape[1]
    if scale.shape[0] != channels:
        scale, bias = (ops.repeat(a, channels // groups, axis=0) for a in (scale, bias))
    return ops.group_norm(x, groups, scale, bias, node.get("epsilon", 1e-5))


@operator("LayerNormalization")
def layer_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Any:
    """From an axis on; mean and 1/√(variance + ε) are further outputs."""
    eps, axis = node.get("epsilon", 1e-5), node.get("axis", -1) % x.ndim
    shape = x.shape[axis:]
    if not node.wants(1) and not node.wants(2):
        shift = None if bias is None else _whole(bias, shape)
        return ops.layer_norm(x, shape, _whole(scale, shape), shift, eps)
    axes = tuple(range(axis, x.ndim))
    mean = ops.mean(x, axis=axes, keepdims=True)
    inverse = 1 / ops.sqrt(ops.var(x, axis=axes, keepdims=True) + eps)
    y = (x - mean) * inverse * scale
    return y if bias is None else y + bias, mean, inverse


def _whole(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    return a if a.shape == shape else ops.broadcast_to(a, shape)


@operator("RMSNormalization")
def rms_normalization(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    """x / √(mean of x² + ε), from an axis on."""
    axes = tuple(range(node.get("axis", -1) % x.ndim, x.ndim))
    square = ops.mean(x * x, axis=axes, keepdims=True)
    return x / ops.sqrt(square + node.get("epsilon", 1e-5)) * scale


@operator("LpNormalization")
def lp_normalization(node: Node, x: Tensor) -> Tensor:
    """x / its norm along an axis; 0 where that is 0."""
    size = ops.norm(x, node.get("p", 2), axis=node.get("axis", -1), keepdims=True)
    none = size.data == 0
    safe = ops.where(Tensor(xp_of(x).asarray(none)), ops.ones_like(size), size)
    return x / safe


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node, x: Tensor) -> Tensor:
    axes = tuple(node.get("axes", (0, 2, 3)))
    return (x - ops.mean(x, axis=axes, keepdims=True)) / (
        ops.std(x, axis=axes, keepdims=True) + 1e-9
    )


@operator("LRN")
def lrn(node: Node, x: Tensor) -> Tensor:
    """x / (k + α/n Σ x²)^β, the sum over n channels around each."""
    n, alpha = node.get("size"), node.get("alpha", 0.0001)
    beta, bias = node.get("beta", 0.75), node.get("bias", 1.0)
    before = (n - 1) // 2
    squares = ops.pad(
        x * x, [(0, 0), (before, n - 1 - before), *[(0, 0)] * (x.ndim - 2)], "constant", 0.0
    )
    total = squares[:, 0 : x.shape[1]]
    for k in range(1, n):
        total = total + squares[:, k : k + x.shape[1]]
    return x / (total * (alpha / n) + bias) ** beta


@operator("LpPool")
def lp_pool(node: Node, x: Tensor) -> Tensor:
    """(Σ |x|^p)^(1/p) over each window: the mean times how many there are."""
    from .windows import average, window_of

    p = node.get("p", 2)
    window = window_of(node, x, node.get("kernel_shape"))
    total = average(x=ops.abs(x) ** p, window=window, count=True) * math.prod(window.kernel)
    return total ** (1 / p)

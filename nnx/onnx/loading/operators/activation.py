"""Activations; the formulas stand in `nnx.ops.activation`."""

from __future__ import annotations

import math

from .... import ops
from ....tensor import Tensor
from ..node import Node, operator, xp_of


@operator("Relu")
def relu(node: Node, x: Tensor) -> Tensor:
    return ops.relu(x)


@operator("LeakyRelu")
def leaky_relu(node: Node, x: Tensor) -> Tensor:
    return ops.leaky_relu(x, node.get("alpha", 0.01))


@operator("PRelu")
def prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    return ops.where(x > 0, x, slope * x)


@operator("Elu")
def elu(node: Node, x: Tensor) -> Tensor:
    return ops.elu(x, node.get("alpha", 1.0))


@operator("Selu")
def selu(node: Node, x: Tensor) -> Tensor:
    alpha = node.get("alpha", 1.67326319217681884765625)
    gamma = node.get("gamma", 1.05070102214813232421875)
    return ops.elu(x, alpha) * gamma


@operator("Celu")
def celu(node: Node, x: Tensor) -> Tensor:
    return ops.celu(x, node.get("alpha", 1.0))


@operator("ThresholdedRelu")
def thresholded_relu(node: Node, x: Tensor) -> Tensor:
    return ops.where(x > node.get("alpha", 1.0), x, ops.zeros_like(x))


@operator("Sigmoid")
def sigmoid(node: Node, x: Tensor) -> Tensor:
    return ops.sigmoid(x)


@operator("HardSigmoid")
def hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return ops.clip(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0.0, 1.0)


@operator("HardSwish")
def hard_swish(node: Node, x: Tensor) -> Tensor:
    return x * ops.clip(x * (1 / 6) + 0.5, 0.0, 1.0)


@operator("Softplus")
def softplus(node: Node, x: Tensor) -> Tensor:
    return ops.softplus(x)


@operator("Softsign")
def softsign(node: Node, x: Tensor) -> Tensor:
    return ops.softsign(x)


@operator("Gelu")
def gelu(node: Node, x: Tensor) -> Tensor:
    return ops.gelu(x, node.get("approximate", "none"))


@operator("Mish")
def mish(node: Node, x: Tensor) -> Tensor:
    return ops.mish(x)


@operator("Swish")
def swish(node: Node, x: Tensor) -> Tensor:
    return x * ops.sigmoid(x * node.get("alpha", 1.0))


@operator("Shrink")
def shrink(node: Node, x: Tensor) -> Tensor:
    """x - bias above the threshold, x + bias below its negative, 0 between."""
    edge, bias = node.get("lambd", 0.5), node.get("bias", 0.0)
    zeros = ops.zeros_like(x)
    falls = ops.where(x > edge, (x - bias).astype(x.dtype), zeros)
    return ops.where(x < -edge, (x + bias).astype(x.dtype), falls)


@operator("Softmax")
def softmax(node: Node, x: Tensor) -> Tensor:
    return _along(node, x, ops.softmax)


@operator("LogSoftmax")
def log_softmax(node: Node, x: Tensor) -> Tensor:
    return _along(node, x, ops.log_softmax)


@operator("Hardmax")
def hardmax(node: Node, x: Tensor) -> Tensor:
    """1 at the first of the largest, 0 elsewhere."""

    def function(x: Tensor, axis: int) -> Tensor:
        top = ops.argmax(x, axis=axis, keepdims=True)
        shape = [1] * x.ndim
        shape[axis] = x.shape[axis]
        xp = xp_of(x)
        every = xp.reshape(xp.arange(x.shape[axis], dtype=xp.int64, device=x.device), tuple(shape))
        return ops.astype(Tensor(xp.asarray(top.data == every)), x.dtype)

    return _along(node, x, function)


def _along(node: Node, x: Tensor, function: object) -> Tensor:
    """Along one axis; before opset 13 along all from that axis on, as one."""
    axis = node.get("axis", -1 if node.opset >= 13 else 1)
    if node.opset >= 13:
        return function(x, axis=axis % x.ndim)  # type: ignore[operator]
    k = axis % x.ndim if x.ndim else 0
    flat = ops.reshape(x, (math.prod(x.shape[:k]), math.prod(x.shape[k:])))
    return ops.reshape(function(flat, axis=1), x.shape)  # type: ignore[operator]

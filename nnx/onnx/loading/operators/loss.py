"""Losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from .... import ops
from ....tensor import Tensor
from ..node import Node, beside, host, operator


def _loss(node: Node, logs: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """-w[t] log p[t], for x (N, C, ...) and t (N, ...); the mean divides by the weights' sum."""
    ignored = node.get("ignore_index")
    classes = host(target).astype(np.int64)
    counted = np.ones(classes.shape, bool) if ignored is None else classes != ignored
    safe = np.where(counted, classes, 0)
    scales = np.ones(logs.shape[1], host(logs[:0]).dtype) if weight is None else host(weight)
    scale = np.where(counted, scales[safe], 0).astype(scales.dtype)
    taken = ops.take_along_axis(logs, beside(logs, safe[:, None]), axis=1)
    losses = -ops.squeeze(taken, 1) * beside(logs, scale)
    reduction = node.get("reduction", "mean")
    if reduction == "none":
        return losses
    total = ops.sum(losses)
    return total / float(scale.sum()) if reduction == "mean" else total


@operator("NegativeLogLikelihoodLoss", static=(1, 2))
def negative_log_likelihood(
    node: Node, x: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor:
    return _loss(node, x, target, weight)


@operator("SoftmaxCrossEntropyLoss", static=(1, 2))
def softmax_cross_entropy(
    node: Node, x: Tensor, target: Tensor, weight: Tensor | None = None
) -> Any:
    logs = ops.log_softmax(x, axis=1)
    loss = _loss(node, logs, target, weight)
    return (loss, logs) if node.wants(1) else loss

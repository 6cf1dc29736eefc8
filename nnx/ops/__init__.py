"""Differentiable operations: one family a file."""

from __future__ import annotations

import sys

from .. import tensor as _tensor
from .activation import relu
from .arithmetic import add, divide, multiply, negative, subtract
from .conv import conv1d, conv2d, conv_transpose2d
from .embedding import embedding
from .gru import gru, gru_cell, gru_reset, gru_update
from .linear import linear, matmul
from .loss import cross_entropy
from .lstm import lstm, lstm_cell
from .normalization import batch_norm, batch_norm_inference, group_norm, layer_norm
from .padding import pad_border
from .pooling import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
    max_pool1d,
    max_pool2d,
)
from .rnn import rnn

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_inference",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "divide",
    "embedding",
    "global_avg_pool2d",
    "global_max_pool2d",
    "group_norm",
    "gru",
    "gru_cell",
    "gru_reset",
    "gru_update",
    "layer_norm",
    "linear",
    "lstm",
    "lstm_cell",
    "matmul",
    "max_pool1d",
    "max_pool2d",
    "multiply",
    "negative",
    "pad_border",
    "relu",
    "rnn",
    "subtract",
]

_tensor.ops = sys.modules[__name__]  # the tensor's operators find their operations here

"""Differentiable operations: one family a file."""

from __future__ import annotations

import sys

from .. import tensor as _tensor
from .activation import relu
from .arithmetic import add, divide, multiply, negative, subtract
from .embedding import embedding
from .gru import gru, gru_cell, gru_reset, gru_update
from .linear import linear, matmul
from .loss import cross_entropy
from .lstm import lstm, lstm_cell
from .rnn import rnn

__all__ = [
    "add",
    "cross_entropy",
    "divide",
    "embedding",
    "gru",
    "gru_cell",
    "gru_reset",
    "gru_update",
    "linear",
    "lstm",
    "lstm_cell",
    "matmul",
    "multiply",
    "negative",
    "relu",
    "rnn",
    "subtract",
]

_tensor.ops = sys.modules[__name__]  # the tensor's operators find their operations here

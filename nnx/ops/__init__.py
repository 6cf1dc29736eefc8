"""Differentiable operations: one family a file."""

from __future__ import annotations

import sys

from .. import in_place as _in_place
from .. import tensor as _tensor
from .activation import (
    celu,
    elu,
    erf,
    gelu,
    hardtanh,
    leaky_relu,
    log_sigmoid,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    softsign,
)
from .arithmetic import add, divide, logaddexp, maximum, minimum, multiply, negative, pow, subtract
from .array.cast import astype
from .array.creation import (
    arange,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from .array.indexing import getitem, take, take_along_axis
from .array.join import concat, repeat, split, stack, tile, unstack
from .array.padding import pad, pad_border
from .array.shape import (
    broadcast_to,
    diagonal,
    expand_dims,
    flip,
    matrix_transpose,
    moveaxis,
    permute_dims,
    reshape,
    roll,
    squeeze,
)
from .attention import scaled_dot_product_attention
from .compare import (
    all,
    any,
    argmax,
    argmin,
    argsort,
    equal,
    greater,
    greater_equal,
    isfinite,
    isinf,
    isnan,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    not_equal,
    one_hot,
)
from .dropout import dropout
from .elementwise import abs, cos, exp, expm1, log, log1p, reciprocal, sign, sin, sqrt, square, tanh
from .embedding import embedding
from .linear import linear, linear_relu, matmul
from .loss.cross_entropy import cross_entropy, nll_loss
from .loss.margin import hinge_embedding_loss, hinge_loss, multi_margin_loss, soft_margin_loss
from .loss.probability import binary_cross_entropy, binary_cross_entropy_with_logits, kl_div
from .loss.regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from .norm import batch_norm, batch_norm_inference, group_norm, layer_norm
from .products import einsum, tensordot, trace, vecdot
from .recurrent.gru import gru, gru_cell, gru_reset, gru_update
from .recurrent.lstm import lstm, lstm_cell
from .recurrent.rnn import rnn
from .reduce import cumulative_sum, logsumexp, max, mean, min, prod, std, sum, var
from .select import clip, where
from .softmax import log_softmax, softmax
from .vector_norm import norm
from .windows.adaptive_pool import (
    adaptive_avg_pool2d,
    adaptive_max_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
)
from .windows.conv import conv1d, conv2d, conv_transpose2d
from .windows.conv_block import conv_block2d
from .windows.fold import fold, unfold
from .windows.pool import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d
from .windows.resize import interpolate, pixel_shuffle, pixel_unshuffle

__all__ = [
    "abs",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "astype",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "batch_norm_inference",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "broadcast_to",
    "celu",
    "clip",
    "concat",
    "conv1d",
    "conv2d",
    "conv_block2d",
    "conv_transpose2d",
    "cos",
    "cross_entropy",
    "cumulative_sum",
    "diagonal",
    "divide",
    "dropout",
    "einsum",
    "elu",
    "embedding",
    "equal",
    "erf",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "flip",
    "fold",
    "full",
    "full_like",
    "gelu",
    "getitem",
    "global_avg_pool2d",
    "global_max_pool2d",
    "greater",
    "greater_equal",
    "group_norm",
    "gru",
    "gru_cell",
    "gru_reset",
    "gru_update",
    "hardtanh",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "interpolate",
    "isfinite",
    "isinf",
    "isnan",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "less",
    "less_equal",
    "linear",
    "linear_relu",
    "linspace",
    "log",
    "log1p",
    "log_sigmoid",
    "log_softmax",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logsumexp",
    "lstm",
    "lstm_cell",
    "matmul",
    "matrix_transpose",
    "max",
    "max_pool1d",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mish",
    "moveaxis",
    "mse_loss",
    "multi_margin_loss",
    "multiply",
    "negative",
    "nll_loss",
    "norm",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "pad",
    "pad_border",
    "permute_dims",
    "pixel_shuffle",
    "pixel_unshuffle",
    "pow",
    "prod",
    "reciprocal",
    "relu",
    "relu6",
    "repeat",
    "reshape",
    "rnn",
    "roll",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softplus",
    "softsign",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "take",
    "take_along_axis",
    "tanh",
    "tensordot",
    "tile",
    "trace",
    "unfold",
    "unstack",
    "var",
    "vecdot",
    "where",
    "zeros",
    "zeros_like",
]

_tensor.ops = _in_place.ops = sys.modules[__name__]  # the operators find their operations here

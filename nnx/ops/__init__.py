"""Differentiable operations: one family a file.

The families of `_later.py` are imported when an operation of theirs is first asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .. import names as _names
from ..in_place import InPlace as _InPlace
from ..operators import Operators as _Operators
from ..tensor import Tensor as _Tensor
from ._later import LATER
from .activation import (
    celu,
    elu,
    erf,
    gelu,
    glu,
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
    asarray,
    empty,
    empty_like,
    eye,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    zeros,
    zeros_like,
)
from .array.dtypes import can_cast, finfo, iinfo, isdtype, result_type
from .array.indexing import getitem, take, take_along_axis
from .array.join import concat, repeat, split, stack, tile, unstack
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
    logical_xor,
    not_equal,
    one_hot,
)
from .dropout import alpha_dropout, dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout
from .elementwise import (
    abs,
    cos,
    exp,
    expm1,
    log,
    log1p,
    log2,
    log10,
    reciprocal,
    sign,
    sin,
    sqrt,
    square,
    tanh,
)
from .embedding import embedding, embedding_bag
from .linear import bilinear, linear, linear_relu, matmul
from .norm.batch import batch_norm, batch_norm_inference
from .reduce import logsumexp, max, mean, min, prod, std, sum, var
from .select import clip, where
from .softmax import log_softmax, softmax, softmin
from .vector_norm import norm

if TYPE_CHECKING:  # what `LATER` has
    from . import linalg as linalg
    from .array.padding import pad, pad_border
    from .array.scatter import masked_fill, scatter, scatter_add
    from .array.triangle import broadcast_arrays, broadcast_shapes, meshgrid, tril, triu
    from .attention import scaled_dot_product_attention
    from .linalg.distance import cdist, cosine_similarity, normalize
    from .loss.cross_entropy import cross_entropy, nll_loss
    from .loss.ctc import ctc_loss
    from .loss.margin import (
        hinge_embedding_loss,
        hinge_loss,
        margin_ranking_loss,
        multi_margin_loss,
        multilabel_margin_loss,
        multilabel_soft_margin_loss,
        soft_margin_loss,
    )
    from .loss.probability import (
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        gaussian_nll_loss,
        kl_div,
        poisson_nll_loss,
    )
    from .loss.regression import huber_loss, l1_loss, mse_loss, smooth_l1_loss
    from .loss.similarity import (
        cosine_embedding_loss,
        pairwise_distance,
        triplet_margin_loss,
        triplet_margin_with_distance_loss,
    )
    from .norm.response import local_response_norm
    from .norm.sample import group_norm, instance_norm, layer_norm, rms_norm
    from .numbers.bits import (
        bitwise_and,
        bitwise_invert,
        bitwise_left_shift,
        bitwise_or,
        bitwise_right_shift,
        bitwise_xor,
    )
    from .numbers.rounding import (
        ceil,
        copysign,
        floor,
        floor_divide,
        nextafter,
        positive,
        remainder,
        round,
        signbit,
        trunc,
    )
    from .numbers.special import erfinv, nan_to_num
    from .numbers.trigonometry import (
        acos,
        acosh,
        asin,
        asinh,
        atan,
        atan2,
        atanh,
        cosh,
        hypot,
        sinh,
        tan,
    )
    from .order.running import cumulative_prod, cumulative_sum, diff, logcumsumexp
    from .order.sets import (
        count_nonzero,
        isin,
        nonzero,
        unique_all,
        unique_counts,
        unique_inverse,
        unique_values,
    )
    from .order.sort import searchsorted, sort, topk
    from .piecewise import (
        hardshrink,
        hardsigmoid,
        hardswish,
        rrelu,
        softshrink,
        tanhshrink,
        threshold,
    )
    from .products import einsum, tensordot, trace, vecdot
    from .recurrent.gru import gru, gru_cell, gru_reset, gru_update
    from .recurrent.lstm import lstm, lstm_cell
    from .recurrent.rnn import rnn
    from .windows.adaptive_pool import (
        adaptive_avg_pool1d,
        adaptive_avg_pool2d,
        adaptive_avg_pool3d,
        adaptive_max_pool1d,
        adaptive_max_pool2d,
        adaptive_max_pool3d,
        global_avg_pool2d,
        global_max_pool2d,
    )
    from .windows.conv import conv1d, conv2d
    from .windows.conv3d import conv3d, conv_transpose3d
    from .windows.conv_block import conv_block2d
    from .windows.conv_transpose import conv_transpose1d, conv_transpose2d
    from .windows.fold import fold, unfold
    from .windows.fractional_pool import fractional_max_pool2d, fractional_max_pool3d
    from .windows.lp_pool import lp_pool1d, lp_pool2d, lp_pool3d
    from .windows.pool import avg_pool1d, avg_pool2d, max_pool1d, max_pool2d
    from .windows.pool3d import avg_pool3d, max_pool3d
    from .windows.resize import channel_shuffle, interpolate, pixel_shuffle, pixel_unshuffle
    from .windows.unpool import max_unpool1d, max_unpool2d, max_unpool3d

__all__ = [
    "abs",
    "acos",
    "acosh",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "add",
    "all",
    "alpha_dropout",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "batch_norm_inference",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "broadcast_arrays",
    "broadcast_shapes",
    "broadcast_to",
    "can_cast",
    "cdist",
    "ceil",
    "celu",
    "channel_shuffle",
    "clip",
    "concat",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_block2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "copysign",
    "cos",
    "cosh",
    "cosine_embedding_loss",
    "cosine_similarity",
    "count_nonzero",
    "cross_entropy",
    "ctc_loss",
    "cumulative_prod",
    "cumulative_sum",
    "diagonal",
    "diff",
    "divide",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "einsum",
    "elu",
    "embedding",
    "embedding_bag",
    "empty",
    "empty_like",
    "equal",
    "erf",
    "erfinv",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "feature_alpha_dropout",
    "finfo",
    "flip",
    "floor",
    "floor_divide",
    "fold",
    "fractional_max_pool2d",
    "fractional_max_pool3d",
    "full",
    "full_like",
    "gaussian_nll_loss",
    "gelu",
    "getitem",
    "global_avg_pool2d",
    "global_max_pool2d",
    "glu",
    "greater",
    "greater_equal",
    "group_norm",
    "gru",
    "gru_cell",
    "gru_reset",
    "gru_update",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "hinge_loss",
    "huber_loss",
    "hypot",
    "iinfo",
    "instance_norm",
    "interpolate",
    "isdtype",
    "isfinite",
    "isin",
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
    "local_response_norm",
    "log",
    "log1p",
    "log2",
    "log10",
    "log_sigmoid",
    "log_softmax",
    "logaddexp",
    "logcumsumexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "lstm",
    "lstm_cell",
    "margin_ranking_loss",
    "masked_fill",
    "matmul",
    "matrix_transpose",
    "max",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "maximum",
    "mean",
    "meshgrid",
    "min",
    "minimum",
    "mish",
    "moveaxis",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "multiply",
    "nan_to_num",
    "negative",
    "nextafter",
    "nll_loss",
    "nonzero",
    "norm",
    "normalize",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "pad",
    "pad_border",
    "pairwise_distance",
    "permute_dims",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "positive",
    "pow",
    "prod",
    "reciprocal",
    "relu",
    "relu6",
    "remainder",
    "repeat",
    "reshape",
    "result_type",
    "rms_norm",
    "rnn",
    "roll",
    "round",
    "rrelu",
    "scaled_dot_product_attention",
    "scatter",
    "scatter_add",
    "searchsorted",
    "selu",
    "sigmoid",
    "sign",
    "signbit",
    "silu",
    "sin",
    "sinh",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sort",
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
    "tan",
    "tanh",
    "tanhshrink",
    "tensordot",
    "threshold",
    "tile",
    "topk",
    "trace",
    "tril",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "triu",
    "trunc",
    "unfold",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unstack",
    "var",
    "vecdot",
    "where",
    "zeros",
    "zeros_like",
]

_here = sys.modules[__name__]
for _kind in (_Tensor, _Operators, _InPlace):  # the operators find their operations in `ops`
    vars(sys.modules[_kind.__module__])["ops"] = _here


def _answer_foreign_names() -> None:
    """Names of PyTorch's, and operations that are no methods, as attributes of a tensor."""
    plain = {*_names.METHODS, *_names.FUNCTIONS, *__all__}
    methods = {name for name in plain if hasattr(_Tensor, name)}

    def say(kind: str, name: str) -> str:
        return _names.meant("Tensor", name, __all__, methods)

    _names.put_absent(_Tensor, plain | {f"{name}_" for name in plain}, say)


_answer_foreign_names()
_names.say_ours(_here, set(__all__) - set(LATER))

if not TYPE_CHECKING:  # a type checker would take every name for one that is here

    def __getattr__(name: str) -> Any:
        """An operation of a family that is imported now, then kept."""
        if name == "linalg":
            return import_module(".linalg", __name__)
        if name not in LATER:
            raise _names.room_has_not(__name__, name)
        family = import_module(f".{LATER[name]}", __name__)
        _names.say_ours(family, [name])
        globals()[name] = value = getattr(family, name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "linalg"})

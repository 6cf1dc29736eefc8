"""Families of operations that many programs never use: imported with the first that is asked for.

`nnx/ops/__init__.py` looks here.  A family of a name that is also a file's in this folder cannot
be here: importing the file would put it where the operation is to be.
"""

from __future__ import annotations

_FAMILIES = {  # the file -> its operations
    "array.padding": "pad pad_border",
    "array.scatter": "masked_fill scatter scatter_add",
    "array.triangle": "broadcast_arrays broadcast_shapes meshgrid tril triu",
    "attention": "scaled_dot_product_attention",
    "linalg.distance": "cdist cosine_similarity normalize",
    "loss.cross_entropy": "cross_entropy nll_loss",
    "loss.ctc": "ctc_loss",
    "loss.margin": (
        "hinge_embedding_loss hinge_loss margin_ranking_loss multi_margin_loss "
        "multilabel_margin_loss multilabel_soft_margin_loss soft_margin_loss"
    ),
    "loss.probability": (
        "binary_cross_entropy binary_cross_entropy_with_logits gaussian_nll_loss kl_div "
        "poisson_nll_loss"
    ),
    "loss.regression": "huber_loss l1_loss mse_loss smooth_l1_loss",
    "loss.similarity": (
        "cosine_embedding_loss pairwise_distance triplet_margin_loss "
        "triplet_margin_with_distance_loss"
    ),
    "norm.response": "local_response_norm",
    "norm.sample": "group_norm instance_norm layer_norm rms_norm",
    "numbers.bits": (
        "bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor"
    ),
    "numbers.rounding": (
        "ceil copysign floor floor_divide nextafter positive remainder round signbit trunc"
    ),
    "numbers.special": "erfinv nan_to_num",
    "numbers.trigonometry": "acos acosh asin asinh atan atan2 atanh cosh hypot sinh tan",
    "order.running": "cumulative_prod cumulative_sum diff logcumsumexp",
    "order.sets": (
        "count_nonzero isin nonzero unique_all unique_counts unique_inverse unique_values"
    ),
    "order.sort": "searchsorted sort topk",
    "piecewise": "hardshrink hardsigmoid hardswish rrelu softshrink tanhshrink threshold",
    "products": "einsum tensordot trace vecdot",
    "recurrent.gru": "gru gru_cell gru_reset gru_update",
    "recurrent.lstm": "lstm lstm_cell",
    "recurrent.rnn": "rnn",
    "windows.adaptive_pool": (
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d "
        "adaptive_max_pool2d adaptive_max_pool3d global_avg_pool2d global_max_pool2d"
    ),
    "windows.conv": "conv1d conv2d",
    "windows.conv3d": "conv3d conv_transpose3d",
    "windows.conv_block": "conv_block2d",
    "windows.conv_transpose": "conv_transpose1d conv_transpose2d",
    "windows.fold": "fold unfold",
    "windows.fractional_pool": "fractional_max_pool2d fractional_max_pool3d",
    "windows.lp_pool": "lp_pool1d lp_pool2d lp_pool3d",
    "windows.pool": "avg_pool1d avg_pool2d max_pool1d max_pool2d",
    "windows.pool3d": "avg_pool3d max_pool3d",
    "windows.resize": "channel_shuffle interpolate pixel_shuffle pixel_unshuffle",
    "windows.unpool": "max_unpool1d max_unpool2d max_unpool3d",
}

LATER = {name: family for family, names in _FAMILIES.items() for name in names.split()}

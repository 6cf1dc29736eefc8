"""The operations as their definitions say: short, slow, and meant to be obviously right.

Plain loops over NumPy arrays, for reading next to the fast versions, and as what those are tested
against.  Nothing in nnx computes with them.
"""

from .conv import (
    conv2d,
    conv2d_backward,
    conv2d_columns,
    conv2d_columns_backward,
    conv2d_sliced,
    conv2d_sliced_backward,
)
from .norm import batch_norm, batch_norm_backward
from .pool import (
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_columns,
    max_pool2d_columns_backward,
)

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "conv2d",
    "conv2d_backward",
    "conv2d_columns",
    "conv2d_columns_backward",
    "conv2d_sliced",
    "conv2d_sliced_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_columns",
    "max_pool2d_columns_backward",
]

"""The record that describes one convolution: its fields, and its dtype."""

from __future__ import annotations

import numpy as np

FIELDS = {
    "here": "the address of this record, and of the compiled functions of `products`",
    "convolve": "",
    "weight_gradient": "",
    "input_by_rotation": "",
    "input_by_scattering": "",
    "kernels": "the address of the products in registers (`microkernel.table`)",
    "size": "bytes of a number",
    "lanes": "numbers in a vector",
    # How the batch is divided.
    "least": "images that make it worth to ask another thread",
    "parts": "parts of the batch that sum their weight gradients apart",
    # The image, and where it lies in the padded one.
    "h": "rows of the image",
    "w": "columns",
    "c": "channels",
    "hp": "rows of the padded image",
    "wp": "columns of the padded image",
    "top": "rows of padding above",
    "left": "columns of padding before",
    # Windows.
    "kh": "the kernel's rows",
    "kw": "the kernel's columns",
    "sh": "stride down",
    "sw": "stride across",
    "dh": "dilation down",
    "dw": "dilation across",
    "oh": "rows of the result",
    "ow": "columns of the result",
    # A row of a window in memory.
    "runs": "in how many runs its numbers lie: one, unless dilated or grouped",
    "run": "how long each is",
    "apart": "how far apart they begin",
    # The same for the weight gradient.
    "single": "1 where it takes the places of a row one by one, and leaves out columns of padding",
    "wruns": "in how many runs",
    "wrun": "how long each is",
    # Groups, and channels in blocks that fill vectors.
    "g": "groups",
    "cg": "input channels of a group",
    "og": "output channels of a group",
    "ob": "output channels of a block",
    "nob": "blocks of output channels in a group",
    "os": "numbers from one pixel of the result to the next, with room for the last vector",
    "cb": "input channels of a block",
    "ncb": "blocks of input channels in a group",
    "cs": "numbers from one pixel of the input gradient to the next",
    # The gradient's panels, and where the gradient lies in them.
    "hd": "rows of a panel",
    "wd": "columns of a panel",
    "down": "rows of zeros above",
    "right": "columns of zeros before",
    "rotate": "1 where the input gradient is the convolution with the rotated kernel",
    # Pooling.
    "ph": "rows of a pooling window",
    "pw": "columns of a pooling window",
    "qh": "rows of the pooled result",
    "qw": "columns of the pooled result",
}

PLAN = np.dtype([(name, np.int64) for name in FIELDS])

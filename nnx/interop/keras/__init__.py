"""Keras 3: its `.weights.h5` files, through h5py, and its lists of weights.

    nnx.interop.keras.load_weights("theirs.weights.h5", model)
    nnx.interop.keras.set_weights(model, theirs.get_weights())

| here | Keras |
| --- | --- |
| Linear (out, in) | Dense (in, out); behind a flattened image its rows are pixels first |
| Conv (out, in, *kernel) | (*kernel, in, out) |
| LSTM i, f, g, o with two biases | i, f, c, o with one |
| GRU r, z, n | z, r, h; `reset_after` must be the same |
| BatchNorm running_var unbiased | biased; taken as it is, evaluation is the same |

What is no weight does not travel with weights: make BatchNorm with Keras's `eps=1e-3` and
`momentum=0.01`, layer and group norm with `eps=1e-3`, GRU with its `reset_after`.
"""

from ..refusal import CannotExpress
from .files import load_weights, save_weights
from .lists import get_weights, set_weights

__all__ = ["CannotExpress", "get_weights", "load_weights", "save_weights", "set_weights"]

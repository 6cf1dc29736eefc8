"""What PyTorch keeps in `nn.utils`: clipping gradients, parameters as one vector, and in
`nn.utils.rnn` sequences of different lengths."""

from . import rnn
from .parameters import (
    clip_grad_norm_,
    clip_grad_value_,
    parameters_to_vector,
    vector_to_parameters,
)

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "rnn",
    "vector_to_parameters",
]

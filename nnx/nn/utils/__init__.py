"""What PyTorch keeps in `nn.utils`: clipping gradients, parameters as one vector, weights that are
computed, and in `nn.utils.rnn` sequences of different lengths."""

from typing import TYPE_CHECKING

from ...names import answers
from . import parametrizations, rnn
from .parameters import (
    clip_grad_norm_,
    clip_grad_value_,
    parameters_to_vector,
    vector_to_parameters,
)
from .parametrizations import spectral_norm, weight_norm

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "parametrizations",
    "rnn",
    "spectral_norm",
    "vector_to_parameters",
    "weight_norm",
]

if not TYPE_CHECKING:  # a type checker would take every name for one that is here
    __getattr__ = answers(__name__)

"""nnx: neural networks to read and to run."""

from . import nn, ops, optim
from .autograd import Function, enable_grad, is_grad_enabled, no_grad
from .backends import active_backend, set_backend, use_backend
from .tensor import Tensor, from_dlpack, tensor

__version__ = "0.1.0"

__all__ = [
    "Function",
    "Tensor",
    "active_backend",
    "enable_grad",
    "from_dlpack",
    "is_grad_enabled",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "set_backend",
    "tensor",
    "use_backend",
]

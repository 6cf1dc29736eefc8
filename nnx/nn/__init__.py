"""Layers and models."""

from . import init
from .activation import ReLU
from .container import ModuleDict, ModuleList, ParameterList, Sequential
from .linear import Linear
from .loss import CrossEntropyLoss
from .module import Module, Parameter

__all__ = [
    "CrossEntropyLoss",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterList",
    "ReLU",
    "Sequential",
    "init",
]

"""Layers and models."""

from . import init
from .activation import ReLU
from .cells import GRUCell, LSTMCell, RNNCell
from .container import ModuleDict, ModuleList, ParameterList, Sequential
from .embedding import Embedding
from .linear import Linear
from .loss import CrossEntropyLoss
from .module import Module, Parameter
from .recurrent import GRU, LSTM, RNN, truncated

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "CrossEntropyLoss",
    "Embedding",
    "GRUCell",
    "LSTMCell",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterList",
    "RNNCell",
    "ReLU",
    "Sequential",
    "init",
    "truncated",
]

"""PyTorch: its files, its state dictionaries, its modules.

    state = nnx.interop.torch.load("weights.pt")       or .safetensors: arrays by name
    model.load_state_dict(state)
    theirs = nnx.interop.torch.to_torch(model)          the equal torch.nn.Module
    ours = nnx.interop.torch.from_torch(theirs)         and back

nnx's layers have PyTorch's names, shapes and parameters, so weights go over by name, bit for bit.
What one of the two cannot express is refused with the reason.
"""

from ..refusal import CannotExpress
from .files import from_state_dict, load, save, to_state_dict
from .modules import from_torch, to_torch

__all__ = [
    "CannotExpress",
    "from_state_dict",
    "from_torch",
    "load",
    "save",
    "to_state_dict",
    "to_torch",
]

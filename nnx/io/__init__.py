"""Files: safetensors with a JSON header, written whole or not at all.  Never pickle.

    nnx.io.save("weights.safetensors", model.state_dict(), {"layers": 2})
    tensors, metadata = nnx.io.load("weights.safetensors")

Reading a file from elsewhere builds numbers, texts, lists and arrays, and runs nothing.
"""

from .atomic import replacing, write_text
from .state import load_state, save_state
from .tensors import CorruptFile, load, save

__all__ = [
    "CorruptFile",
    "load",
    "load_state",
    "replacing",
    "save",
    "save_state",
    "write_text",
]

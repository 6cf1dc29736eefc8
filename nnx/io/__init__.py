"""Files: safetensors with a JSON header, written whole or not at all.  Never pickle.

    nnx.io.save("weights.safetensors", model.state_dict(), {"layers": 2})
    tensors, metadata = nnx.io.load("weights.safetensors")

Reading a file from elsewhere builds numbers, texts, lists and arrays, and runs nothing; what it
may take is limited by `nnx.io.limits`.  Which function is for what, `docs/files.md` tells.
"""

from .atomic import replacing, write_text
from .limits import CorruptFile, TooLarge, limits
from .nest import checksum
from .reading import open_file, read_json, read_text
from .shown import printable
from .state import load_state, save_state
from .tensors import load, save
from .weights import load_model, load_weights, save_weights

__all__ = [
    "CorruptFile",
    "TooLarge",
    "checksum",
    "limits",
    "load",
    "load_model",
    "load_state",
    "load_weights",
    "open_file",
    "printable",
    "read_json",
    "read_text",
    "replacing",
    "save",
    "save_state",
    "save_weights",
    "write_text",
]

"""The backend whose arrays are a recording's, and whose kernels are operators of ONNX.

Where a kernel is not overridden, its portable formula runs on `Namespace`, and is written as the
operators that it consists of.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backends import Backend
from ...backends.numpy import NumpyBackend
from .activations import Activations
from .attention import Attention
from .namespace import Namespace
from .norms import Norms
from .recurrent import RecurrentLayers
from .value import Recording, Value
from .windows import Windows


class RecordingBackend(Activations, Attention, Norms, Windows, RecurrentLayers, Backend):
    """Computes with NumPy, and writes down what it computes.

    Args:
        recording: where it is written.
    """

    values_at_hand = False
    values_known = False
    fuses_convolution = False

    def __init__(self, recording: Recording) -> None:
        super().__init__(Namespace(recording), "onnx export")
        self.recording = recording
        self.plain = NumpyBackend()

    def philox(self, *_: Any, **__: Any) -> Any:
        self.recording.refuse("it draws random numbers, also in evaluation mode")

    random_uniform = random_mask = dropout = philox

    def from_numpy(self, x: np.ndarray) -> Any:
        return self.recording.value(x)

    def to_numpy(self, x: Any) -> np.ndarray:
        return x.looked_at() if isinstance(x, Value) else np.asarray(x)

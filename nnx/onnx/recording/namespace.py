"""The array API, each function as the ONNX operators that compute it.

`Namespace` is what operations see as `xp`.  A function that has no operator of its own is written
with those that have; one that is missing raises an error that names it.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from .creation import Creation
from .elementwise import Elementwise
from .reductions import Reductions
from .shapes import Shapes
from .source import Unknown
from .value import Recording, Value

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)


class Namespace(Elementwise, Reductions, Shapes, Creation):
    """An array namespace for the values of one recording."""

    pi, e, inf, nan, newaxis = np.pi, np.e, np.inf, np.nan, None

    def __init__(self, recording: Recording) -> None:
        self.recording, self.own = recording, self
        for name in DTYPES:
            setattr(self, name, np.dtype(name))

    def __getattr__(self, name: str) -> NoReturn:
        raise Unknown(
            f"onnx.export: {self.recording.place()}: {name!r} of the array API is not written as "
            "ONNX"
        )

    def finfo(self, of: Any) -> Any:
        """What a floating-point dtype can hold."""
        return np.finfo(of.dtype if isinstance(of, Value) else of)

    def iinfo(self, of: Any) -> Any:
        """What an integer dtype can hold."""
        return np.iinfo(of.dtype if isinstance(of, Value) else of)

    def broadcast_shapes(self, *shapes: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that all these are broadcast to."""
        return np.broadcast_shapes(*shapes)

    def isdtype(self, dtype: Any, kind: Any) -> bool:
        """Whether a dtype is of a kind."""
        return bool(np.isdtype(dtype, kind))

    def result_type(self, *of: Any) -> Any:
        """The dtype that these are computed in."""
        return np.result_type(*[x.dtype if isinstance(x, Value) else x for x in of])

    def can_cast(self, source: Any, to: Any) -> bool:
        """Whether a dtype is cast to another without loss of kind."""
        return np.can_cast(source.dtype if isinstance(source, Value) else source, to)

"""What a recording is made of: sources of values, the steps that make them, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class ExportError(TypeError):
    """A model, or a part of it, that cannot be written as ONNX; the message says which and why."""


class Unknown(ExportError, AttributeError):
    """An array-API function that has no writer; to `hasattr` it is a name that is not there."""


class Ints(NamedTuple):
    """Integers that an operator takes as an input: a shape, ends of slices.

    They stand apart from other constants since they may depend on the batch.
    """

    values: tuple[int, ...]
    scalar: bool = False  # an input of shape (), not (n,)


class Source:
    """An array of a run, and where it came from; it never changes.

    Attributes:
        shape, dtype: of the array.
        data: NumPy's values, where they may be needed when the graph is written: of constants, and
            of whatever is computed from them alone.  Others would fill the memory.
        kind: "input", "state", "constant", or "step" where an operator made it.
        name: of an input or a state.
        step: the operator that made it.
        known: whether it depends on neither inputs nor states, so that its values may be looked at.
    """

    __slots__ = ("data", "dtype", "kind", "known", "name", "shape", "step")

    def __init__(
        self, data: np.ndarray, kind: str, name: str = "", step: Step | None = None
    ) -> None:
        self.shape, self.dtype = data.shape, data.dtype
        self.kind, self.name, self.step = kind, name, step
        self.known: bool = kind == "constant" or (
            step is not None and all(not isinstance(x, Source) or x.known for x in step.inputs)
        )
        self.data: Any = data if self.known or kind == "state" else None


class Step:
    """One operator: what it takes and makes, where in the model it stands.

    Attributes:
        op: ONNX's name of it.
        inputs: sources, integers, or None for one that is left out.
        attributes: by ONNX's names; None for one that is left at its default.
        outputs: the sources it makes.
        where: the path of the layer that it belongs to.
        batch_axis: which axis of the first input this operator knows to be the batch, or, of a
            product of two stacks of matrices, takes for it; None: it knows of none.
    """

    __slots__ = ("attributes", "batch_axis", "inputs", "op", "outputs", "where")

    def __init__(
        self,
        op: str,
        inputs: Sequence[Source | Ints | None],
        attributes: dict[str, Any],
        where: str,
        batch_axis: int | None,
    ) -> None:
        self.op, self.inputs, self.where, self.batch_axis = op, list(inputs), where, batch_axis
        self.attributes = {k: v for k, v in attributes.items() if v is not None}
        self.outputs: list[Source] = []


class Recorded:
    """An array of a run, by where it came from; `Value` adds what arrays have.

    Attributes:
        recording: the run's.
        source: what it is computed from; another one after `x[key] = y`.
        data: NumPy's values.
    """

    __slots__ = ("data", "recording", "source")

    def __init__(self, recording: Any, source: Source, data: np.ndarray) -> None:
        self.recording, self.source, self.data = recording, source, data

    @property
    def dtype(self) -> Any:
        """Of the values."""
        return self.source.dtype

    @property
    def ndim(self) -> int:
        """How many axes they have."""
        return len(self.source.shape)


def nothing(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros that take no memory, for values that nobody looks at."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def cast(recording: Any, x: Any, dtype: Any) -> Any:
    """x in another dtype: itself where it has it."""
    dtype = np.dtype(dtype)
    if x.dtype == dtype:
        return x
    if x.kind == "constant":
        return recording.constant(x.data.astype(dtype))
    return recording.step("Cast", [x], x.data.astype(dtype), to=dtype)

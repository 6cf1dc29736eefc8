"""`Value`, an array that remembers how it was computed, and `Recording`, all that was.

A model is run once on arrays of this type.  Each operation computes, with NumPy, what it always
computes, and adds a `Step`: the ONNX operator that does the same.  So whatever follows the array
API can be exported, layers of nnx and a user's own alike, and nobody has to list them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from .indexing import read, written
from .source import ExportError, Ints, Recorded, Source, Step, cast, nothing


class Recording:
    """The steps of one run, in order.

    Attributes:
        opset: the version of ONNX's operators that is written.
        steps: the operators.
        states: parameters and buffers, by the identity of their arrays.
        layers: the names of the layers that are running, the innermost last.
    """

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.steps: list[Step] = []
        self.states: dict[int, Source] = {}
        self.layers: list[str] = []

    def constant(self, data: Any, dtype: Any = None) -> Value:
        """A value that depends on nothing."""
        array = np.asarray(data, dtype)
        return Value(self, Source(array, "constant"), array)

    def input(self, data: np.ndarray, name: str) -> Value:
        """What the model is called with."""
        return Value(self, Source(data, "input", name), data)

    def state(self, data: np.ndarray, name: str) -> Value:
        """A parameter or a buffer under its name in `state_dict`."""
        source = self.states.setdefault(id(data), Source(data, "state", name))
        return Value(self, source, source.data)

    def value(self, x: Any, like: Any = None) -> Value:
        """x as a value: itself, a state's array, a constant; a number in the dtype of `like`."""
        if isinstance(x, Value):
            return x
        if id(x) in self.states:
            return Value(self, self.states[id(x)], x)
        if isinstance(x, bool | int | float) and like is not None:
            return self.constant(x, like)
        return self.constant(x)

    def step(
        self,
        op: str,
        inputs: Sequence[Any],
        data: Any,
        batch_axis: int | None = None,
        **attributes: Any,
    ) -> Value:
        """Add an operator with one output, whose values on this run are `data`."""
        (out,) = self.steps_of_several(op, inputs, [data], batch_axis, **attributes)
        return out

    def steps_of_several(
        self,
        op: str,
        inputs: Sequence[Any],
        data: Sequence[Any],
        batch_axis: int | None = None,
        **attributes: Any,
    ) -> list[Value]:
        """Add an operator with several outputs, whose values on this run are those of `data`."""
        taken = [x if x is None or isinstance(x, Ints) else self.value(x).source for x in inputs]
        step = Step(op, taken, attributes, ".".join(self.layers[-1:]), batch_axis)
        arrays = [np.asarray(array) for array in data]
        step.outputs = [Source(array, "step", step=step) for array in arrays]
        self.steps.append(step)
        return [Value(self, s, array) for s, array in zip(step.outputs, arrays, strict=True)]

    def values(
        self, inputs: Sequence[Value], shape: tuple[int, ...], compute: Callable[[], Any]
    ) -> np.ndarray:
        """What an operator makes of its inputs, where that may be looked at; else zeros in its
        shape, which take no memory: nobody needs a convolution's values to write it down."""
        if all(x.source.known for x in inputs):
            return np.asarray(compute())
        return nothing(shape, inputs[0].dtype)

    def refuse(self, reason: str) -> NoReturn:
        """Raise the error of whatever cannot be expressed."""
        raise ExportError(f"onnx.export: {self.place()}: {reason}")

    def place(self) -> str:
        """Where in the model the run is."""
        return self.layers[-1] if self.layers and self.layers[-1] else "the model"


class Value(Recorded):
    """An array of a run, as the model sees it: the operators and attributes of the array API."""

    __slots__ = ()
    __array_ufunc__ = None  # an array times a Value asks the Value
    recording: Recording

    @property
    def kind(self) -> str:
        """What kind of source it has."""
        return self.source.kind

    # ---- what it is ----

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def device(self) -> str:
        return "cpu"

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.source.name} {self.dtype} {self.shape}>"

    def looked_at(self) -> np.ndarray:
        """The values, for whoever decides by them.

        Raises:
            ExportError: they depend on the inputs, or on parameters that may change.
        """
        if not self.source.known:
            self.recording.refuse(
                "it looks at the values of a tensor (bool, int, float, item, numpy or tolist), "
                "which are not known when a graph is written; a choice between tensors is "
                "nnx.where(condition, a, b)"
            )
        return self.data

    def __bool__(self) -> bool:
        return bool(self.looked_at())

    def __int__(self) -> int:
        return int(self.looked_at())

    def __float__(self) -> float:
        return float(self.looked_at())

    def __index__(self) -> int:
        return int(self.looked_at().__index__())

    # ---- operators ----

    def _both(self, op: str, a: Any, b: Any, compute: Callable[[Any, Any], Any]) -> Value:
        return binary(self.recording, op, a, b, compute)

    def __add__(self, other: Any) -> Value:
        return self._both("Add", self, other, np.add)

    def __radd__(self, other: Any) -> Value:
        return self._both("Add", other, self, np.add)

    def __sub__(self, other: Any) -> Value:
        return self._both("Sub", self, other, np.subtract)

    def __rsub__(self, other: Any) -> Value:
        return self._both("Sub", other, self, np.subtract)

    def __mul__(self, other: Any) -> Value:
        return self._both("Mul", self, other, np.multiply)

    def __rmul__(self, other: Any) -> Value:
        return self._both("Mul", other, self, np.multiply)

    def __truediv__(self, other: Any) -> Value:
        return divide(self.recording, self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return divide(self.recording, other, self)

    def __pow__(self, other: Any) -> Value:
        if isinstance(other, int | float) and other == 2:
            return self * self
        return self._both("Pow", self, other, np.power)

    def __rpow__(self, other: Any) -> Value:
        return self._both("Pow", other, self, np.power)

    def __matmul__(self, other: Any) -> Value:
        return self._both("MatMul", self, other, np.matmul)

    def __rmatmul__(self, other: Any) -> Value:
        return self._both("MatMul", other, self, np.matmul)

    def __floordiv__(self, other: Any) -> Value:
        return floor_divide(self.recording, self, other)

    def __rfloordiv__(self, other: Any) -> Value:
        return floor_divide(self.recording, other, self)

    def __mod__(self, other: Any) -> Value:
        return remainder(self.recording, self, other)

    def __rmod__(self, other: Any) -> Value:
        return remainder(self.recording, other, self)

    def __neg__(self) -> Value:
        return self.recording.step("Neg", [self], -self.data)

    def __abs__(self) -> Value:
        return self.recording.step("Abs", [self], np.abs(self.data))

    def __invert__(self) -> Value:
        op = "Not" if self.dtype == np.bool_ else "BitwiseNot"
        return self.recording.step(op, [self], ~self.data)

    def __and__(self, other: Any) -> Value:
        return self._logic("And", "BitwiseAnd", other, np.bitwise_and)

    def __or__(self, other: Any) -> Value:
        return self._logic("Or", "BitwiseOr", other, np.bitwise_or)

    def __xor__(self, other: Any) -> Value:
        return self._logic("Xor", "BitwiseXor", other, np.bitwise_xor)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def _logic(self, op: str, bits: str, other: Any, compute: Callable[[Any, Any], Any]) -> Value:
        return self._both(op if self.dtype == np.bool_ else bits, self, other, compute)

    def __lt__(self, other: Any) -> Value:
        return self._both("Less", self, other, np.less)

    def __le__(self, other: Any) -> Value:
        return self._both("LessOrEqual", self, other, np.less_equal)

    def __gt__(self, other: Any) -> Value:
        return self._both("Greater", self, other, np.greater)

    def __ge__(self, other: Any) -> Value:
        return self._both("GreaterOrEqual", self, other, np.greater_equal)

    def __eq__(self, other: Any) -> Value:  # type: ignore[override]
        return self._both("Equal", self, other, np.equal)

    def __ne__(self, other: Any) -> Value:  # type: ignore[override]
        return ~(self == other)

    __hash__ = object.__hash__

    # ---- parts ----

    @property
    def T(self) -> Value:
        return self.recording.step("Transpose", [self], self.data.T, perm=(1, 0))

    @property
    def mT(self) -> Value:
        perm = (*range(self.ndim - 2), self.ndim - 1, self.ndim - 2)
        return self.recording.step("Transpose", [self], np.permute_dims(self.data, perm), perm=perm)

    def __getitem__(self, key: Any) -> Value:
        return read(self, key)

    def __setitem__(self, key: Any, new: Any) -> None:
        other = written(self, key, self.recording.value(new, self.dtype))
        self.source, self.data = other.source, other.data


def binary(
    recording: Recording, op: str, a: Any, b: Any, compute: Callable[[Any, Any], Any]
) -> Value:
    """An operator of two operands in one dtype, which ONNX wants to be the same."""
    like = next(x.dtype for x in (a, b) if hasattr(x, "dtype"))
    x, y = recording.value(a, like), recording.value(b, like)
    dtype = np.result_type(x.dtype, y.dtype)
    x, y = cast(recording, x, dtype), cast(recording, y, dtype)
    if op == "MatMul" and min(x.ndim, y.ndim) > 1 and x.shape[-1] == y.shape[-2]:
        shape = (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), x.shape[-2], y.shape[-1])
        product = recording.values([x, y], shape, lambda: x.data @ y.data)
        return recording.step(op, [x, y], product, 0 if min(x.ndim, y.ndim) > 2 else None)
    return recording.step(op, [x, y], compute(x.data, y.data))


def divide(recording: Recording, a: Any, b: Any) -> Value:
    """The quotient; of integers in float64, as NumPy has it."""
    like = next(x.dtype for x in (a, b) if hasattr(x, "dtype"))
    x, y = recording.value(a, like), recording.value(b, like)
    if np.result_type(x.dtype, y.dtype).kind != "f":
        x, y = cast(recording, x, np.float64), cast(recording, y, np.float64)
    return binary(recording, "Div", x, y, np.divide)


def floor_divide(recording: Recording, a: Any, b: Any) -> Value:
    """The quotient rounded down: ONNX's division of integers rounds towards 0.

    (a - a mod b) / b is exact, with the remainder that has the divisor's sign.
    """
    like = next(x.dtype for x in (a, b) if hasattr(x, "dtype"))
    x, y = recording.value(a, like), recording.value(b, like)
    if np.result_type(x.dtype, y.dtype).kind == "f":
        quotient = divide(recording, x, y)
        return recording.step("Floor", [quotient], np.floor(quotient.data))
    whole = x if x.dtype.kind == "u" else x - remainder(recording, x, y)
    return binary(recording, "Div", whole, y, np.floor_divide)


def remainder(recording: Recording, a: Any, b: Any) -> Value:
    """The remainder with the divisor's sign; ONNX has one for integers, and fmod for the rest."""
    like = next(x.dtype for x in (a, b) if hasattr(x, "dtype"))
    x, y = recording.value(a, like), recording.value(b, like)
    if np.result_type(x.dtype, y.dtype).kind == "f":
        return x - y * floor_divide(recording, x, y)
    return binary(recording, "Mod", x, y, np.remainder)

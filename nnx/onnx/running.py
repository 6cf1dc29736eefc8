"""One run of a model on a recording: the model's twin, whose arrays are the recording's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from inspect import signature
from typing import Any

import numpy as np

from ..autograd import no_grad
from ..backends import backend_of, override
from ..nn.module import Module
from ..nn.state import Parameter, array_of
from ..tensor import Tensor
from .recording.backend import RecordingBackend
from .recording.source import Source
from .recording.value import Recording, Value


class Inputs:
    """What a model is called with: its arrays, apart from how they are nested.

    Args:
        arguments: a tuple of the positional arguments, a dict of those by name, such a tuple with a
            dict at its end, or one argument.

    Attributes:
        arrays: NumPy's, in order.
        names: of each, from the argument's name.
    """

    def __init__(self, forward: Callable[..., Any], arguments: Any) -> None:
        named: dict[str, Any] = {}
        if isinstance(arguments, list) and not _is_of_numbers(arguments):
            arguments = tuple(arguments)
        if isinstance(arguments, dict):
            arguments = (arguments,)
        positional = list(arguments) if isinstance(arguments, tuple) else [arguments]
        if positional and isinstance(positional[-1], dict):
            named = positional.pop()
        found = [p.name for p in signature(forward).parameters.values() if p.kind < 2]
        found += [f"input_{k}" for k in range(len(found), len(positional))]
        self.arrays: list[np.ndarray] = []
        self.names: list[str] = []
        given = zip(found, positional, strict=False)
        self.positional = [self._taken_apart(name, x) for name, x in given]
        self.named = {name: self._taken_apart(name, x) for name, x in named.items()}

    def _taken_apart(self, name: str, x: Any) -> Any:
        """x with the number of each array in its place."""
        if isinstance(x, list) and _is_of_numbers(x):
            x = np.asarray(x)
            x = x.astype(np.float32) if x.dtype == np.float64 else x
        if isinstance(x, list | tuple):
            return type(x)([self._taken_apart(f"{name}_{k}", part) for k, part in enumerate(x)])
        if isinstance(x, Tensor) or (hasattr(x, "shape") and hasattr(x, "dtype")):
            data = array_of(x)
            self.arrays.append(np.asarray(backend_of(data).to_numpy(data)))
            self.names.append(name)
            return _Place(len(self.arrays) - 1)
        if x is None or isinstance(x, bool | int | float | str):
            return x
        raise TypeError(
            f"onnx.export: {name} must be a tensor, an array, a list of numbers, a tuple of such, "
            f"a number, a text or None, not {type(x).__name__}"
        )

    def call(self, function: Callable[..., Any], arrays: list[Any]) -> Any:
        """The function of these arrays, nested as they were given."""

        def whole(x: Any) -> Any:
            if isinstance(x, _Place):
                return Tensor(arrays[x.number])
            return type(x)([whole(part) for part in x]) if isinstance(x, list | tuple) else x

        named = {name: whole(x) for name, x in self.named.items()}
        return function(*map(whole, self.positional), **named)


def _is_of_numbers(x: list[Any]) -> bool:
    """Whether a list holds numbers, or such lists, and nothing else."""
    parts = (_is_of_numbers(p) if isinstance(p, list) else isinstance(p, int | float) for p in x)
    return bool(x) and all(parts)


class _Place:
    def __init__(self, number: int) -> None:
        self.number = number


def record(
    module: Module, inputs: Inputs, arrays: list[np.ndarray], opset: int
) -> tuple[Recording, list[Source]]:
    """What a model computes on these arrays, in evaluation mode, and its outputs in order.

    The model itself is not touched: another thread may train it.
    """
    recording = Recording(opset)
    backend = RecordingBackend(recording)
    with ExitStack() as stack:
        stack.enter_context(no_grad())
        stack.enter_context(np.errstate(all="ignore"))  # the values are not the model's
        stack.enter_context(override(np.ndarray, backend))
        stack.enter_context(override(Value, backend))
        twin = _Twins(recording, module).of(module, "")
        values = [
            recording.input(array, name) for array, name in zip(arrays, inputs.names, strict=True)
        ]
        made = inputs.call(twin, values)
        outputs = [recording.value(x).source for x in _flat(made, recording)]
    return recording, outputs


def _flat(y: Any, recording: Recording) -> list[Any]:
    if isinstance(y, Tensor):
        return [y.data]
    if isinstance(y, Value | np.ndarray):
        return [y]
    if isinstance(y, dict):
        y = list(y.values())
    if isinstance(y, list | tuple):
        return [x for part in y for x in _flat(part, recording)]
    if y is None:
        return []
    return recording.refuse(f"its output is a {type(y).__name__}, not a tensor")


class _Twins:
    """Copies of a model and all modules in it, in evaluation mode, with the recording's arrays."""

    def __init__(self, recording: Recording, module: Module) -> None:
        self.recording = recording
        self.made: dict[int, Any] = {}
        self.names: dict[int, str] = {}  # of the arrays
        self.paths: dict[int, str] = {}  # of the modules
        for name, parameter in module.named_parameters():
            self.names.setdefault(id(parameter), name)
        for path, inner in module.named_modules():
            self.paths.setdefault(id(inner), path)

    def of(self, module: Module, path: str) -> Module:
        """The twin of a module."""
        if id(module) in self.made:
            twin: Module = self.made[id(module)]
            return twin
        path = self.paths.get(id(module), path)
        twin = self.made[id(module)] = object.__new__(type(module))
        dot = path + "." if path else ""
        for name, value in vars(module).items():
            twin.__dict__[name] = self._attribute(value, dot + name, name in module._buffers)
        twin.__dict__["_training"] = False
        label = f"{path} ({type(module).__name__})" if path else type(module).__name__
        twin.__dict__["forward"] = self._named(twin.forward, label)
        return twin

    def _attribute(self, value: Any, name: str, buffer: bool) -> Any:
        if isinstance(value, Module):
            return self.of(value, name)
        if isinstance(value, Parameter):
            return self._once(value, lambda: self._parameter(value, name))
        if isinstance(value, Tensor):
            return Tensor(self.recording.constant(_host(value.data)))
        if buffer and value is not None:
            return self.recording.state(_host(value), name)
        if type(value) in (list, tuple):
            return type(value)(
                [self._attribute(x, f"{name}.{k}", False) for k, x in enumerate(value)]
            )
        if type(value) is dict:
            return {k: self._attribute(x, f"{name}.{k}", False) for k, x in value.items()}
        return value

    def _parameter(self, parameter: Parameter, name: str) -> Parameter:
        name = self.names.get(id(parameter), name)
        value = self.recording.state(_host(parameter.data), name)
        twin = Parameter(value, requires_grad=False)
        twin.name = parameter.name
        return twin

    def _once(self, thing: Any, make: Callable[[], Any]) -> Any:
        if id(thing) not in self.made:
            self.made[id(thing)] = make()
        return self.made[id(thing)]

    def _named(self, forward: Callable[..., Any], label: str) -> Callable[..., Any]:
        """A module's forward, known by name while it runs."""
        layers = self.recording.layers

        def named(*args: Any, **kwargs: Any) -> Any:
            layers.append(label)
            y = forward(*args, **kwargs)
            layers.pop()
            return y

        return named


def _host(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else np.asarray(backend_of(array).to_numpy(array))

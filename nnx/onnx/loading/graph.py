"""`Graph`, a module that computes what a file of ONNX says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...backends import Backend, active_backend, backend_of, get_backend
from ...nn.module import Module
from ...nn.state import Parameter
from ...ops._operands import as_tensor
from ...tensor import Tensor
from .control import Body, bodies, compute, reads
from .node import OPERATORS, LoadError, Node

HOLDERS = {"If", "Loop", "Scan"}


class Part(Module):
    """What of a graph's state has a common beginning of its names: it computes nothing itself."""


class Graph(Module):
    """What a file of ONNX computes; `nnx.onnx.load` makes it.

    Its parameters are called as the file's initialisers, and learn; those that are settings or
    statistics do not.

    Args:
        nodes: the operators, each after those that it reads.
        inputs, outputs: names.
        state: arrays by name; what of them is learnt is a parameter.
        learnt: the names of those.

    Call: with the inputs, in the file's order; a tensor comes back, or a tuple of them.

    Raises:
        LoadError: nnx has no operation for an operator.
        TypeError: when called, another number of inputs.
    """

    def __init__(
        self,
        nodes: list[Node],
        inputs: list[str],
        outputs: list[str],
        state: dict[str, np.ndarray],
        learnt: set[str],
    ) -> None:
        missing = sorted(_names(nodes) - OPERATORS.keys() - HOLDERS)
        if missing:
            raise LoadError(f"onnx.load: nnx has no operation for {', '.join(missing)}")
        self.input_names, self.output_names = inputs, outputs
        self._nodes = nodes
        self._places: dict[str, tuple[Module, str]] = {}
        new = active_backend().from_numpy
        for name, values in state.items():
            module, attribute = self._place(name)
            if name in learnt:
                module.register_parameter(attribute, Parameter(new(values)))
            else:
                module.register_buffer(attribute, new(values))
            self._places[name] = (module, attribute)
        self._last = _last_uses(nodes, outputs)

    def _place(self, name: str) -> tuple[Module, str]:
        """The part of the module, and the attribute, for a name: "0.weight" is `weight` of `0`.

        What cannot be an attribute gives way: a name that means something already gets a `_`.
        """
        *path, last = [part or "_" for part in name.split(".")]
        module: Module = self
        for part in path:
            inner = vars(module).get(part)
            if not isinstance(inner, Part):
                part = _free(module, part)
                inner = Part()
                module.add_module(part, inner)
            module = inner
        return module, _free(module, last)

    def forward(self, *inputs: Tensor) -> Any:
        if len(inputs) != len(self.input_names):
            raise TypeError(
                f"Graph: takes {len(self.input_names)} inputs ({', '.join(self.input_names)}), "
                f"got {len(inputs)}"
            )
        values: dict[str, Tensor | None] = {"": None}
        for name, x in zip(self.input_names, inputs, strict=True):
            values[name] = None if x is None else as_tensor("Graph", x)
        home = self._home(values)
        for name, (module, attribute) in self._places.items():
            held = getattr(module, attribute)
            values[name] = held if isinstance(held, Tensor) else Tensor(held)
        self._run(self._nodes, self._last, values, home)
        found = [values[name] for name in self.output_names]
        made = [_on(home, y) if y is not None else None for y in found]
        return made[0] if len(made) == 1 else tuple(made)

    def _run(
        self, nodes: list[Node], last: list[list[str]], values: dict[str, Any], home: Backend
    ) -> None:
        """Compute operators in order: each finds its inputs among the values, and adds its outputs.

        `last` names, for each, what nobody reads after it.
        """

        def call(body: Body, inputs: list[Any]) -> list[Any]:
            inner = {name: values[name] for name in body.captured}
            inner |= {"": None, **dict(zip(body.inputs, inputs, strict=True))}
            self._run(body.nodes, [[]] * len(body.nodes), inner, home)
            return [inner[name] for name in body.outputs]

        for node, gone in zip(nodes, last, strict=True):
            inputs = [values[name] for name in node.inputs]
            results: Any
            if node.op in HOLDERS:
                results = compute(node, inputs, call)
            else:
                results = self._computed(node, inputs, home)
            for name, y in zip(node.outputs, results, strict=False):
                values[name] = y
            for name in gone:
                values.pop(name, None)

    def _home(self, values: dict[str, Tensor | None]) -> Backend:
        """The backend that computes: the inputs', or the parameters' where there is no input."""
        for x in (*values.values(), *self.parameters()):
            if x is not None:
                return backend_of(x.data)
        return active_backend()

    def _computed(self, node: Node, inputs: list[Tensor | None], home: Backend) -> tuple[Any, ...]:
        """The outputs of one operator.

        Shapes and what is computed of them stay in host memory, until they meet data.
        """
        operator = OPERATORS[node.op]
        data = [k for k, x in enumerate(inputs) if x is not None and k not in operator.static]
        if any(backend_of(inputs[k].data) is home for k in data):  # type: ignore[union-attr]
            for k in data:
                inputs[k] = _on(home, inputs[k])  # type: ignore[arg-type]
        try:
            y = operator.compute(node, *inputs)
        except LoadError:
            raise
        except (ArithmeticError, IndexError, TypeError, ValueError) as error:
            shapes = ", ".join("none" if x is None else str(x.shape) for x in inputs)
            where = f"{node.op} {node.name!r}" if node.name else node.op
            raise type(error)(f"{where} of inputs {shapes}: {error}") from error
        return y if isinstance(y, tuple) else (y,)

    def operators(self) -> Iterator[str]:
        """ONNX's names of the operators, in order."""
        return (node.op for node in self._nodes)

    def extra_repr(self) -> str:
        return (
            f"{len(self._nodes)} operators, {', '.join(self.input_names)} -> "
            f"{', '.join(self.output_names)}"
        )


def _names(nodes: list[Node]) -> set[str]:
    """What the operators are called, those inside of operators too."""
    inner = [_names(body.nodes) for node in nodes for body in bodies(node)]
    return {node.op for node in nodes}.union(*inner)


def _last_uses(nodes: list[Node], outputs: list[str]) -> list[list[str]]:
    """After each operator, the values that nobody reads any more."""
    kept, free = {*outputs}, []
    for node in reversed(nodes):
        gone = {name for name in (*reads(node), *node.outputs) if name} - kept
        kept |= gone
        free.append(sorted(gone))
    return free[::-1]


def _on(home: Backend, x: Tensor) -> Tensor:
    """x itself where it is on this backend; else a constant, brought there."""
    there = backend_of(x.data)
    if there is home or home is get_backend("numpy"):
        return x
    return Tensor(home.from_numpy(there.to_numpy(x.data)))


def _free(module: Module, name: str) -> str:
    while hasattr(module, name):
        name += "_"
    return name

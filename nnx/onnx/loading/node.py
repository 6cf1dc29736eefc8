"""`Node`, an operator of a file, and the table of functions that compute operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...backends import backend_of
from ...tensor import Tensor


class LoadError(ValueError):
    """A model that cannot be read as a module; the message names what it has that nnx has not."""


class Node(NamedTuple):
    """An operator as a file has it.

    Attributes:
        op: what it is called.
        name: what this one is called, for messages.
        inputs, outputs: names of values; "" for one that is left out.
        attributes: numbers, texts, lists and arrays, by name.
        opset: the version of the operators.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or the default where it is not there."""
        return self.attributes.get(name, default)

    def wants(self, k: int) -> bool:
        """Whether anybody reads output k."""
        return k < len(self.outputs) and bool(self.outputs[k])

    def refuse(self, reason: str) -> LoadError:
        """The error for what nnx cannot compute."""
        return LoadError(f"onnx.load: {self.op}{f' {self.name!r}' if self.name else ''}: {reason}")


Compute = Callable[..., Any]  # (node, *inputs) -> a tensor, or a tuple of them


class Operator(NamedTuple):
    """How an operator is computed.

    Attributes:
        compute: a function of the node and its inputs, tensors or None.
        static: inputs that are settings: shapes, axes, bounds.  They stay in host memory, and are
            not learnt.
        buffers: inputs that belong to the state, but are not learnt.
    """

    compute: Compute
    static: tuple[int, ...] = ()
    buffers: tuple[int, ...] = ()


OPERATORS: dict[str, Operator] = {}


def operator(
    *names: str, static: tuple[int, ...] = (), buffers: tuple[int, ...] = ()
) -> Callable[[Compute], Compute]:
    """Put a function into the table under ONNX's names."""

    def put(compute: Compute) -> Compute:
        for name in names:
            OPERATORS[name] = Operator(compute, static, buffers)
        return compute

    return put


# ---- what the functions share ----


def host(x: Tensor) -> np.ndarray:
    """The values of a tensor in host memory."""
    return np.asarray(backend_of(x.data).to_numpy(x.data))


def ints(x: Tensor) -> list[int]:
    """The integers of a tensor with one axis or none."""
    return [int(n) for n in host(x).reshape(-1)]


def one(x: Tensor | None, default: Any = None) -> Any:
    """The number that a tensor of one element holds; the default where there is no tensor."""
    return default if x is None else host(x).reshape(-1)[0].item()


def xp_of(x: Tensor) -> Any:
    """The array namespace of a tensor."""
    return backend_of(x.data).xp


def is_float(x: Tensor) -> bool:
    """Whether it is of a floating-point dtype."""
    return backend_of(x.data).is_float(x.dtype)


def beside(x: Tensor, values: Any) -> Tensor:
    """A NumPy array as a tensor on x's backend and device."""
    home = backend_of(x.data)
    return Tensor(home.xp.asarray(home.from_numpy(np.asarray(values)), device=x.data.device))


__all__ = ["OPERATORS", "LoadError", "Node", "Operator", "beside", "host", "ints"]
__all__ += ["is_float", "one", "operator", "xp_of"]

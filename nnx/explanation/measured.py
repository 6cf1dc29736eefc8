"""A layer's own forward and backward on one input, and its outputs for slightly different ones.

Nothing of the layer is touched: a copy of it computes, without its hooks, and with a copy of the
shared random generator.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from ..autograd import Node, enable_grad, no_grad
from ..autograd.function import as_tensor
from ..backends import backend_of, copy_beside, dtype_name
from ..nn.container import Sequential
from ..nn.loss.base import Loss
from ..nn.module import Module
from ..random import Generator, default_generator, use_generator
from ..tensor import Tensor

# Numbers that are easy to calculate with, and of no pattern that a gradient may hide behind: a sum,
# whose upstream gradient is all ones, is blind to some mistakes.
UPSTREAM = (1.0, -0.5, 2.0, -1.0, 0.5, 1.5, -2.0)


class WithLoss(Module):
    """A model and the loss of what it computes, as one layer.

    Args:
        model: it takes x.
        loss: it takes what the model computes, and the target.
    """

    def __init__(self, model: Module, loss: Module) -> None:
        self.model, self.loss = model, loss

    def forward(self, x: Tensor, target: Any) -> Tensor:
        y: Tensor = self.loss(self.model(x), target)
        return y


def stages(layer: Any) -> list[tuple[str, Module]]:
    """The layers that are called one after another, by their names; none of a single layer."""
    if type(layer) is WithLoss:
        inner = [(f"model.{name}", part) for name, part in stages(layer.model)]
        return [*(inner or [("model", layer.model)]), ("loss", layer.loss)]
    return list(layer.named_children()) if type(layer) is Sequential else []


class Measured:
    """What a layer did.

    Args:
        layer: a module, or an operation.
        inputs: what it is called with: tensors, arrays, lists, numbers.
        upstream: dL/dy, of y's shape; None: `UPSTREAM` over and over, and 1 for a single number.
        state: of the random generator; None: the shared one's.

    Attributes:
        layer: the copy.
        inputs: as given, tensors as float64 arrays.
        parameters: name -> its values.
        buffers, buffers_after: name -> values, before and after the forward.
        y: the output's values; of several outputs the first's.
        upstream: dL/dy.
        gradients: what backward left: the number of an input, or a parameter's name -> values.
        eps, tiny: of the dtype that was computed in.

    Raises:
        TypeError: the output is no tensor of floating-point numbers.
        ValueError: upstream is not of the output's shape, or something is not finite or is empty.
    """

    def __init__(
        self,
        layer: Callable[..., Any],
        inputs: tuple[Any, ...],
        upstream: Any,
        state: dict[str, int] | None = None,
    ) -> None:
        self.name = getattr(layer, "__name__", type(layer).__name__)
        self.original = layer
        self.state = default_generator().state() if state is None else state
        self.layer = _copied(layer)
        own = self.layer.parameters() if isinstance(self.layer, Module) else []
        first = next(iter(own), None)
        self.tensors = [_as_input(self.name, x, first) for x in inputs]
        self.differentiated = [
            k
            for k, x in enumerate(self.tensors)
            if isinstance(x, Tensor)
            and backend_of(x.data).is_float(x.data.dtype)
            and not (isinstance(layer, Loss | WithLoss) and k)
        ]
        self._look_at_inputs()
        self._run(upstream)

    def _look_at_inputs(self) -> None:
        for k, x in enumerate(self.tensors):
            if not isinstance(x, Tensor):
                continue
            values = _host(x.data)
            if not values.size:
                raise ValueError(f"explain: there is nothing in input {k} of shape {x.shape}")
            require_finite(f"input {k}", values)
        self.inputs: list[Any] = [_each(x, lambda t: _host(t.data)) for x in self.tensors]

    def _run(self, upstream: Any) -> None:
        called = list(self.tensors)
        for k in self.differentiated:
            called[k] = Tensor(self.tensors[k].data, requires_grad=True)
        y = self._called(self.layer, called)
        if not isinstance(y, Tensor) or not backend_of(y.data).is_float(y.data.dtype):
            what = f"{dtype_name(y.dtype)}" if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(
                f"explain: {self.name} must return a tensor of floating-point numbers, or a tuple "
                f"that begins with one; it returned {what}"
            )
        home = backend_of(y.data)
        limits = home.xp.finfo(y.data.dtype)
        self.eps, self.tiny = float(limits.eps), float(limits.smallest_normal)
        self.y = _host(y.data)
        require_finite(f"what {self.name} computes", self.y)
        self.given = upstream is not None
        beside = copy_beside(y.data, self._upstream(upstream))
        self.upstream = _host(beside)
        if y.requires_grad:
            with np.errstate(all="ignore"):
                y.backward(beside)
        self.gradients: dict[int | str, np.ndarray] = {
            k: _host(called[k].grad) for k in self.differentiated if called[k].grad is not None
        }
        self.parameters: dict[str, np.ndarray] = {}
        self.buffers: dict[str, np.ndarray] = {}
        self.buffers_after: dict[str, np.ndarray] = {}
        if isinstance(self.layer, Module) and isinstance(self.original, Module):
            self.buffers = {name: _host(b) for name, b in self.original.named_buffers()}
            self.buffers_after = {name: _host(b) for name, b in self.layer.named_buffers()}
            for name, p in self.layer.named_parameters():
                self.parameters[name] = _host(p.data)
                if p.grad is not None:
                    self.gradients[name] = _host(p.grad)
        for key, gradient in self.gradients.items():
            what = f"input {key}" if isinstance(key, int) else key
            require_finite(f"the gradient of {what} in {self.name}", gradient)

    def _upstream(self, given: Any) -> np.ndarray:
        shape = self.y.shape
        if given is None:
            if self.y.size == 1:
                return np.ones(shape)
            return np.resize(np.asarray(UPSTREAM), shape)
        g = given.data if isinstance(given, Node) else given
        g = _host(g) if hasattr(g, "dtype") else np.asarray(g, np.float64)
        if g.shape != shape:
            raise ValueError(
                f"explain: gradient must have the shape of the output, {shape}; it has {g.shape}"
            )
        require_finite("gradient", g)
        return g

    def _called(self, layer: Callable[..., Any], inputs: list[Any]) -> Any:
        """The first output, with the random numbers of the first time."""
        generator = Generator(0)
        generator.set_state(self.state)
        with enable_grad(), use_generator(generator), np.errstate(all="ignore"):
            y = layer(*inputs)
        while isinstance(y, tuple | list) and y:
            y = y[0]
        return y

    def layers_alone(self) -> list[tuple[str, Measured]]:
        """Each of the layer's `stages` by itself: called with what those before it make, and with
        the gradient that those after it hand it."""
        twin = _copied(self.original)
        generator = Generator(0)
        generator.set_state(self.state)
        x, *target = self.tensors
        calls: list[tuple[str, Module, tuple[Any, ...], dict[str, int]]] = []
        for name, part in stages(self.original):
            inputs = (x, *target) if name == "loss" else (x,)
            calls.append((name, part, inputs, generator.state()))
            with no_grad(), use_generator(generator):
                x = twin.get_submodule(name)(*inputs)
        parts: list[tuple[str, Measured]] = []
        g: Any = self.upstream
        for name, part, inputs, state in reversed(calls):
            parts.insert(0, (name, Measured(part, inputs, g, state)))
            g = parts[0][1].gradients.get(0)
        return parts

    def called_again(self, inputs: list[Any]) -> np.ndarray:
        """The output's values for other inputs, with the same random numbers."""
        return _host(self._called(_copied(self.original), inputs).data)

    def with_option(self, name: str, value: Any) -> np.ndarray:
        """The output's values where the layer had another option."""
        twin = _copied(self.original)
        setattr(twin, name, value)
        return _host(self._called(twin, self.tensors).data)

    def values(self, key: int | str) -> np.ndarray:
        """Those of an input, by number, or of a parameter, by name."""
        return self.inputs[key] if isinstance(key, int) else self.parameters[key]

    def loss(self, key: int | str, values: np.ndarray) -> float:
        """L = Σ g y in float64, where an input (by number) or a parameter (by name) has other
        values.

        Args:
            key: which one.
            values: of its shape.
        """
        layer, inputs = self._wide_copy()
        if isinstance(key, int):
            leaf = Tensor(values)
            inputs = [leaf if k == key else x for k, x in enumerate(inputs)]
        else:  # wherever it is used
            leaf = dict(layer.named_parameters())[key]
        before, leaf.data = leaf.data, values
        y = self._called(layer, inputs)
        leaf.data = before
        return float(np.sum(self.upstream * np.asarray(y.data)))

    @cached_property
    def in_float64(self) -> tuple[np.ndarray, dict[int | str, np.ndarray]]:
        """The output of a float64 copy, and dL/d(that) by its own backward for each key of
        `gradients`."""
        layer, inputs = self._wide_copy()
        named = dict(layer.named_parameters()) if isinstance(layer, Module) else {}
        leaves = {k: inputs[k] if isinstance(k, int) else named[k] for k in self.gradients}
        before = {key: leaf.data for key, leaf in leaves.items()}
        for key, leaf in leaves.items():  # a forward may have changed them, as max_norm does
            leaf.data, leaf.requires_grad = self.values(key), True
        y = self._called(layer, inputs)
        y.backward(self.upstream)
        found = {}
        for key, leaf in leaves.items():
            found[key] = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad
            leaf.data, leaf.requires_grad, leaf.grad = before[key], False, None
        return np.asarray(y.data), found

    def computes_the_same_in_float64(self) -> bool:
        """Whether the float64 copy gives what the layer gave; one that draws random numbers by
        dtype does not, and its differences say nothing."""
        scale = max(1.0, float(np.abs(self.y).max()))
        gap = float(np.abs(self.in_float64[0] - self.y).max())
        return gap <= max(1e-3, 256 * self.eps) * scale

    def _wide_copy(self) -> tuple[Any, list[Any]]:
        """A float64 copy of the layer that may be called, and inputs for it."""
        if not hasattr(self, "_twin"):
            twin = _copied(self.original)
            if isinstance(twin, Module):
                twin.to("numpy", dtype="float64").requires_grad_(False)
            self._twin = twin, [_each(x, _widened) for x in self.tensors]
        twin, inputs = self._twin
        return copy.deepcopy(twin) if _learns_by_looking(twin) else twin, inputs


def require_finite(what: str, values: np.ndarray) -> None:
    """Raise where there is a number that cannot be calculated with by hand.

    Raises:
        ValueError: NaN, or an infinite number.
    """
    if not np.isfinite(values).all():
        raise ValueError(
            f"explain: {what} is not finite everywhere, and NaN and infinities cannot be "
            f"calculated with by hand; shape {values.shape}"
        )


def _learns_by_looking(layer: Any) -> bool:
    """Whether a call may change a layer's buffers, as batch norm's in training does."""
    return isinstance(layer, Module) and layer.training and any(True for _ in layer.buffers())


def _copied(layer: Callable[..., Any]) -> Any:
    """A copy without hooks, in the modes of the original; an operation is itself."""
    if not isinstance(layer, Module):
        return layer
    twin = copy.deepcopy(layer)
    for mine, theirs in zip(twin.modules(), layer.modules(), strict=True):
        mine._before = mine._after = mine._backward = ()
        mine.training = theirs.training
    for parameter in twin.parameters():
        parameter.grad = None
        parameter.requires_grad = True
    return twin


def _as_input(name: str, x: Any, first: Tensor | None) -> Any:
    """What stands for a tensor as one; numbers, None and options as they are."""
    if isinstance(x, Tensor):
        return Tensor(x.data)
    if isinstance(x, list | tuple) and any(hasattr(part, "shape") for part in x):
        return tuple([_as_input(name, part, first) for part in x])  # (h_0, c_0)
    if isinstance(x, list | tuple) and x and first is not None:
        made = np.asarray(x)
        if made.dtype.kind == "f":
            return Tensor(copy_beside(first.data, made))
    if isinstance(x, list | tuple) or (hasattr(x, "shape") and hasattr(x, "dtype")):
        return as_tensor(name, x, first)
    return x


def _each(x: Any, change: Callable[[Tensor], Any]) -> Any:
    """A tensor, or each of a tuple of them, changed; anything else as it is."""
    if isinstance(x, tuple):
        return tuple([_each(part, change) for part in x])
    return change(x) if isinstance(x, Tensor) else x


def _host(array: Any) -> np.ndarray:
    """In host memory, in float64 (integers keep their values)."""
    return np.asarray(backend_of(array).to_numpy(array)).astype(np.float64)


def _widened(x: Tensor) -> Tensor:
    """In host memory; floating-point numbers in float64, integers as they are."""
    home = backend_of(x.data)
    return Tensor(
        _host(x.data) if home.is_float(x.data.dtype) else np.asarray(home.to_numpy(x.data))
    )

"""`Module`: an object that holds parameters, buffers and other modules as plain attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from ..backends import Array, Backend, active_backend, backend_of, dtype_name, get_backend
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that a module learns.

    Args:
        data: an array; wrapped, not copied.  Optimizers update it in place where they can.
    """

    __slots__ = ()

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Module:
    """Base of all layers and models.

    A subclass makes its parameters and sub-modules as attributes in `__init__` and computes in
    `forward`; no call to `super().__init__()` is needed.  Names (`weight`, `0.bias`, ...) are
    the attributes' names joined by dots, as in PyTorch.
    """

    training = True
    _buffers: Mapping[str, bool] = MappingProxyType({})  # name -> whether state_dict holds it
    _forward_hooks: tuple[Callable[[Module, tuple[Any, ...], Any], Any], ...] = ()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        y = self.forward(*args, **kwargs)
        for hook in self._forward_hooks:
            changed = hook(self, args, y)
            y = y if changed is None else changed
        return y

    def register_forward_hook(self, hook: Callable[..., Any]) -> Callable[[], None]:
        """Call `hook(module, inputs, output)` after each forward; what it returns replaces output.

        Returns a function that removes the hook.
        """
        self._forward_hooks = (*self._forward_hooks, hook)

        def remove() -> None:
            self._forward_hooks = tuple(h for h in self._forward_hooks if h is not hook)

        return remove

    def register_buffer(self, name: str, array: Array | None, persistent: bool = True) -> None:
        """An array that belongs to the module's state but is not learnt (a running mean)."""
        self._buffers = {**self._buffers, name: persistent}
        setattr(self, name, array)

    # ---- what is inside ----

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, by attribute name."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all inside it, each once, outer before inner."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield name, module
            dot = name + "." if name else ""
            stack.extend(reversed([(dot + n, m) for n, m in module.named_children()]))

    def modules(self) -> Iterator[Module]:
        for _, module in self.named_modules():
            yield module

    def children(self) -> Iterator[Module]:
        for _, module in self.named_children():
            yield module

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name; a shared one under its first name."""
        seen: set[int] = set()
        for prefix, module in self.named_modules():
            dot = prefix + "." if prefix else ""
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield dot + name, value

    def parameters(self) -> Iterator[Parameter]:
        for _, parameter in self.named_parameters():
            yield parameter

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        for prefix, module in self.named_modules():
            dot = prefix + "." if prefix else ""
            for name in module._buffers:
                array = getattr(module, name)
                if array is not None:
                    yield dot + name, array

    # ---- changing all of it ----

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function` on every module, inner before outer."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    def train(self, mode: bool = True) -> Self:
        """Training mode: dropout drops, batch norm uses the batch."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        for parameter in self.parameters():
            parameter.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def to(self, backend: str | None = None, dtype: Any = None) -> Self:
        """Move parameters and buffers to another backend, or cast floating-point ones; in place.

        Optimizers made before keep working: the parameters are the same objects.
        """
        target = None if backend is None else get_backend(backend)
        for parameter in self.parameters():
            parameter.data = _converted(parameter.data, target, dtype)
            if parameter.grad is not None:
                parameter.grad = _converted(parameter.grad, target, dtype)
        for module in self.modules():
            for name in module._buffers:
                array = getattr(module, name)
                if array is not None:
                    setattr(module, name, _converted(array, target, dtype))
        return self

    # ---- state ----

    def state_dict(self) -> dict[str, Array]:
        """Parameters and persistent buffers by dotted name: the arrays themselves, not copies."""
        state: dict[str, Array] = {}
        for prefix, module in self.named_modules():
            dot = prefix + "." if prefix else ""
            for name, value in vars(module).items():
                if isinstance(value, Parameter):
                    state[dot + name] = value.data
            for name, persistent in module._buffers.items():
                if persistent and getattr(module, name) is not None:
                    state[dot + name] = getattr(module, name)
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values by name into parameters and buffers, keeping each one's backend and dtype.

        Nothing is changed unless everything fits.

        Raises:
            KeyError: names missing or unknown (unless `strict=False`).
            ValueError: a shape differs.
        """
        mine = self.state_dict()
        missing = [name for name in mine if name not in state]
        unknown = [name for name in state if name not in mine]
        if strict and (missing or unknown):
            raise KeyError(f"load_state_dict: missing names {missing}, unknown names {unknown}")
        loaded: dict[str, Array] = {}
        for name, array in mine.items():
            if name not in state:
                continue
            value = state[name]
            value = value.data if isinstance(value, Tensor) else value
            if tuple(value.shape) != tuple(array.shape):
                raise ValueError(
                    f"load_state_dict: {name} has shape {tuple(array.shape)} here, "
                    f"{tuple(value.shape)} in the state"
                )
            home = backend_of(array)
            host = value if isinstance(value, np.ndarray) else backend_of(value).to_numpy(value)
            loaded[name] = home.asarray(np.array(host), array.dtype)
        for prefix, module in self.named_modules():
            dot = prefix + "." if prefix else ""
            for name, value in list(vars(module).items()):
                if isinstance(value, Parameter) and dot + name in loaded:
                    value.data = loaded[dot + name]
            for name in module._buffers:
                if dot + name in loaded:
                    setattr(module, name, loaded[dot + name])

    # ---- showing it ----

    def extra_repr(self) -> str:
        """What stands between the brackets of this layer's line."""
        return ""

    def __repr__(self) -> str:
        lines = [f"  ({n}): " + repr(m).replace("\n", "\n  ") for n, m in self.named_children()]
        body = self.extra_repr()
        if lines:
            body = "\n" + "\n".join(([f"  {body}"] if body else []) + lines) + "\n"
        return f"{type(self).__name__}({body})"


def _converted(array: Array, target: Backend | None, dtype: Any) -> Array:
    home = backend_of(array)
    if target is not None and target is not home:
        array = target.from_numpy(home.to_numpy(array))
        home = target
    if dtype is not None and dtype_name(array.dtype).startswith("float"):
        array = home.xp.astype(array, home.dtype(dtype))
    return array


def new_parameter(shape: tuple[int, ...], dtype: Any = None) -> Parameter:
    """An uninitialised (zero) parameter on the active backend, float32 by default."""
    backend = active_backend()
    return Parameter(backend.from_numpy(np.zeros(shape, dtype=np.dtype(dtype or "float32"))))

"""`Module`: an object that holds parameters, buffers and other modules as plain attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np

from ..autograd import is_grad_enabled
from ..backends import Array, backend_of, dtype_name, get_backend, names_dtype
from ..names import MODULE_NAMES, module_has_not, names_ours, put_absent
from ..scoped import Block
from ..tensor import Tensor
from .gradient_hooks import call_between_gates
from .scopes import modes, watchers
from .state import Parameter, Stateful, converted


class Module(Stateful):
    """Base of all layers and models.

    A subclass makes its parameters and sub-modules as attributes in `__init__` and computes in
    `forward`; no call to `super().__init__()` is needed.  Names (`weight`, `0.bias`, ...) are
    the attributes' names joined by dots, as in PyTorch, in the order the attributes were made.
    """

    _training = True  # outside of `temporary_modes`
    _buffers: Mapping[str, bool] = MappingProxyType({})  # name -> whether state_dict holds it
    _vacant: Mapping[str, type] = MappingProxyType({})  # name -> what belongs there, but is None
    _before: tuple[Callable[..., Any], ...] = ()  # hooks
    _after: tuple[Callable[..., Any], ...] = ()
    _backward: tuple[Callable[..., Any], ...] = ()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; `module(x)` calls it, and the hooks.  Every subclass has its
        own.
        """
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not (self._before or self._after or self._backward or watchers.open):
            return self.forward(*args, **kwargs)
        watch = watchers.get()
        if watch is not None and watch.before is not None:
            watch.before(self)
        for hook in self._before:
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        if self._backward and is_grad_enabled():
            y = call_between_gates(self, self._backward, args, kwargs)
        else:
            y = self.forward(*args, **kwargs)
        for hook in self._after:
            changed = hook(self, args, y)
            y = y if changed is None else changed
        if watch is not None:
            watch.after(self, args, y)
        return y

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Hook:
        """Call `hook(module, inputs)` before each forward; what it returns replaces the inputs."""
        self._before = (*self._before, hook)
        return Hook(self, "_before", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> Hook:
        """Call `hook(module, inputs, output)` after each forward; what it returns replaces it."""
        self._after = (*self._after, hook)
        return Hook(self, "_after", hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> Hook:
        """Call `hook(module, grad_inputs, grad_outputs)` when the walk back leaves this module.

        Args:
            hook: gets a tuple with the gradient of each positional input, None where there is none,
                and one with that of each output, arrays of their shapes.  A tuple that it returns
                takes the inputs' gradients' place; None: they stay as they are.

        Where no input requires a gradient, nothing tells when the walk leaves; the hook is called
        when it enters.
        """
        self._backward = (*self._backward, hook)
        return Hook(self, "_backward", hook)

    # ---- attributes ----

    @property
    def training(self) -> bool:
        """Whether the module trains; `train()` and `eval()` set it, for the modules inside too."""
        if modes.open:
            here = modes.get()
            if here is not None and id(self) in here:
                return here[id(self)]
        return self._training

    @training.setter
    def training(self, training: bool) -> None:
        here = modes.get()
        if here is not None and id(self) in here:
            here[id(self)] = training
        else:
            self._training = training

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; the name of a parameter, a module or a buffer takes its like or None.

        Raises:
            TypeError: the name is one of those, and the value is not.
        """
        held = self.__dict__.get(name)
        if isinstance(value, Parameter):
            if value.name is None:
                value.name = f"{type(self).__name__}.{name}"
        elif isinstance(held, Parameter | Module) or (held is None and name in self._vacant):
            kind = self._vacant[name] if held is None else _kind(held)
            if value is None:
                object.__setattr__(self, "_vacant", {**self._vacant, name: kind})
            elif not isinstance(value, kind):
                raise TypeError(self._refused(name, kind, value))
        elif name in self._buffers:
            if not (_fits_buffer(value) or isinstance(value, Module)):
                raise TypeError(self._refused(name, None, value))
            if type(value) not in (Tensor, np.ndarray) and hasattr(value, "__array_namespace__"):
                value = backend_of(value).grounded(value)
            if isinstance(value, Tensor) and held is not None and not isinstance(held, Tensor):
                if value.requires_grad:
                    raise TypeError(
                        f"{self._refused(name, None, value)} on the tape, whose gradient would be "
                        "lost; assign its detach()"
                    )
                value = value.data  # layers compute with arrays here
        if name in self._buffers and isinstance(value, Parameter | Module):
            self._forget_buffer(name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if name in self._buffers:
            self._forget_buffer(name)
        if name in self._vacant:
            kept = {n: kind for n, kind in self._vacant.items() if n != name}
            object.__setattr__(self, "_vacant", kept)

    def _forget_buffer(self, name: str) -> None:
        kept = {n: persistent for n, persistent in self._buffers.items() if n != name}
        object.__setattr__(self, "_buffers", kept)

    def _refused(self, name: str, kind: type | None, value: Any) -> str:
        """Why a name takes no such value."""
        what = type(value).__name__
        if isinstance(value, Tensor):
            what += f" of shape {value.shape}"
        where = f"{type(self).__name__}.{name}"
        if kind is Parameter:
            return (
                f"{where} is a parameter and takes a Parameter or None, not {what}: wrap it, "
                "nn.Parameter(x.data); to change its values keep the parameter, and write "
                f"{name}.copy_(x) or {name} -= x inside nnx.no_grad()"
            )
        if kind is Module:
            return f"{where} is a module and takes a Module or None, not {what}"
        return f"{where} is a buffer and takes an array or None, not {what}"

    # ---- registering by name ----

    def register_buffer(self, name: str, array: Array | None, persistent: bool = True) -> None:
        """Hold an array that belongs to the module's state but is not learnt (a running mean).

        Args:
            name: the attribute's name.
            array: of any library; None keeps the name's place.
            persistent: whether `state_dict` holds it; `to` moves it either way.

        Raises:
            TypeError: it is no array.
            KeyError: the name is empty, holds a dot, or is taken.
        """
        if name not in self._buffers:
            self._require_free(name)
        if not _fits_buffer(array):
            raise TypeError(self._refused(name, None, array))
        self._buffers = {**self._buffers, name: persistent}
        setattr(self, name, array)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Set the attribute `name` to a parameter, as `self.name = parameter` does, at run time.

        Args:
            name: the attribute's name.
            parameter: None keeps the name's place for one: nothing else can then be set there.

        Raises:
            TypeError: it is no Parameter.
            KeyError: the name is empty, holds a dot, or is taken.
        """
        self._register(name, Parameter, parameter)

    def add_module(self, name: str, module: Module | None) -> None:
        """Set the attribute `name` to a module, as `self.name = module` does, at run time.

        Args:
            name: the attribute's name, and the first part of its parameters' names.
            module: None keeps the name's place for one: nothing else can then be set there.

        Raises:
            TypeError: it is no Module.
            KeyError: the name is empty, holds a dot, or is taken.
        """
        self._register(name, Module, module)

    def _register(self, name: str, kind: type, value: Any) -> None:
        if value is not None and not isinstance(value, kind):
            raise TypeError(self._refused(name, kind, value))
        if not isinstance(vars(self).get(name), kind) and self._vacant.get(name) is not kind:
            self._require_free(name)
        if value is None:
            self._vacant = {**self._vacant, name: kind}
        setattr(self, name, value)

    def _require_free(self, name: str) -> None:
        if not name or "." in name or hasattr(self, name):
            why = "is taken" if name and "." not in name else "must not be empty or hold a dot"
            raise KeyError(f"{type(self).__name__}: the name {name!r} {why}")

    # ---- what is inside ----

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, by attribute name."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules directly inside, in the order they were set."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all inside it, outer before inner; each once, under its first name.

        Args:
            prefix: what this module is called; the names of those inside are `prefix.name`.
            remove_duplicate: False: a shared module comes once under each of its names.
        """
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if remove_duplicate:
                if id(module) in seen:
                    continue
                seen.add(id(module))
            yield name, module
            dot = name + "." if name else ""
            stack.extend(reversed([(dot + n, m) for n, m in module.named_children()]))

    def modules(self) -> Iterator[Module]:
        """This module and all inside it, outer before inner, each once."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its dotted name, frozen ones too.

        Args:
            prefix: what this module is called: the names become `prefix.name`.
            recurse: False: this module's own, without those of the modules inside.
            remove_duplicate: True: a shared one comes once, under its first name; False: under
                each.
        """
        seen: set[int] = set()
        owners = self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]
        for name, module in owners:
            dot = name + "." if name else ""
            for attribute, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    if remove_duplicate:
                        seen.add(id(value))
                    yield dot + attribute, value

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter once, frozen ones too; recurse=False: not those of modules inside."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Array]]:
        """Every buffer with its dotted name, persistent or not: arrays of whatever shape each has.

        Args:
            prefix: what this module is called: the names become `prefix.name`.
            recurse: False: this module's own, without those of the modules inside.
        """
        for name, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            dot = name + "." if name else ""
            for attribute in module._buffers:
                array = getattr(module, attribute)
                if array is not None:
                    yield dot + attribute, array

    def buffers(self, recurse: bool = True) -> Iterator[Array]:
        """The arrays of `named_buffers`, whatever their shapes; recurse=False: this module's."""
        for _, array in self.named_buffers(recurse=recurse):
            yield array

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path.

        Args:
            target: as in `named_modules` ("0.conv"); "" is the module itself.

        Raises:
            AttributeError: there is none; the message lists those that are there.
        """
        module = self
        for name in target.split(".") if target else []:
            inner = vars(module).get(name)
            if not isinstance(inner, Module):
                raise AttributeError(
                    f"{type(self).__name__} has no module {target!r}: {type(module).__name__} has "
                    f"{', '.join(n for n, _ in module.named_children()) or 'none'}"
                )
            module = inner
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path.

        Args:
            target: as in `named_parameters` ("0.weight").

        Raises:
            AttributeError: there is none, or no such module.
        """
        path, _, name = target.rpartition(".")
        parameter = vars(self.get_submodule(path)).get(name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(f"{type(self).__name__} has no parameter {target!r}")
        return parameter

    # ---- changing all of it ----

    def apply(self, function: Callable[[Module], Any]) -> Self:
        """Call `function(module)` on every module, inner before outer; returns this module."""
        for module in self.children():
            module.apply(function)
        function(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Training mode for this and all modules inside: dropout drops, batch norm uses the batch.

        mode=False is `eval()`.
        """
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode, inside too: dropout passes all, batch norm uses its running values."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every parameter's gradient; set_to_none=False makes zeros of those there are."""
        for parameter in self.parameters():
            zeros = not set_to_none and parameter.grad is not None
            like = parameter.data
            parameter.grad = backend_of(like).xp.zeros_like(like) if zeros else None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze every parameter in here (requires_grad=False), or let them learn again (True)."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    @names_ours
    def to(self, backend: Any = None, dtype: Any = None) -> Self:
        """Move parameters and buffers to another backend, or cast floating-point ones; in place.

        Optimizers made before keep working: the parameters are the same objects.  Gradients go
        along.

        Args:
            backend: a name, such as "numpy" or "cupy"; None: they stay where they are.  Or a dtype.
            dtype: such as "float64", or any library's; integer buffers keep theirs.

        Raises:
            ValueError: there is no such backend.
            TypeError: there is no such dtype, or it is not a floating-point one.
        """
        if names_dtype(backend):
            backend, dtype = None, backend
        if dtype is not None:
            _require_floating(dtype)
        target = None if backend is None else get_backend(backend)
        for parameter in self.parameters():
            parameter.data = converted(parameter.data, target, dtype)
            if parameter.grad is not None:
                parameter.grad = converted(parameter.grad, target, dtype)
        for module in self.modules():
            for name in module._buffers:
                array = getattr(module, name)
                if array is not None:
                    setattr(module, name, converted(array, target, dtype))
        return self

    def float(self) -> Self:
        """`to(dtype="float32")`, in place."""
        return self.to(dtype="float32")

    def double(self) -> Self:
        """`to(dtype="float64")`, in place."""
        return self.to(dtype="float64")

    # ---- showing it ----

    def extra_repr(self) -> str:
        """What stands between the brackets of this layer's line in `repr(model)`."""
        return ""

    def _repr_html_(self) -> str:
        """Layers that hold no others, or have parameters of their own, a row each."""
        from .. import notebook

        rows = []
        for name, module in self.named_modules():
            own = sum(p.size for p in module.parameters(recurse=False))
            if own or not any(True for _ in module.children()):
                rows.append((name or ".", type(module).__name__, module.extra_repr(), own))
        total = sum(p.size for p in self.parameters())
        frozen = sum(p.size for p in self.parameters() if not p.requires_grad)
        caption = f"{type(self).__name__}: {total:,} parameters"
        caption += f", {frozen:,} of them frozen" if frozen else ""
        return notebook.table(("name", "layer", "", "parameters"), rows, caption)

    def __repr__(self) -> str:
        lines = [f"  ({n}): " + repr(m).replace("\n", "\n  ") for n, m in self.named_children()]
        body = self.extra_repr()
        if lines:
            body = "\n" + "\n".join(([f"  {body}"] if body else []) + lines) + "\n"
        return f"{type(self).__name__}({body})"


put_absent(Module, MODULE_NAMES, module_has_not)


class Hook:
    """A hook that was registered; call it, or its `remove()`, to take it off again."""

    def __init__(self, module: Module, place: str, function: Callable[..., Any]) -> None:
        self.module, self.place, self.function = module, place, function

    def remove(self) -> None:
        """Take the hook off; nothing happens where that was done before."""
        kept = tuple(f for f in getattr(self.module, self.place) if f is not self.function)
        setattr(self.module, self.place, kept)

    __call__ = remove


def _require_floating(dtype: Any) -> None:
    name = dtype if isinstance(dtype, str) else dtype_name(dtype)
    if not str(name).startswith(("float", "bfloat")):
        raise TypeError(f"to: parameters are of a floating-point dtype, and {name} is none")


def _kind(held: Parameter | Module) -> type:
    return Parameter if isinstance(held, Parameter) else Module


def _fits_buffer(value: Any) -> bool:
    return value is None or (hasattr(value, "shape") and hasattr(value, "dtype"))


# ---- what a `with` block sets ----


def temporary_modes(model: Module) -> Block[dict[int, bool]]:
    """A `with` block in which `train()` and `eval()` of a model hold for the block alone.

    The model itself is not touched: another thread may train it at the same time, and nothing is
    left to put back when the block ends.
    """
    here = {id(module): module.training for module in model.modules()}
    return modes({**(modes.get() or {}), **here})


def is_watched(module: Module) -> bool:
    """Whether somebody wants to see, or to change, what goes in and out of this module."""
    if module._before or module._after or module._backward:
        return True
    return bool(watchers.open) and watchers.get() is not None

"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Self, overload

from .fusion import FIRST, fused
from .module import Module
from .state import Parameter


class _Numbered(Module):
    """What Sequential and ModuleList share: children named "0", "1", ... in order."""

    def _layers(self) -> list[Module]:
        return [m for m in vars(self).values() if isinstance(m, Module)]

    def _renumber(self, modules: Iterable[Module]) -> None:
        """Hold exactly these modules, under the names "0", "1", ..."""
        modules = list(modules)
        for name, _ in list(self.named_children()):
            delattr(self, name)
        for k, module in enumerate(modules):
            setattr(self, str(k), _checked(self, module))

    def __len__(self) -> int:
        return len(self._layers())

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers())

    def __setitem__(self, key: int, module: Module) -> None:
        name = [n for n, _ in self.named_children()][key]
        setattr(self, name, _checked(self, module))

    def __delitem__(self, key: int | slice) -> None:
        modules = self._layers()
        del modules[key]
        self._renumber(modules)

    def append(self, module: Module) -> Self:
        """Add a module at the end, under the first free number.

        Raises:
            TypeError: it is no Module.
        """
        number = len(self)
        while str(number) in vars(self):  # the names of a slice begin where it was cut
            number += 1
        setattr(self, str(number), _checked(self, module))
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end, in their order.

        Raises:
            TypeError: one of them is no Module.
        """
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> None:
        """Put a module before position `index`; those after it are renumbered.

        Raises:
            TypeError: it is no Module.
        """
        modules = self._layers()
        modules.insert(index, module)
        self._renumber(modules)


class Sequential(_Numbered):
    """Modules applied one after another.

        nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
        nn.Sequential({"hidden": nn.Linear(784, 512), "out": nn.Linear(512, 10)})

    x, whatever the first module takes, goes through all of them.  The parameters' names begin with
    the position ("0.weight"), or with the given name.  A convolution and the layers that usually
    follow it may be computed together: `nnx.nn.fusion`.

    Args:
        modules: one after another, or one dict of them by name.

    Raises:
        TypeError: one of them is no Module.
        KeyError: a name cannot be an attribute: it is empty, holds a dot, or means something
            already.
        ValueError: when called, as the modules say.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Mapping[str, Any] = modules[0]
        else:
            named = {str(k): module for k, module in enumerate(modules)}
        for name, module in named.items():
            self.add_module(name, _checked(self, module))

    @overload
    def __getitem__(self, key: int) -> Module: ...
    @overload
    def __getitem__(self, key: slice) -> Sequential: ...
    def __getitem__(self, key: int | slice) -> Module | Sequential:
        """One module, or a Sequential of some: the same modules under the same names."""
        if isinstance(key, slice):
            return Sequential(dict(list(self.named_children())[key]))
        return self._layers()[key]

    def forward(self, x: Any) -> Any:
        layers = self._layers()
        k = 0
        while k < len(layers):
            if type(layers[k]) in FIRST and (block := fused(layers, k, x)) is not None:
                x, count = block
                k += count
            else:
                x = layers[k](x)
                k += 1
        return x


class ModuleList(_Numbered):
    """A list of modules whose parameters are found; it computes nothing itself.

    Args:
        modules: the first ones; more with `append`, `extend` and `insert`.

    Raises:
        TypeError: one of them is no Module.
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    @overload
    def __getitem__(self, key: int) -> Module: ...
    @overload
    def __getitem__(self, key: slice) -> ModuleList: ...
    def __getitem__(self, key: int | slice) -> Module | ModuleList:
        """One module, or a ModuleList of some, numbered anew."""
        if isinstance(key, slice):
            return ModuleList(self._layers()[key])
        return self._layers()[key]


class _Named(Module, MutableMapping[str, Any]):
    """What ModuleDict and ParameterDict share: a dictionary whose names are attributes."""

    def _held(self) -> dict[str, Any]:
        raise NotImplementedError

    def __getitem__(self, name: str) -> Any:
        return self._held()[name]

    def __delitem__(self, name: str) -> None:
        self[name]  # a KeyError where there is none
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._held())

    def __iter__(self) -> Iterator[str]:
        return iter(self._held())

    def popitem(self) -> tuple[str, Any]:
        """Take out what was added last: its name, and what it was.

        Raises:
            KeyError: there is nothing.
        """
        name, value = self._held().popitem()
        del self[name]
        return name, value

    __eq__ = object.__eq__  # a module, not a mapping: two that hold the same are two
    __hash__ = object.__hash__


class ModuleDict(_Named):
    """A dictionary of modules whose parameters are found; it computes nothing itself.

    It has a dictionary's methods; what is in it comes in the order it was added.

    Args:
        modules: the first ones by name; more with `update` or `modules[name] = module`.

    Raises:
        TypeError: one of them is no Module.
        KeyError: a name cannot be an attribute: it is empty, holds a dot, or means something
            already.
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.update(modules or {})

    def _held(self) -> dict[str, Module]:
        return dict(self.named_children())

    def __setitem__(self, name: str, module: Module) -> None:
        self.add_module(name, _checked(self, module))


class ParameterDict(_Named):
    """A dictionary of parameters that a module learns, by name; it computes nothing itself.

    It has a dictionary's methods; what is in it comes in the order it was added.

    Args:
        parameters: the first ones by name; more with `update` or `parameters[name] = parameter`.

    Raises:
        TypeError: one of them is no Parameter.
        KeyError: a name cannot be an attribute: it is empty, holds a dot, or means something
            already.
    """

    def __init__(self, parameters: Mapping[str, Parameter] | None = None) -> None:
        self.update(parameters or {})

    def _held(self) -> dict[str, Parameter]:
        return dict(self.named_parameters(recurse=False, remove_duplicate=False))

    def __setitem__(self, name: str, parameter: Parameter) -> None:
        self.register_parameter(name, _parameter(self, parameter))

    def extra_repr(self) -> str:
        return ", ".join(f"{name}: {p.shape}" for name, p in self.items())


class ParameterList(Module):
    """A list of parameters that a module learns, named "0", "1", ...

    Args:
        parameters: the first ones; more with `append` and `extend`.

    Raises:
        TypeError: one of them is no Parameter.
    """

    def __init__(self, parameters: Iterable[Parameter] = ()) -> None:
        self.extend(parameters)

    def append(self, parameter: Parameter) -> Self:
        """Add a parameter at the end.

        Raises:
            TypeError: it is no Parameter.
        """
        self.register_parameter(str(len(self)), _parameter(self, parameter))
        return self

    def extend(self, parameters: Iterable[Parameter]) -> Self:
        """Add parameters at the end.

        Raises:
            TypeError: one of them is no Parameter.
        """
        for parameter in parameters:
            self.append(parameter)
        return self

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Parameter]:
        return (p for p in vars(self).values() if isinstance(p, Parameter))

    def __getitem__(self, key: int) -> Parameter:
        return list(self)[key]

    def __setitem__(self, key: int, parameter: Parameter) -> None:
        name = [n for n, p in vars(self).items() if isinstance(p, Parameter)][key]
        setattr(self, name, _parameter(self, parameter))

    def extra_repr(self) -> str:
        return ", ".join(str(p.shape) for p in self)


def _checked(owner: Module, module: Any) -> Module:
    if not isinstance(module, Module):
        raise TypeError(
            f"{type(owner).__name__}: expected a Module, got {type(module).__name__}: {module!r}"
        )
    return module


def _parameter(owner: Module, parameter: Any) -> Parameter:
    if not isinstance(parameter, Parameter):
        raise TypeError(
            f"{type(owner).__name__}: expected a Parameter, got {type(parameter).__name__}; wrap "
            "its array, nn.Parameter(x)"
        )
    return parameter

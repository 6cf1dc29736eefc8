"""Whole models: `to_torch` and `from_torch`.

A layer becomes the other library's layer of its name (`layers.py`), a container that container.
Of a class of one's own nobody can say what its forward computes.  But where it only calls its
modules and adds, multiplies or reshapes what they give, the same lines run on either library's
tensors: they are tried with an example, and taken if outputs and gradients agree.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ... import nn
from ...autograd import enable_grad
from ...backends import active_backend, backend_of
from ...nn import Module, Parameter
from ...nn.module import temporary_modes
from ...nn.utils.parametrizations import is_parametrized
from ...tensor import Tensor
from ..refusal import CannotExpress
from .files import from_state_dict, to_state_dict
from .layers import compute_here, compute_there, from_torch_layer, layer_of, to_torch_layer

_HOLDERS = ("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
_AGREE = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-9}
Made = Mapping[type, Callable[[Any], Any]]


def to_torch(model: Module, *, example: Any = None, classes: Made | None = None) -> Any:
    """The equal `torch.nn.Module`: same names, same weights bit for bit, same function.

    Modes, frozen parameters, and what stands in several places are kept.

    Args:
        model: layers that PyTorch has, in Sequential, ModuleList and ModuleDict to any depth, and
            classes of one's own.
        example: an input, or a tuple of them, for models with classes of one's own: their forward
            runs on PyTorch's tensors too, if it only calls its modules and computes with operators
            and methods that both libraries have; with the example that is tried.
        classes: by class of one's own, a function of the module that gives its equal in PyTorch
            (its weights are loaded here).

    Raises:
        CannotExpress: something of it PyTorch cannot say; the message says what and why.
        TypeError: it is no module of nnx.
        ImportError: PyTorch is not installed.
    """
    import torch

    if not isinstance(model, Module):
        raise TypeError(f"to_torch: needs a module of nnx, got {type(model).__name__}")
    work = _ToTorch(dict(classes or {}))
    made = work.module(model, "")
    try:
        made.load_state_dict(to_state_dict(model))
    except RuntimeError as error:
        raise CannotExpress(f"to_torch: the states do not fit: {error}") from error
    names = dict(model.named_parameters(remove_duplicate=False))
    first: dict[int, Any] = {}
    for name, parameter in names.items():
        owner, _, attribute = name.rpartition(".")
        theirs = made.get_parameter(name)
        theirs.requires_grad_(parameter.requires_grad)
        if id(parameter) in first:
            setattr(made.get_submodule(owner), attribute, first[id(parameter)])
        else:
            first[id(parameter)] = theirs
    if work.own:
        _require_example("to_torch", work.own, example)
        with torch.enable_grad(), enable_grad():
            _try(model, made, example, work.own)
    return made


def from_torch(module: Any, *, example: Any = None, classes: Made | None = None) -> Module:
    """The equal module of nnx, on the active backend: `to_torch` the other way.

    Args:
        module: a `torch.nn.Module` of layers that nnx has, as in `to_torch`.
        example: an input, or a tuple of them, for models with classes of one's own; see there.
        classes: by class of PyTorch's, a function of the module that gives its equal in nnx.

    Raises:
        CannotExpress: something of it nnx cannot say; the message says what and why.
        TypeError: it is no module of PyTorch.
        ImportError: PyTorch is not installed.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch: needs a torch.nn.Module, got {type(module).__name__}")
    work = _FromTorch(dict(classes or {}))
    made: Module = work.module(module, "")
    try:
        made.load_state_dict(from_state_dict(module.state_dict()))
    except ValueError as error:
        raise CannotExpress(f"from_torch: the states do not fit: {error}") from error
    first: dict[int, Parameter] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        owner, _, attribute = name.rpartition(".")
        ours = made.get_parameter(name)
        ours.requires_grad = parameter.requires_grad
        if id(parameter) in first:
            setattr(made.get_submodule(owner), attribute, first[id(parameter)])
        else:
            first[id(parameter)] = ours
    if work.own:
        _require_example("from_torch", work.own, example)
        with torch.enable_grad(), enable_grad():
            _try(made, module, example, work.own)
    return made


class _Translation:
    """A walk over a model that makes each module once, in the other library."""

    library: Any
    root: type

    def __init__(self, classes: dict[type, Callable[[Any], Any]]) -> None:
        self.classes = classes
        self.made: dict[int, Any] = {}
        self.own: list[str] = []  # classes of one's own, whose forward is to be tried

    def module(self, module: Any, path: str) -> Any:
        """The equal of one module, and of those inside."""
        if id(module) in self.made:
            return self.made[id(module)]
        try:
            made = self._made(module, path)
        except CannotExpress as error:
            raise error.at(path, type(module).__name__) from error
        inside = dict(made.named_modules())
        for name, inner in module.named_modules():
            if name in inside:
                inside[name].training = inner.training
        self.made[id(module)] = made
        return made

    def _made(self, module: Any, path: str) -> Any:
        if type(module) in self.classes:
            return self.classes[type(module)](module)
        if any(self.hooked(m) for m in (module, *module.modules())):
            raise CannotExpress("it has hooks, which do not go over")
        kind = layer_of(module, self.library, self.root)
        if kind is None:
            return self.own_class(module, path)
        if kind.__name__ in _HOLDERS:
            return self.holder(module, kind.__name__, path)
        return self.layer(module, kind)

    def children(self, module: Any, path: str) -> Iterator[tuple[str, Any]]:
        dot = path + "." if path else ""
        for name, inner in self.inside(module):
            yield name, self.module(inner, dot + name)

    def inside(self, module: Any) -> Iterator[tuple[str, Any]]:
        raise NotImplementedError

    def hooked(self, module: Any) -> bool:
        raise NotImplementedError

    def layer(self, module: Any, kind: type) -> Any:
        raise NotImplementedError

    def holder(self, module: Any, name: str, path: str) -> Any:
        raise NotImplementedError

    def own_class(self, module: Any, path: str) -> Any:
        raise NotImplementedError

    def require_plain(self, computed: bool) -> None:
        if computed:
            raise CannotExpress("a parameter of its own is computed from others; a layer's may be")

    def copied_class(self, module: Any, base: type) -> Any:
        """A class of the other library's with the forward and helpers of a class of one's own.

        Raises:
            CannotExpress: it derives from a layer that has methods of its own, or has no forward.
        """
        kinds = [k for k in type(module).__mro__ if not issubclass(self.root, k)]
        for kind in kinds:
            if getattr(self.library, kind.__name__, None) is kind:
                raise CannotExpress(
                    f"it changes the forward of {kind.__name__}, which no other library's layer "
                    "has: give its equal in classes={...}"
                )
        members: dict[str, Any] = {}
        for kind in reversed(kinds):
            members |= {
                name: value
                for name, value in vars(kind).items()
                if name == "__doc__" or not (name.startswith("__") and name.endswith("__"))
            }
        if "forward" not in members:
            raise CannotExpress("it has no forward")
        return type(type(module).__name__, (base,), members)


class _ToTorch(_Translation):
    library, root = nn, Module

    def inside(self, module: Module) -> Iterator[tuple[str, Any]]:
        return module.named_children()

    def hooked(self, module: Module) -> bool:
        return bool(module._before or module._after)

    def layer(self, module: Module, kind: type) -> Any:
        if not is_parametrized(module):
            return to_torch_layer(module, kind, lambda inner: self.module(inner, ""))
        with temporary_modes(module):  # in training each reading of a weight iterates
            module.eval()
            made = to_torch_layer(module, kind, lambda inner: self.module(inner, ""))
            compute_there(module, made)
        return made

    def holder(self, module: Any, name: str, path: str) -> Any:
        import torch

        if name == "ParameterList":
            return torch.nn.ParameterList([_torch_parameter(p) for p in module])
        if name == "ParameterDict":
            return torch.nn.ParameterDict({n: _torch_parameter(p) for n, p in module.items()})
        made = getattr(torch.nn, name)()
        for key, inner in self.children(module, path):
            made.add_module(key, inner)
        return made

    def own_class(self, module: Module, path: str) -> Any:
        import torch

        self.require_plain(is_parametrized(module))
        kind = self.copied_class(module, torch.nn.Module)
        made = kind.__new__(kind)
        torch.nn.Module.__init__(made)
        inside = dict(self.children(module, path))
        for name, value in vars(module).items():
            if name in inside:
                made.add_module(name, inside[name])
            elif isinstance(value, Parameter):
                made.register_parameter(name, _torch_parameter(value))
            elif name in module._buffers:
                array = None if value is None else torch.from_numpy(_host(value))
                made.register_buffer(name, array, persistent=module._buffers[name])
            elif name not in ("_training", "_buffers", "_vacant", "_before", "_after"):
                setattr(made, name, value)
        self.own.append(type(module).__name__)
        return made


class _FromTorch(_Translation):
    def __init__(self, classes: dict[type, Callable[[Any], Any]]) -> None:
        import torch

        super().__init__(classes)
        self.library, self.root = torch.nn, torch.nn.Module

    def inside(self, module: Any) -> Iterator[tuple[str, Any]]:
        """Under each of its names, where `named_children` has a module once."""
        return ((name, m) for name, m in module._modules.items() if m is not None)

    def hooked(self, module: Any) -> bool:
        hooks = "_forward_hooks _forward_pre_hooks _backward_hooks _backward_pre_hooks".split()
        return any(getattr(module, name, None) for name in hooks)

    def layer(self, module: Any, kind: type) -> Module:
        modes = [(m, m.training) for m in module.modules()]
        try:
            module.eval()  # in training each reading of a spectral norm iterates
            made = from_torch_layer(module, kind, lambda inner: self.module(inner, ""))
            compute_here(module, made)
        finally:
            for inner, training in modes:
                inner.training = training
        return made

    def holder(self, module: Any, name: str, path: str) -> Module:
        if name == "ParameterList":
            return nn.ParameterList([_parameter(p) for p in module])
        if name == "ParameterDict":
            return nn.ParameterDict({n: _parameter(p) for n, p in module.items()})
        made: Module = getattr(nn, name)()
        for key, inner in self.children(module, path):
            made.add_module(key, inner)
        return made

    def own_class(self, module: Any, path: str) -> Module:
        self.require_plain(hasattr(module, "parametrizations"))
        kind = self.copied_class(module, Module)
        made: Module = kind.__new__(kind)
        for name, inner in self.children(module, path):
            made.add_module(name, inner)
        for name, parameter in module._parameters.items():
            made.register_parameter(name, None if parameter is None else _parameter(parameter))
        for name, array in module._buffers.items():
            values = None if array is None else active_backend().from_numpy(_host(array))
            persistent = name not in module._non_persistent_buffers_set
            made.register_buffer(name, values, persistent)
        for name, value in vars(module).items():
            if not name.startswith("_") and name != "training":
                setattr(made, name, value)
        self.own.append(type(module).__name__)
        return made


def _torch_parameter(parameter: Parameter) -> Any:
    import torch

    return torch.nn.Parameter(torch.from_numpy(_host(parameter)))


def _parameter(parameter: Any) -> Parameter:
    return Parameter(active_backend().from_numpy(_host(parameter)))


def _host(x: Any) -> np.ndarray:
    """A copy, in host memory, of an array, a tensor or a parameter of either library."""
    if hasattr(x, "detach") and hasattr(x, "cpu"):
        return np.array(x.detach().cpu().numpy())
    data = x.data if isinstance(x, Tensor) else x
    return np.array(backend_of(data).to_numpy(data))


# ---- classes of one's own are tried ----


def _require_example(name: str, own: list[str], example: Any) -> None:
    if example is None:
        raise CannotExpress(
            f"{name}: {', '.join(dict.fromkeys(own))}: its forward is a program of its own; with "
            "example=x, a small input, it is tried whether it runs on both libraries' tensors, or "
            "give its equal in classes={...}"
        )


def _try(ours: Module, theirs: Any, example: Any, own: list[str]) -> None:
    """Raise CannotExpress unless both compute the same outputs and gradients for the example."""
    import torch

    names = ", ".join(dict.fromkeys(own))
    inputs = [_host(x) for x in (example if isinstance(example, tuple | list) else (example,))]
    was = {id(m): m.training for m in theirs.modules()}
    home = next((backend_of(p.data) for p in ours.parameters()), active_backend())
    kept = [(p, p.grad) for p in ours.parameters()], [(p, p.grad) for p in theirs.parameters()]
    try:
        theirs.eval()
        found = list(_leaves(theirs(*[torch.from_numpy(x) for x in inputs]), torch.Tensor))
        with temporary_modes(ours):
            ours.eval()
            wanted = list(_leaves(ours(*[Tensor(home.from_numpy(x)) for x in inputs]), Tensor))
        pairs = list(zip(wanted, found, strict=True))
        for k, (a, b) in enumerate(pairs):
            _compare(f"output {k}", _host(a), _host(b))
        gradients = [_gradients(part, m) for part, m in ((wanted, ours), (found, theirs))]
        for name, g in gradients[0].items():
            h = gradients[1][name]
            if (g is None) != (h is None):
                raise CannotExpress(f"{name} has a gradient in one of the two only")
            if g is not None and h is not None:
                _compare(f"the gradient of {name}", g, h)
    except CannotExpress as error:
        raise CannotExpress(
            f"{names}: its forward computes something else there: {error}"
        ) from None
    except Exception as error:
        raise CannotExpress(
            f"{names}: its forward does not run on the other library's "
            f"tensors{_called(ours, own)}: {type(error).__name__}: {error}; give its equal in "
            "classes={...}"
        ) from error
    finally:
        for m in theirs.modules():
            m.training = was[id(m)]
        for parameters in kept:
            for p, grad in parameters:
                p.grad = grad


def _called(model: Module, own: list[str]) -> str:
    """What the forwards of classes of one's own name of the two libraries themselves."""
    found = set()
    for kind in {type(m) for m in model.modules() if type(m).__name__ in own}:
        forward: Any = inspect.unwrap(kind.forward)
        if not inspect.isfunction(forward):
            continue
        for name in forward.__code__.co_names:
            value = forward.__globals__.get(name)
            home = getattr(value, "__module__", None) or getattr(value, "__name__", None)
            if str(home).partition(".")[0] in ("nnx", "torch"):
                found.add(name)
    return f" (it calls {', '.join(sorted(found))}, of one library)" if found else ""


def _leaves(value: Any, kind: type) -> Iterator[Any]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _leaves(value[key], kind)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _leaves(part, kind)
    elif value is not None:
        raise TypeError(f"it gives {type(value).__module__}.{type(value).__name__}")


def _gradients(outputs: list[Any], module: Any) -> dict[str, np.ndarray | None]:
    """The gradient of each parameter, of all outputs weighted unevenly and summed."""
    for _, p in module.named_parameters():
        p.grad = None
    total = None
    for y in outputs:
        if "float" not in str(y.dtype):
            continue
        weights = np.cos(np.arange(_host(y).size)).reshape(tuple(y.shape)).astype(_host(y).dtype)
        like = (
            Tensor(backend_of(y.data).from_numpy(weights))
            if isinstance(y, Tensor)
            else _from_numpy(weights)
        )
        part = (y * like).sum()
        total = part if total is None else total + part
    if total is not None and total.requires_grad:
        total.backward()
    return {
        name: None if p.grad is None else _host(p.grad) for name, p in module.named_parameters()
    }


def _from_numpy(x: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(x)


def _compare(what: str, a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise CannotExpress(f"{what} has shape {a.shape} and {b.shape}")
    bound = _AGREE.get(a.dtype.name, 0.0)
    largest = float(np.max(np.abs(a), initial=0)) or 1.0
    off = float(np.max(np.abs(a.astype("float64") - b.astype("float64")), initial=0)) / largest
    if not off <= bound:
        raise CannotExpress(f"{what} differs by {off:.1e} of its largest number")

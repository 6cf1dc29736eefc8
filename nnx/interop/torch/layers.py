"""One layer in both libraries: the class of the same name, with the same arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ... import nn
from ...backends import active_backend, backend_of
from ...io.architecture import PASSED_OVER, READ, arguments_of
from ...nn import Module
from ...nn.utils.parametrizations import norms_of, spectral_norm, weight_norm
from ...tensor import Tensor
from ..refusal import CannotExpress

# Arguments that say how it is computed, and not what.
_HOW = frozenset(
    "device dtype inplace sparse size_average reduce args kwargs _weight _freeze "
    "min_value max_value process_group".split()
)
_RECURRENT = "input_size hidden_size num_layers bias batch_first dropout bidirectional".split()
_SIGNATURES = {  # of classes whose own is (*args, **kwargs)
    "RNN": dict.fromkeys([*_RECURRENT, "nonlinearity"]),
    "LSTM": dict.fromkeys([*_RECURRENT, "proj_size"]),
    "GRU": dict.fromkeys(_RECURRENT),
}


def torch_class(name: str) -> Any:
    """PyTorch's class of this name, or None."""
    import torch

    found = getattr(torch.nn, name, None)
    return found if inspect.isclass(found) else None


def _signature(kind: Any) -> dict[str, Any]:
    """What a class of PyTorch's takes: its arguments by name, with their defaults."""
    if kind.__name__ in _SIGNATURES:
        return dict(_SIGNATURES[kind.__name__])
    parameters = inspect.signature(kind).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}


def layer_of(module: Any, library: Any, root: type) -> Any:
    """The layer of `library` that a module is: its class, or the base whose forward it has."""
    for kind in type(module).__mro__:
        if kind is root:
            return None
        if getattr(library, kind.__name__, None) is kind:
            return kind if type(module).forward is kind.forward else None
    return None


Translate = Callable[[Any], Any]


def to_torch_layer(module: Module, kind: type[Module], translate: Translate) -> Any:
    """PyTorch's layer with the arguments of one of nnx, and with other weights.

    Args:
        module: the layer.
        kind: the class of `nnx.nn` that it is.
        translate: gives the equal of a module that is an argument.

    Raises:
        CannotExpress: PyTorch has no such layer, or an argument means nothing there.
    """
    name = kind.__name__
    theirs = torch_class(name)
    if theirs is None:
        raise CannotExpress(f"PyTorch has no layer {name}")
    ours = arguments_of(module, kind)
    if ours is None:
        raise CannotExpress(f"the arguments of {name} cannot be read from the layer")
    if ours.get("reset_after") is False:
        raise CannotExpress(
            "reset_after=False resets before the recurrent product (Xu 9.4), and PyTorch's GRU "
            "after it: with the same weights it is another function"
        )
    if name == "Identity":
        return theirs()
    known = _signature(theirs)
    defaults = inspect.signature(kind).parameters
    given = {}
    for key, value in ours.items():
        if key == "dtype":
            given[key] = _torch_dtype(value)
        elif key in known:
            given[key] = translate(value) if isinstance(value, Module) else _to_torch(key, value)
        elif value != defaults[key].default and not (
            key == "bias" and not ours.get("affine", True)
        ):
            raise CannotExpress(f"{key}={value!r} means nothing to PyTorch's {name}")
    if name == "TransformerEncoder":  # how, too; True warns where it cannot be
        given["enable_nested_tensor"] = False
    return theirs(**given)


def _torch_dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)


def _require_value(key: str, value: Any) -> None:
    if callable(value):
        raise CannotExpress(f"{key} is a function of one's own, which computes in one library")


def _to_torch(key: str, value: Any) -> Any:
    _require_value(key, value)
    if isinstance(value, Tensor) or (hasattr(value, "dtype") and hasattr(value, "shape")):
        import torch

        data = value.data if isinstance(value, Tensor) else value
        return torch.from_numpy(np.array(backend_of(data).to_numpy(data)))
    if key == "padding" and isinstance(value, tuple | list):
        pairs = [v if isinstance(v, tuple | list) else (v, v) for v in value]
        if any(before != after for before, after in pairs):
            raise CannotExpress(
                f"padding={value!r} differs before and after, and PyTorch's is one number an axis: "
                "put a layer that pads before this one"
            )
        return tuple(before for before, _ in pairs)
    return value


def from_torch_layer(module: Any, kind: type, translate: Translate) -> Module:
    """The layer of nnx with the arguments of one of PyTorch's, and with other weights.

    Args:
        module: the layer.
        kind: the class of `torch.nn` that it is.
        translate: gives the equal of a module that is an argument.

    Raises:
        CannotExpress: nnx has no such layer, or not with these arguments.
    """
    name = kind.__name__
    ours = getattr(nn, name, None)
    if not (inspect.isclass(ours) and issubclass(ours, Module)):
        raise CannotExpress(f"nnx has no layer {name}")
    if name == "Identity":
        return nn.Identity()
    known = inspect.signature(ours).parameters
    given: dict[str, Any] = {}
    computed = getattr(module, "parametrizations", {})
    read, passed_over = READ.get(name, {}), PASSED_OVER.get(name, "").split()
    for key in known:
        if key in read:
            value = read[key](module)
            is_module = hasattr(value, "named_parameters")
            given[key] = translate(value) if is_module else _from_torch(key, value)
        elif key == "dtype":
            held = (*module.parameters(recurse=False), *module.buffers(recurse=False))
            own = [p for p in (*held, *module.parameters()) if p.is_floating_point()]
            if own:
                given[key] = str(own[0].dtype).removeprefix("torch.")
        elif key in module._modules:
            inner = getattr(module, key)
            given[key] = None if inner is None else translate(inner)
        elif hasattr(module, key) and key not in (*passed_over, *_HOW):
            value = getattr(module, key)
            is_parameter = key in module._parameters or key in computed
            given[key] = value is not None if is_parameter else _from_torch(key, value)
    for key, default in _signature(kind).items():
        if key not in known and key not in (*_HOW, *passed_over) and hasattr(module, key):
            value = getattr(module, key)
            if default is not inspect.Parameter.empty and value != default:
                raise CannotExpress(f"{key}={value!r} means nothing to nnx's {name}")
    try:
        return ours(**given)
    except (TypeError, ValueError) as error:
        raise CannotExpress(f"nnx's {name} does not take its arguments: {error}") from error


def _from_torch(key: str, value: Any) -> Any:
    _require_value(key, value)
    if hasattr(value, "detach"):
        return active_backend().from_numpy(np.array(value.detach().cpu().numpy()))
    if isinstance(value, tuple) and (len(value) == 1 or key == "padding") and len(set(value)) == 1:
        return value[0]
    return value


def compute_there(module: Module, made: Any) -> None:
    """Let the weights of a layer of PyTorch be computed as those of one of nnx are.

    Args:
        module: a layer, perhaps with weight norm or spectral norm.
        made: its equal without.
    """
    import torch

    there = torch.nn.utils.parametrizations
    for name, (function, options) in norms_of(module).items():
        getattr(there, function)(made, name, **options)


def compute_here(module: Any, made: Module) -> None:
    """Let the weights of a layer of nnx be computed as those of one of PyTorch are.

    Args:
        module: a layer, perhaps with weight norm or spectral norm.
        made: its equal without.

    Raises:
        CannotExpress: they are computed in another way.
    """
    for name, held in getattr(module, "parametrizations", {}).items():
        kinds = [type(part).__name__ for part in held]
        if kinds == ["_WeightNorm"]:
            weight_norm(made, name, held[0].dim)
        elif kinds == ["_SpectralNorm"] and made.get_parameter(name).ndim > 1:
            norm = held[0]
            spectral_norm(made, name, norm.n_power_iterations, norm.eps, norm.dim)
        else:
            raise CannotExpress(
                f"its {name} is computed by {', '.join(kinds)}, and nnx has weight norm, and "
                "spectral norm of matrices"
            )

"""What a model is made of, as JSON can hold it; the model again; and what its weights mean.

    {"class": "Sequential", "modules": {
        "0": {"class": "Linear", "arguments": {"in_features": 4, "out_features": 3, ...}},
        "1": {"class": "ReLU", "arguments": {}}}}

A layer of `nnx.nn` is described by what its constructor takes; a class of one's own by its name and
the modules inside it.  Only the first are made again: a file names classes, and no file may choose
what is run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .. import nn
from ..backends import active_backend, backend_of, dtype_name
from ..nn import Module, Parameter
from ..nn.module import temporary_modes
from ..nn.state import at_most
from ..nn.utils import parametrizations
from ..nn.utils.parametrizations import is_parametrized, norms_of, plain_class
from .limits import limits

_HOLDERS: tuple[Any, ...] = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

# Where programs differ, by layer: what the numbers of its parameters mean here.
CONVENTIONS = {
    "Linear": "weight (out, in)",
    "Conv": "weight (out, in / groups, *kernel), channels before pixels, not flipped",
    "ConvTranspose": "weight (in, out / groups, *kernel), channels before pixels",
    "BatchNorm": "momentum of the new value; running_var unbiased; eps under the root",
    "Dropout": "p of dropping; in evaluation nothing is scaled",
    "RNN": "two biases, added",
    "LSTM": "rows i, f, g, o; two biases, added",
    "GRU": "rows r, z, n; two biases; h' = (1 - z) n + z h",
    "GRU.reset": "after the product, unless reset_after is False: before it",
}


Read = Callable[[Any], Any]
_OF_A_LAYER: dict[str, Read] = {
    "d_model": lambda m: m.linear1.in_features,
    "nhead": lambda m: m.self_attn.num_heads,
    "dim_feedforward": lambda m: m.linear1.out_features,
    "dropout": lambda m: m.dropout.p,
    "activation": lambda m: {"relu": "relu", "gelu": "gelu"}.get(
        getattr(m.activation, "__name__", ""), m.activation
    ),
    "layer_norm_eps": lambda m: m.norm1.eps,
    "batch_first": lambda m: m.self_attn.batch_first,
    "bias": lambda m: m.linear1.bias is not None,
}


def _first_of(layers: Any) -> Any:
    """The layer that a stack was made of: all of them are like it, or nobody can say."""
    kinds = [repr((type(layer), _described(layer, "", {}, []))) for layer in layers]
    return layers[0] if len(set(kinds)) == 1 else None


# Arguments that the layer does not keep under their names, by class: where they are read.  Those of
# PyTorch's classes are found in the same places.
READ: dict[str, dict[str, Read]] = {
    "MultiheadAttention": {
        "bias": lambda m: m.in_proj_bias is not None,
        "add_bias_kv": lambda m: m.bias_k is not None,
    },
    "TransformerEncoderLayer": _OF_A_LAYER,
    "TransformerDecoderLayer": _OF_A_LAYER,
    "TransformerEncoder": {"encoder_layer": lambda m: _first_of(m.layers)},
    "TransformerDecoder": {"decoder_layer": lambda m: _first_of(m.layers)},
    "Transformer": {
        "custom_encoder": lambda m: m.encoder,
        "custom_decoder": lambda m: m.decoder,
    },
    "LinearCrossEntropyLoss": {
        "in_features": lambda m: m.linear.in_features,
        "bias": lambda m: m.linear.bias is not None,
    },
    "PositionalEncoding": {"dropout": lambda m: m.dropout.p},
    "LearnedPositionalEncoding": {"dropout": lambda m: m.dropout.p},
}
# Of these the layer is made of other things, or they say how it is computed and not what.
PASSED_OVER = {
    "Transformer": "num_encoder_layers num_decoder_layers dim_feedforward dropout activation "
                   "layer_norm_eps norm_first bias",
    "TransformerEncoder": "enable_nested_tensor mask_check",
    "LinearCrossEntropyLoss": "options",
}  # fmt: skip
_ANYWHERE = ("device", "inplace")  # where and how it is computed, not what


def arguments_of(module: Module, kind: Any = None) -> dict[str, Any] | None:
    """The arguments that make a layer of `nnx.nn` anew, by name; None for any other class.

    Args:
        module: the layer.
        kind: the class of `nnx.nn` that it is to be taken for; its own by default.
    """
    kind = type(module) if kind is None else kind
    own_name = kind.__name__
    known = own_name in nn.__all__ and getattr(nn, own_name) is kind
    if not known or issubclass(kind, _HOLDERS):
        return None
    arguments: dict[str, Any] = {}
    read = READ.get(own_name, {})
    passed_over = (*_ANYWHERE, *PASSED_OVER.get(own_name, "").split())
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in passed_over or parameter.kind in (
            parameter.VAR_POSITIONAL,  # Identity takes anything, and does nothing with it
            parameter.VAR_KEYWORD,
        ):
            continue
        place = name if hasattr(module, name) else f"{name}_ih"  # the biases of cells
        if name in read:
            arguments[name] = read[name](module)
        elif name == "dtype":
            dtype = _dtype_of(module)
            if dtype is not None:
                arguments[name] = dtype
        elif not hasattr(module, place):
            return None
        else:
            value = getattr(module, place)
            is_place = isinstance(value, Parameter) or module._vacant.get(place) is Parameter
            is_place = is_place or is_parametrized(module, place)
            arguments[name] = value is not None if is_place else value
    return arguments


def _dtype_of(module: Module) -> str | None:
    """Of what a layer holds itself, else of what is inside."""
    own = [p for p in vars(module).values() if isinstance(p, Parameter)]
    own += [array for _, array in module.named_buffers(recurse=False)]
    names = [dtype_name(p.dtype) for p in (*own, *module.parameters())]
    return next((name for name in names if name.startswith("float")), None)


def configuration(module: Module) -> dict[str, Any] | None:
    """`arguments_of` a layer, where JSON can hold all of them."""
    arguments = arguments_of(module, plain_class(module))
    if arguments is None:
        return None
    try:
        return {name: _plain(value) for name, value in arguments.items()}
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    """An argument as JSON can hold it; modules and arrays as dicts, which `_argument` undoes."""
    if isinstance(value, tuple | list):
        return type(value)([_plain(v) for v in value])
    if isinstance(value, Module):
        return {"module": _described(value, "", {}, [])}
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        host = np.asarray(backend_of(value).to_numpy(value))
        return {"array": host.tolist(), "dtype": host.dtype.name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(type(value).__name__)


def _argument(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "module" in value:
        return _built(value["module"], "", {})
    return active_backend().from_numpy(np.asarray(value["array"], value["dtype"]))


def describe(model: Module) -> dict[str, Any]:
    """The architecture of a model.

    A module that stands in several places is described at the first, and {"same": first} at the
    others; parameters that stand in several layers are noted under "tied": by each further name,
    the first.
    """
    first: dict[int, str] = {}
    again: list[str] = []
    made = _described(model, "", first, again)
    tied: dict[str, str] = {}
    names: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) not in names:
            names[id(parameter)] = name
        elif not name.startswith(tuple(again)):
            tied[name] = names[id(parameter)]
    return {**made, "tied": tied} if tied else made


def _described(
    module: Module, path: str, first: dict[int, str], again: list[str]
) -> dict[str, Any]:
    if id(module) in first:
        again.append(path + ".")
        return {"same": first[id(module)]}
    first[id(module)] = path
    kind = plain_class(module)
    computed = {name: list(how) for name, how in norms_of(module).items()}
    with temporary_modes(module):  # in training each reading of a computed weight iterates
        if computed:
            module.eval()
        arguments = configuration(module)
    if arguments is not None:
        made = {"class": kind.__name__, "arguments": arguments}
        return {**made, "computed": computed} if computed else made
    dot = path + "." if path else ""
    inside = {n: _described(m, dot + n, first, again) for n, m in module.named_children()}
    if kind in _HOLDERS:
        return {"class": kind.__name__, "modules": inside}
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "own": True, "modules": inside}


def build(architecture: Any, arrays: Mapping[str, np.ndarray]) -> Module:
    """A model of this architecture, with parameters of its own, on the active backend.

    Args:
        architecture: what `describe` gave.
        arrays: its weights, which it must not have more of.

    Raises:
        ValueError: it holds a class that is not one of `nnx.nn`'s, has other weights, or makes no
            sense.
    """
    try:
        _hold_sizes(architecture, len(arrays))
        with at_most(sum(array.size for array in arrays.values())):
            model = _built(architecture, "", {})
        for place, source in architecture.get("tied", {}).items():
            owner, _, name = place.rpartition(".")
            setattr(model.get_submodule(owner), name, model.get_parameter(source))
    except (AttributeError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"no model can be made of it: {error}") from error
    return model


def _hold_sizes(architecture: Any, count: int) -> None:
    """Refuse what would be made by the million before any weight is missed: layers and tables."""
    level = [architecture]
    while level:
        inner = [v for node in level for v in (node.values() if isinstance(node, dict) else node)]
        for node in level:
            if isinstance(node, dict):
                layers, rows = node.get("num_layers", 0), node.get("max_len", 0)
                if layers > count or rows * node.get("features", 1) > limits.unpacked // 8:
                    raise ValueError(f"no model of this size is in it: {node!r:.200}")
        level = [v for v in inner if isinstance(v, dict | list)]


def _built(architecture: Any, path: str, made: dict[str, Module]) -> Module:
    if "same" in architecture:
        return made[architecture["same"]]
    name = architecture["class"]
    where = f" ({path})" if path else ""
    if architecture.get("own"):
        raise ValueError(
            f"{name}{where} is no class of nnx.nn, and none is run because a file names it: make "
            "the model, and give it as model="
        )
    kind = getattr(nn, name) if isinstance(name, str) and name in nn.__all__ else None
    if not (inspect.isclass(kind) and issubclass(kind, Module)):
        raise ValueError(f"nnx.nn has no layer {name!r:.80}{where}")
    model: Module
    if kind in _HOLDERS:
        model = kind()
        dot = path + "." if path else ""
        for key, inner in architecture["modules"].items():
            model.add_module(key, _built(inner, dot + key, made))
    else:
        given = architecture["arguments"].items()
        model = kind(**{name: _argument(value) for name, value in given})
        for parameter, (function, options) in architecture.get("computed", {}).items():
            if function not in ("weight_norm", "spectral_norm"):
                raise ValueError(f"nnx has no {function!r:.80} by which a parameter is computed")
            getattr(parametrizations, function)(model, parameter, **options)
    made[path] = model
    return model


def conventions(model: Module) -> dict[str, str]:
    """What the numbers of this model's weights mean, by kind of layer, where programs differ."""
    return {name: CONVENTIONS[name] for name in sorted(set(_kinds(model)))}


def _kinds(model: Module) -> Iterator[str]:
    for module in model.modules():
        name = plain_class(module).__name__.removesuffix("Cell").rstrip("123d").removeprefix("Sync")
        if name in CONVENTIONS:
            yield name
            if name == "GRU":
                yield "GRU.reset"

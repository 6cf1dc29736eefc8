"""A small input of a model and its output, kept with the weights: does the loaded model give it?"""

from __future__ import annotations

import base64
import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import nn
from ..autograd import no_grad
from ..backends import active_backend, backend_of, dtype_name
from ..nn import Module
from ..nn.module import temporary_modes
from ..tensor import Tensor

# Of the largest number of an output: another machine adds in another order, and what differs grows
# from layer to layer.
BOUNDS = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-9}


def example_of(model: Module) -> tuple[np.ndarray, ...] | None:
    """A small input for a model that begins with a layer which says what it takes; else None.

    Only for a chain of layers without hooks: of anything else running it might do more than to
    compute.
    """
    inside = list(model.modules())
    if any(m._before or m._after or type(m).__module__[:4] != "nnx." for m in inside):
        return None
    layer = model
    while isinstance(layer, nn.Sequential) and len(layer):
        layer = layer[0]
    rows = np.arange(1, 7)
    if isinstance(layer, nn.Embedding):
        return ((rows % layer.num_embeddings).reshape(2, 3),)
    if isinstance(layer, nn.Linear):
        shape: tuple[int, ...] = (2, layer.in_features)
    elif isinstance(layer, nn.RNN | nn.LSTM | nn.GRU):
        shape = (3, 3, layer.input_size)
    else:
        return None
    numbers = np.sin(np.arange(1.0, math.prod(shape) + 1)).reshape(shape)
    return (numbers.astype(dtype_name(next(layer.parameters()).dtype)),)


def outputs_of(model: Module, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """What a model computes in evaluation, in host memory, one array after another."""
    own = next((p.data for p in model.parameters()), None)
    home = active_backend() if own is None else backend_of(own)
    device = home.device if own is None else own.device
    with no_grad(), temporary_modes(model):
        model.eval()
        made = model(*[Tensor(home.xp.asarray(home.from_numpy(x), device=device)) for x in inputs])
    return [np.array(backend_of(y).to_numpy(y)) for y in _leaves(made)]


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Tensor):
        yield value.data
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            yield from _leaves(value[key])
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _leaves(part)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        yield value
    elif value is not None:
        raise TypeError(
            f"save: the model's output holds {type(value).__name__}; a probe can be made of "
            "tensors, and of tuples, lists and dicts of them"
        )


def probe_of(model: Module, weights: Mapping[str, np.ndarray], example: Any) -> dict[str, Any]:
    """The probe of a model that has these weights, as they will be read, as JSON can hold it.

    Raises:
        TypeError: the model's output holds something else than tensors.
    """
    given = example if isinstance(example, tuple | list) else (example,)
    inputs = tuple(_host(x) for x in given)
    loaded = copy.deepcopy(model)
    loaded.load_state_dict(weights)
    outputs = outputs_of(loaded, inputs)
    return {"inputs": [_packed(x) for x in inputs], "outputs": [_packed(y) for y in outputs]}


def _host(x: Any) -> np.ndarray:
    data = x.data if isinstance(x, Tensor) else x
    return np.array(backend_of(data).to_numpy(data) if hasattr(data, "dtype") else data, order="C")


def _packed(x: np.ndarray) -> dict[str, Any]:
    raw = x.astype(x.dtype.newbyteorder("<"), copy=False)
    text = base64.b64encode(np.ascontiguousarray(raw).tobytes()).decode()
    return {"dtype": x.dtype.name, "shape": list(x.shape), "base64": text}


def _unpacked(value: Any) -> np.ndarray:
    kind = np.dtype(value["dtype"])
    if kind.kind not in "biufc":
        raise ValueError(f"{kind} is no dtype of numbers")
    raw = base64.b64decode(value["base64"], validate=True)
    values = np.frombuffer(raw, kind.newbyteorder("<")).reshape(value["shape"])
    return values.astype(kind)


def prove(model: Module, probe: Any) -> None:
    """Raise ValueError unless the model gives the probe's outputs for its inputs."""
    try:
        inputs = tuple(_unpacked(x) for x in probe["inputs"])
        wanted = [_unpacked(y) for y in probe["outputs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its probe is damaged: {error}") from error
    found = outputs_of(model, inputs)
    if [y.shape for y in found] != [y.shape for y in wanted]:
        raise ValueError(
            f"the model gives outputs of shapes {[y.shape for y in found]} for the probe's inputs, "
            f"the one that was saved gave {[y.shape for y in wanted]}"
        )
    for k, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        bound = max(BOUNDS.get(y.dtype.name, 0.0) for y in (mine, theirs))
        off = distance(mine, theirs)
        if not off <= bound:
            raise ValueError(
                f"the model is not the one that was saved: output {k} for the probe's input is "
                f"{off:.1e} of its largest number away, and {bound:.0e} is allowed"
            )


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, of the largest number of b; inf where one alone is not finite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if bool(np.all(same)):
        return 0.0
    finite = np.isfinite(a) & np.isfinite(b)
    if not bool(np.all(same | finite)):
        return math.inf
    largest = float(np.max(np.abs(b), initial=0, where=finite))
    off = float(np.max(np.abs(a - b), initial=0, where=finite & ~same))
    return off / largest if largest else math.inf

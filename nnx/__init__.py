"""nnx: neural networks to read and to run.

    import nnx
    from nnx import nn, optim

The tape, tensors and operations are here at once; every other room is imported when its name is
first used, so that `import nnx` costs little more than `import numpy`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import ops
from .autograd import Function, autocast, enable_grad, is_grad_enabled, no_grad
from .backends import active_backend, get_backend, set_backend, use_backend
from .derivatives import jacobian, numerical_gradient
from .gradcheck import gradcheck
from .names import room_has_not
from .ops.array.creation import from_dlpack
from .standard import bool as bool
from .standard import complex64 as complex64
from .standard import complex128 as complex128
from .standard import e as e
from .standard import float32 as float32
from .standard import float64 as float64
from .standard import inf as inf
from .standard import int8 as int8
from .standard import int16 as int16
from .standard import int32 as int32
from .standard import int64 as int64
from .standard import nan as nan
from .standard import newaxis as newaxis
from .standard import pi as pi
from .standard import uint8 as uint8
from .standard import uint16 as uint16
from .standard import uint32 as uint32
from .standard import uint64 as uint64
from .tensor import Tensor, tensor
from .version import __version__ as __version__

if TYPE_CHECKING:
    from . import (
        amp,
        data,
        datasets,
        debug,
        functional,
        interop,
        io,
        linalg,
        linear_model,
        metrics,
        nn,
        onnx,
        optim,
        parallel,
        plots,
        random,
        recipes,
        sklearn,
        text,
        tools,
        train,
    )
    from .checkpointing import checkpoint
    from .explanation import explain
    from .higher import grad, hvp
    from .io import load_model
    from .io import load_weights as load
    from .io import save_weights as save
    from .nn.summary import summary
    from .ops import *  # noqa: F403
    from .plots.graph import draw_graph
    from .random import manual_seed
    from .tools.parity import parity
    from .train import Trainer
    from .train.capture import capture


__all__ = [
    "Function",
    "Tensor",
    "Trainer",
    "active_backend",
    "amp",
    "autocast",
    "capture",
    "checkpoint",
    "data",
    "datasets",
    "debug",
    "draw_graph",
    "enable_grad",
    "explain",
    "from_dlpack",
    "functional",
    "get_backend",
    "grad",
    "gradcheck",
    "hvp",
    "interop",
    "io",
    "is_grad_enabled",
    "jacobian",
    "linalg",
    "linear_model",
    "load",
    "load_model",
    "manual_seed",
    "metrics",
    "nn",
    "no_grad",
    "numerical_gradient",
    "onnx",
    "ops",
    "optim",
    "parallel",
    "parity",
    "plots",
    "random",
    "recipes",
    "save",
    "set_backend",
    "sklearn",
    "summary",
    "tensor",
    "text",
    "tools",
    "train",
    "use_backend",
]

_ROOMS = frozenset(
    (
        "amp data datasets debug functional interop io linalg linear_model metrics nn onnx optim "
        "parallel plots random recipes sklearn text tools train"
    ).split()
)
_HOMES = {  # name -> where it lives, and what it is called there
    "Trainer": ("train", "Trainer"),
    "capture": ("train.capture", "capture"),
    "checkpoint": ("checkpointing", "checkpoint"),
    "draw_graph": ("plots.graph", "draw_graph"),
    "explain": ("explanation", "explain"),
    "grad": ("higher", "grad"),
    "hvp": ("higher", "hvp"),
    "load": ("io", "load_weights"),
    "load_model": ("io", "load_model"),
    "manual_seed": ("random", "manual_seed"),
    "parity": ("tools.parity", "parity"),
    "save": ("io", "save_weights"),
    "summary": ("nn", "summary"),
}


if not TYPE_CHECKING:  # a type checker would take every name for one that is here

    def __getattr__(name: str) -> Any:
        """A room, a name that lives in one, or an operation: found at its first use, then kept."""
        value: Any
        if name in _ROOMS:
            value = import_module(f".{name}", __name__)
        elif name in _HOMES:
            room, there = _HOMES[name]
            value = getattr(import_module(f".{room}", __name__), there)
        elif name in ops.__all__:
            value = getattr(ops, name)
        else:
            raise room_has_not(__name__, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *ops.__all__})

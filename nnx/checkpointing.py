"""`checkpoint`: keep the inputs of a part of a network, and compute what is between once more.

What the operations inside keep for their backward is most of a deep network's memory.  A part that
is checkpointed keeps none of it: forward runs off the tape; on the way back it runs again, on a
tape of its own, which is walked at once (Chen et al. 2016).  With n layers in √n such parts, √n
inputs and the inside of one part are held at a time, for one more forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

from .autograd import Function, Node, autocast, backward, enable_grad, no_grad
from .autograd.autocast import autocast_dtype
from .autograd.backward import accumulate
from .backends import Array, backend_of
from .random import Generator, default_generator, use_generator
from .tensor import Tensor


class _Recomputed(Function):
    """y = f(x, p).  Backward: f is run again on the tape, and that tape is walked with g."""

    def __init__(self, function: Callable[..., Any], parameters: list[Any], count: int) -> None:
        self.function, self.parameters, self.count = function, parameters, count
        self.dtype = autocast_dtype()

    def forward(self, *arrays: Any) -> Any:
        self.drawn = default_generator().state()
        with no_grad():
            y = self.function(*map(_tensor, arrays[: self.count]))
        if any(self.needs_input_grad):
            self.inputs = arrays[: self.count]
            self.buffers = _buffers(self.function)
        if isinstance(y, tuple):
            return tuple(part.data for part in y)
        return y.data

    def backward(self, *gradients: Array) -> tuple[Array | None, ...]:
        """The gradients of x and p, by a walk over a tape that is made here.

        Random numbers are those of the first time; running statistics end as they are now.
        """
        leaves = [
            Tensor(x, requires_grad=need) if hasattr(x, "shape") else x
            for x, need in zip(self.inputs, self.needs_input_grad, strict=False)
        ]
        again = Generator()
        again.set_state(self.drawn)
        now = _buffers(self.function)
        _put(self.buffers)
        low = autocast(self.dtype) if self.dtype else nullcontext()
        try:
            with enable_grad(), use_generator(again), low:
                y = self.function(*leaves)
        finally:
            _put(now)
        found: dict[int, Array] = {}
        known = {id(x) for x in [*leaves, *self.parameters]}

        def take(leaf: Any, g: Array) -> None:
            if id(leaf) in known:
                found[id(leaf)] = found[id(leaf)] + g if id(leaf) in found else g
            else:  # a parameter that nobody told of
                accumulate(leaf, g)

        for part, g in zip(y if isinstance(y, tuple) else (y,), gradients, strict=True):
            if part.requires_grad:
                backward(part, g, retain_graph=True, take=take)
        return tuple(found.get(id(x)) for x in [*leaves, *self.parameters])


def checkpoint(
    function: Callable[..., Any], *inputs: Any, parameters: Iterable[Tensor] = ()
) -> Any:
    """function(*inputs), whose inside is computed again on the way back instead of being kept.

        hidden = nnx.checkpoint(block, hidden)      # block: a module

    Values and gradients are those of function(*inputs), dropout's masks among them, and batch
    norm's running statistics move once.  What it costs is one more forward.

    Args:
        function: a module, or any function of tensors; returns a tensor or a tuple of them, of any
            shapes, and computes the same again.
        inputs: what it takes; gradients go to those that are tensors.
        parameters: the parameters that it uses; a module's own are known.  Of others the gradient
            comes all the same, but only where some input or known parameter requires one.

    Raises:
        TypeError: no input is a tensor and no parameter is known.
    """
    known = list(parameters)
    if hasattr(function, "parameters"):
        known += list(function.parameters())
    if not any(isinstance(x, Node) for x in [*inputs, *known]):
        raise TypeError("checkpoint: no input is a tensor, and no parameter is known")
    return _Recomputed(function, known, len(inputs))(*inputs, *known)


def _tensor(x: Any) -> Any:
    return Tensor(x) if hasattr(x, "shape") else x


def _buffers(function: Any) -> list[tuple[Any, str, Array]]:
    """The buffers of a module and of those inside: owner, name, a copy."""
    modules = function.modules() if hasattr(function, "modules") else ()
    return [
        (m, name, backend_of(array).xp.asarray(array, copy=True))
        for m in modules
        for name in m._buffers
        if (array := getattr(m, name)) is not None
    ]


def _put(buffers: list[tuple[Any, str, Array]]) -> None:
    for module, name, array in buffers:
        setattr(module, name, array)

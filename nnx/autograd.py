"""The tape: a Tensor remembers the Function that made it, and `backward` walks back.

Reverse-mode differentiation (Linnainmaa 1970; Liu, back-propagation on graphs).  One `Function`
instance per call is the tape entry.  Functions are numbered in the order they are called; an
output exists before it can be used, so walking them by falling number meets every consumer of a
value before its maker: no separate sort is needed, and no recursion.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from typing import Any

from .backends import Array, Backend, _by_type, backend_of, mixed

_calls = itertools.count(1)


class _Mode(threading.local):
    recording = True


_mode = _Mode()


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording a tape (in this thread)."""
    before, _mode.recording = _mode.recording, False
    try:
        yield
    finally:
        _mode.recording = before


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record again, inside `no_grad`."""
    before, _mode.recording = _mode.recording, True
    try:
        yield
    finally:
        _mode.recording = before


def is_grad_enabled() -> bool:
    """Whether operations record themselves on the tape."""
    return _mode.recording


class Node:
    """An array and its place on the tape; `nnx.Tensor` adds names and operators to it."""

    __slots__ = ("__weakref__", "creator", "data", "grad", "requires_grad", "retains_grad", "slot")

    data: Array
    grad: Array | None
    requires_grad: bool
    retains_grad: bool
    creator: Function | None
    slot: int  # which of the creator's outputs this is

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self.grad = None
        self.requires_grad = requires_grad
        self.retains_grad = False
        self.creator = None
        self.slot = 0


class Function:
    """One differentiable operation, and, once called, its entry on the tape.

    A subclass takes hyper-parameters in `__init__` and arrays in `forward`, and keeps on `self`
    what `backward` will need.  `backward` takes one gradient per output and returns one per
    input, None where there is none.  Neither sees a Tensor; an input that was given as a plain
    Python number reaches `forward` as that number.  While both run:

        self.backend    the backend of the arrays, with `self.backend.xp` its namespace
        self.needs      per input, whether its gradient is wanted: what is not need not be kept
    """

    backend: Backend
    needs: tuple[bool, ...]
    inputs: tuple[Any, ...] | None = None
    order = 0
    outputs: list[tuple[Any, Any, Any]] | None = None  # (shape, dtype, device) of each of several

    tensor_type: type[Node] = Node  # what outputs are wrapped in: `nnx.tensor` sets it to Tensor

    def forward(self, *arrays: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.forward")

    def backward(self, *gradients: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__}.backward")

    def __call__(self, *inputs: Any) -> Any:
        backend: Backend | None = None
        arrays: list[Any] = []
        needs: list[bool] = []
        recording = _mode.recording
        for x in inputs:
            if isinstance(x, Node):
                data = x.data
                home = _by_type.get(type(data)) or backend_of(data)
                if backend is None:
                    backend = home
                elif home is not backend:
                    raise mixed(backend, home)
                arrays.append(data)
                needs.append(recording and x.requires_grad)
            else:
                arrays.append(x)
                needs.append(False)
        if backend is None:
            raise TypeError(f"{type(self).__name__} needs at least one Tensor, got {inputs!r}")
        self.backend = backend
        self.needs = tuple(needs)
        results = self.forward(*arrays)

        make = self.tensor_type
        on_tape = True in needs
        if on_tape:
            self.inputs = inputs
            self.order = next(_calls)
        if type(results) is not tuple:
            if type(results) not in _by_type:
                results = backend.xp.asarray(results)  # a library's scalar: NumPy's sum()
            out = make(results)
            if on_tape:
                out.requires_grad = True
                out.creator = self
            return out
        outs = tuple([make(y) for y in results])
        if on_tape:
            self.outputs = [(y.shape, y.dtype, y.device) for y in results]
            for slot, out in enumerate(outs):
                out.requires_grad, out.creator, out.slot = True, self, slot
        return outs

    def release(self) -> None:
        """Forget everything that was kept for backward."""
        self.__dict__.clear()


def backward(root: Node, grad: Array | None, retain_graph: bool = False) -> None:
    """Add d(root)/d(leaf), seen through `grad`, to the `.grad` of every leaf behind `root`.

    The tape's memory is freed as it is walked, unless `retain_graph`.
    """
    if not root.requires_grad:
        raise RuntimeError(
            "backward: nothing to differentiate: the tensor was computed from no tensor that "
            "requires a gradient (or inside no_grad)"
        )
    if grad is None:
        if tuple(root.data.shape) != ():
            raise ValueError(
                "backward: without a gradient the tensor must be a scalar, but its shape is "
                f"{tuple(root.data.shape)}; pass backward(gradient) or reduce it, e.g. .sum()"
            )
        grad = backend_of(root.data).xp.ones_like(root.data)
    elif tuple(grad.shape) != tuple(root.data.shape):
        raise ValueError(
            f"backward: the gradient must have the tensor's shape; gradient {tuple(grad.shape)}, "
            f"tensor {tuple(root.data.shape)}"
        )

    ready: list[tuple[int, Function]] = []  # a heap: the latest call first
    pending: dict[int, list[Array | None]] = {}  # gradients of a function's outputs, so far

    def give(node: Node, g: Array) -> None:
        maker = node.creator
        if maker is None or node.retains_grad:
            node.grad = g if node.grad is None else node.grad + g
            if maker is None:
                return
        slots = pending.get(maker.order)
        if slots is None or maker.inputs is None:
            if maker.inputs is None:
                raise RuntimeError(
                    "backward: this part of the tape was already walked and its memory freed; "
                    "call backward(retain_graph=True) the first time to walk it twice"
                )
            slots = pending[maker.order] = [None] * (len(maker.outputs) if maker.outputs else 1)
            heappush(ready, (-maker.order, maker))
        before = slots[node.slot]
        slots[node.slot] = g if before is None else before + g

    give(root, grad)
    while ready:
        _, function = heappop(ready)
        slots = pending.pop(function.order)
        if function.outputs is not None:  # an unused output's gradient is zeros
            zeros = function.backend.xp.zeros
            for k, (shape, dtype, device) in enumerate(function.outputs):
                if slots[k] is None:
                    slots[k] = zeros(shape, dtype=dtype, device=device)
        gradients = function.backward(*slots)
        if type(gradients) is not tuple:
            gradients = (gradients,)
        inputs, needs = function.inputs, function.needs
        assert inputs is not None
        if not retain_graph:
            function.release()
        for x, g, needed in zip(inputs, gradients, needs, strict=True):
            if needed:
                if g.shape != x.data.shape or g.dtype != x.data.dtype:
                    raise RuntimeError(
                        f"{type(function).__name__}.backward returned a gradient of "
                        f"{g.dtype} {tuple(g.shape)} for an input of {x.data.dtype} "
                        f"{tuple(x.data.shape)}"
                    )
                give(x, g)

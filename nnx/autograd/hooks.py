"""Hooks on gradients: functions that are called with one as the walk back meets it.

Those of a tensor that was computed stand in the tape's entry, beside the tensors that keep their
gradient.  A leaf has no entry, and its gradient comes in pieces: it is handed over when the walk
has ended.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from ..backends import Array, dtype_name
from .function import Function, Node

GradientHook = Callable[[Array], Any]

_of_leaves: dict[int, tuple[weakref.ref[Node], list[GradientHook]]] = {}  # by identity


class TensorHook:
    """A hook that was registered; its `remove()` takes it off again.

    It stands among weak references to tensors, and refers to none.
    """

    def __init__(self, function: GradientHook, slot: int, owner: Function | list[GradientHook]):
        self.function, self.slot, self.owner = function, slot, owner

    def __call__(self) -> None:
        return None

    def remove(self) -> None:
        """Take the hook off; nothing happens where that was done before."""
        if isinstance(self.owner, Function):
            self.owner.retained = tuple(r for r in self.owner.retained if r is not self)
        elif self.function in self.owner:
            self.owner.remove(self.function)


def register(node: Node, function: GradientHook) -> TensorHook:
    """See `Tensor.register_hook`."""
    if not node.requires_grad:
        raise RuntimeError(
            f"register_hook: a tensor that requires no gradient (shape {tuple(node.data.shape)}) "
            "gets none, and the hook would never be called"
        )
    maker = node.creator
    if maker is not None:
        hook = TensorHook(function, node.slot, maker)
        maker.retained = (*maker.retained, hook)
        return hook
    key = id(node)
    if key not in _of_leaves:
        _of_leaves[key] = weakref.ref(node, lambda _: _of_leaves.pop(key, None)), []
    functions = _of_leaves[key][1]
    functions.append(function)
    return TensorHook(function, 0, functions)


def through(functions: list[GradientHook], g: Array) -> Array:
    """What the hooks, one after another, make of a gradient.

    Raises:
        ValueError: a hook returns something of another shape or dtype.
    """
    for function in functions:
        changed = function(g)
        if changed is None:
            continue
        changed = changed.data if isinstance(changed, Node) else changed
        if tuple(changed.shape) != tuple(g.shape) or changed.dtype != g.dtype:
            raise ValueError(
                "register_hook: the hook must return None or a gradient of the same shape and "
                f"dtype; it got {tuple(g.shape)} {dtype_name(g.dtype)} and returned "
                f"{tuple(changed.shape)} {dtype_name(changed.dtype)}"
            )
        g = changed
    return g


class LeavesWithHooks:
    """What a walk brings to leaves that have hooks, until the sums are handed over through them."""

    def __init__(self, then: Callable[[Any, Array], None] | None, add: Callable[..., Any]) -> None:
        self.then, self.add = then, add
        self.found: dict[int, tuple[Node, list[GradientHook], Array]] = {}

    def takes(self, leaf: Any, g: Array) -> bool:
        """Whether this leaf has hooks; its gradient is kept then."""
        functions = _of_leaves.get(id(leaf), (None, []))[1]
        if not functions:
            return False
        if self.then is not None:
            raise RuntimeError(
                "register_hook: gradients that are collected for several ranks, or for another "
                "function, pass no hook of a leaf; take it off, or change `.grad` afterwards"
            )
        before = self.found.get(id(leaf))
        self.found[id(leaf)] = leaf, functions, g if before is None else before[2] + g
        return True

    def finish(self) -> None:
        """The walk has ended: every gradient is whole."""
        for leaf, functions, g in self.found.values():
            self.add(leaf, through(functions, g))


def collected(
    take: Callable[[Any, Array], None] | None, add: Callable[..., Any]
) -> LeavesWithHooks | None:
    """What a walk hands its gradients to, where any leaf has a hook."""
    if not _of_leaves or not any(held for _, held in _of_leaves.values()):
        return None
    return LeavesWithHooks(take, add)

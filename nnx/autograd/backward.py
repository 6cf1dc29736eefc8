"""The walk back over the tape, from a result to the leaves it was computed from."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from sys import getrefcount
from typing import Any

from ..backends import Array, backend_of, dtype_name, mixed
from . import calls, hooks, writes
from .function import Function, Node


def _references_to_a_local() -> int:
    local = object()
    return getrefcount(local)


def _references_in_the_walk() -> int:
    """Those to a gradient that only the walk below holds: the same loop, with nothing else."""
    gradients = (object(),)
    for _, _, g in zip((None,), (0,), gradients):  # noqa: B905
        return getrefcount(g)
    return 0


_ALONE = _references_to_a_local()  # 2, but 1 from Python 3.14 on, which lends references
_FRESH = _references_in_the_walk()


def backward(
    root: Node,
    grad: Array | None,
    retain_graph: bool = False,
    take: Callable[[Any, Array], None] | None = None,
) -> None:
    """Add d(root)/d(leaf), seen through `grad`, to the `.grad` of every leaf behind `root`.

    While it walks, one array may be the gradient of several tensors: nothing is written in place.
    What stays behind is its owner's alone: a leaf whose gradient somebody else holds too, or that
    is a view of memory that others see, gets a copy.

    Args:
        root: a tensor on the tape.
        grad: dL/d(root), an array of root's shape; None: 1, for a scalar.
        retain_graph: keep the tape's memory, which is freed as it is walked otherwise.
        take: gets each gradient that would be added to a leaf, with the leaf, and `.grad` stays as
            it is; `leaf_uses` tells how many there will be.

    Raises:
        RuntimeError: nothing behind root requires a gradient, or the tape was walked and freed.
        ValueError: root is no scalar and grad is None, or its shape is not root's.
    """
    if not root.requires_grad:
        raise RuntimeError(
            "backward: nothing to differentiate: the tensor was computed from no tensor that "
            "requires a gradient (or inside no_grad)"
        )
    data = root.data
    backend = backend_of(data)
    if grad is None:
        if tuple(data.shape) != ():
            raise ValueError(
                "backward: without a gradient the tensor must be a scalar, but its shape is "
                f"{tuple(data.shape)}; pass backward(gradient) or reduce it, e.g. .sum()"
            )
        grad = backend.one(data)
    elif backend_of(grad) is not backend:
        raise mixed(backend, backend_of(grad))
    elif tuple(grad.shape) != tuple(data.shape) or grad.dtype != data.dtype:
        raise ValueError(
            "backward: the gradient must have the tensor's shape and dtype; gradient "
            f"{tuple(grad.shape)} {dtype_name(grad.dtype)}, tensor {tuple(data.shape)} "
            f"{dtype_name(data.dtype)}"
        )
    watched = hooks.collected(take, accumulate)
    watch = calls.current()
    maker = root.creator
    if maker is None:
        if watched is not None and watched.takes(root, grad):
            watched.finish()
        else:
            (take or accumulate)(root, grad)
        return
    if maker.order < 0:
        raise _freed(maker)

    kind = type(grad)
    views_tell = hasattr(grad, "base")  # NumPy, CuPy: an array says whose memory it shows
    changed: writes.Changed | None = None
    never = -writes.latest()
    ready: list[tuple[int, Function]] = [(-maker.order, maker)]  # a heap: the latest call first
    pending: dict[int, list[Array | None]] = {}  # gradients of a function's outputs, so far
    pending[maker.order] = first = [None] * len(maker.outputs)
    first[root.slot] = grad

    while ready:
        order, function = heappop(ready)
        got = pending.pop(-order)
        if order > never:  # recorded before some array was last written in place
            changed = changed or writes.changed()
            changed.refuse(function)
        if len(got) > 1 and not (function.takes_none and not function.retained):
            _fill(got, function)
        if function.retained:
            _show(got, function)
        gradients = (
            function.backward(*got) if watch is None else watch(function, function.backward, got)
        )
        del got  # what was passed on as it came may now be nobody else's
        if type(gradients) is not tuple:
            gradients = (gradients,)
        sources = function.sources
        if len(gradients) != len(sources):
            raise RuntimeError(
                f"{type(function).__name__}.backward returned {len(gradients)} gradients for "
                f"{len(sources)} inputs"
            )
        for source, slot, g in zip(sources, function.slots, gradients):  # noqa: B905 (slow)
            if source is None:
                continue
            if type(g) is not kind:
                g = function.backend.xp.asarray(g)
            order = source.order
            if order > 0:
                shape, dtype = source.outputs[slot]
                if g.shape != shape or (g.dtype is not dtype and g.dtype != dtype):
                    g = function.unbroadcast(g, shape, dtype)
                waiting = pending.get(order)
                if waiting is None:
                    pending[order] = waiting = [None] * len(source.outputs)
                    heappush(ready, (-order, source))
                before = waiting[slot]
                waiting[slot] = g if before is None else _sum(before, g)
            elif order == 0:
                data = source.data
                if g.shape != data.shape or g.dtype != data.dtype:
                    g = function.unbroadcast(g, data.shape, data.dtype)
                if watched is not None and watched.takes(source, g):
                    continue
                if take is not None:
                    take(source, g)
                    continue
                before = source.grad
                if before is not None:
                    g = _sum(before, g)
                elif (
                    not views_tell
                    or getrefcount(g) > _FRESH
                    or (g.base is not None and not backend.is_only_view(g))
                ):
                    g = _copy(g)
                source.grad = g
            else:
                raise _freed(source)
        if not retain_graph and getrefcount(function) > _ALONE:
            function.release()  # somebody still holds it; otherwise it goes with its name
        del function
    if watched is not None:
        watched.finish()


def leaf_uses(root: Node) -> dict[Node, int]:
    """Every leaf behind `root`, with how many times it was given to a call.

    The walk back brings it as many gradients: with the last its gradient is complete.
    """
    if root.creator is None:
        return {root: 1} if root.requires_grad else {}
    uses: dict[Node, int] = {}
    seen, left = {root.creator.order}, [root.creator]
    while left:
        for source in left.pop().sources:
            if source is None:
                continue
            order = source.order
            if order == 0:
                uses[source] = uses.get(source, 0) + 1
            elif order not in seen:
                seen.add(order)
                left.append(source)
    return uses


def _show(got: list[Array | None], function: Function) -> None:
    """Give the outputs that were asked to keep their gradient, and hooks, what has come in."""
    for ref in function.retained:
        if isinstance(ref, hooks.TensorHook):
            g = got[ref.slot]
            if g is not None:
                got[ref.slot] = hooks.through([ref.function], g)
            continue
        output = ref()
        if output is not None:
            accumulate(output, got[output.slot])


def accumulate(node: Node, g: Array) -> None:
    """Add g to the tensor's `.grad`, which is its own."""
    node.grad = _copy(g) if node.grad is None else _sum(node.grad, g)


def _sum(a: Array, b: Array) -> Array:
    total = a + b
    return total if type(total) is type(a) else backend_of(a).xp.asarray(total)  # NumPy's scalars


def _copy(g: Array) -> Array:
    return backend_of(g).xp.asarray(g, copy=True)


def _fill(got: list[Array | None], function: Function) -> None:
    """An output that nobody used has a gradient of zeros."""
    some = next(g for g in got if g is not None)
    for slot, (shape, dtype) in enumerate(function.outputs):
        if got[slot] is None:
            got[slot] = function.backend.xp.zeros(shape, dtype=dtype, device=some.device)


def _freed(function: Function) -> RuntimeError:
    return RuntimeError(
        f"backward: this part of the tape ({type(function).__name__}) was already walked and its "
        "memory freed; call backward(retain_graph=True) the first time to walk it twice"
    )

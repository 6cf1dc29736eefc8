"""Who watches calls: a `with` block that hears of every operation, forward and backward.

A watch computes the call itself, so that it can look at what was there before and at what is
there after: how long it took, how much memory it needed, how many multiply-adds it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..scoped import Block, Scoped

Watch = Callable[[Any, Callable[..., Any], Sequence[Any]], Any]

_watches: Scoped[Watch] = Scoped("nnx calls")
watches = _watches.open  # of all threads: where there is none, nobody need ask


def watching_calls(watch: Watch) -> Block[Watch]:
    """A `with` block in which a watch computes every call of this thread or task.

    Args:
        watch: `watch(function, compute, arrays)` returns `compute(*arrays)`, where `compute` is
            the function's own `forward`, with the inputs' arrays, or its `backward`, with the
            gradients of its outputs.  It must keep none of them: what nobody else holds may be
            written into.
    """
    return _watches(watch)


def current() -> Watch | None:
    """The watch of this thread or task; None where there is none."""
    return _watches.get() if watches else None


def computed(function: Any, arrays: Sequence[Any]) -> Any:
    """`function.forward(*arrays)`, by the watch of this thread where there is one."""
    watch = _watches.get()
    if watch is None:
        return function.forward(*arrays)
    return watch(function, function.forward, arrays)

"""Arrays that were written in place while a tape may still need their old values.

Almost nothing in nnx writes into an array that others can see: a new array takes its place, and
what an operation kept for its backward stays as it was.  Optimizers do, where it saves a copy of
the whole model.  They say so here; the walk back then refuses an operation that kept such an array
and was computed before, instead of using values that are not those it was computed with.

A write takes the next number of the calls, so a function is older than a write if its number is
smaller.  Leaves keep theirs in `slot`, which says nothing else of a leaf.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from ..backends import Array, backend_of
from .function import Function, Node, next_call

_latest = 0
_written: dict[int, weakref.ref[Node]] = {}  # leaves, by id


def wrote(leaves: Iterable[Node]) -> None:
    """The arrays of these leaves have other values than before, and are the same arrays."""
    global _latest
    _latest = now = next_call()
    for leaf in leaves:
        leaf.slot = now
        key = id(leaf)
        if key not in _written:
            _written[key] = weakref.ref(leaf, partial(_forget, key))


def _forget(key: int, _: Any) -> None:
    _written.pop(key, None)


def latest() -> int:
    """The number of the last write."""
    return _latest


class Changed:
    """Every leaf that was ever written in place, by the array that owns its memory."""

    def __init__(self) -> None:
        self.leaves: dict[int, list[Node]] = {}
        for ref in list(_written.values()):
            leaf = ref()
            if leaf is not None:
                self.leaves.setdefault(id(_owner(leaf.data)), []).append(leaf)

    def refuse(self, function: Function) -> None:
        """Raise RuntimeError if a function kept an array that was written since it was called."""
        for array in _kept(function):
            for leaf in self.leaves.get(id(_owner(array)), ()):
                if leaf.slot > function.order and _overlap(leaf.data, array):
                    name = type(function).__name__
                    what = getattr(leaf, "name", None) or type(leaf).__name__.lower()
                    raise RuntimeError(
                        f"backward: {name} was computed with {what} of shape "
                        f"{tuple(leaf.data.shape)}, which an optimizer has changed in place since: "
                        "the gradient would be wrong. Call backward() before step(), or compute "
                        "the result again after it"
                    )


def changed() -> Changed:
    return Changed()


def _kept(value: Any) -> Iterator[Array]:
    """Every array that a function keeps, in whatever nest."""
    if hasattr(value, "dtype"):
        yield value.data if isinstance(value, Node) else value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _kept(part)
    elif isinstance(value, dict):
        yield from _kept(list(value.values()))
    elif isinstance(value, Function):
        yield from _kept([part for name, part in vars(value).items() if name != "sources"])


def _owner(array: Array) -> Array:
    """The array whose memory this one is a view of; itself if it is none."""
    kind = type(array)
    while type(base := getattr(array, "base", None)) is kind:
        array = base
    return array


def _overlap(a: Array, b: Array) -> bool:
    """Whether two views of one memory meet.  NumPy's and CuPy's alone are ever written in place."""
    return bool(backend_of(a).xp.may_share_memory(a, b))

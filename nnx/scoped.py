"""`Scoped`: a value that `with` blocks set for what runs inside them, and for nothing else.

Such a value holds for the running thread or asynchronous task alone, and after a block it is what
it was, in whatever way the block was left: blocks of generators may end in another order than they
began, or in another thread; and Ctrl-C may strike between any two instructions, those of
`__exit__` among them.

So nothing is put back.  A context variable holds a chain of blocks, the innermost first.  A block
is open as long as its token lives, which only the `with` statement holds; a block that is not open
is passed over.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


class _Token:
    """What is alive while a block is open."""

    __slots__ = ("__weakref__",)


_Link = tuple["weakref.ref[_Token]", Any, "_Link | None"]  # token, value, the block around it


class Scoped(Generic[T]):
    """A value that blocks set: `with scoped(value): ...`.

    Attributes:
        open: one entry for each block that is open in any thread; while it is empty, there is
            nothing to look up.
    """

    def __init__(self, name: str) -> None:
        self._chain: ContextVar[_Link | None] = ContextVar(name, default=None)
        self.open: set[weakref.ref[_Token]] = set()

    def get(self) -> T | None:
        """The value of the innermost open block around the caller; None where there is none."""
        link = self._chain.get()
        while link is not None:  # as `_innermost`, without its call
            if link[0]() is not None:
                return link[1]  # type: ignore[no-any-return]
            link = link[2]
        return None

    def replace(self, value: T) -> bool:
        """Give the innermost open block another value; False where there is none."""
        link = self._innermost()
        if link is not None:
            self._chain.set((link[0], value, link[2]))
        return link is not None

    def __call__(self, value: T) -> Block[T]:
        return Block(self, value)

    def _innermost(self) -> _Link | None:
        link = self._chain.get()
        while link is not None and link[0]() is None:
            link = link[2]
        return link


class Block(Generic[T]):
    """A `with` block; the same object may be entered again, also inside itself."""

    __slots__ = ("_tokens", "scoped", "value")

    def __init__(self, scoped: Scoped[T], value: T) -> None:
        self.scoped, self.value = scoped, value
        self._tokens: list[_Token] = []

    def __enter__(self) -> Self:
        scoped, token = self.scoped, _Token()
        self._tokens.append(token)
        ref = weakref.ref(token, scoped.open.discard)
        scoped.open.add(ref)
        scoped._chain.set((ref, self._entered(), scoped._innermost()))
        return self

    def _entered(self) -> T:
        """The value inside, asked for at each entry."""
        return self.value

    def __exit__(self, *error: object) -> None:
        tokens = self._tokens
        if len(tokens) > 1:  # the one that was entered here last goes first
            link = self.scoped._chain.get()
            while link is not None:
                here = [k for k, token in enumerate(tokens) if link[0]() is token]
                if here:
                    tokens.append(tokens.pop(here[0]))
                    break
                link = link[2]
        del tokens[-1:]
        self.scoped._chain.set(self.scoped._innermost())

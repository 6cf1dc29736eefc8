"""The first step of a training: other processes help with what has to be compiled for it.

This file imports no numba: where everything is on the disk, or nothing is compiled, nobody helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ...compiles import at_the_first
from .threads import thread_count

if TYPE_CHECKING:
    from .ahead import Helpers

MOST = 8  # processes
AT_ONCE = 2.0  # seconds that compiling waits until it is known how much there is


@contextmanager
def helped(step: Callable[[], None]) -> Iterator[None]:
    """Let other processes help with what has to be compiled inside a `with` block.

    They begin with what is called last, and this one waits for none of them but for the function
    that it needs next.

    Args:
        step: what runs in the block, or something that calls the same functions.  It is called in
            a forked process, and what it changes there is lost.
    """
    count = min(thread_count(), MOST) - 1
    helpers: Helpers | None = None

    def begin() -> None:
        nonlocal helpers
        from .ahead import Helpers, can_help

        if count > 0 and can_help():
            with suppress(OSError):  # no more processes: then nobody helps
                helpers = Helpers([step], count, backwards=True)
                helpers.wait(AT_ONCE)

    def others() -> tuple[int, int]:
        if helpers is None:
            return 0, 0
        helpers.look()
        return len(helpers.begun), helpers.total

    try:
        with at_the_first(begin, others):
            yield
    finally:
        if helpers is not None:
            helpers.end()

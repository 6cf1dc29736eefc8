"""Forking while other threads compute: what a child must not inherit.

A forked child has one thread.  A lock that another held stays held for ever, and a module that
another was importing stays half imported.  Locks of ours are renewed in the child, by the files
that have them (`renew_in_child`); for what lies in Python and in numba a fork waits.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from importlib import _bootstrap
from typing import Any

PATIENCE = 10.0  # seconds that a fork waits for the imports of other threads


def processors() -> int:
    """How many this process, and those that it forks, may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def renew_in_child(renew: Callable[[], None]) -> None:
    """Call `renew` in every child that is forked from now on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)


def wait_before(wait: Callable[[], None], after: Callable[[], None]) -> None:
    """Call `wait` before every fork, and `after` on both sides of it."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=wait, after_in_parent=after, after_in_child=after)


def _wait_for_imports() -> None:
    """Python renews the lock of the import system in a child, but not those of modules."""
    own = threading.get_ident()
    end = time.monotonic() + PATIENCE
    while any(_owner(lock) not in (None, own) for lock in _module_locks()):
        if time.monotonic() > end:
            return
        time.sleep(0.001)


def _module_locks() -> list[Any]:
    references = getattr(_bootstrap, "_module_locks", {})
    return [reference() for reference in list(references.values())]


def _owner(lock: Any) -> int | None:
    return getattr(lock, "owner", None)


wait_before(_wait_for_imports, lambda: None)

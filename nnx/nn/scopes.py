"""What a `with` block sets for a model: its modes, and who watches its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..scoped import Block, Scoped

modes: Scoped[dict[int, bool]] = Scoped("nnx modes")  # id of a module -> whether it trains

Watch = Callable[[Any, tuple[Any, ...], Any], None]  # of a module, its inputs and its output
watchers: Scoped[Watch] = Scoped("nnx watch")


def watching(watch: Watch) -> Block[Watch]:
    """A `with` block in which `watch(module, inputs, output)` follows every module's forward.

    Unlike a hook it leaves nothing behind, and hears nothing of what other threads compute.
    """
    return watchers(watch)
